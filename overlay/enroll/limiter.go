package enroll

import (
	"net/netip"
	"sync"
	"time"
)

// buckets limits how often something may happen for each of many keys: a token bucket for each, a bounded number of them. It
// is safe for concurrent use.
type buckets struct {
	rate  float64 // tokens per second
	burst float64
	most  int

	mu sync.Mutex
	m  map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newBuckets(rate, burst float64, most int) *buckets {
	return &buckets{rate: rate, burst: burst, most: most, m: map[string]*bucket{}}
}

// take takes a token. Without one it says when there will be.
func (b *buckets) take(key string, now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.m[key]
	if e == nil {
		b.makeRoom(now)
		e = &bucket{b.burst, now}
		b.m[key] = e
	}
	b.fill(e, now)
	if e.tokens < 1 {
		return time.Duration((1 - e.tokens) / b.rate * float64(time.Second)), false
	}
	e.tokens--
	return 0, true
}

// giveBack undoes a take.
func (b *buckets) giveBack(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.m[key]; e != nil {
		e.tokens = min(e.tokens+1, b.burst)
	}
}

func (b *buckets) fill(e *bucket, now time.Time) {
	if d := now.Sub(e.at); d > 0 {
		e.tokens = min(e.tokens+d.Seconds()*b.rate, b.burst)
		e.at = now
	}
}

// makeRoom drops full buckets, which say nothing, and any other when there is none.
func (b *buckets) makeRoom(now time.Time) {
	looked := 0
	for key, e := range b.m {
		if len(b.m) < b.most {
			return
		}
		b.fill(e, now)
		if looked++; e.tokens >= b.burst || looked > 64 {
			delete(b.m, key)
		}
	}
}

// sourceOf is who a request is attributed to: an IPv4 address, or the /64 of an IPv6 address, which is what one customer gets.
func sourceOf(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
