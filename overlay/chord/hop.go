package chord

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// claim is what a peer said about its place in its last Update, as distances of which the upper 64 bits are enough. Zero:
// nothing.
type claim struct {
	own   uint64 // to its predecessor: what lies between is its own
	back  uint64 // to the farthest predecessor in its list
	ahead uint64 // to the farthest successor in its list
}

// Hear notes the lists of an Update of id. They are sets, in any order.
func (r *Ring) Hear(id wire.NodeID, predecessors, successors []wire.NodeID) {
	i := r.find(PointOf(id).Sub(r.at))
	if i == len(r.peers) || r.peers[i].id != id {
		return
	}
	e := &r.peers[i]
	e.said = claim{}
	for k, o := range predecessors {
		d := e.at.Sub(PointOf(o)).hi
		e.said.back = max(e.said.back, d)
		if k == 0 || d < e.said.own {
			e.said.own = d
		}
	}
	for _, o := range successors {
		e.said.ahead = max(e.said.ahead, PointOf(o).Sub(e.at).hi)
	}
}

// Absent lists the peers of the table that should be in a list of successors, or else predecessors, of the peer of, and are
// not.
func (r *Ring) Absent(of wire.NodeID, list []wire.NodeID, successors bool) (out []wire.NodeID) {
	if len(list) == 0 {
		return nil
	}
	from := PointOf(of)
	listed := make([]Point, len(list)) // distances
	for i, id := range list {
		listed[i] = PointOf(id).Sub(from)
		if !successors {
			listed[i] = from.Sub(PointOf(id))
		}
	}
	slices.SortFunc(listed, Point.compare)
	last := listed[len(listed)-1]
	begin := from // what lies in (begin, begin+last]
	if !successors {
		begin = from.Sub(last).Sub(Point{lo: 1})
	}
	n := len(r.peers)
	first := r.find(begin.Sub(r.at))
	for k := range n {
		e := &r.peers[(first+k)%n]
		d := e.at.Sub(from)
		if !successors {
			d = from.Sub(e.at)
		}
		switch {
		case d == Point{}:
			if successors {
				continue // it is that peer
			}
			return out
		case last.Less(d):
			return out
		}
		if _, ok := slices.BinarySearchFunc(listed, d, Point.compare); !ok {
			out = append(out, e.id)
		}
	}
	return out
}

// SetDown says whether a peer is not to be routed through for now, though it is in the table: RFC 6940 §6.6.5, "the link
// SHOULD be removed from the Routing Table".
func (r *Ring) SetDown(id wire.NodeID, down bool) {
	if i := r.find(PointOf(id).Sub(r.at)); i < len(r.peers) && r.peers[i].id == id {
		r.peers[i].down = down
	}
}

// Suspected is a peer between p and this one, when there are some and none of them is to be routed through: the first of
// those that are alive after p is this peer.
func (r *Ring) Suspected(p Point) (id wire.NodeID, ok bool) {
	i := r.find(p.Sub(r.at))
	if i == len(r.peers) {
		return wire.NodeID{}, false
	}
	for k := len(r.peers) - 1; k >= i; k-- {
		if !r.peers[k].down {
			return wire.NodeID{}, false
		}
	}
	return r.peers[i].id, true
}

// NextHop is the peer to which a message for p, which came from the node from, is routed; from is zero for one that was
// made here. ok is false when this peer is responsible itself, or there is nobody.
//
// RFC 6940 §10.3: "it MUST route the request to the peer in the Routing Table that has the largest Node-ID that is in
// the interval between the peer and k. If no such node is found, the peer finds the smallest Node-ID that is greater
// than k and MUST route the message to that node."
//
// Deviation: a peer after k that has told us that k is its own, or that k is between its predecessors, gets the message
// at once: it is "most likely to be responsible" (§6.1.2), and the peer before k would do no more than pass it on. And what
// lies between our two nearest predecessors goes to the nearer of them, not around the ring to the farther one, which may
// not have heard of a peer that has just joined between it and us.
func (r *Ring) NextHop(p Point, from wire.NodeID) (id wire.NodeID, ok bool) {
	n := len(r.peers)
	if n == 0 || r.Responsible(p) {
		return wire.NodeID{}, false
	}
	i := r.find(p.Sub(r.at)) // the first at or after p
	if i < n {
		e := &r.peers[i]
		owns := e.at.Sub(p).hi < e.said.own || i == n-1 && n >= 2
		if owns && !e.down && e.id != from {
			return e.id, true
		}
		if !e.down && e.id != from && e.at.Sub(p).hi < e.said.back && !r.reaches(i-1, p) {
			return e.id, true
		}
	}
	if i > 0 && !r.peers[i-1].down && r.peers[i-1].id != from {
		return r.peers[i-1].id, true
	}
	return r.around(p, from, i)
}

// reaches reports whether the i'th peer has said that p is not past its successors.
func (r *Ring) reaches(i int, p Point) bool {
	return i >= 0 && !r.peers[i].down && p.Sub(r.peers[i].at).hi <= r.peers[i].said.ahead
}

// around is the next hop when the nearest peer before p, which is at or after the i'th, is not to be used: it is down, or
// the message comes from it. The next one after p knows those between better than one farther away; else any that is
// nearer to p than we are.
func (r *Ring) around(p Point, from wire.NodeID, i int) (id wire.NodeID, ok bool) {
	usable := func(e *entry) bool { return !e.down && e.id != from }
	if i > 0 && r.peers[i-1].id == from {
		for k := i; k < len(r.peers); k++ {
			if usable(&r.peers[k]) {
				return r.peers[k].id, true
			}
		}
	}
	for k := i - 1; k >= 0; k-- {
		if usable(&r.peers[k]) {
			return r.peers[k].id, true
		}
	}
	for k := i; k < len(r.peers); k++ {
		if usable(&r.peers[k]) {
			return r.peers[k].id, true
		}
	}
	if i > 0 {
		return r.peers[i-1].id, true // all are down: who knows
	}
	return r.peers[0].id, true
}
