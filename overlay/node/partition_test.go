package node_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// TestRFC6940_10_7_4_4_TwoRingsBecomeOne: an overlay is cut into two halves, which become rings of their own and store new
// versions. When they can reach each other again, they merge, and everything is found from everywhere.
//
// Conformance: E-28 G-10 D-25 E-21
func TestRFC6940_10_7_4_4_TwoRingsBecomeOne(t *testing.T) {
	for _, n := range []int{8, 20, 64} {
		t.Run(strconv.Itoa(n), func(t *testing.T) { mergeRings(t, n, 5, (*sim.World).Hosts) })
		// Halves of the ring: who holds a value in one of them is far from its owner in the whole.
		t.Run(strconv.Itoa(n)+" by Node-ID", func(t *testing.T) { mergeRings(t, n, 5, byID) })
	}
}

func mergeRings(t *testing.T, n int, seed uint64, order func(*sim.World) []*sim.Host) {
	w := sim.New(sim.Config{Seed: seed, Peers: n, MaxDelay: 20 * time.Millisecond, HoldDown: 2 * time.Second})
	w.Start(5 * time.Second)
	w.Run(5 * time.Second)
	if err := w.Settle(time.Minute); err != nil {
		t.Fatal(err)
	}
	w.Run(10 * time.Second)
	var records []*sim.Record
	hosts := order(w)
	for i := range 16 {
		// Every user has a home in each half: neither half has the newest of both.
		for _, home := range []int{i * n / 2 / 16, n/2 + i*n/2/16} {
			r := w.NewRecord("user"+strconv.Itoa(i), hosts[home])
			records = append(records, r)
			w.Store(r)
		}
	}
	w.Run(5 * time.Second)
	w.Divide(hosts[:n/2], hosts[n/2:])
	w.Run(time.Minute)
	for _, r := range records {
		w.Store(r) // in the half that its home is in
	}
	w.Run(time.Minute)
	if w.Merged(0) {
		t.Fatal("the halves are one ring while they cannot reach each other")
	}
	w.Heal()
	begun := w.Elapsed()
	if !w.Merged(5 * time.Minute) {
		t.Fatalf("two rings after %v: %v", w.Elapsed()-begun, w.Counts)
	}
	t.Logf("one ring after %v", w.Elapsed()-begun)
	w.Run(30 * time.Second)
	if err := w.Check(records); err != nil {
		t.Fatal(err)
	}
}
