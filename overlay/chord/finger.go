package chord

import "github.com/p2psip/p2psip-gateway/overlay/wire"

// FingerStart is where the interval of the i'th finger begins, x+2^(128-i), for i from 1: "the first entry in the Finger
// Table has i=1 and not i=0" (RFC 6940 §10.5).
func (r *Ring) FingerStart(i int) Point { return r.at.Add(Power(Bits - i)) }

// FingerValid reports whether some peer is known "in the range [ x+2^( 128-i ), x+2^( 128-(i-1) )-1 ]" (RFC 6940
// §10.7.4.2).
func (r *Ring) FingerValid(i int) bool {
	start := Power(Bits - i)
	k := r.find(start)
	if k == len(r.peers) {
		return false
	}
	return i == 1 || r.peers[k].dist.Less(start.Add(start))
}

// FingerSettled reports whether there is nothing to look for: the finger is valid, or its interval lies as a whole
// between neighbours that follow each other, so that it is known to be empty.
func (r *Ring) FingerSettled(i int) bool {
	if r.FingerValid(i) {
		return true
	}
	n := len(r.peers)
	if n < 2*Neighbors {
		return true // the neighbours are all there is
	}
	start := Power(Bits - i)
	last := start.Add(start).Sub(Point{lo: 1}) // 2^128 - 1 for the first finger
	return !r.peers[Neighbors-1].dist.Less(last) || !start.Less(r.peers[n-Neighbors].dist)
}

// Missing lists the fingers, of the first FingerGoal or as many as Resize says, that are worth a search, farthest first.
func (r *Ring) Missing() []int {
	var out []int
	for i := 1; i <= r.goal; i++ {
		if !r.FingerSettled(i) {
			out = append(out, i)
		}
	}
	return out
}

// Useful reports whether a peer is worth a link: it is near, fills a finger, everybody is, or there are fewer
// than wanted (RFC 6940 §10.7.4.3).
func (r *Ring) Useful(id wire.NodeID) bool {
	if id == r.self || r.Has(id) {
		return false
	}
	if len(r.peers) < 2*Neighbors+r.goal || r.Near(id) {
		return true
	}
	if r.Mesh() {
		return true
	}
	d := PointOf(id).Sub(r.at)
	for i := 1; i <= r.goal; i++ {
		if !d.Less(Power(Bits - i)) {
			return !r.FingerValid(i)
		}
	}
	return false
}
