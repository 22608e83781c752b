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
	links int     // how many peers to be linked with; 0: what RFC 6940 §10.7 asks for and no more
	near  int     // length of the successor list, and of the predecessor list
	goal  int     // number of fingers up to which the peer looks for more
	laid  int     // number of peers that the slots are laid out for: see LaidOut
}

type entry struct {
	id   wire.NodeID
	at   Point
	dist Point // clockwise from self
	said claim
	down bool // not to be routed through for now
}

// New returns the ring of a peer that knows nobody else and keeps the smallest tables that RFC 6940 §10.7 allows.
func New(self wire.NodeID) *Ring {
	return &Ring{self: self, at: PointOf(self), near: Neighbors, goal: FingerGoal}
}

// Self is the peer whose ring it is.
func (r *Ring) Self() wire.NodeID { return r.self }

// Len counts the other peers.
func (r *Ring) Len() int { return len(r.peers) }

// Grow makes room for so many more peers, and no more than that.
func (r *Ring) Grow(n int) { r.peers = append(make([]entry, 0, len(r.peers)+n), r.peers...) }

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
	e := entry{id: id, at: p, dist: p.Sub(r.at)}
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

// Successors are the peers after this one, nearest first: three, or as many as Widen says. In a small ring there are
// fewer, and the same peer may be among the predecessors too.
func (r *Ring) Successors() []wire.NodeID { return ids(r.peers[:min(r.near, len(r.peers))]) }

// Predecessors are the peers before this one, nearest first, as many as Successors.
func (r *Ring) Predecessors() []wire.NodeID {
	out := ids(r.peers[max(0, len(r.peers)-r.near):])
	slices.Reverse(out)
	return out
}

// Neighbors is the Neighbor Table: three successors, then those of three predecessors that are not successors as well,
// nearest first.
func (r *Ring) Neighbors() []wire.NodeID {
	n := len(r.peers)
	if n <= 2*Neighbors {
		return ids(r.peers)
	}
	before := ids(r.peers[n-Neighbors:])
	slices.Reverse(before)
	return append(ids(r.peers[:Neighbors]), before...)
}

// IsNeighbor reports whether id is in the Neighbor Table.
func (r *Ring) IsNeighbor(id wire.NodeID) bool { return r.Has(id) && r.Wanted(id) }

// Wanted reports whether a peer belongs in the Neighbor Table, be it in it or not (RFC 6940 §10.7.3: "they are closer
// than entries in the Neighbor Table").
func (r *Ring) Wanted(id wire.NodeID) bool { return r.within(id, Neighbors) }

// within reports whether a peer is, or would be, among the k nearest on either side.
func (r *Ring) within(id wire.NodeID, k int) bool {
	if id == r.self {
		return false
	}
	i := r.find(PointOf(id).Sub(r.at))
	after := len(r.peers) - i
	if i < len(r.peers) && r.peers[i].id == id {
		after--
	}
	return i < k || after < k
}

// Fingers are the peers that are neither successors nor predecessors, "in numerically ascending order" (RFC 6940 §10.7), at most MaxFingers.
func (r *Ring) Fingers() []wire.NodeID {
	if len(r.peers) <= 2*r.near {
		return nil
	}
	out := ids(r.peers[r.near : len(r.peers)-r.near])
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

// Rank counts the known peers from p clockwise that come before id: 0 for the owner of p, 1 and 2 for its replicas. This
// peer is counted, and id need not be known.
func (r *Ring) Rank(p Point, id wire.NodeID) int {
	from, to := p.Sub(r.at), PointOf(id).Sub(r.at)
	rank := r.find(to) - r.find(from)
	if to.Less(from) { // the way leads past this peer
		rank += len(r.peers)
		if id != r.self {
			rank++
		}
	} else if from == (Point{}) && id != r.self {
		rank++
	}
	return rank
}

// Plausible reports whether a node at id may answer for p: RFC 6940 §6.3.4 wants a response from a node that is at least
// as close to the Resource-ID as any in our Neighbor Table. Close means clockwise distance from p to the node.
func (r *Ring) Plausible(p Point, id wire.NodeID) bool {
	_, closer := r.Closer(p, id)
	return !closer
}

// Closer is a neighbour that is closer to p than id is, if there is one.
func (r *Ring) Closer(p Point, id wire.NodeID) (neighbour wire.NodeID, ok bool) {
	d := PointOf(id).Sub(p)
	n := len(r.peers)
	for i := range min(n, 2*Neighbors) {
		if i >= Neighbors {
			i = max(i, n-2*Neighbors+i)
		}
		if r.peers[i].at.Sub(p).Less(d) {
			return r.peers[i].id, true
		}
	}
	return wire.NodeID{}, false
}

// SizeEstimate is the number of peers in the overlay. When most of them are known, it is counted who is not, else estimated by how densely
// the neighbours lie (RFC 7363 §6.1). With more neighbours that is less uncertain; but where some are missing yet it is too small, so
// that the nearest ones count when they lie twice as densely.
func (r *Ring) SizeEstimate() int {
	n := len(r.peers)
	if n < 2*Neighbors {
		return n + 1
	}
	size := r.density(min(r.near, n/2))
	if close := r.density(min(r.near, 16, n/2)); close > 2*size {
		size = close
	}
	if size < 4*n {
		if count, ok := r.count(); ok {
			size = count
		}
	}
	return max(n+1, size)
}

// count is the number of peers, by how many of the far ones have a predecessor that is known as well: when that is so for one in two, half
// of those out there are known. It is not ok for less than half, which say little.
func (r *Ring) count() (size int, ok bool) {
	told, known := 0, 0
	for i := r.near; i < len(r.peers)-r.near; i++ {
		if own := r.peers[i].said.own; own > 0 {
			told++
			if own == r.peers[i].at.Sub(r.peers[i-1].at).hi {
				known++
			}
		}
	}
	if told < minTold || 2*known < told {
		return 0, false
	}
	return 1 + 2*r.near + (len(r.peers)-2*r.near)*told/known, true
}

// density estimates the number of peers by k successors and k predecessors.
func (r *Ring) density(k int) int {
	span := r.peers[k-1].at.Sub(r.peers[len(r.peers)-k].at).fraction()
	return min(maxEstimate, int(float64(2*k)/max(span, 1.0/maxEstimate)+0.5))
}
