package overlay

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Of several that store with the same generation counter one succeeds. RFC 6940 §7.4.1.1: "the peer MUST check that if the generation
// counter is nonzero, it equals the current value".
//
// Conformance: D-10 D-15
func TestRFC6940_7_4_1_1_PutIfOfMany(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 3)
	settle(t, ring)
	res := wire.ResourceIDOf("itsp@example.org")
	w.register(t, ring[0], "itsp@example.org")
	for round := range 5 {
		_, before, err := ring[1].FetchCounted(t.Context(), res, wire.KindSIPRegistration)
		if err != nil || before == 0 {
			t.Fatalf("generation %d, %v", before, err)
		}
		var done atomic.Int32
		var all sync.WaitGroup
		for i, m := range ring {
			all.Go(func() {
				after, err := m.PutIf(t.Context(), Put{By: w.user(m.cfg.Self, "itsp@example.org"), Resource: res, Kind: wire.KindSIPRegistration,
					Value: record(m.NodeID()), StorageTime: time.Now().Add(time.Duration(round+1) * time.Second), Lifetime: time.Minute, Generation: before})
				var remote *RemoteError
				switch {
				case err == nil && after > before:
					done.Add(1)
				case !errors.As(err, &remote) || remote.Code != wire.ErrorGenerationCounterTooLow:
					t.Errorf("peer %d: generation %d after %d, %v", i, after, before, err)
				}
			})
		}
		all.Wait()
		if done.Load() != 1 {
			t.Errorf("round %d: %d of %d stored", round, done.Load(), len(ring))
		}
	}
}
