package media

import (
	"math/rand/v2"
	"time"
)

// pool has the pairs of ports: an even one for RTP and the one above for RTCP (RFC 3550 §11). What was used last is used again last, and not
// before it has rested. Not safe for concurrent use.
type pool struct {
	pairs []pair // a ring
	head  int
	free  int
}

type pair struct {
	rtp   uint16
	since time.Time // when it was given back; zero: it was never used
}

// newPool has the pairs that fit between first and last, in an order that nobody can guess.
func newPool(first, last uint16) pool {
	var p pool
	for port := int(first) + int(first)&1; port < int(last); port += 2 {
		p.pairs = append(p.pairs, pair{rtp: uint16(port)})
	}
	rand.Shuffle(len(p.pairs), func(i, j int) { p.pairs[i], p.pairs[j] = p.pairs[j], p.pairs[i] })
	p.free = len(p.pairs)
	return p
}

func (p *pool) take(now time.Time) (rtp uint16, ok bool) {
	if p.free == 0 {
		return 0, false
	}
	c := p.pairs[p.head]
	if !c.since.IsZero() && now.Sub(c.since) < drain {
		return 0, false // the others have rested for even less
	}
	p.head = (p.head + 1) % len(p.pairs)
	p.free--
	return c.rtp, true
}

func (p *pool) give(rtp uint16, now time.Time) {
	p.pairs[(p.head+p.free)%len(p.pairs)] = pair{rtp, now}
	p.free++
}

// used is how many pairs are with calls.
func (p *pool) used() int { return len(p.pairs) - p.free }
