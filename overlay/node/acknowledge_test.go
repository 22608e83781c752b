package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// TestStoreIsAcknowledgedWhenItsReplicasHaveIt has a replica stand still: the answer to a Store waits for it, but not for long.
func TestStoreIsAcknowledgedWhenItsReplicasHaveIt(t *testing.T) {
	for _, back := range []bool{true, false} {
		w := ring(t, 8)
		r := w.NewRecord("user", w.Host(0))
		chain := owner(w, r.Resource)
		r = w.NewRecord("user", chain[5])
		acknowledged := false
		chain[1].Pause()
		chain[5].Do(r.OpStore(w.Next(r)), func(node.Done) { acknowledged = true })
		w.Run(500 * time.Millisecond)
		if acknowledged {
			t.Fatal("the answer came before the replica had the value")
		}
		if back {
			chain[1].Resume()
			w.Run(200 * time.Millisecond)
		} else {
			w.Run(time.Second)
		}
		if !acknowledged {
			t.Errorf("back %v: no answer", back)
		}
	}
}

// Stores of many gateways for one address-of-record come in while the one before is being copied: none of them waits for the
// time that is granted to a dead replica.
func TestStoresOfOneResourceAreAcknowledgedTogether(t *testing.T) {
	for _, n := range []int{2, 8} {
		w := ring(t, n)
		acknowledged := 0
		for i := range 6 {
			r := w.NewRecord("user", w.Host(i%n))
			r.Home.Do(r.OpStore(w.Next(r)), func(node.Done) { acknowledged++ })
			w.Run(5 * time.Millisecond)
		}
		w.Run(400 * time.Millisecond)
		if acknowledged != 6 {
			t.Errorf("%d peers: %d of 6 acknowledged in 0.4 s", n, acknowledged)
		}
	}
}
