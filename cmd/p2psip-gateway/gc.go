package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// By how much the heap of a gateway may grow between two garbage collections, in percent of what lives, where GOGC does not say
// otherwise. A collection costs by what lives: some 100 ms of CPU with the certificates and keys of 10,000 users. What a call leaves behind,
// some 35 kB, is short-lived. At Go's own 100 a gateway with few users and many calls collects several times a second, which is a
// tenth of its CPU and more; at a fixed 300 one with many users and few calls takes four times what it needs.
const (
	gcPercent      = 300
	gcPercentLeast = 50               // for the burst that begins before the next look
	gcApart        = 10 * time.Second // what lies between two collections, as far as the percentages permit
	gcLook         = 2 * time.Second  // how often it is looked how fast the heap grows
	gcDecay        = 0.9              // what is left, at each look, of a rate that was higher
	gcHysteresis   = 0.1              // each change stops the program for some microseconds; smaller ones are not worth it
)

// gcOwn reports whether nobody else says when garbage is collected.
func gcOwn() bool { return os.Getenv("GOGC") == "" }

// gcPace is how fast the heap grows, and the percentage that follows from it.
type gcPace struct {
	rate    float64 // octets a second
	percent int
}

// next is the percentage for a heap of which live octets were in use at the last collection, with allocated octets more handed out in the time
// passed.
func (p *gcPace) next(live, allocated uint64, passed time.Duration) int {
	p.rate = max(float64(allocated)/passed.Seconds(), p.rate*gcDecay)
	want := 100 * p.rate * gcApart.Seconds() / float64(max(live, 1))
	want = min(max(want, gcPercentLeast), gcPercent)
	if d := (want - float64(p.percent)) / float64(p.percent); d > gcHysteresis || d < -gcHysteresis {
		p.percent = int(want)
	}
	return p.percent
}

// readHeap is what lived at the last collection, and all that was ever allocated, in octets.
func readHeap() (live, allocated uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

// paceGC has the garbage of a gateway collected every gcApart or so, until ctx ends.
func paceGC(ctx context.Context) {
	if !gcOwn() {
		return
	}
	p := gcPace{percent: gcPercent}
	tick := time.NewTicker(gcLook)
	defer tick.Stop()
	_, before := readHeap()
	for at := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		live, allocated := readHeap()
		now, old := time.Now(), p.percent
		if percent := p.next(live, allocated-before, now.Sub(at)); percent != old {
			debug.SetGCPercent(percent)
		}
		before, at = allocated, now
	}
}
