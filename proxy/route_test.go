package proxy

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"pgregory.net/rapid"
)

// routed is what a trusted sender's request becomes.
func routed(t *testing.T, own string, req *message.Message, dns map[string]string) (*message.Message, location.Hop) {
	t.Helper()
	var got *sent
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, func(c *Config) {
			c.Trusted = func(location.Hop) bool { return true }
			c.Ours = func(host string, _ uint16) bool { return host == own }
		})
		for name, addr := range dns {
			g.dns[name] = []location.Hop{udp(addr)}
		}
		g.receive(req, alice)
		wait()
		got = g.branches(1)[0]
	})
	return got.req, got.hop
}

// TestRFC3261_16_12_1_2 follows the BYE of that example, "Traversing a Strict-Routing Proxy", over the proxies of ours.
//
// Feature: PRX-12
func TestRFC3261_16_12_1_2(t *testing.T) {
	dns := map[string]string{"p4.domain.com": "192.0.2.4:5060", "p3.middle.com": "192.0.2.3:5060", "p1.example.com": "192.0.2.1:5060", "u1.example.com": "192.0.2.10:5060"}
	for _, c := range []struct {
		name, own, uri, to string
		routes             []string
		wantURI            string
		want               []string
	}{
		{"P4 sends on to a strict router", "p4.domain.com", "sip:caller@u1.example.com", "p3.middle.com",
			[]string{"<sip:p4.domain.com;lr>", "<sip:p3.middle.com>", "<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>"},
			"sip:p3.middle.com", []string{"<sip:p2.example.com;lr>", "<sip:p1.example.com;lr>", "<sip:caller@u1.example.com>"}},
		{"P2 takes over from a strict router", "p2.example.com", "sip:p2.example.com;lr", "p1.example.com",
			[]string{"<sip:p1.example.com;lr>", "<sip:caller@u1.example.com>"},
			"sip:caller@u1.example.com", []string{"<sip:p1.example.com;lr>"}},
		{"P1 delivers", "p1.example.com", "sip:caller@u1.example.com", "u1.example.com",
			[]string{"<sip:p1.example.com;lr>"}, "sip:caller@u1.example.com", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, hop := routed(t, c.own, within(t, "BYE", c.uri, "callee", "caller", c.routes...), dns)
			if m.RequestURI != c.wantURI || hop != udp(dns[c.to]) {
				t.Errorf("%s to %v", m.RequestURI, hop)
			}
			if diff := cmp.Diff(c.want, m.Values(message.Route)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Feature: PRX-10
func TestRFC3261_16_12_1_1_BasicTrapezoid(t *testing.T) {
	m, hop := routed(t, "p1.example.com", request(t, "INVITE", "sip:callee@domain.com", "sip:caller@u1.example.com"), map[string]string{"domain.com": "192.0.2.2:5060"})
	if m.RequestURI != "sip:callee@domain.com" || hop != udp("192.0.2.2:5060") || len(m.Values(message.RecordRoute)) != 1 {
		t.Errorf("%s to %v, Record-Route %q", m.RequestURI, hop, m.Values(message.RecordRoute))
	}
	m, hop = routed(t, "p2.domain.com", within(t, "BYE", "sip:callee@u2.domain.com", "caller", "callee", "<sip:p2.domain.com;lr>"),
		map[string]string{"u2.domain.com": "192.0.2.22:5060"})
	if m.RequestURI != "sip:callee@u2.domain.com" || hop != udp("192.0.2.22:5060") || m.Has(message.Route) {
		t.Errorf("%s to %v, Route %q", m.RequestURI, hop, m.Values(message.Route))
	}
}

func TestRFC3261_16_4_MaddrThatIsOursIsStripped(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "INVITE", "sip:bob@example.org:5099;maddr=192.0.2.1;transport=tcp;x=y", aliceURI), alice)
	g.branches(0) // port 5099 is not ours: §16.4 has it forwarded, which a stranger may not ask for
	g.receive(request(t, "INVITE", "sip:bob@example.org:5060;maddr=192.0.2.1;transport=tcp", aliceURI), alice)
	if s := g.branches(1)[0]; s.hop != bob {
		t.Errorf("sent to %v", s.hop)
	}
}

func TestRFC3261_16_5_MaddrThatIsNotOursIsTheOnlyTarget(t *testing.T) {
	g := withBob(t, nil)
	wantStatuses(t, g.receive(request(t, "INVITE", bobURI+";maddr=192.0.2.99", aliceURI), alice), 403)
}

func TestRFC3261_16_4_EveryOwnRouteGoesInOnePass(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "INVITE", bobURI, aliceURI, "Route: <sip:192.0.2.1:5060;transport=tcp;lr>, <sip:192.0.2.1;lr>",
		"Route: <sip:gw@example.org;gr="+g.node+";lr>"), alice)
	if s := g.branches(1)[0]; s.req.Has(message.Route) || s.req.RequestURI != bobPhone {
		t.Errorf("%s with Route %q", s.req.RequestURI, s.req.Values(message.Route))
	}
}

func TestRFC3261_16_4_AMalformedRouteIs400(t *testing.T) {
	g := withBob(t, nil)
	wantStatuses(t, g.receive(request(t, "INVITE", bobURI, aliceURI, "Route: <nonsense"), alice), 400)
}

func TestRFC3261_16_6_RecordRouteStandsInFrontOfTheOthers(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "SUBSCRIBE", bobURI, aliceURI, "Record-Route: <sip:p1.example.com;lr>"), alice)
	rr := g.branches(1)[0].req.Values(message.RecordRoute)
	if len(rr) != 2 || !strings.HasPrefix(rr[0], "<sip:rr.") || !strings.HasSuffix(rr[0], "@192.0.2.1:5060;lr>") || rr[1] != "<sip:p1.example.com;lr>" {
		t.Errorf("Record-Route %q", rr)
	}
}

func TestTokenRoundTrip(t *testing.T) {
	s := newSealer([]byte("secret"))
	rapid.Check(t, func(t *rapid.T) {
		want := token{caller: rapid.Uint32().Draw(t, "caller"), near: drawHop(t), far: drawHop(t)}
		user := s.seal(want, "call")
		if strings.ContainsAny(user, "@;:/?&=+$, ") {
			t.Fatalf("user part %q needs escapes", user)
		}
		got, found, ok := s.open(user, "call")
		if !found || !ok || got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		if _, _, ok := s.open(user, "another"); ok {
			t.Fatal("good for another dialog")
		}
	})
}

func drawHop(t *rapid.T) location.Hop {
	addr := func(name string) netip.AddrPort {
		b := rapid.SampledFrom([][]byte{{192, 0, 2, 1}, {0x20, 1, 13: 0, 15: 1}}).Draw(t, name)
		ip, _ := netip.AddrFromSlice(b)
		return netip.AddrPortFrom(ip, rapid.Uint16().Draw(t, name))
	}
	switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); kind {
	case 0:
		return location.Hop{}
	case 1:
		return location.Hop{Node: rapid.StringMatching(`[A-Za-z0-9/+~]{1,255}`).Draw(t, "node")}
	case 2:
		return location.Hop{Transport: "UDP", Local: addr("local")}
	default:
		return location.Hop{Transport: []string{3: "TCP", 4: "TLS"}[kind], Remote: addr("remote"), Local: addr("local"), Flow: rapid.Uint64().Draw(t, "flow")}
	}
}

// FuzzToken reads what anybody may write into a Route; and bodies with a good MAC, whatever is in them.
func FuzzToken(f *testing.F) {
	s := newSealer([]byte("secret"))
	f.Add(s.seal(token{near: bob, far: location.Hop{Node: "n"}}, "call"), []byte{})
	f.Add("rr.", []byte{0, 0, 0, 0, 4})
	f.Add("x", []byte{0, 0, 0, 0, 2, 4, 1, 2, 3, 4, 0, 1, 0, 1, 1, 'x'})
	f.Fuzz(func(t *testing.T, user string, body []byte) {
		_, _, _ = s.open(user, "call")
		mac := s.code.Of(body, "call")
		signed := tokenPrefix + base64.RawURLEncoding.EncodeToString(append(body[:len(body):len(body)], mac[:tokenMAC]...))
		if tok, _, ok := s.open(signed, "call"); ok {
			if again, _, ok := s.open(s.seal(tok, "call"), "call"); !ok || again != tok {
				t.Fatalf("%+v became %+v", tok, again)
			}
		}
	})
}
