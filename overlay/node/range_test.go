package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// TestRFC6940_10_5_RangeChangesHandsAtOnce has users of every host register in the moments in which a node becomes a peer,
// or leaves, and everybody look for them as soon as that is acknowledged.
func TestRFC6940_10_5_RangeChangesHandsAtOnce(t *testing.T) {
	slow := func(c *sim.Config) {
		c.MinDelay, c.MaxDelay, c.Crypto = time.Millisecond, 10*time.Millisecond, 5*time.Millisecond
	}
	for seed := range uint64(12) {
		w := ring(t, 5, slow, func(c *sim.Config) { c.Seed = seed })
		h := w.AddHost()
		h.Start(false)
		registerAllAlong(t, w, fmt.Sprintf("seed %d, join", seed))
		if h.Node.State() != node.Joined {
			t.Fatalf("seed %d: it has not joined", seed)
		}
		w.Leave(h.Index)
		registerAllAlong(t, w, fmt.Sprintf("seed %d, leave", seed))
	}
}

// registerAllAlong lets half a second pass, in which there are new users all the time.
func registerAllAlong(t *testing.T, w *sim.World, name string) {
	t.Helper()
	open := 0
	failed := func(r *sim.Record, op string, d node.Done) {
		t.Errorf("%s, after %v: %s of %s: %v %v %d values", name, w.Elapsed(), op, r.User, d.Err, d.Refused, len(d.Values))
	}
	register := func(r *sim.Record) {
		open++
		r.Home.Do(r.OpStore(w.Next(r)), func(d node.Done) {
			open--
			if d.Err != nil || d.Refused != nil {
				failed(r, "Store", d)
				return
			}
			for _, h := range w.Living() {
				if h.Node.State() != node.Joined {
					continue
				}
				open++
				h.Do(r.OpFetch(), func(d node.Done) {
					open--
					if d.Err != nil || len(d.Values) != 1 {
						failed(r, "Fetch", d)
					}
				})
			}
		})
	}
	for i := range 250 {
		if home := w.Host(i % 5); !t.Failed() {
			register(w.NewRecord(fmt.Sprintf("user%d at %v", i, w.Elapsed()), home))
		}
		w.Run(2 * time.Millisecond)
	}
	if !w.RunUntil(20*time.Second, time.Millisecond, func() bool { return open == 0 }) {
		t.Errorf("%s: %d operations without an end", name, open)
	}
}
