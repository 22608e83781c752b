package proxy

import (
	"net/netip"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// inNetwork is a test of sources.
func inNetwork(prefix string) func(location.Hop) bool {
	p := netip.MustParsePrefix(prefix)
	return func(h location.Hop) bool { return p.Contains(h.Remote.Addr()) }
}

// A callee that challenges the caller would get a hash of the caller's password.
//
// Feature: SEC-08
func TestRFC3261_22_ChallengesOfStrangersAreWithheld(t *testing.T) {
	const ours, theirs = `Digest realm="example.org"`, `Digest realm="pbx.example"`
	trusts := func(prefix string) func(*Config) { return func(c *Config) { c.Trusted = inNetwork(prefix) } }
	for _, c := range []struct {
		name   string
		change func(*Config)
		status int
		www    []string
		want   int
		kept   []string
	}{
		{"our own realm", nil, 401, []string{ours}, 403, nil},
		{"another realm", nil, 407, []string{theirs}, 403, nil},
		{"no realm", nil, 401, []string{"Basic"}, 403, nil},
		{"no challenge at all", nil, 401, nil, 403, nil},
		{"a realm that is allowed", func(c *Config) { c.Realms = []string{"pbx.example"} }, 401, []string{theirs, ours}, 401, []string{theirs}},
		{"ours behind one that is allowed", func(c *Config) { c.Realms = []string{"pbx.example"} }, 401, []string{theirs + ", " + ours}, 403, nil},
		{"our own realm is never allowed", func(c *Config) { c.Realms = []string{"example.org"} }, 401, []string{ours}, 403, nil},
		{"a trusted address", trusts("203.0.113.0/24"), 401, []string{theirs}, 401, []string{theirs}},
		{"for a trusted sender", trusts("198.51.100.0/24"), 401, []string{theirs}, 401, []string{theirs}},
		{"another status", nil, 486, []string{theirs}, 486, []string{theirs}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, 1, c.change)
			g.cached["bob@example.org"] = nil
			g.register("bob", "sip:bob@203.0.113.1", udp("203.0.113.1:5060"))
			x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
			var fields []string
			for _, v := range c.www {
				fields = append(fields, "WWW-Authenticate: "+v)
			}
			g.branches(1)[0].answer(c.status, fields...)
			wantStatuses(t, x, c.want)
			wantValues(t, x.last(t), message.WWWAuthenticate, c.kept...)
			g.wantIdle()
		})
	}
}

// Within a dialog, and at the gateway of the callee too, where nobody knows the caller.
//
// Feature: SEC-08
func TestChallengesAreWithheldAtEachGateway(t *testing.T) {
	a, b := newGateway(t, 1, nil), newGateway(t, 2, nil)
	join(a, b)
	a.cached["bob@example.org"] = []location.Remote{{Node: b.node}}
	b.register("bob", "sip:bob@203.0.113.1", udp("203.0.113.1:5060"))
	x := a.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	b.branches(1)[0].answer(401, `WWW-Authenticate: Digest realm="example.org"`)
	wantStatuses(t, x, 403)
	if w := x.last(t).Get(message.Warning); w != `399 p2psip "PRX403C the called side asks for credentials that are not for it"` {
		t.Errorf("Warning %q", w)
	}
}

// A stranger cannot find out which users exist; phones, trusted networks and gateways are told what is the matter.
//
// Feature: SEC-09
func TestStrangersAreAnsweredAlikeForUsersThatExistAndThatDoNot(t *testing.T) {
	for _, c := range []struct {
		name    string
		from    string
		src     location.Hop
		unknown int
	}{
		{"a stranger", "sip:x@elsewhere.example", udp("203.0.113.66:5060"), 480},
		{"a stranger in our network", "sip:x@elsewhere.example", udp("10.0.0.1:5060"), 404},
		{"a phone of ours", aliceURI, udp("203.0.113.1:5060"), 404},
		{"another gateway", "sip:x@elsewhere.example", location.Hop{Node: "other"}, 480},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, 1, func(c *Config) { c.Outside = inNetwork("203.0.113.0/24") })
			g.register("alice", "sip:alice@203.0.113.1", udp("203.0.113.1:5060"))
			g.users["idle@example.org"] = true
			g.cached["idle@example.org"], g.cached["nobody@example.org"] = nil, nil
			for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE"} {
				idle := g.receive(request(t, method, "sip:idle@example.org", c.from), c.src)
				nobody := g.receive(request(t, method, "sip:nobody@example.org", c.from), c.src)
				wantStatuses(t, idle, 480)
				wantStatuses(t, nobody, c.unknown)
				if a, b := idle.last(t).Get(message.Warning), nobody.last(t).Get(message.Warning); (a == b) != (c.unknown == 480) {
					t.Errorf("%s: %q, %q", method, a, b)
				}
			}
		})
	}
}
