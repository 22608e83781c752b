package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// A peer that joins and can not be linked with one of the others for two minutes finds it when it can: the others have named it
// before, and do not again for ten minutes.
func TestNamedPeersAreTriedAgain(t *testing.T) {
	w := ring(t, 5, func(c *sim.Config) { c.Probe = time.Hour })
	a, b := w.Host(0), w.AddHost()
	w.Part(a, b)
	b.Start(false)
	w.Run(2 * time.Minute)
	if linked(a, b.ID) > 0 || !b.Node.State().Serves() {
		t.Fatalf("%d links, %s", linked(a, b.ID), b.Node.State())
	}
	w.Unpart(a, b)
	if !w.RunUntil(3*time.Minute, time.Second, func() bool { return linked(a, b.ID) > 0 }) {
		t.Fatal("they are not linked after three minutes")
	}
	w.Run(time.Second)
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}
