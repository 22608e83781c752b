package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// diverting is a gateway where forwardings are set: "a b" is one from a to b, users of the domain unless there is an @.
func diverting(t *testing.T, n int, pairs ...string) *gateway {
	set := map[location.AOR]string{}
	for _, p := range pairs {
		from, to, _ := strings.Cut(p, " ")
		if !strings.Contains(to, "@") {
			to += "@" + domain
		}
		set[location.AOR(from+"@"+domain)] = "sip:" + to
	}
	g := newGateway(t, n, func(c *Config) {
		c.History = true
		c.Forward = func(aor location.AOR) (string, bool) { uri, ok := set[aor]; return uri, ok }
	})
	g.remote = func(context.Context, location.AOR) ([]location.Remote, error) { return nil, nil }
	g.register("bob", bobPhone, bob)
	return g
}

// receiveLater is receive for what has to wait for lookups.
func (g *gateway) receiveLater(req *message.Message, hop location.Hop) *fakeTx {
	x := g.receive(req, hop)
	wait()
	return x
}

func uris(bs []*sent) (out []string) {
	for _, s := range bs {
		out = append(out, s.req.RequestURI)
	}
	slices.Sort(out)
	return out
}

// Who has calls forwarded is not rung here, but at other gateways, which have entries of their own; the one who is named is, wherever that is.
//
// Feature: PRX-32
func TestRFC7904_3_1_AForwardingReplacesThePhonesOfThisGateway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			set    []string
			cached map[location.AOR][]location.Remote
			want   []string
		}{
			"somebody here":     {[]string{"alice bob"}, nil, []string{bobPhone}},
			"somebody there":    {[]string{"alice carol"}, map[location.AOR][]location.Remote{"carol@example.org": {{Node: "far"}}}, []string{"sip:carol@example.org"}},
			"outside":           {[]string{"alice x@192.0.2.77"}, nil, []string{"sip:x@192.0.2.77"}},
			"and other entries": {[]string{"alice bob"}, map[location.AOR][]location.Remote{"alice@example.org": {{Node: "far"}}}, []string{bobPhone, "sip:alice@example.org"}},
			"in the record too": {[]string{"alice bob"}, map[location.AOR][]location.Remote{"alice@example.org": {{URI: bobURI, Depth: 1}}}, []string{bobPhone}},
			"five in a row":     {[]string{"alice b", "b c", "c d", "d e", "e bob"}, nil, []string{bobPhone}},
		} {
			g := diverting(t, 1, c.set...)
			g.register("alice", "sip:alice@203.0.113.20:5060", udp("203.0.113.20:5060"))
			for aor, r := range c.cached {
				g.cached[aor] = r
			}
			g.receiveLater(request(t, "INVITE", aliceURI, "sip:dave@example.net"), udp("198.51.100.9:5060"))
			slices.Sort(c.want)
			if got := uris(g.branches(len(c.want))); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
	})
}

// Feature: PRX-32
func TestForwardingsThatLeadNowhereAreNamed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, c := range []struct {
			set    []string
			remote error // of the overlay, for alice
			more   location.Remote
			status int
			code   string
		}{
			{[]string{"alice b", "b alice"}, nil, location.Remote{}, 482, "PRX482F"},
			{[]string{"alice alice"}, nil, location.Remote{}, 482, "PRX482F"},
			{nil, location.ErrForwardLoop, location.Remote{}, 482, "PRX482F"},
			{[]string{"alice b", "b c", "c d", "d e", "e f", "f bob"}, nil, location.Remote{}, 480, "PRX480D"},
			{[]string{"alice b"}, nil, location.Remote{URI: bobURI, Depth: 5}, 480, "PRX480D"}, // what b forwards to
			{nil, location.ErrForwardDepth, location.Remote{}, 480, "PRX480D"},
			{[]string{"alice b"}, nil, location.Remote{}, 480, "PRX480"},
			{[]string{"alice b"}, location.ErrUnavailable, location.Remote{}, 504, "PRX504"},
		} {
			g := diverting(t, 1, c.set...)
			g.users["alice@example.org"] = true
			g.remote = func(_ context.Context, aor location.AOR) ([]location.Remote, error) {
				switch {
				case aor == "alice@example.org" && c.remote != nil:
					return nil, fmt.Errorf("overlay: %w", c.remote)
				case aor == "b@example.org" && c.more.URI != "":
					return []location.Remote{c.more}, nil
				}
				return nil, nil
			}
			x := g.receiveLater(request(t, "INVITE", aliceURI, "sip:dave@example.net"), udp("198.51.100.9:5060"))
			g.branches(0)
			if res := x.last(t); res.StatusCode != c.status || !strings.Contains(res.Get(message.Warning), c.code+":") && !strings.Contains(res.Get(message.Warning), c.code+" ") {
				t.Errorf("%v, %v: %d, Warning %q; want %d %s", c.set, c.remote, res.StatusCode, res.Get(message.Warning), c.status, c.code)
			}
			g.wantIdle()
		}
	})
}

// A gateway that does not know of the forwarding yet sends the call here, and it goes on from here; the same one that comes back is a loop.
//
// Feature: PRX-32
func TestWhatCameOverTheOverlayIsForwardedToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		near, home := newGateway(t, 1, nil), diverting(t, 2, "alice carol")
		join(near, home)
		near.cached["alice@example.org"] = []location.Remote{{Node: home.node}}
		home.cached["carol@example.org"] = []location.Remote{{Node: "far"}}
		near.receive(request(t, "INVITE", aliceURI, "sip:dave@example.net"), udp("198.51.100.9:5060"))
		s := home.branches(1)[0]
		if s.hop.Node != "far" || s.req.RequestURI != "sip:carol@example.org" {
			t.Errorf("%s to %v", s.req.RequestURI, s.hop)
		}
		// Both of its neighbours are gateways: the one Record-Route value carries the way to either side of the dialog.
		inside := request(t, "BYE", "sip:carol@203.0.113.30", "sip:dave@example.net", "Route: "+s.req.Get(message.RecordRoute))
		inside.Set(message.To, "<"+aliceURI+">;tag=callee")
		home.p.Request(&fakeTx{req: inside, src: location.Hop{Node: near.node}})
		if b := home.branches(2)[1]; b.hop.Node != "far" || b.req.RequestURI != "sip:carol@203.0.113.30" {
			t.Errorf("BYE to %v", b.hop)
		}
		home.p.Request(&fakeTx{req: s.req.Clone(), src: location.Hop{Node: "far"}}) // as if carol's gateway had sent it back
		home.branches(2)

		back := diverting(t, 3, "carol alice")
		join(home, back)
		home.cached["carol@example.org"] = []location.Remote{{Node: back.node}}
		back.cached["alice@example.org"] = []location.Remote{{Node: home.node}}
		x := home.receiveLater(request(t, "INVITE", aliceURI, "sip:erin@example.net"), udp("198.51.100.9:5060"))
		wantStatuses(t, x, 482)
		if n := len(home.sent) + len(back.sent); n > 5 {
			t.Errorf("%d requests went round", n)
		}
	})
}

// RFC 5627 §6.1: "forwarding services [..] SHOULD NOT be provided for requests sent to a GRUU".
//
// Feature: REG-19 PRX-32
func TestRFC5627_6_1_ACallForADeviceIsNotForwarded(t *testing.T) {
	g := withDevices(t, 1)
	g.p.c.Forward = func(location.AOR) (string, bool) { return "sip:carol@example.org", true }
	g.receive(request(t, "INVITE", "sip:bob@example.org;gr="+deskID, aliceURI), alice)
	if s := g.branches(1)[0]; s.hop.Node != "" || s.req.RequestURI == "sip:carol@example.org" {
		t.Errorf("%s to %v", s.req.RequestURI, s.hop)
	}
}

// Feature: PRX-32 PRX-35
func TestRFC7044_HistoryOfAForwarding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for to, want := range map[string][]string{
			"bob":         {"<" + aliceURI + ">;index=1", "<" + bobURI + ">;index=1.1;mp=1", "<" + bobPhone + ">;index=1.1.1;rc=1.1"},
			"carol":       {"<" + aliceURI + ">;index=1", "<sip:carol@example.org>;index=1.1;mp=1"},
			"x@192.0.2.7": {"<" + aliceURI + ">;index=1", "<sip:x@192.0.2.7>;index=1.1;mp=1"},
		} {
			g := diverting(t, 1, "alice "+to)
			g.cached["carol@example.org"] = []location.Remote{{Node: "far"}}
			g.receiveLater(request(t, "INVITE", aliceURI, "sip:dave@example.net"), udp("198.51.100.9:5060"))
			wantHistory(t, g.branches(1)[0].req, want...)
		}
	})
}

func TestAstrayIsForwardingsOnly(t *testing.T) {
	c := &call{}
	if c.astray(errors.New("other")) || c.astray(location.ErrUnavailable) || c.lost != fine {
		t.Error("a lookup that failed is no forwarding that leads nowhere")
	}
}
