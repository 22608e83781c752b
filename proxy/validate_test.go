package proxy

import (
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const (
	aliceURI = "sip:alice@example.org"
	bobURI   = "sip:bob@example.org"
	bobPhone = "sip:bob@203.0.113.2:5060;ob"
)

var bob = udp("203.0.113.2:5060")

// withBob is a gateway at which bob is registered.
func withBob(t testing.TB, change func(*Config)) *gateway {
	g := newGateway(t, 1, change)
	g.cached["bob@example.org"] = nil
	g.register("bob", bobPhone, bob)
	return g
}

// Feature: PRX-01 PRX-13
func TestRFC3261_16_3_RequestValidation(t *testing.T) {
	for _, c := range []struct {
		name, uri string
		fields    []string
		status    int
		word      string
	}{
		{"scheme not understood", "tel:+49301234", nil, 416, "PRX416"},
		{"Max-Forwards 0", bobURI, []string{"Max-Forwards: 0"}, 483, "PRX483"},
		{"Proxy-Require", bobURI, []string{"Proxy-Require: foo, bar"}, 420, "PRX420"},
		{"Max-Breadth 0", bobURI, []string{"Max-Breadth: 0"}, 440, "PRX440"},
		{"scheme before Max-Forwards", "tel:1", []string{"Max-Forwards: 0"}, 416, "PRX416"},
		{"Max-Forwards before Proxy-Require", bobURI, []string{"Max-Forwards: 0", "Proxy-Require: foo"}, 483, "PRX483"},
		{"nobody of that name", "sip:nobody@example.org", nil, 404, "PRX404"},
		{"no user in the Request-URI", "sip:example.org", nil, 404, "PRX404"},
		{"foreign destination", "sip:x@elsewhere.example", nil, 403, "PRX403R"},
		{"Route beyond us", bobURI, []string{"Route: <sip:192.0.2.1;lr>, <sip:elsewhere.example;lr>"}, 403, "PRX403R"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := withBob(t, nil)
				x := g.receive(request(t, "INVITE", c.uri, "sip:eve@foreign.example", c.fields...), alice)
				wait()
				wantStatuses(t, x, c.status)
				res := x.last(t)
				if w := res.Get(message.Warning); !strings.HasPrefix(w, `399 p2psip "`+c.word+" ") {
					t.Errorf("Warning %s", w)
				}
				if res.Reason == "" || message.Tag(res.Get(message.To)) == "" {
					t.Errorf("%d %q to %s", res.StatusCode, res.Reason, res.Get(message.To))
				}
				g.branches(0)
				g.wantIdle()
			})
		})
	}
}

func TestRFC3261_16_3_420ListsEachOptionTag(t *testing.T) {
	g := withBob(t, nil)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI, "Proxy-Require: foo, bar"), alice)
	wantValues(t, x.last(t), message.Unsupported, "foo", "bar")
}

// Feature: PRX-01 MED-01
func TestRFC3261_16_3_UnknownMethodsAndHeadersPassUntouched(t *testing.T) {
	g := withBob(t, nil)
	req := request(t, "FROBNICATE", bobURI, aliceURI, "X-Odd: a,,b ;; c", "Date: nonsense", "Proxy-Authorization: Digest realm=\"other\", username=\"u\"")
	req.Body = []byte("\x00\r\n\xff")
	g.receive(req, alice)
	got := g.branches(1)[0].req
	if got.Other("X-Odd") != "a,,b ;; c" || got.Get(message.Date) != "nonsense" || string(got.Body) != "\x00\r\n\xff" ||
		!got.Has(message.ProxyAuthorization) {
		t.Errorf("forwarded as\n%s", got.AppendTo(nil))
	}
	if got.Method != "FROBNICATE" || got.RequestURI != bobPhone {
		t.Errorf("%s %s", got.Method, got.RequestURI)
	}
}

// Conformance: H-46
// Feature: PRX-13
func TestRFC3261_16_6_MaxForwards(t *testing.T) {
	for _, c := range []struct{ have, want string }{
		{"Max-Forwards: 70", "69"}, {"Max-Forwards: 1", "0"}, {"X-No: Max-Forwards", "70"}, {"Max-Forwards: 300", "70"},
	} {
		g := withBob(t, nil)
		g.register("bob", "sip:bob@203.0.113.3", udp("203.0.113.3:5060"))
		g.register("bob", "sip:bob@203.0.113.4", udp("203.0.113.4:5060"))
		g.register("bob", "sip:bob@203.0.113.5", udp("203.0.113.5:5060"))
		g.receive(request(t, "INVITE", bobURI, aliceURI, c.have), alice)
		for i, s := range g.branches(4) {
			wantValues(t, s.req, message.MaxForwards, c.want)
			if i > 0 && s.req.Get(message.Via) == g.sent[0].req.Get(message.Via) {
				t.Error("two branches with one branch parameter")
			}
		}
	}
}

// Feature: PRX-14
func TestRFC5393_5_3_3_MaxBreadthIsShared(t *testing.T) {
	for _, c := range []struct {
		have string
		want []string
	}{
		{"X-No: 1", []string{"30", "30"}},
		{"Max-Breadth: 1000", []string{"30", "30"}},
		{"Max-Breadth: 5", []string{"3", "2"}},
		{"Max-Breadth: 1", []string{"1"}},
	} {
		g := withBob(t, nil)
		g.register("bob", "sip:bob@203.0.113.3", udp("203.0.113.3:5060"))
		g.receive(request(t, "INVITE", bobURI, aliceURI, c.have), alice)
		for i, s := range g.branches(len(c.want)) {
			wantValues(t, s.req, message.MaxBreadth, c.want[i])
		}
	}
}

// again is what comes back when the request of s is sent to us once more by somebody who changed its Request-URI to uri.
func again(s *sent, uri string) *message.Message {
	m := s.req.Clone()
	m.RequestURI = uri
	m.Del(message.RecordRoute)
	m.Prepend(message.Via, "SIP/2.0/UDP elsewhere.example;branch=z9hG4bKother;odd=\"x;y\"")
	return m
}

// Conformance: H-46
// Feature: PRX-14
func TestRFC5393_4_2_2_LoopedIsRejectedSpiralIsNot(t *testing.T) {
	g := withBob(t, nil)
	g.cached["carol@example.org"] = nil
	g.register("carol", "sip:carol@203.0.113.9", udp("203.0.113.9:5060"))
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	first := g.branches(1)[0]

	spiral := g.receive(again(first, "sip:carol@example.org"), bob)
	wantStatuses(t, spiral)
	g.branches(2)

	loop := g.receive(again(first, bobURI), bob)
	wantStatuses(t, loop, 482)
	g.branches(2)
}

func TestRFC5393_4_2_1_TheOverlayIsPartOfTheRouting(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "INVITE", bobURI, aliceURI), location.Hop{Node: "other"})
	wantStatuses(t, g.receive(again(g.branches(1)[0], bobURI), bob)) // other targets than the first time: a spiral
	g.branches(2)
	wantStatuses(t, g.receive(again(g.branches(2)[1], bobURI), bob), 482)
}

// Feature: PRX-14
func TestRFC5393_TwoUsersForwardingToEachOtherEnd(t *testing.T) {
	g := withBob(t, nil)
	g.cached["carol@example.org"] = nil
	g.register("carol", "sip:carol@203.0.113.9", udp("203.0.113.9:5060"))
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	other := map[string]string{bobPhone: "sip:carol@example.org", "sip:carol@203.0.113.9": bobURI}
	passes := 1
	for {
		last := g.branches(passes)[passes-1]
		x := g.receive(again(last, other[last.req.RequestURI]), bob)
		if len(x.statuses()) > 0 {
			wantStatuses(t, x, 482)
			break
		}
		if passes++; passes > 5 {
			t.Fatal("the loop goes on")
		}
	}
	if passes != 2 {
		t.Errorf("%d passes before the loop was found, want 2", passes)
	}
}

func TestRFC5393_4_2_1_ALoopHashOfAnotherGatewayIsNotOurs(t *testing.T) {
	a, b := withBob(t, nil), withBob(t, nil)
	a.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	wantStatuses(t, b.receive(again(a.branches(1)[0], bobURI), bob))
	b.branches(1)
}

// Conformance: H-13 H-44
// Feature: PRX-30 PRX-37
func TestPRX30_ForeignDestinationOnlyForSendersThatAreKnown(t *testing.T) {
	foreign := "sip:x@192.0.2.99"
	t.Run("registered over this flow", func(t *testing.T) {
		g := withBob(t, nil)
		g.register("alice", "sip:alice@198.51.100.1:5060", alice)
		g.receive(request(t, "INVITE", foreign, aliceURI), alice)
		if s := g.branches(1)[0]; s.req.RequestURI != foreign || s.hop != udp("192.0.2.99:5060") {
			t.Errorf("%s to %v", s.req.RequestURI, s.hop)
		}
	})
	t.Run("registered over another flow", func(t *testing.T) {
		g := withBob(t, nil)
		g.register("alice", "sip:alice@198.51.100.1:5060", alice)
		wantStatuses(t, g.receive(request(t, "INVITE", foreign, aliceURI), udp("198.51.100.66:5060")), 403)
		if len(g.refusals) != 1 || g.refusals[0].Code != "PRX403R" || g.refusals[0].Method != "INVITE" {
			t.Errorf("refusals %+v", g.refusals)
		}
	})
	t.Run("registered over a connection from the same address", func(t *testing.T) {
		g := withBob(t, nil)
		g.register("alice", "sip:alice@10.0.0.1", stream("TCP", "198.51.100.1:5000", 7))
		wantStatuses(t, g.receive(request(t, "INVITE", foreign, aliceURI), stream("TCP", "198.51.100.1:5000", 8)), 403)
		g.receive(request(t, "INVITE", foreign, aliceURI), stream("TCP", "198.51.100.1:5000", 7))
		g.branches(1)
	})
	t.Run("trusted", func(t *testing.T) {
		g := withBob(t, func(c *Config) { c.Trusted = func(h location.Hop) bool { return h == alice } })
		g.receive(request(t, "INVITE", foreign, "sip:trunk@carrier.example"), alice)
		g.branches(1)
	})
	t.Run("a gateway of the overlay", func(t *testing.T) {
		g := withBob(t, nil)
		wantStatuses(t, g.receive(request(t, "INVITE", foreign, aliceURI), location.Hop{Node: "other"}), 403)
	})
}

// digest accepts one user, whose credentials are the user name.
type digest string

func (d digest) Authenticate(req *message.Message) (string, []string, bool) {
	if strings.Contains(req.Get(message.ProxyAuthorization), `username="`+string(d)+`"`) {
		return string(d), nil, true
	}
	return "", []string{`Digest realm="example.org", nonce="n"`}, false
}

func requireAuth(c *Config) { c.Authenticator, c.RequireAuth = digest("alice"), true }

// Feature: PRX-29
func TestRFC3261_16_3_ProxyAuthorization(t *testing.T) {
	const good = `Proxy-Authorization: Digest username="alice", realm="example.org", nonce="n"`
	t.Run("without credentials 407", func(t *testing.T) {
		g := withBob(t, requireAuth)
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		wantStatuses(t, x, 407)
		wantValues(t, x.last(t), message.ProxyAuthenticate, `Digest realm="example.org"`, `nonce="n"`)
	})
	t.Run("with credentials, which are consumed", func(t *testing.T) {
		g := withBob(t, requireAuth)
		g.receive(request(t, "INVITE", bobURI, aliceURI, good, `Proxy-Authorization: Digest username="alice", realm="other"`), alice)
		got := g.branches(1)[0].req.Lines(message.ProxyAuthorization)
		if len(got) != 1 || !strings.Contains(got[0], `realm="other"`) {
			t.Errorf("forwarded with %q", got)
		}
	})
	t.Run("with credentials of somebody else 403", func(t *testing.T) {
		g := withBob(t, requireAuth)
		x := g.receive(request(t, "INVITE", bobURI, "sip:carol@example.org", good), alice)
		wantStatuses(t, x, 403)
	})
	t.Run("registered over the same flow", func(t *testing.T) {
		g := withBob(t, requireAuth)
		g.register("alice", "sip:alice@198.51.100.1:5060", alice)
		g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		g.branches(1)
	})
	t.Run("a caller of another domain", func(t *testing.T) {
		g := withBob(t, requireAuth)
		g.receive(request(t, "INVITE", bobURI, "sip:x@foreign.example"), alice)
		g.branches(1)
	})
	t.Run("a gateway of the overlay", func(t *testing.T) {
		g := withBob(t, requireAuth)
		g.receive(request(t, "INVITE", bobURI, aliceURI), location.Hop{Node: "other"})
		g.branches(1)
	})
	t.Run("is the last check", func(t *testing.T) {
		g := withBob(t, requireAuth)
		wantStatuses(t, g.receive(request(t, "INVITE", bobURI, aliceURI, "Max-Forwards: 0"), alice), 483)
	})
}

// Conformance: H-41
func TestRFC3325_5_AssertedIdentityOfStrangersIsRemoved(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "INVITE", bobURI, aliceURI, "P-Asserted-Identity: <sip:boss@example.org>"), alice)
	if g.branches(1)[0].req.Has(message.PAssertedIdentity) {
		t.Error("passed on")
	}
	g = withBob(t, func(c *Config) {
		c.Trusted, c.Identity = func(location.Hop) bool { return true }, Identity{Trusted: true, Phones: true}
	})
	g.receive(request(t, "INVITE", bobURI, aliceURI, "P-Asserted-Identity: <sip:boss@example.org>"), alice)
	if !g.branches(1)[0].req.Has(message.PAssertedIdentity) {
		t.Error("taken from a trusted sender")
	}
}
