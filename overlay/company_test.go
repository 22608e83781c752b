package overlay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// company reports whether anybody has come.
func (p *Peer) hasCompany() bool {
	select {
	case <-p.Company():
		return true
	default:
		return false
	}
}

// prepares is for members that publish nothing before somebody comes.
func prepares(c *Config) { c.Prepares = true }

// Who comes first is let in when what he may look for stands there, and finds it at the first try.
func TestTheFirstWhoComesWaitsUntilEverythingIsThere(t *testing.T) {
	w := newWorld(t)
	first := w.memberWith(t, w.signer(newKey(t)), nil, prepares)
	first.join()
	if first.hasCompany() {
		t.Fatal("alone, and yet somebody came")
	}
	second := w.member(t, first)
	select {
	case <-first.Company():
	case <-time.After(patience):
		t.Fatal("nobody came")
	}
	w.register(t, first, "alice@example.org")
	eventually(t, func() bool { return first.Stats().Events[eventCompany] == 1 }, func() string { return "not counted" })
	if s := first.Status(); len(s.Links) != 0 || second.isRunning() {
		t.Errorf("not prepared, and yet there are links %+v", s.Links)
	}
	first.Welcome()
	first.Welcome()
	second.join()
	if err := finds(t, second, first, "alice@example.org", patience); err != nil {
		t.Error(err)
	}
	third := w.member(t, first)
	third.join()
	if first.Stats().Events[eventNotReady] != 0 {
		t.Error("somebody waited in vain")
	}
}

// A command of an operator, which is no part of the ring, is company like a node of it: it finds everything.
func TestAVisitorWaitsUntilEverythingIsThere(t *testing.T) {
	w, signer := signed(t)
	first := w.memberWith(t, w.signer(newKey(t)), nil, prepares)
	first.join()
	go func() {
		<-first.Company()
		w.register(t, first, "alice@example.org")
		first.Welcome()
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v := &Visitor{Overlay: w.overlay, Self: signer, Addresses: []string{first.cfg.Listener.Addr().String()}}
	values, err := v.Fetch(ctx, wire.ResourceIDOf("alice@example.org"), wire.KindSIPRegistration)
	if err != nil || len(values) != 1 {
		t.Fatalf("%+v %v", values, err)
	}
}

// A client (RFC 6940 §4.2) is company, too: its first Fetch finds what was registered before.
func TestAClientWaitsUntilEverythingIsThere(t *testing.T) {
	w := newWorld(t)
	w.overlay.ClientsPermitted = true
	first := w.memberWith(t, w.signer(newKey(t)), nil, prepares)
	first.join()
	go func() {
		<-first.Company()
		w.register(t, first, "alice@example.org")
		first.Welcome()
	}()
	w.client = true
	client := w.member(t, first)
	client.join()
	if err := finds(t, client, first, "alice@example.org", patience); err != nil {
		t.Error(err)
	}
}

// Two rings of one become one: both are ready for the other before there is a link.
func TestTwoRingsOfOneGetReadyForEachOther(t *testing.T) {
	w := newWorld(t)
	a := w.memberWith(t, w.signer(newKey(t)), nil, prepares)
	b := w.memberWith(t, w.signer(newKey(t)), nil, prepares)
	a.join()
	b.join()
	for user, m := range map[string]*member{"alice@example.org": a, "bob@example.org": b} {
		go func() {
			<-m.Company()
			w.register(t, m, user)
			m.Welcome()
		}()
	}
	a.Found(t.Context(), []string{b.cfg.Listener.Addr().String()})
	for _, m := range []*member{a, b} {
		eventually(t, func() bool { return len(m.Status().Successors) == 1 }, func() string { return "the rings have not become one" })
	}
	for user, home := range map[string]*member{"alice@example.org": a, "bob@example.org": b} {
		for _, m := range []*member{a, b} {
			eventually(t, func() bool { return finds(t, m, home, user, patience) == nil }, func() string { return user + " is not found" })
		}
	}
}

// isIn makes the loop of d believe that it is part of a ring.
func (d *driven) isIn(t *testing.T) {
	t.Helper()
	d.effect(node.Effects{Events: []node.Event{{Type: node.EventFirst}}})
	select {
	case <-d.Joined():
	case <-time.After(patience):
		t.Fatal("not joined")
	}
}

// Nobody waits for longer than a request lives, whatever becomes of what is prepared; and only the first who come wait.
func TestWhoComesWaitsForTenSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, prepares)
		b.isIn(t)
		dial := func(id node.DialID) {
			a.effect(node.Effects{Dial: []node.Dial{{Dial: id, Peer: b.NodeID(), Candidates: []wire.IceCandidate{at(t, b.address())}}}})
		}
		begun := time.Now()
		dial(1)
		time.Sleep(welcomeWait / 2)
		dial(2)
		synctest.Wait()
		b.none("link up")
		b.next("link up")
		b.next("link up")
		if d := time.Since(begun); d != welcomeWait {
			t.Errorf("waited %v", d)
		}
		dial(3)
		synctest.Wait()
		b.next("link up")
		if d := time.Since(begun); d != welcomeWait || b.Stats().Events[eventNotReady] == 0 {
			t.Errorf("waited again, or nobody was told: %v %v", d, b.Stats().Events)
		}
	})
}

// Who is not in a ring yet does not wait: somebody has to let him in.
func TestNobodyWaitsForANodeThatIsNotInARing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, prepares)
		begun := time.Now()
		b.effect(node.Effects{Dial: []node.Dial{{Dial: 1, Peer: a.NodeID(), Candidates: []wire.IceCandidate{at(t, a.address())}}}})
		b.next("link up")
		if time.Since(begun) != 0 || !b.hasCompany() {
			t.Errorf("waited %v, company %v", time.Since(begun), b.hasCompany())
		}
	})
}

// A node that reaches itself is as alone as before.
func TestANodeIsNoCompanyForItself(t *testing.T) {
	w := newWorld(t)
	p := w.drive(newMemory(), prepares)
	p.isIn(t)
	p.greet(t.Context(), fresh{peer: trust.Identity{Node: p.NodeID(), Nodes: []wire.NodeID{p.NodeID()}}})
	if p.hasCompany() {
		t.Error("it has company")
	}
}

// What a peer holds is counted as it is, not as it was when the loop last had time to tell: an earlier run's records would not be renewed and removed.
func TestWhatIsStoredIsCountedNow(t *testing.T) {
	w := newWorld(t)
	m := w.member(t, nil)
	m.join()
	before := m.Stored(wire.KindSIPRegistration)
	w.register(t, m, "alice@example.org")
	busy := make(chan struct{})
	m.post(t.Context(), func(time.Time, *loop) {
		close(busy)
		time.Sleep(statusTimeout + 100*time.Millisecond) // a loop that is busy
	})
	<-busy
	if n := m.Stored(wire.KindSIPRegistration); n != before+1 {
		t.Errorf("%d, not %d", n, before+1)
	}
}
