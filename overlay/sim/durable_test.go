package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// populated is a settled world with records in it.
func populated(t *testing.T, c Config, records int) (*World, []*Record) {
	t.Helper()
	w := New(c)
	w.Start(time.Second)
	w.Run(2 * time.Second)
	if err := w.Settle(time.Minute); err != nil {
		t.Fatal(err)
	}
	var out []*Record
	for i := range records {
		r := w.NewRecord(fmt.Sprintf("user%d", i), w.Host(i%len(w.Hosts())))
		out = append(out, r)
		w.Store(r)
	}
	w.Run(5 * time.Second)
	if err := w.Check(out); err != nil {
		t.Fatal(err)
	}
	return w, out
}

// Every host of a ring loses its power at once, and comes back in an order that has nothing to do with the one before. What
// was acknowledged is found again, from everywhere, and a removal stays one.
//
// Conformance: D-24 D-53
func TestPowerCut(t *testing.T) {
	for _, peers := range []int{1, 2, 3, 8, 24} {
		for seed := uint64(1); seed <= 5; seed++ {
			w, records := populated(t, Config{Seed: seed, Peers: peers, MaxDelay: 20 * time.Millisecond, Durable: true}, 40)
			old := w.Next(records[0])
			w.Host(0).Do(records[0].OpStore(w.Remove(records[0])), func(node.Done) {})
			w.Run(3 * time.Second)
			for i := range peers {
				w.Kill(i, Crash)
			}
			w.Run(time.Minute)
			for _, i := range w.rand.Perm(peers) {
				w.Host(i).Start(len(w.Living()) == 0)
				w.Run(w.delay(0, 400*time.Millisecond))
			}
			if err := w.Settle(time.Minute); err != nil {
				t.Fatalf("%d peers, seed %d: %v", peers, seed, err)
			}
			w.Run(30 * time.Second)
			if err := w.Check(records[1:]); err != nil {
				t.Fatalf("%d peers, seed %d: %v", peers, seed, err)
			}
			replay(t, w, records[0].OpStore(old))
		}
	}
}

// replay stores an old value, which has to be refused.
func replay(t *testing.T, w *World, op node.OpStore) {
	t.Helper()
	var end *node.Done
	w.Host(0).Do(op, func(d node.Done) { end = &d })
	w.RunUntil(requestLifetime, 50*time.Millisecond, func() bool { return end != nil })
	if end == nil || end.Refused == nil {
		t.Fatalf("an old value was taken after the removal: %+v", end)
	}
}

// A host comes back with values that have been replaced and removed while it was away: the ring keeps what is newer, and so
// does the host.
//
// Conformance: D-25 D-26
func TestRestartedHostIsBroughtUpToDate(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		w, records := populated(t, Config{Seed: seed, Peers: 5, Durable: true, HoldDown: time.Second}, 40)
		victim := 1 + int(seed)%4
		w.Kill(victim, Crash)
		w.Run(30 * time.Second)
		for _, r := range records {
			w.Store(r) // those at home at the victim stay as they are
		}
		w.Run(5 * time.Second)
		w.Host(victim).Start(false)
		if err := w.Settle(time.Minute); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		w.Run(30 * time.Second)
		if err := w.Check(records); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, r := range records {
			checkEveryCopy(t, w, r)
		}
	}
}

// checkEveryCopy looks at each host that holds a record: none may hold an older version than what was acknowledged.
func checkEveryCopy(t *testing.T, w *World, r *Record) {
	t.Helper()
	for _, h := range w.Living() {
		for _, kept := range h.Node.Records() {
			if kept.Resource != r.Resource {
				continue
			}
			for _, d := range kept.Values {
				if string(d.Value.Data) != string(r.value(r.acked)) {
					t.Errorf("host %d holds %q of %s, not version %d", h.Index, d.Value.Data, r.User, r.acked)
				}
			}
		}
	}
}

// Only the two replicas of some records come back: the ring that they make has every record still.
func TestPowerCutWithOneDiskLost(t *testing.T) {
	for seed := uint64(1); seed <= 10; seed++ {
		w, records := populated(t, Config{Seed: seed, Peers: 6, Durable: true}, 30)
		for i := range 6 {
			w.Kill(i, Crash)
		}
		w.Host(int(seed) % 6).disk = nil
		for _, i := range w.rand.Perm(6) {
			w.Host(i).Start(len(w.Living()) == 0)
			w.Run(w.delay(0, time.Second))
		}
		if err := w.Settle(time.Minute); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		w.Run(30 * time.Second)
		if err := w.Check(records); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
