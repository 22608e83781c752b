package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// RFC 6940 §6.1.2: "If a node with a certificate with multiple Node-IDs attempts to route a message other than a Ping or Attach
// through a node without performing an Attach, the receiving node MUST reject the request with an Error_Forbidden error."
//
// Conformance: A-08 G-05
func TestRFC6940_6_1_2_SeveralNodeIDsNeedAnAttach(t *testing.T) {
	w := ring(t, 3)
	h := w.Host(0)
	c := w.NewClientAlso(h, nodeID(7), nodeID(8))
	wild := wire.ToNode(wire.Wildcard(16))
	fetch := func() *wire.Message {
		return c.Message(&wire.FetchReq{Resource: wire.ResourceIDOf("alice@example.org"),
			Specifiers: []wire.Specifier{{Kind: wire.KindSIPRegistration, Model: wire.Dictionary}}},
			wire.ToResource(wire.ResourceIDOf("alice@example.org")))
	}
	attach := func() *wire.Message {
		return c.Message(&wire.AttachReq{Attach: wire.Attach{Ufrag: "abcd", Password: "abcdefghijklmnopqrstuv", Role: wire.RolePassive,
			Candidates: c.Candidates()}}, toHost(w.Host(1)))
	}
	expect := func(step string, m *wire.Message, want any) {
		t.Helper()
		if got := code(c.Call(m)); got != want {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
	linked := func(id wire.NodeID) bool { return h.Node.Connected(id) }

	expect("Fetch before the Attach", fetch(), wire.ErrorForbidden)
	expect("Ping of the peer", c.Message(&wire.PingReq{}, wild), wire.CodePingAns)
	c.SignAs(nodeID(8))
	expect("Ping of the peer under another name", c.Message(&wire.PingReq{}, toHost(h)), wire.CodePingAns)
	expect("Fetch after a Ping", fetch(), wire.ErrorForbidden)
	c.SignAs(nodeID(9))
	expect("a name that is not in the certificate", c.Message(&wire.PingReq{}, wild), "silence")
	if linked(c.ID) || linked(nodeID(7)) || linked(nodeID(8)) {
		t.Error("the link has a name before the Attach")
	}
	c.SignAs(nodeID(8))
	expect("Attach through the peer", attach(), wire.CodeAttachAns)
	expect("Fetch after the Attach", fetch(), wire.CodeFetchAns)
	if !linked(nodeID(8)) || linked(c.ID) {
		t.Error("the link has not got the name that signed the Attach")
	}
}

// A Ping through the peer needs a name, too, or its answer would not come back.
func TestPingThroughThePeerNamesALink(t *testing.T) {
	w := ring(t, 3)
	c := w.NewClientAlso(w.Host(0), nodeID(7))
	if got := code(c.Call(c.Message(&wire.PingReq{}, toHost(w.Host(1))))); got != wire.CodePingAns {
		t.Error(got)
	}
}

func TestLinkWithoutANameIsClosedInTime(t *testing.T) {
	w := ring(t, 2)
	closed := func(c *sim.Client) bool { return c.Link() == 0 }
	c := w.NewClientAlso(w.Host(0), nodeID(7))
	w.Run(29 * time.Second)
	if closed(c) {
		t.Error("closed already")
	}
	w.Run(2 * time.Second)
	if !closed(c) {
		t.Error("still there")
	}
	for i := range 100 {
		w.NewClientAlso(w.Host(0), nodeID(byte(100+i)))
	}
	if n := w.Counts[string(node.EventLinkRefused)]; n != 100-64 {
		t.Errorf("%d of 100 refused, want 36", n)
	}
}

// TestNodesWithSeveralNodeIDsJoin has hosts join whose certificates have several Node-IDs, through a bootstrap node of that kind.
// A joining node asks such a bootstrap node who it is, with a Ping, and no other.
//
// Conformance: A-08 G-05 G-06
func TestNodesWithSeveralNodeIDsJoin(t *testing.T) {
	for _, several := range []bool{false, true} {
		asked := 0
		var jn *sim.Host
		c := sim.Config{Seed: 5, Peers: 1, MaxDelay: 3 * time.Millisecond, Trace: func(s sim.Step) {
			if jn != nil && s.From == jn.Index && s.Code == wire.CodePingReq && jn.Node.State() == node.Starting {
				asked++
			}
		}}
		w := sim.New(c)
		if several {
			w.Host(0).Also = []wire.NodeID{nodeID(1)}
		}
		w.Start(0)
		for i := range byte(8) {
			jn = w.AddHost()
			if several {
				jn.Also = []wire.NodeID{nodeID(10 + i), nodeID(100 + i)}
			}
			jn.Start(false)
			if err := w.Settle(5 * time.Second); err != nil {
				t.Fatalf("several %v: %v", several, err)
			}
		}
		jn = nil
		w.Run(5 * time.Second)
		if err := w.Check(nil); err != nil {
			t.Errorf("several %v: %v", several, err)
		}
		if (asked >= 8) != several || !several && asked > 0 {
			t.Errorf("several %v: %d Pings on the way into the ring", several, asked)
		}
		w.Leave(3)
		w.Run(5 * time.Second)
		if err := w.Check(nil); err != nil {
			t.Errorf("several %v: %v", several, err)
		}
	}
}
