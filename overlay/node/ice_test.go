package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// traversing is a world whose overlay uses ICE.
func traversing(c *sim.Config) {
	c.Overlay = sim.Overlay()
	c.Overlay.NoICE = false
}

// Rings form, lose peers and take them back with ICE as they do without, and no session is forgotten.
//
// Conformance: A-02 A-25
func TestRingWithICE(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := ring(t, 9, traversing, func(c *sim.Config) { c.Seed = seed })
			home, victim := w.Host(3), w.Host(5)
			r := w.NewRecord("alice", home)
			store(t, w, r)
			w.Kill(victim.Index, sim.Silent)
			w.Run(30 * time.Second)
			victim.Start(false)
			w.Run(time.Second)
			if err := w.Settle(time.Minute); err != nil {
				t.Fatal(err)
			}
			for _, h := range w.Living() {
				if got := fetch(t, w, r, h); len(got) != 1 {
					t.Errorf("host %d fetched %d values", h.Index, len(got))
				}
			}
			if !w.RunUntil(time.Minute, time.Millisecond, func() bool { return w.Sessions() == 0 }) {
				t.Errorf("%d sessions are neither used nor released", w.Sessions())
			}
		})
	}
}

// RFC 6940 §6.5.1.12: a link is renewed by another Attach. That one comes over the link: it does not say that the link is lost.
//
// Conformance: A-27
func TestRFC6940_6_5_1_12_RenewedLinkIsNotLost(t *testing.T) {
	w := ring(t, 3, traversing)
	w.Run(time.Minute)
	lost := w.Counts["neighbor_lost"]
	a, b := w.Host(0), w.Host(1)
	links := func() (n int) {
		for _, l := range a.Status().Links {
			if l.Peer == b.ID {
				n++
			}
		}
		return n
	}
	before := links()
	for _, l := range a.Status().Links {
		if l.Peer == b.ID {
			a.Node.Renew(w.Now(), l.ID)
		}
	}
	if !w.RunUntil(20*time.Second, time.Millisecond, func() bool { return links() > before }) {
		t.Errorf("%d links, as before", before)
	}
	w.Run(time.Second)
	if got := w.Counts["neighbor_lost"]; got != lost {
		t.Errorf("%d neighbours were lost by it", got-lost)
	}
}

// RFC 6940 §6.5.1.1: "A single AttachReqAns MUST NOT include both candidates whose OverlayLinkType protocols use ICE (the
// default) and candidates that specify "No-ICE"."
//
// Conformance: A-02
func TestRFC6940_6_5_1_1_NoMixOfICEAndNoICE(t *testing.T) {
	w := ring(t, 1, traversing)
	client := w.NewClient(w.Host(0))
	candidates := w.Host(0).Candidates()
	without := slices.Clone(candidates)
	without[0].Link = wire.LinkTLSTCPFHNoICE
	for name, c := range map[string]struct {
		candidates []wire.IceCandidate
		want       any
	}{
		"ICE":         {candidates, wire.CodeAttachAns},
		"ICE and not": {append(slices.Clone(candidates), without...), wire.ErrorInvalidMessage},
		"no-ICE":      {without, wire.ErrorInvalidMessage},
		"nothing":     {nil, wire.ErrorInvalidMessage},
	} {
		a := wire.Attach{Ufrag: "abcd", Role: wire.RolePassive, Candidates: c.candidates}
		if got := code(client.Call(client.Message(&wire.AttachReq{Attach: a}, toHost(w.Host(0))))); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		app := wire.AppAttach{Ufrag: "abcd", Role: wire.RolePassive, Candidates: c.candidates, Application: wire.ApplicationSIP}
		if got := code(client.Call(client.Message(&wire.AppAttachReq{AppAttach: app}, toHost(w.Host(0))))); got == wire.ErrorInvalidMessage != (c.want == wire.ErrorInvalidMessage) {
			t.Errorf("%s, AppAttach: %v, want %v", name, got, c.want)
		}
	}
}

// What the node offers is what was gathered, with nothing else (RFC 6940 §6.5.1.7), and the answer says whose it is.
//
// Conformance: A-25 A-26
func TestRFC6940_6_5_1_9_WhoAsksControls(t *testing.T) {
	w := ring(t, 2, traversing)
	n := w.Host(0).Node
	now := w.Now()
	n.Do(now, node.OpAppAttach{Destinations: wire.NewDestinationList(wire.ToNode(w.Host(1).ID)), Application: wire.ApplicationSIP,
		Offer: node.Offer{Ufrag: "ours", Password: "p", Candidates: w.Host(0).Candidates()}})
	e := n.Take()
	if len(e.Seal) != 1 || len(e.Gather) != 0 {
		t.Fatalf("%+v", e)
	}
	req := e.Seal[0].Message.Body.(*wire.AppAttachReq)
	if req.Ufrag != "ours" || req.Role != wire.RolePassive || len(req.Candidates) != 1 || req.Candidates[0].Link != wire.LinkDTLSUDPSR {
		t.Errorf("%+v", req)
	}
	n.Renew(now, n.Status(now).Links[0].ID)
	e = n.Take()
	if len(e.Gather) != 1 || !e.Gather[0].Controlling || e.Gather[0].App {
		t.Fatalf("%+v", e.Gather)
	}
	n.Gathered(now, e.Gather[0].Session, node.Offer{Ufrag: "mine", Password: "q", Candidates: w.Host(0).Candidates()}, nil)
	attach := n.Take().Seal[0].Message.Body.(*wire.AttachReq)
	if attach.Ufrag != "mine" || attach.Password != "q" || attach.Role != wire.RolePassive {
		t.Errorf("%+v", attach)
	}
	n.Gathered(now, e.Gather[0].Session, node.Offer{}, nil) // once too often
	if e := n.Take(); len(e.Release) != 1 {
		t.Errorf("%+v", e)
	}
}

// A node that starts again while others still look for it joins at once: whether its connection to a bootstrap node arrives there when
// that one is after a link with it, or what a neighbour asked of its earlier life was sent for the last time.
func TestRestartedNodeJoinsWhileOthersLookForIt(t *testing.T) {
	for seed := range uint64(60) {
		w := ring(t, 5, func(c *sim.Config) {
			c.Seed = seed
			if seed%2 == 0 {
				traversing(c)
			}
		})
		for _, away := range []time.Duration{time.Second, 4 * time.Second, 7 * time.Second, 10 * time.Second, 20 * time.Second} {
			victim := w.Host(int(seed) % 5)
			w.Kill(victim.Index, sim.Silent)
			w.Run(away)
			victim.Start(false)
			if !w.RunUntil(5*time.Second, 10*time.Millisecond, func() bool { return victim.Status().State == node.Joined }) {
				t.Errorf("seed %d: not joined 5 s after %v away: %v", seed, away, w.Counts)
			}
			w.Run(5 * time.Second)
		}
	}
}
