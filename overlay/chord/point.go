package chord

import (
	"encoding/binary"
	"math/bits"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Point is a position on the ring: an unsigned 128-bit number, "with all arithmetic being done modulo 2^{k}"
// (RFC 6940 §10.1). It is comparable.
type Point struct{ hi, lo uint64 }

// PointOf is the position of a node: the first 128 bits of its Node-ID, which are all of it under CHORD-RELOAD.
func PointOf(id wire.NodeID) Point {
	b := id.Array16()
	return Point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// PointOfResource is the position of a Resource-ID; ok is false when it is not 128 bits long (RFC 6940 §10.2).
func PointOfResource(r wire.ResourceID) (p Point, ok bool) {
	if len(r) != Bits/8 {
		return Point{}, false
	}
	for i := range 8 {
		p.hi = p.hi<<8 | uint64(r[i])
		p.lo = p.lo<<8 | uint64(r[i+8])
	}
	return p, true
}

// Power is 2^n, for n from 0 to 127.
func Power(n int) Point {
	if n >= 64 {
		return Point{hi: 1 << (n - 64)}
	}
	return Point{lo: 1 << n}
}

// Add is p + q modulo 2^128.
func (p Point) Add(q Point) Point {
	lo, carry := bits.Add64(p.lo, q.lo, 0)
	hi, _ := bits.Add64(p.hi, q.hi, carry)
	return Point{hi, lo}
}

// Sub is p - q modulo 2^128: the clockwise distance from q to p.
func (p Point) Sub(q Point) Point {
	lo, borrow := bits.Sub64(p.lo, q.lo, 0)
	hi, _ := bits.Sub64(p.hi, q.hi, borrow)
	return Point{hi, lo}
}

// Less compares p and q as numbers.
func (p Point) Less(q Point) bool { return p.hi < q.hi || p.hi == q.hi && p.lo < q.lo }

func (p Point) compare(q Point) int {
	if p.Less(q) {
		return -1
	} else if q.Less(p) {
		return 1
	}
	return 0
}

// Within reports whether p lies in the interval (from, to] of the ring. The interval (x, x] is the whole ring.
func (p Point) Within(from, to Point) bool {
	if from == to {
		return true
	}
	return p != from && !to.Sub(from).Less(p.Sub(from))
}

// Resource is the position as a Resource-ID: how "the peer that controls region X" is addressed (RFC 6940 §6.1.1).
func (p Point) Resource() wire.ResourceID {
	var b [Bits / 8]byte
	binary.BigEndian.PutUint64(b[:8], p.hi)
	binary.BigEndian.PutUint64(b[8:], p.lo)
	return wire.ResourceID(b[:])
}

// Scale is the part x of p, 0 to 1, to 53 bits.
func (p Point) Scale(x float64) Point { return Point{hi: uint64(float64(p.hi) * x)} }

// fraction is p as a share of the whole ring, 0 to 1.
func (p Point) fraction() float64 { return float64(p.hi)/(1<<64) + float64(p.lo)/(1<<64)/(1<<64) }
