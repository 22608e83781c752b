package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// The last peer of an overlay leaves in order while another one is on its way in, at whatever moment: who comes gets everything.
func TestTheLastPeerWaitsForItsHeir(t *testing.T) {
	for step := range 24 {
		w := sim.New(sim.Config{Seed: uint64(step), MinDelay: 20 * time.Millisecond, MaxDelay: 40 * time.Millisecond})
		w.Start(0)
		w.Run(time.Second)
		old := w.Host(0)
		var records []*sim.Record
		for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			r := w.NewRecord(name, old)
			store(t, w, r)
			records = append(records, r)
		}
		heir := w.AddHost()
		heir.Start(false)
		w.RunUntil(5*time.Second, time.Millisecond, func() bool { return old.Node.Links() > 0 })
		w.Run(time.Duration(step) * 20 * time.Millisecond)
		left := false
		old.Do(node.OpLeave{}, func(node.Done) { left = true })
		w.RunUntil(20*time.Second, time.Millisecond, func() bool { return left })
		w.Kill(old.Index, sim.Crash)
		w.Run(5 * time.Second)
		for _, r := range records {
			if left && heir.Node.Holds(r.Resource) {
				continue
			}
			t.Errorf("left %d ms after the first contact: %s is not at the heir, which is %s", 20*step, r.User, heir.Node.State())
			break
		}
	}
}
