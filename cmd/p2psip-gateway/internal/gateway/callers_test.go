package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// honestAndNot are three gateways: 1001 is registered at the first, 1002 at the second, and the third believes whatever phones on loopback say.
// lines is the log of the second, whose configuration may be edited.
func honestAndNot(t testing.TB, edit func(*Config)) (gs []*Gateway, alice, bob, mallory *phone, lines *kept) {
	t.Helper()
	lines = &kept{}
	gs = ringOf(t, 3, 2, func(k int, o *Options) {
		switch k {
		case 1:
			o.Log = zerolog.New(lines).Level(zerolog.DebugLevel)
			edit(&o.Config)
		case 2:
			o.Config.Security.Trusted, o.Config.Security.TrustedIdentity = List{"127.0.0.0/8"}, true
		}
	})
	alice, bob, mallory = newPhone(t, "1001", gs[0]), newPhone(t, "1002", gs[1]), newPhone(t, "1001", gs[2])
	for i, p := range []*phone{alice, bob} {
		if res := p.register(300); res.StatusCode != 200 {
			t.Fatalf("REGISTER of %s: %d", p.user, res.StatusCode)
		}
		for _, g := range gs {
			eventually(t, "the record of "+p.user, func() error { return found(g, p.user, gs[i]) })
		}
	}
	return gs, alice, bob, mallory, lines
}

// proofs is how often a gateway has asked the overlay about callers.
func proofs(g *Gateway) uint64 { return g.proxy.Stats().Proofs }

const external = "<urn:alert:source:external>"

// arrives takes the INVITE of a call that a has begun, and what it says of the caller.
func (p *phone) arrives(a *leg) (asserted, alert string) {
	p.t.Helper()
	m, _ := p.take("INVITE", 486)
	a.response(486)
	a.request("ACK")
	return strings.Join(m.Values(message.PAssertedIdentity), ","), m.Other("Alert-Info")
}

func wantCaller(t *testing.T, a *leg, bob *phone, asserted, alert string) {
	t.Helper()
	if got, rings := bob.arrives(a); got != asserted || rings != alert {
		t.Errorf("arrived with P-Asserted-Identity %q and Alert-Info %q", got, rings)
	}
}

// says waits until the log has text.
func (k *kept) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, text+" in the log", func() error {
		if !strings.Contains(k.String(), text) {
			return errors.New(k.String())
		}
		return nil
	})
}

func TestRFC3325_AForgedCallerOfAnotherGatewayIsMarkedAndAnHonestOneIsVerified(t *testing.T) {
	gs, alice, bob, mallory, lines := honestAndNot(t, func(*Config) {})
	const me = "<sip:1001@" + testDomain + ">"
	begin, late := time.Now(), uint64(0)
	eventually(t, "an honest call", func() error { // on a machine that is slower than checkWait the first one is not proven
		if got, _ := bob.arrives(alice.start("INVITE", "1002", "P-Asserted-Identity: <sip:boss@"+testDomain+">")); got != me {
			late++
			return errors.New("not proven")
		}
		return nil
	})
	first, took := proofs(gs[1]), time.Since(begin)
	if first > 1+late { // none when the record stands at this gateway itself
		t.Errorf("the overlay was asked %d times for the first call", first)
	}
	begin = time.Now()
	wantCaller(t, alice.start("INVITE", "1002"), bob, me, "")
	t.Logf("first call %v, the overlay asked %d times; second %v", took, first, time.Since(begin))
	if n := proofs(gs[1]) - first; n != 0 {
		t.Errorf("the overlay was asked %d times for the second call", n)
	}
	wantCaller(t, alice.start("INVITE", "1002", "Privacy: id"), bob, "", "")
	lines.says(t, `"caller":"verified"`)

	wantCaller(t, mallory.start("INVITE", "1002"), bob, "", external)
	wantCaller(t, mallory.start("INVITE", "1002", "P-Asserted-Identity: "+me), bob, "", external)
	lines.says(t, codeCaller)
	m := mallory.start("MESSAGE", "1002", "P-Asserted-Identity: "+me, "Content-Type: text/plain", "", "send money")
	if got, _ := bob.take("MESSAGE", 200); got.Has(message.PAssertedIdentity) {
		t.Errorf("MESSAGE with %q", got.Get(message.PAssertedIdentity))
	}
	m.response(200)
	if got := gs[1].verdicts(); got["verified"] != 3 || got["unverified"] != 3+late {
		t.Errorf("counted %v", got)
	}
}

func TestAForgedCallerOfAnotherGatewayIsRefusedWhenThatIsAskedFor(t *testing.T) {
	gs, alice, bob, mallory, _ := honestAndNot(t, func(c *Config) { c.Security.ForgedFrom = forgedRefuse })
	for i, want := range []location.Holding{location.Held, location.HeldByOthers, location.HeldByOthers} { // what is known already is not late
		if holds, err := gs[1].usage.Holds(t.Context(), sipusage.NodeGR(gs[i].peer.NodeID()), location.AOR("1001@"+testDomain)); err != nil || holds != want {
			t.Fatalf("gateway %d: %v, %v", i, holds, err)
		}
	}
	for _, lines := range [][]string{nil, {"P-Asserted-Identity: <sip:1001@" + testDomain + ">"}} {
		a := mallory.start("INVITE", "1002", lines...)
		if res := a.response(403); !strings.Contains(res.Get(message.Warning), "PRX403F") {
			t.Errorf("Warning: %q", res.Get(message.Warning))
		}
		a.request("ACK")
	}
	wantCaller(t, alice.start("INVITE", "1002"), bob, "<sip:1001@"+testDomain+">", "")
}

// TestTheCallerOfATrunkBehindAnotherGateway: a number of the range that its gateway publishes is verified, one from outside is nobody's, and one that
// somebody else has is forged.
func TestTheCallerOfATrunkBehindAnotherGateway(t *testing.T) {
	gs := ranged(t, 3, func(int, *Options) {})
	alice, other, pbx := newPhone(t, "1001", gs[0]), newPhone(t, "1003", gs[1]), newPhone(t, "231", gs[2])
	for _, p := range []*phone{alice, other} {
		if res := p.register(300); res.StatusCode != 200 {
			t.Fatalf("REGISTER of %s: %d", p.user, res.StatusCode)
		}
	}
	reroute(t, gs[2], func(c *Config) {
		withPBX(c, "2xx")
		trunk := c.Trunks["pbx"]
		trunk.AcceptFrom, trunk.TrustIdentity = List{"127.0.0.1"}, true
		c.Trunks["pbx"] = trunk
	})
	eventually(t, "the range", func() error { return leads(gs[0], gs[2], "231", "2xx") })
	eventually(t, "the record of 1003", func() error { return found(gs[0], "1003", gs[1]) })
	for _, c := range []struct{ user, asserted, alert string }{
		{"231", addressOf("231"), ""}, {"+4989123", "", ""}, {"1003", "", external},
	} {
		pbx.user = c.user
		eventually(t, c.user, func() error { // late on a machine that is slower than the wait for a proof
			if got, alert := alice.arrives(pbx.start("INVITE", "1001", "P-Asserted-Identity: "+addressOf(c.user))); got != c.asserted || alert != c.alert {
				return fmt.Errorf("P-Asserted-Identity %q, Alert-Info %q", got, alert)
			}
			return nil
		})
	}
}
