package sim

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// One of six hosts has a clock that is three minutes slow. It learns so from the answers to its Pings; nobody else takes its own for wrong.
func TestAWrongClockIsFoundByThePings(t *testing.T) {
	w := New(Config{Seed: 7, Peers: 6})
	const slow = 3 * time.Minute
	w.hosts[2].skew = -slow
	w.Start(time.Second)
	w.Run(2 * time.Minute)
	for i, h := range w.hosts {
		s := h.Status()
		want := time.Duration(0)
		if i == 2 {
			want = slow
		}
		if s.State != node.Joined || (s.ClockSkew-want).Abs() > 2*time.Second {
			t.Errorf("host %d is %s, and takes the others for %v ahead, want %v", i, s.State, s.ClockSkew, want)
		}
	}
}
