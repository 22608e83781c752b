package proxy

import (
	"slices"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

func recursing(c *Config) {
	c.Recurse, c.History = true, true
	c.Trusted = func(h location.Hop) bool { return h == alice }
}

// withForward is a gateway at which bob has a phone, and carol another.
func withForward(t *testing.T) *gateway {
	g := newGateway(t, 1, recursing)
	g.cached["bob@example.org"], g.cached["carol@example.org"] = nil, nil
	g.register("bob", bobPhone, bob)
	g.register("carol", "sip:carol@203.0.113.7:5060", udp("203.0.113.7:5060"))
	return g
}

// Feature: PRX-26
func TestRFC3261_16_7_4_ARedirectionIsFollowed(t *testing.T) {
	g := withForward(t)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(302, "Contact: <sip:carol@example.org>, <sip:bob@198.51.100.9:5070>;q=0.5, <tel:+1>")
	bs := g.branches(2)
	if bs[1].req.RequestURI != "sip:carol@203.0.113.7:5060" {
		t.Fatalf("to %s", bs[1].req.RequestURI)
	}
	bs[1].answer(486)
	bs = g.branches(3) // the contact with the lower q follows
	if bs[2].hop != udp("198.51.100.9:5070") || bs[2].req.RequestURI != "sip:bob@198.51.100.9:5070" {
		t.Fatalf("to %s over %v", bs[2].req.RequestURI, bs[2].hop)
	}
	wantStatuses(t, x)
	bs[2].answer(404)
	wantStatuses(t, x, 302) // RFC 3261 §16.7 step 6: the best of what is left
	wantValues(t, x.last(t), message.Contact, "<tel:+1>")
	g.wantIdle()
}

// Feature: PRX-26
func TestRFC3261_16_7_4_RedirectionsEnd(t *testing.T) {
	g := withForward(t)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(302, "Contact: <sip:carol@example.org>")
	g.branches(2)[1].answer(302, "Contact: <sip:bob@example.org>") // and round again
	wantStatuses(t, x, 302)
	wantValues(t, x.last(t), message.Contact, "<sip:bob@example.org>")
	g.branches(2)
	g.wantIdle()

	x = g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(3)[2].answer(302, "Contact: <"+bobPhone+">") // to itself
	wantStatuses(t, x, 302)
}

// Feature: PRX-26
func TestRFC3261_16_7_4_WhatIsNotFollowed(t *testing.T) {
	for _, c := range []struct {
		name    string
		uri     string
		src     location.Hop
		status  int
		contact string
		change  func(*gateway)
	}{
		{"not asked for", bobURI, alice, 302, "sip:carol@example.org", func(g *gateway) { g.p.c.Recurse = false }},
		{"305", bobURI, alice, 305, "sip:carol@example.org", nil},
		{"no sips", "sips:bob@example.org", alice, 302, "sip:carol@example.org", func(g *gateway) {
			g.bindings["bob@example.org"][0].Hop = stream("TLS", "203.0.113.9:40000", 9)
			g.bindings["carol@example.org"][0].Hop = stream("TLS", "203.0.113.7:40000", 7)
		}},
		{"outside, for a stranger", bobURI, udp("198.51.100.66:5060"), 302, "sip:x@elsewhere.example", nil},
		{"over the overlay", bobURI, location.Hop{Node: "node9"}, 302, "sip:carol@example.org", nil},
	} {
		g := withForward(t)
		if c.change != nil {
			c.change(g)
		}
		x := g.receive(request(t, "INVITE", c.uri, aliceURI), c.src)
		g.branches(1)[0].answer(c.status, "Contact: <"+c.contact+">")
		if got := x.statuses(); !slices.Equal(got, []int{c.status}) || x.last(t).Get(message.Contact) != "<"+c.contact+">" {
			t.Errorf("%s: the caller got %v", c.name, got)
		}
	}
}

// Feature: PRX-26
func TestRFC3261_16_7_4_ARedirectionToNobodyIs404NotSilence(t *testing.T) {
	g := withForward(t)
	g.cached["ghost@example.org"] = nil
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(302, "Contact: <sip:ghost@example.org>")
	wantStatuses(t, x, 302)
}

// Feature: PRX-26
func TestRFC3261_16_7_4_ARedirectionToNobodyThatTheOverlayKnowsIs480(t *testing.T) {
	g := withForward(t)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(302, "Contact: <sip:ghost@example.org>")
	g.p.pool.all.Wait()
	wantStatuses(t, x, 480)
	g.wantIdle()
}

// historyOf lists the entries of a request.
func historyOf(m *message.Message) (out []string) {
	for _, f := range m.Fields {
		if f.Name == message.Other && message.EqualFold(f.Text, historyInfo) {
			out = append(out, message.AppendValues(nil, f.Value)...)
		}
	}
	return out
}

func wantHistory(t *testing.T, m *message.Message, want ...string) {
	t.Helper()
	if got := historyOf(m); !slices.Equal(got, want) {
		t.Errorf("History-Info\n%q, want\n%q", got, want)
	}
}

// Feature: PRX-35
func TestRFC7044_HistoryOfAForkAndARedirection(t *testing.T) {
	g := withForward(t)
	g.register("bob", "sip:bob@203.0.113.8:5060", udp("203.0.113.8:5060"))
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(2)
	wantHistory(t, bs[0].req, "<"+bobURI+">;index=1", "<"+bobPhone+">;index=1.1;rc=1")
	wantHistory(t, bs[1].req, "<"+bobURI+">;index=1", "<sip:bob@203.0.113.8:5060>;index=1.2;rc=1")
	bs[0].answer(302, "Contact: <sip:carol@example.org>")
	wantHistory(t, g.branches(3)[2].req, "<"+bobURI+">;index=1", "<"+bobPhone+"?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1",
		"<sip:carol@203.0.113.7:5060>;index=1.3;mp=1.1")
}

// Feature: PRX-35
func TestRFC7044_HistoryOfOthersIsGoneOnWith(t *testing.T) {
	g := withForward(t)
	before := []string{"<sip:help@example.com>;index=1", "<" + bobURI + ">;index=1.1;mp=1"}
	for i, c := range []struct {
		lines []string
		want  []string
	}{
		{[]string{"History-Info: " + before[0] + ", " + before[1]}, append(slices.Clone(before), "<"+bobPhone+">;index=1.1.1;rc=1.1")},
		{[]string{"History-Info: " + before[0]}, []string{before[0], "<" + bobURI + ">;index=1.0", "<" + bobPhone + ">;index=1.0.1;rc=1.0"}},
		{[]string{"Privacy: id;history"}, nil},
	} {
		g.receive(request(t, "INVITE", bobURI, aliceURI, c.lines...), alice)
		wantHistory(t, g.branches(i + 1)[i].req, c.want...)
	}
	g.p.c.History = false
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	wantHistory(t, g.branches(4)[3].req)
}
