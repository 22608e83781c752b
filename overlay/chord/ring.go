package chord

import (
	"slices"
	"sort"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Ring is the routing table of one peer: "conceptually the union of the Neighbor Table and the Finger Table"
// (RFC 6940 §10.3). The nearest peers on either side are the Neighbor Table, the others are fingers; so when a neighbour
// is removed, the best match among the rest takes its place without further ado (§10.7.1, §10.7.2).
type Ring struct {
	self  wire.NodeID
	at    Point
	peers []entry // ascending by distance
}

type entry struct {
	id   wire.NodeID
	at   Point
	dist Point // clockwise from self
}

// New returns the ring of a peer that knows nobody else.
func New(self wire.NodeID) *Ring { return &Ring{self: self, at: PointOf(self)} }

// Self is the peer whose ring it is.
func (r *Ring) Self() wire.NodeID { return r.self }

// Len counts the other peers.
func (r *Ring) Len() int { return len(r.peers) }

// find returns where a peer at distance d stands or would stand.
func (r *Ring) find(d Point) int {
	return sort.Search(len(r.peers), func(i int) bool { return !r.peers[i].dist.Less(d) })
}

// Has reports whether id is in the table.
func (r *Ring) Has(id wire.NodeID) bool {
	i := r.find(PointOf(id).Sub(r.at))
	return i < len(r.peers) && r.peers[i].id == id
}

// Add enters a peer. It reports false, and does nothing, for the peer itself ("A peer MUST NOT enter itself in its
// successor or predecessor table", RFC 6940 §10.7.3), for one that is known, and for a finger when the table is full. A
// neighbour then takes the place of the finger in the middle of the table.
func (r *Ring) Add(id wire.NodeID) bool {
	p := PointOf(id)
	e := entry{id, p, p.Sub(r.at)}
	i := r.find(e.dist)
	if p == r.at || i < len(r.peers) && r.peers[i].at == p {
		return false
	}
	if len(r.peers) >= MaxPeers {
		if !r.Wanted(id) {
			return false
		}
		r.peers = slices.Delete(r.peers, MaxPeers/2, MaxPeers/2+1)
		i = r.find(e.dist)
	}
	r.peers = slices.Insert(r.peers, i, e)
	return true
}

// Remove takes a peer out and reports whether it was there.
func (r *Ring) Remove(id wire.NodeID) bool {
	i := r.find(PointOf(id).Sub(r.at))
	if i == len(r.peers) || r.peers[i].id != id {
		return false
	}
	r.peers = slices.Delete(r.peers, i, i+1)
	return true
}

// Peers lists the whole table clockwise from the peer itself.
func (r *Ring) Peers() []wire.NodeID { return ids(r.peers) }

func ids(es []entry) []wire.NodeID {
	out := make([]wire.NodeID, len(es))
	for i, e := range es {
		out[i] = e.id
	}
	return out
}

// Successors are up to three peers after this one, nearest first. In a small ring there are fewer, and the same peer may
// be among the predecessors too.
func (r *Ring) Successors() []wire.NodeID { return ids(r.peers[:min(Neighbors, len(r.peers))]) }

// Predecessors are up to three peers before this one, nearest first.
func (r *Ring) Predecessors() []wire.NodeID {
	out := ids(r.peers[max(0, len(r.peers)-Neighbors):])
	slices.Reverse(out)
	return out
}

// Neighbors is the Neighbor Table: successors, then those predecessors that are not successors as well.
func (r *Ring) Neighbors() []wire.NodeID {
	if len(r.peers) <= 2*Neighbors {
		return ids(r.peers)
	}
	return append(r.Successors(), r.Predecessors()...)
}

// IsNeighbor reports whether id is in the Neighbor Table.
func (r *Ring) IsNeighbor(id wire.NodeID) bool { return r.Has(id) && r.Wanted(id) }

// Wanted reports whether a peer belongs in the Neighbor Table, be it in it or not (RFC 6940 §10.7.3: "they are closer
// than entries in the Neighbor Table").
func (r *Ring) Wanted(id wire.NodeID) bool {
	if id == r.self {
		return false
	}
	i := r.find(PointOf(id).Sub(r.at))
	after := len(r.peers) - i
	if i < len(r.peers) && r.peers[i].id == id {
		after--
	}
	return i < Neighbors || after < Neighbors
}

// Fingers are the peers that are no neighbours, "in numerically ascending order" (RFC 6940 §10.7), at most MaxFingers.
func (r *Ring) Fingers() []wire.NodeID {
	if len(r.peers) <= 2*Neighbors {
		return nil
	}
	out := ids(r.peers[Neighbors : len(r.peers)-Neighbors])
	slices.SortFunc(out, wire.NodeID.Compare)
	return out[:min(len(out), MaxFingers)]
}

// Replicas are the peers that hold copies of what this one is responsible for: "its successor in the Neighbor Table and
// [...] that peer's successor" (RFC 6940 §10.4).
func (r *Ring) Replicas() []wire.NodeID { return ids(r.peers[:min(Replicas, len(r.peers))]) }

// Predecessor is the nearest peer before this one; ok is false when there is none.
func (r *Ring) Predecessor() (id wire.NodeID, ok bool) {
	if len(r.peers) == 0 {
		return wire.NodeID{}, false
	}
	return r.peers[len(r.peers)-1].id, true
}

// Responsible reports whether this peer owns p: "if k is less than or equal to x and k is greater than p, where p is the
// Node-ID of the previous peer in the Neighbor Table" (RFC 6940 §10.1). A sole peer owns everything.
func (r *Ring) Responsible(p Point) bool {
	if len(r.peers) == 0 {
		return true
	}
	return p.Within(r.peers[len(r.peers)-1].at, r.at)
}

// Share is the part of the ring that this peer is responsible for, 0 to 1.
func (r *Ring) Share() float64 {
	if len(r.peers) == 0 {
		return 1
	}
	return r.at.Sub(r.peers[len(r.peers)-1].at).fraction()
}

// Owner is the peer that is responsible for p as far as this one knows: the first at or after p.
func (r *Ring) Owner(p Point) wire.NodeID {
	if len(r.peers) == 0 || r.Responsible(p) {
		return r.self
	}
	if i := r.find(p.Sub(r.at)); i < len(r.peers) {
		return r.peers[i].id
	}
	return r.self
}

// NextHop is the peer to which a message for p is routed. ok is false when this peer is responsible itself.
//
// RFC 6940 §10.3: "it MUST route the request to the peer in the Routing Table that has the largest Node-ID that is in
// the interval between the peer and k. If no such node is found, the peer finds the smallest Node-ID that is greater
// than k and MUST route the message to that node."
//
// Deviation: what lies between our two nearest predecessors goes to the nearer of them, which is "most likely to be
// responsible" (§6.1.2), and not around the ring to the farther one. They are the same peers a hop apart, but the
// farther one may not have heard of a peer that has just joined between it and us; the message would go back and forth
// until it had.
func (r *Ring) NextHop(p Point) (id wire.NodeID, ok bool) {
	n := len(r.peers)
	if n == 0 || r.Responsible(p) {
		return wire.NodeID{}, false
	}
	if n >= 2 && p.Within(r.peers[n-2].at, r.peers[n-1].at) {
		return r.peers[n-1].id, true
	}
	if i := r.find(p.Sub(r.at)); i > 0 {
		return r.peers[i-1].id, true
	}
	return r.peers[0].id, true
}

// Detour is the next hop for p when some peers are not to be used: the nearest before p that is usable or, if there is
// none, the nearest after this peer. ok is false when there is none at all.
func (r *Ring) Detour(p Point, usable func(wire.NodeID) bool) (id wire.NodeID, ok bool) {
	i := r.find(p.Sub(r.at))
	for k := i - 1; k >= 0; k-- {
		if usable(r.peers[k].id) {
			return r.peers[k].id, true
		}
	}
	for _, e := range r.peers[i:] {
		if usable(e.id) {
			return e.id, true
		}
	}
	return wire.NodeID{}, false
}

// Rank counts the known peers from p clockwise that come before id: 0 for the owner of p, 1 and 2 for its replicas. This
// peer is counted, and id need not be known.
func (r *Ring) Rank(p Point, id wire.NodeID) int {
	d := PointOf(id).Sub(p)
	rank := 0
	if id != r.self && r.at.Sub(p).Less(d) {
		rank++
	}
	for _, e := range r.peers {
		if e.id != id && e.at.Sub(p).Less(d) {
			rank++
		}
	}
	return rank
}

// Plausible reports whether a node at id may answer for p: RFC 6940 §6.3.4 wants a response from a node that is at least
// as close to the Resource-ID as any in our Neighbor Table. Close means clockwise distance from p to the node.
func (r *Ring) Plausible(p Point, id wire.NodeID) bool {
	d := PointOf(id).Sub(p)
	for i, e := range r.peers {
		if (i < Neighbors || i >= len(r.peers)-Neighbors) && e.at.Sub(p).Less(d) {
			return false
		}
	}
	return true
}

// SizeEstimate is the number of peers in the overlay, estimated by how densely the neighbours lie.
func (r *Ring) SizeEstimate() int {
	n := len(r.peers)
	if n < 2*Neighbors {
		return n + 1
	}
	span := r.peers[Neighbors-1].at.Sub(r.peers[n-Neighbors].at).fraction()
	return min(maxEstimate, max(n+1, int(2*Neighbors/max(span, 1.0/maxEstimate)+0.5)))
}
