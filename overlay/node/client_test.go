package node_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// client adds a host that is a client, and starts it.
func client(t testing.TB, w *sim.World) *sim.Host {
	t.Helper()
	h := w.AddHost()
	h.Client = true
	h.Start(false)
	w.RunUntil(5*time.Second, time.Millisecond, func() bool { return h.Node.State() == node.Client })
	if s := h.Node.State(); s != node.Client {
		t.Fatalf("host %d is %s", h.Index, s)
	}
	return h
}

// homes are the peers that a client belongs to, the responsible one first.
func homes(w *sim.World, c *sim.Host) []*sim.Host {
	peers := slices.DeleteFunc(byID(w), func(h *sim.Host) bool { return h.Client })
	i := slices.IndexFunc(peers, func(h *sim.Host) bool { return h.ID.Compare(c.ID) > 0 })
	if i < 0 {
		i = 0
	}
	return append(peers[i:], peers[:i]...)
}

// reaches checks that every living host reaches a client by its Node-ID, within a given time for all.
func reaches(t *testing.T, w *sim.World, c *sim.Host, within time.Duration) {
	t.Helper()
	begun := w.Now()
	for _, h := range w.Living() {
		for {
			d := do(t, w, h, node.OpPing{Destinations: wire.NewDestinationList(toHost(c))})
			if d.Err == nil && d.Answer.Sender().Node == c.ID {
				break
			}
			if w.Now().Sub(begun) > within {
				t.Fatalf("host %d does not reach client %d: %v %v", h.Index, c.Index, d.Err, d.Refused)
			}
		}
	}
}

// TestRFC6940_4_2_Client is what a client of ours does: it stores, fetches and is called; it holds nothing, routes for nobody and
// never says that it is a peer.
//
// Conformance: C-35 C-36 C-37 C-38
func TestRFC6940_4_2_Client(t *testing.T) {
	var trace []sim.Step
	w := ring(t, 12, func(c *sim.Config) { c.Trace = func(s sim.Step) { trace = append(trace, s) } })
	c := client(t, w)
	w.Run(time.Second)
	reaches(t, w, c, 0)
	var records []*sim.Record
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		r := w.NewRecord(name, c)
		records = append(records, r)
		store(t, w, r)
	}
	for _, r := range records {
		for _, h := range w.Living() {
			if got := fetch(t, w, r, h); len(got) != 1 {
				t.Errorf("host %d found %d values of %s", h.Index, len(got), r.User)
			}
		}
		if c.Node.Holds(r.Resource) {
			t.Error("the client holds a value")
		}
	}
	// From any peer that it is linked with, by a Destination List.
	for _, home := range homes(w, c)[:2] {
		dest := wire.NewDestinationList(toHost(home), toHost(c))
		if d := do(t, w, w.Host(0), node.OpPing{Destinations: dest}); d.Err != nil || d.Answer.Sender().Node != c.ID {
			t.Errorf("by way of host %d: %v", home.Index, d.Err)
		}
	}
	caller, callee := w.Host(1), w.Host(2)
	for _, way := range [][2]*sim.Host{{caller, c}, {c, callee}} {
		d := do(t, w, way[0], node.OpAppAttach{Destinations: wire.NewDestinationList(toHost(way[1])), Application: wire.ApplicationSIP})
		if d.Err != nil || d.Refused != nil || len(way[1].Apps) == 0 {
			t.Errorf("AppAttach: %v %v", d.Err, d.Refused)
		}
	}
	// It routes for nobody.
	through := wire.NewDestinationList(toHost(c), toHost(w.Host(3)))
	if d := do(t, w, homes(w, c)[0], node.OpPing{Destinations: through}); d.Err == nil {
		t.Error("a Ping went through the client")
	}
	w.Run(2 * time.Minute)
	if err := w.Check(records); err != nil {
		t.Error(err)
	}
	for _, s := range trace {
		if s.From == c.Index && (s.Code == wire.CodeUpdateReq || s.Code == wire.CodeJoinReq) {
			t.Fatalf("the client sent %+v", s)
		}
	}
	if links := len(c.Status().Links); links > 6 {
		t.Errorf("the client has %d links", links)
	}
	var left bool
	c.Do(node.OpLeave{}, func(node.Done) { left = true })
	w.Run(10 * time.Millisecond)
	if !left || c.Node.State() != node.Left {
		t.Error("the client has not left")
	}
}

// TestRFC6940_4_2_1_ClientFollowsItsPeer kills the peers of a client, one after the other and both at once, and has new peers come
// between: it is reached all along.
//
// Conformance: C-36
func TestRFC6940_4_2_1_ClientFollowsItsPeer(t *testing.T) {
	w := ring(t, 12)
	c := client(t, w)
	w.Run(5 * time.Second)
	for i := range 3 {
		w.Kill(homes(w, c)[0].Index, sim.Crash)
		w.Run(100 * time.Millisecond)
		reaches(t, w, c, 4*time.Second)
		if s := c.Node.State(); s != node.Client {
			t.Errorf("kill %d: %s", i, s)
		}
		w.Run(5 * time.Second)
	}
	near := c.ID.Array16()
	near[15] += 4
	for range 3 {
		near[15]--
		h := w.AddHostAt(near)
		h.Start(false)
		if err := w.Settle(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		w.Run(time.Second)
		reaches(t, w, c, 0)
	}
	r := w.NewRecord("alice", c)
	store(t, w, r)
	w.Run(5 * time.Second)
	if err := w.Check([]*sim.Record{r}); err != nil {
		t.Error(err)
	}
}

// Both peers that a client is linked with die at once: it begins anew.
func TestClientThatHasLostAllPeersFindsOthers(t *testing.T) {
	w := ring(t, 12, func(c *sim.Config) { c.Seed = 9 }) // one of its bootstrap nodes is another
	c := client(t, w)
	w.Run(5 * time.Second)
	both := homes(w, c)
	w.Kill(both[0].Index, sim.Crash)
	w.Kill(both[1].Index, sim.Crash)
	w.Run(3 * time.Second)
	reaches(t, w, c, 0)
}

// A client alone finds nobody, and is not the first of an overlay.
func TestClientIsNotTheFirst(t *testing.T) {
	l := newLone(func(c *node.Config) { c.Client, c.First, c.Bootstrap = true, true, []string{"a:1"} })
	for range 5 {
		for _, d := range l.Take().Dial {
			l.DialFailed(l.now, d.Dial, errors.New("refused"))
		}
		l.pass()
	}
	if s := l.State(); s != node.Starting {
		t.Errorf("%s", s)
	}
}

// RFC 6940 §11.1: clients-permitted is false "if the nodes are not allowed to remain clients after the initial join".
//
// Conformance: C-38
func TestRFC6940_11_1_ClientLeavesWhenClientsAreNotPermitted(t *testing.T) {
	w, o := signedRing(t, 3, 7)
	c := client(t, w)
	document := w.Document(next(o, func(n *config.Overlay) { n.ClientsPermitted = false }), w.Host(0))
	if err := configure(t, w, w.Host(1), document); err != nil {
		t.Fatal(err)
	}
	w.Run(10 * time.Second)
	if s := c.Node.State(); s != node.Left {
		t.Errorf("the client is %s", s)
	}
	if s := w.Host(1).Node.State(); s != node.Joined {
		t.Errorf("a peer is %s", s)
	}
}
