package sim

import (
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// TestLiarsHarmNobody runs worlds of up to 24 honest peers and up to three that lie. One seed: -seed, more: -seeds.
//
// Conformance: C-40 D-33 D-34
func TestLiarsHarmNobody(t *testing.T) {
	seeds := 40
	if raceEnabled {
		seeds = 8
	}
	if *seedsFlag != 0 {
		seeds = *seedsFlag
	}
	if *seedFlag != 0 {
		oneHostile(t, Config{Seed: *seedFlag, Event: func(at time.Duration, h *Host, e node.Event) {
			t.Log(at, h.Index, h.ID.Short(), e.Type, e.Peer.Short(), e.Text)
		}})
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	begin := time.Now()
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for k := range workers {
		wait.Go(func() {
			for seed := 1 + k; seed <= seeds; seed += workers {
				oneHostile(t, Config{Seed: uint64(seed)})
			}
		})
	}
	wait.Wait()
	t.Logf("%d worlds in %v", seeds, time.Since(begin).Round(time.Millisecond))
}

func oneHostile(t *testing.T, c Config) {
	t.Helper()
	if r, err := RunHostile(c, 24); err != nil {
		t.Errorf("%v\n%v\nrepeat: go test ./overlay/sim -run TestLiarsHarmNobody -v -seed %d", err, r.Counts, c.Seed)
	}
}
