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

// A ring that is a little too large for a mesh comes to rest: nobody takes it for one for long, and links are not given up by one to be
// sought by another.
func TestRingsThatAreNearlyAMeshAreQuiet(t *testing.T) {
	for _, peers := range []int{41, 45, 50, 55} {
		w := sim.New(sim.Config{Seed: 5, Peers: peers, MaxDelay: 20 * time.Millisecond, Links: 40, Crypto: -1})
		w.Born()
		w.Run(15 * time.Minute) // one exchange of periodic Updates, and the searches that follow
		before := sent(w)
		w.Run(10 * time.Minute)
		if got := float64(sent(w)-before) / float64(peers) / 600; got > 0.9 {
			t.Errorf("%d peers: %.2f messages a second and peer", peers, got)
		} else {
			t.Logf("%d peers: %.2f messages a second and peer", peers, got)
		}
	}
}

func sent(w *sim.World) (messages int) {
	for _, h := range w.Hosts() {
		messages += h.Traffic().Sent
	}
	return messages
}
