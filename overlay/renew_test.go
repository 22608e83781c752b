package overlay

import (
	"crypto/x509"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// again is a certificate for the same user, Node-ID and key that is good for lifetime.
func (w *world) again(s *trust.Signer, lifetime time.Duration) *trust.Signer {
	w.t.Helper()
	w.ca.Lifetime = lifetime
	defer func() { w.ca.Lifetime = trust.DefaultLifetime }()
	return w.user(s, s.Identity().User)
}

// shows counts the links of m with node, by whether the other side has shown cert.
func (m *member) shows(node wire.NodeID, cert *x509.Certificate) (with, without int) {
	for _, c := range m.watched.all() {
		switch {
		case c.chain[0].Equal(cert):
			with++
		case m.nodeOf(c) == node:
			without++
		}
	}
	return with, without
}

func (m *member) nodeOf(c watched) wire.NodeID {
	id, err := trust.ParseIdentity(overlayName, c.chain[0])
	if err != nil {
		m.t.Fatal(err)
	}
	return id.Nodes[0]
}

func reachable(t *testing.T, from, to *member) {
	t.Helper()
	if _, _, err := from.Ping(t.Context(), wire.NewDestinationList(wire.ToNode(to.NodeID()))); err != nil {
		t.Errorf("%s does not reach %s: %v", from.NodeID().Short(), to.NodeID().Short(), err)
	}
}

// TestRFC6940_13_3_ARenewedCertificateIsUsedWithoutRestart: all links show it before the old one ends, whoever has dialled
// them; when it ends nobody misses the links that have shown it.
//
// Conformance: F-11
func TestRFC6940_13_3_ARenewedCertificateIsUsedWithoutRestart(t *testing.T) {
	w := newWorld(t)
	const day = 24 * time.Hour
	ring := w.ring(t, 2)
	m := w.memberAs(t, w.again(w.signer(newKey(t)), day), ring[0]) // has dialled
	m.join()
	last := w.member(t, m) // has dialled m
	last.join()
	all := append(ring, m, last)
	settle(t, all)
	others := append(ring[:2:2], last)

	stranger, other := w.signer(newKey(t)), w.user(m.cfg.Self, "gw@example.org")
	if err := m.Renew(stranger); !errors.Is(err, ErrOtherNode) {
		t.Errorf("a certificate of another node: %v", err)
	}
	if cert, err := w.ca.IssueUser(time.Now(), "gw@example.org", m.NodeID(), stranger.Key().Public()); err != nil {
		t.Fatal(err)
	} else if s, err := trust.NewSigner(overlayName, stranger.Key(), cert); err != nil || !errors.Is(m.Renew(s), ErrOtherNode) {
		t.Errorf("a certificate of another key was taken")
	}
	if err := m.Renew(other); err != nil {
		t.Fatal(err)
	}
	renewed := other.Identity().Cert.X509()
	// The others look at their links when little is left of the old certificate.
	for _, o := range others {
		o.checkCertificates(time.Now().Add(day * 11 / 12))
	}
	for _, o := range others {
		inTime(t, "a link that shows the renewed certificate", func() bool { with, _ := o.shows(m.NodeID(), renewed); return with > 0 })
	}
	ended := time.Now().Add(day + time.Minute)
	for _, o := range others {
		o.checkCertificates(ended)
		inTime(t, "no link that shows the old one", func() bool { _, without := o.shows(m.NodeID(), renewed); return without == 0 })
	}
	for _, o := range others {
		reachable(t, o, m)
		reachable(t, m, o)
		if n := o.Stats().Events["neighbor_lost"]; n > 0 {
			t.Errorf("%s has lost a neighbor", o.NodeID().Short())
		}
		if with, _ := o.shows(m.NodeID(), renewed); with == 0 || with > 2 {
			t.Errorf("%d links show the renewed certificate", with)
		}
	}
}

// wire connects two members with a connection of an application, and returns both ends.
func joined(t *testing.T, from, to *member) (a, b AppConn) {
	t.Helper()
	a, err := from.AppAttach(t.Context(), wire.NewDestinationList(wire.ToNode(to.NodeID())), wire.ApplicationSIP)
	if err != nil {
		t.Fatal(err)
	}
	b = <-to.inbound
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// ends waits for the end of a connection.
func ends(t *testing.T, what string, c AppConn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return // closed by this side
	}
	if _, err := io.Copy(io.Discard, c); isTimeout(err) {
		t.Errorf("%s stands", what)
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// linked reports whether m has a link with id.
func linked(m *member, id wire.NodeID) bool {
	for _, l := range m.Status().Links {
		if l.Peer == id {
			return true
		}
	}
	return false
}

// TestACertificateThatExpiresLosesItsConnections: links and connections of applications, at both sides, and there are no new
// ones.
//
// Conformance: A-07
func TestACertificateThatExpiresLosesItsConnections(t *testing.T) {
	w := newWorld(t)
	begin := time.Now()
	ring := w.ring(t, 2)
	// Long enough to join, however busy the machine is.
	m := w.memberAs(t, w.again(w.signer(newKey(t)), 5*time.Second+20*time.Since(begin)), ring[0])
	m.join()
	settle(t, append(ring[:2:2], m))
	there, here := joined(t, m, ring[1])
	<-time.After(time.Until(m.cfg.Self.Identity().Cert.NotAfter))
	for _, o := range ring {
		eventually(t, func() bool { return !linked(o, m.NodeID()) && !linked(m, o.NodeID()) }, func() string { return "the links with the node stand" })
		if o.Stats().Reasons[ReasonKey{eventUntrusted, string(trust.Expired)}] == 0 {
			t.Error("the reason is not counted")
		}
	}
	ends(t, "the connection at the other side", here)
	ends(t, "the connection", there)
	inTime(t, "a refusal", func() bool { return ring[0].Stats().Refused[string(trust.Expired)] > 0 })
	reachable(t, ring[0], ring[1])
}

// TestABadNodeLosesItsConnections: a document that names it goes to one of the others.
//
// Conformance: A-07
func TestABadNodeLosesItsConnections(t *testing.T) {
	w, signer := signed(t)
	ring := w.ring(t, 4)
	bad := ring[3]
	settle(t, ring)
	_, here := joined(t, bad, ring[1])
	there, _ := joined(t, ring[2], bad)
	doc, _ := w.publish(t, following(w.overlay, func(o *config.Overlay) { o.BadNodes = []wire.NodeID{bad.NodeID()} }), signer)
	if err := ring[0].Configure(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	for _, o := range ring[:3] {
		inTime(t, "the links with the bad node to end", func() bool { return !linked(o, bad.NodeID()) })
	}
	ends(t, "a connection that it has asked for", here)
	ends(t, "a connection that it was asked for", there)
	reachable(t, ring[0], ring[2])
}
