package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// kinds of rings, by what they say of the configuration.
var ringKinds = map[string]func(*sim.Config){"plain": func(*sim.Config) {}, "self-tuning": tuned}

// keeps stores a record and asks, after what happen does to those that hold it, again and again and of all sides: it has to be found each
// time, and to be where it belongs in the end.
func keeps(t *testing.T, w *sim.World, happen func(r *sim.Record, holders []*sim.Host)) {
	t.Helper()
	home := byID(w)[0]
	r := w.NewRecord("user", home)
	for i := 0; owner(w, r.Resource)[6] != home; i++ {
		r = w.NewRecord("user"+string(rune('a'+i%26))+string(rune('a'+i/26)), home)
	}
	store(t, w, r)
	w.Run(time.Second)
	hosts := owner(w, r.Resource)
	happen(r, hosts)
	asked, answered := 0, 0
	for range 60 {
		asked++
		hosts[4+asked%4].Do(r.OpFetch(), func(d node.Done) {
			if len(d.Values) == 1 {
				answered++
			} else {
				t.Errorf("at %v: %d values, %v %v", w.Elapsed(), len(d.Values), d.Err, d.Refused)
			}
		})
		w.Run(250 * time.Millisecond)
	}
	w.Run(time.Minute)
	if answered != asked {
		t.Errorf("%d of %d lookups were answered", answered, asked)
	}
	if err := w.Check([]*sim.Record{r}); err != nil {
		t.Error(err)
	}
}

// A peer joins between the owner of a record and its first replica, and the owner dies before it has made a copy there. RFC 6940 §6.4.2.3:
// who holds one "MUST attempt to Store a copy to the correct node unless it knows the newly responsible node already has a copy of the
// data". Nobody is told meanwhile that there is nothing.
func TestRFC6940_6_4_2_3_ANewPeerGetsWhatADeadOwnerDidNotGiveIt(t *testing.T) {
	for name, kind := range ringKinds {
		t.Run(name, func(t *testing.T) {
			var joining, dies *sim.Host
			var w *sim.World
			w = ring(t, 8, kind, func(c *sim.Config) {
				c.Event = func(_ time.Duration, h *sim.Host, e node.Event) {
					if h == joining && e.Type == node.EventJoined {
						w.Kill(dies.Index, sim.Silent)
					}
				}
			})
			keeps(t, w, func(r *sim.Record, hosts []*sim.Host) {
				at := chord.PointOf(hosts[0].ID).Add(chord.Power(0))
				joining, dies = w.AddHostAt([16]byte([]byte(at.Resource()))), hosts[0]
				joining.Start(false)
				if !w.RunUntil(5*time.Second, time.Millisecond, func() bool { return !dies.Up }) {
					t.Fatal("it does not join")
				}
				if joining.Node.Holds(r.Resource) {
					t.Fatal("it has a copy already")
				}
			})
		})
	}
}

// An owner leaves in order when its successor, which has the only other copy, has died, and nobody knows that yet: what it is responsible
// for goes to the next one.
func TestALeavingPeerLeavesNothingToTheDead(t *testing.T) {
	for name, kind := range ringKinds {
		for how, death := range map[string]sim.Death{"silently": sim.Silent, "with its links": sim.Crash} {
			t.Run(name+", "+how, func(t *testing.T) {
				w := ring(t, 9, kind)
				keeps(t, w, func(r *sim.Record, hosts []*sim.Host) {
					w.Kill(hosts[2].Index, sim.Silent)
					w.Run(12 * time.Second) // it is found; another one takes its place when the hold-down time is over
					if hosts[3].Node.Holds(r.Resource) {
						t.Fatal("there is a third copy")
					}
					leave := func() { w.Leave(hosts[0].Index) }
					if death == sim.Silent {
						w.Kill(hosts[1].Index, death)
						leave()
					} else {
						leave()
						w.Kill(hosts[1].Index, death)
					}
					w.RunUntil(20*time.Second, time.Millisecond, func() bool { return !hosts[0].Up })
				})
			})
		}
	}
}
