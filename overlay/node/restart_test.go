package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// TestRestartedNodeIsBackAtOnce has a node start again while the others still have links with its earlier life, or Attaches
// to it under way. The Attach for what is behind it must not be sent to that earlier life.
func TestRestartedNodeIsBackAtOnce(t *testing.T) {
	for _, how := range []sim.Death{sim.Crash, sim.Silent} {
		for seed := range uint64(12) {
			for _, peers := range []int{3, 5, 12} {
				w := ring(t, peers, func(c *sim.Config) { c.Seed = seed })
				w.Run(3 * time.Second) // who has just joined does not reach for more than it was given
				h := w.Host(1 + int(seed)%(peers-1))
				w.Kill(h.Index, how)
				w.Run(time.Duration(seed) * 30 * time.Millisecond)
				h.Start(false)
				begun := w.Now()
				joined := func() bool { return h.Node.State() == node.Joined }
				if !w.RunUntil(500*time.Millisecond, time.Millisecond, joined) {
					t.Errorf("seed %d, %d peers, silent %v: not joined after %v", seed, peers, how, w.Now().Sub(begun))
				}
			}
		}
	}
}
