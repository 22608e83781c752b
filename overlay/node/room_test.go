package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// No peer ever has more links than it may, though forty join within seconds, some die unseen and others start; and the ring is whole.
func TestLinksAreNeverMoreThanTheLimit(t *testing.T) {
	const limit = 14
	w := sim.New(sim.Config{Seed: 5, Peers: 40, MaxDelay: 20 * time.Millisecond, Links: limit})
	w.Start(5 * time.Second)
	w.Run(10 * time.Second)
	if err := w.Settle(time.Minute); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		w.Kill(w.Living()[i*5].Index, sim.Silent)
		w.AddHost().Start(false)
		w.Run(5 * time.Second)
	}
	w.Run(time.Minute)
	if err := w.Settle(time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
	if w.PeakLinks > limit {
		t.Errorf("up to %d links, want at most %d", w.PeakLinks, limit)
	}
	if w.PeakLinks < limit {
		t.Errorf("up to %d links: the limit of %d was never met", w.PeakLinks, limit)
	}
}
