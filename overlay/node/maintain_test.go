package node_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func counting(code wire.MessageCode, n *int) func(*sim.Config) {
	return func(c *sim.Config) {
		c.Trace = func(s sim.Step) {
			if s.Code == code && s.Input == "receive" && s.ToHost {
				*n++
			}
		}
	}
}

// Conformance: E-25
func TestRFC6940_10_7_4_1_PeriodicUpdateToEveryNeighbor(t *testing.T) {
	updates := 0
	w := ring(t, 4, counting(wire.CodeUpdateReq, &updates), func(c *sim.Config) {
		c.Overlay = sim.Overlay()
		c.Overlay.ChordUpdateInterval = 10 * time.Second
	})
	updates = 0
	w.Run(100 * time.Second)
	if want := 4 * 3 * 10; updates < want*8/10 || updates > want*12/10 {
		t.Errorf("%d Updates in ten intervals, want about %d", updates, want)
	}
}

// TestPeriodicRecovery is the ring without reactive recovery: RFC 6940 §10.7.3 then asks for an Update only when the
// range changes, and the periodic exchange does the rest.
func TestPeriodicRecovery(t *testing.T) {
	w := ring(t, 8, func(c *sim.Config) {
		c.Overlay = sim.Overlay()
		c.Overlay.ChordUpdateInterval = 5 * time.Second
		c.Overlay.ChordReactive = false
	})
	w.Kill(3, sim.Crash)
	w.Run(time.Minute)
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// Conformance: E-08 E-14 E-27
func TestRFC6940_10_7_4_3_FingersWhereThereArePeers(t *testing.T) {
	w := sim.New(sim.Config{Seed: 11, Peers: 40, Links: -1, MaxDelay: 5 * time.Millisecond})
	w.Start(2 * time.Second)
	w.Run(2 * time.Second)
	if err := w.Settle(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.Run(10 * time.Second)
	for _, h := range w.Living() {
		s := h.Status()
		if len(s.Fingers) < 16 {
			t.Errorf("host %d has %d fingers", h.Index, len(s.Fingers))
		}
		if !slices.IsSortedFunc(s.Fingers, wire.NodeID.Compare) {
			t.Errorf("host %d: fingers are not ascending", h.Index)
		}
	}
}

// TestRFC6940_10_7_4_2_PingsForInvalidFingers waits for the periodic search: some intervals of a ring of 40 hold no peer.
//
// Conformance: E-26
func TestRFC6940_10_7_4_2_PingsForInvalidFingers(t *testing.T) {
	pings := 0
	w := sim.New(sim.Config{Seed: 2, Peers: 40, Links: -1, MaxDelay: 3 * time.Millisecond, Overlay: func() *config.Overlay {
		o := sim.Overlay()
		o.ChordPingInterval = 2 * time.Second
		return o
	}(), Trace: func(s sim.Step) {
		if s.Input == "receive" && s.Code == wire.CodePingReq && !s.ToHost {
			pings++ // not of two that are linked: those name each other
		}
	}})
	w.Start(time.Second)
	w.Run(time.Second)
	if err := w.Settle(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.Run(time.Minute)
	if pings == 0 {
		t.Error("no Ping went to a Resource-ID")
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// Conformance: B-35
func TestRejectedAnswerOfAnotherNode(t *testing.T) {
	w := ring(t, 3)
	client := w.NewClient(w.Host(0))
	var got *node.Done
	w.Host(0).Do(node.OpPing{Destinations: wire.NewDestinationList(toHost(w.Host(1)))}, func(d node.Done) { got = &d })
	// The client guesses the transaction: it sees nothing of the request, but a peer on the way would.
	w.Host(0).OnForward = func(tx wire.TransactionID) {
		m := client.Message(&wire.PingAns{}, toHost(w.Host(0)))
		m.Header.Transaction = tx
		client.Send(client.Seal(m, nil))
	}
	if !w.RunUntil(5*time.Second, time.Millisecond, func() bool { return got != nil }) {
		t.Fatal("no end")
	}
	if got.Answer.Message() == nil || got.Answer.Sender().Node != w.Host(1).ID {
		t.Errorf("%+v", got)
	}
	if w.Counts["answer_refused"] == 0 && w.Counts["dropped:no_transaction"] == 0 {
		t.Errorf("the other answer was not noticed: %v", w.Counts)
	}
}

// lone is a node by itself, driven by hand.
type lone struct {
	*node.Node
	now time.Time
}

func newLone(edit func(*node.Config)) *lone {
	c := node.Config{Overlay: sim.Overlay(), Self: nodeID(1), Rand: rand.New(rand.NewPCG(1, 1))}
	edit(&c)
	l := &lone{node.New(c), time.Unix(1_700_000_000, 0)}
	l.Tick(l.now)
	return l
}

func nodeID(b byte) wire.NodeID {
	id, err := wire.NodeIDFromBytes(append(make([]byte, 15), b))
	if err != nil {
		panic(err)
	}
	return id
}

// pass lets time go on to the next deadline.
func (l *lone) pass() {
	l.now = l.Deadline()
	l.Tick(l.now)
}

// Conformance: G-12
func TestBootstrapAddressesAreTriedInTurn(t *testing.T) {
	l := newLone(func(c *node.Config) {
		c.Bootstrap = []string{"a:1", "b:2"}
		c.Overlay.Bootstrap = []config.BootstrapNode{{Address: "2001:db8::1", Port: 6084}, {Address: "c.example", Port: 7}}
	})
	tried := map[string]int{}
	failed := errors.New("refused")
	for range 12 {
		e := l.Take()
		for _, d := range e.Dial {
			tried[d.Address]++
			l.DialFailed(l.now, d.Dial, failed)
		}
		if len(e.Dial) == 0 {
			l.pass()
		}
	}
	for _, a := range []string{"a:1", "b:2", "[2001:db8::1]:6084", "c.example:7"} {
		if tried[a] < 2 {
			t.Errorf("%s was tried %d times: %v", a, tried[a], tried)
		}
	}
}

func TestSlowBootstrapAddressDoesNotHoldUpTheNext(t *testing.T) {
	l := newLone(func(c *node.Config) { c.Bootstrap = []string{"a:1", "b:2"} })
	first := l.Take().Dial
	begun := l.now
	l.pass()
	second := l.Take().Dial
	if len(first) != 1 || len(second) != 1 || first[0].Address == second[0].Address || l.now.Sub(begun) > time.Second {
		t.Errorf("%+v, then %+v after %v", first, second, l.now.Sub(begun))
	}
}

// Conformance: G-12
func TestPausesBetweenAttemptsGrow(t *testing.T) {
	l := newLone(func(c *node.Config) { c.Bootstrap = []string{"a:1"} })
	var pauses []time.Duration
	last := l.now
	for len(pauses) < 10 {
		if dials := l.Take().Dial; len(dials) > 0 {
			pauses = append(pauses, l.now.Sub(last))
			last = l.now
			l.DialFailed(l.now, dials[0].Dial, errors.New("refused"))
			continue
		}
		l.pass()
	}
	if !slices.IsSorted(pauses[:6]) || pauses[9] < 20*time.Second || pauses[9] > time.Minute {
		t.Errorf("%v", pauses)
	}
}

// Conformance: E-31 G-08
func TestFirstNodePrefersToJoin(t *testing.T) {
	l := newLone(func(c *node.Config) { c.Bootstrap, c.First = []string{"a:1"}, true })
	dial := l.Take().Dial[0]
	l.LinkUp(l.now, 1, trust.Identity{Node: nodeID(2), Nodes: []wire.NodeID{nodeID(2)}}, dial.Dial)
	if l.State() != node.Joining {
		t.Fatalf("%s with a bootstrap node at hand", l.State())
	}
	// Nobody answers the Attach. The bootstrap node may be part of a ring, so this is no reason to found another one.
	for begun := l.now; l.now.Sub(begun) < time.Minute; {
		for _, s := range l.Take().Seal {
			l.Sealed(l.now, s.Job, s.Message.AppendTo(nil), nil)
		}
		l.Receive(l.now, 1, []byte("the link is alive"))
		l.pass()
		if l.State() == node.Joined {
			t.Fatal("the node made an overlay of its own beside another")
		}
	}
}

func TestLinksThatAreRefused(t *testing.T) {
	l := newLone(func(c *node.Config) { c.First = true })
	l.Take()
	for i, c := range []struct {
		who  wire.NodeID
		want string
	}{{wire.NodeID{}, "no_node_id"}, {nodeID(1), "self"}, {nodeID(2), ""}} {
		l.LinkUp(l.now, node.LinkID(i+1), trust.Identity{Node: c.who}, 0)
		e := l.Take()
		refused := len(e.Events) > 0 && e.Events[0].Type == node.EventLinkRefused
		if refused != (c.want != "") || refused != slices.Contains(e.Close, node.LinkID(i+1)) || refused && e.Events[0].Text != c.want {
			t.Errorf("%s: %+v", c.who, e)
		}
	}
	for i := range 2000 {
		l.LinkUp(l.now, node.LinkID(100+i), trust.Identity{Node: nodeID(byte(3 + i%250))}, 0)
	}
	if got := len(l.Status(l.now).Links); got > 1024 {
		t.Errorf("%d links", got)
	}
	if name := l.Status(l.now).Load.Over(); name != "" {
		t.Errorf("too many %s", name)
	}
}

// Conformance: C-40
func TestVerificationIsBoundedPerLink(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	n := w.Host(0).Node
	verify := 0
	for i := range 2000 {
		raw := client.Seal(client.Message(&wire.PingReq{Padding: fmt.Append(nil, i)}, toHost(w.Host(0))), nil)
		n.Receive(w.Now(), client.Link(), raw)
		verify += len(n.Take().Verify)
	}
	if verify != 512 {
		t.Errorf("%d messages of one link are being verified", verify)
	}
}

func TestLateInputsAreIgnored(t *testing.T) {
	l := newLone(func(c *node.Config) { c.First = true })
	l.Receive(l.now, 99, []byte("x"))
	l.LinkDown(l.now, 99, nil)
	l.DialFailed(l.now, 99, nil)
	l.Sealed(l.now, 99, nil, nil)
	l.Verified(l.now, 99, trust.Verified{}, nil)
	l.Cancel(l.now, 99)
	if e := l.Take(); len(e.Forward)+len(e.Seal)+len(e.Dial) != 0 {
		t.Errorf("%+v", e)
	}
	if d := l.Deadline(); d.Before(l.now) {
		t.Error("the deadline is in the past")
	}
}

func TestSealThatFailsEndsTheOperation(t *testing.T) {
	l := newLone(func(c *node.Config) { c.First = true })
	l.Take()
	op := l.Do(l.now, node.OpPing{Destinations: wire.NewDestinationList(wire.ToNode(nodeID(1)))})
	s := l.Take().Seal[0]
	l.Sealed(l.now, s.Job, nil, errors.New("workers are busy"))
	if done := l.Take().Done; len(done) != 1 || done[0].Op != op || !errors.Is(done[0].Err, node.ErrOverload) {
		t.Errorf("%+v", done)
	}
}
