package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// flood is a client that sends Pings, all of them valid.
type flood struct {
	*sim.Client
	w    *sim.World
	to   wire.Destination
	made int
}

// over sends n messages evenly over a time.
func (f *flood) over(n int, d time.Duration) {
	const steps = 100
	for range steps {
		for range n / steps {
			f.made++
			f.Send(f.Seal(f.Message(&wire.PingReq{Padding: fmt.Append(nil, f.made)}, f.to), nil))
		}
		f.w.Run(d / steps)
	}
}

// linked counts the links of h with id.
func linked(h *sim.Host, id wire.NodeID) (n int) {
	for _, l := range h.Status().Links {
		if l.Peer == id {
			n++
		}
	}
	return n
}

// slow is a ring whose links may carry little, so that tests need few messages.
func slow(c *sim.Config) { c.MessageRate = slowRate }

const slowRate = 400

func TestOneThatSendsWhatALinkMayCarryIsServed(t *testing.T) {
	w := ring(t, 3, slow)
	f := &flood{Client: w.NewClient(w.Host(0)), w: w, to: toHost(w.Host(0))}
	f.over(slowRate*2, time.Millisecond) // at once
	w.Run(3 * time.Second)
	f.over(slowRate*8, 10*time.Second)
	if w.Counts["dropped:flood"] != 0 || w.Counts["flood"] != 0 {
		t.Errorf("%v", w.Counts)
	}
}

// TestFloodIsLimitedPerLink has a client send four times of what a link may carry, for a second.
//
// Conformance: C-40
func TestFloodIsLimitedPerLink(t *testing.T) {
	w := ring(t, 3, slow)
	f := &flood{Client: w.NewClient(w.Host(0)), w: w, to: toHost(w.Host(0))}
	before := w.Messages
	f.over(slowRate*4, time.Second)
	w.Run(100 * time.Millisecond)
	dropped := w.Counts["dropped:flood"]
	if want := slowRate; dropped < want*8/10 || dropped > want*11/10 {
		t.Errorf("%d of %d were dropped, want about %d", dropped, f.made, want)
	}
	if w.Counts["flood"] != 0 || linked(w.Host(0), f.ID) != 1 {
		t.Error("it lost its link within a second")
	}
	t.Logf("%d messages", w.Messages-before)
	w.Run(5 * time.Second)
	if got := code(f.Call(f.Message(&wire.PingReq{}, f.to))); got != wire.CodePingAns {
		t.Errorf("after the flood: %v", got)
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// TestFortyThousandPingsAtOnce is a flood under the default limits, faster than anything can be verified.
//
// Conformance: C-40
func TestFortyThousandPingsAtOnce(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	raw := client.Seal(client.Message(&wire.PingReq{}, toHost(w.Host(0))), nil)
	n := w.Host(0).Node
	verify, dropped := 0, map[string]int{}
	const pings = 40_000
	for range pings {
		n.Receive(w.Now(), client.Link(), raw)
		e := n.Take()
		verify += len(e.Verify)
		for _, ev := range e.Events {
			dropped[ev.Text]++
		}
	}
	if verify != 512 || dropped[node.DropFlood] != pings-2*node.DefaultMessageRate ||
		dropped[node.DropOverload] != pings-verify-dropped[node.DropFlood] {
		t.Errorf("%d are verified; dropped: %v", verify, dropped)
	}
	if name := w.Host(0).Status().Load.Over(); name != "" {
		t.Errorf("too many %s", name)
	}
}

// TestSustainedFloodLosesItsLinks goes on until the link is closed, and looks at who may come back when.
//
// Conformance: C-40
func TestSustainedFloodLosesItsLinks(t *testing.T) {
	w := ring(t, 3, slow)
	h := w.Host(0)
	f := &flood{Client: w.NewClient(h), w: w, to: toHost(h)}
	f.over(slowRate*40, 4*time.Second)
	if w.Counts["flood"] != 1 || linked(h, f.ID) != 0 {
		t.Fatalf("%d links left; %v", linked(h, f.ID), w.Counts)
	}
	again := func() int {
		h.Node.LinkUp(w.Now(), 9999, trust.Identity{Node: f.ID, Nodes: []wire.NodeID{f.ID}}, 0)
		h.Node.Take()
		return linked(h, f.ID)
	}
	if again() != 0 {
		t.Error("it got a new link at once")
	}
	w.Run(61 * time.Second)
	if again() != 1 {
		t.Error("it got no link after the time for which it had to stay away")
	}
}

// TestFloodThroughAPeerDoesNotPartHonestPeers has two clients of one peer flood another through it: the two peers stay
// linked, and their own requests pass.
func TestFloodThroughAPeerDoesNotPartHonestPeers(t *testing.T) {
	w := ring(t, 4, slow)
	through, to := w.Host(0), w.Host(1)
	var floods []*flood
	for range 2 {
		floods = append(floods, &flood{Client: w.NewClient(through), w: w, to: toHost(to)})
	}
	for range 20 { // each what it may
		for _, f := range floods {
			f.over(slowRate/2, time.Second/4)
		}
		d := do(t, w, through, node.OpPing{Destinations: wire.NewDestinationList(toHost(to))})
		if d.Err != nil {
			t.Fatal(d.Err)
		}
	}
	if w.Counts["dropped:overload"] == 0 {
		t.Error("nothing was held back: there was no flood")
	}
	if w.Counts["flood"] != 0 || w.Counts["dropped:flood"] != 0 || linked(through, to.ID) == 0 {
		t.Errorf("%v", w.Counts)
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}
