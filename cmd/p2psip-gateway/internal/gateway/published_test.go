package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// withPBX has a gateway publish ranges of a PBX.
func withPBX(c *Config, ranges ...Dial) {
	var pbx TrunkConfig
	pbx.defaults()
	pbx.Targets = List{"sip:127.0.0.1:9"}
	c.Trunks, c.Routes = map[string]TrunkConfig{"pbx": pbx}, nil
	for _, r := range ranges {
		c.Routes = append(c.Routes, RouteConfig{Match: r, To: DialList{"pbx"}, Publish: true})
	}
}

// ranged is a ring in which ranges like 2xx and +49301234* are looked for.
func ranged(t testing.TB, n int, edit func(k int, o *Options)) []*Gateway {
	t.Helper()
	return ringOf(t, n, 3, func(k int, o *Options) {
		doc := *o.Overlay
		for _, name := range []location.AOR{"2xx@", "+49301234*@"} {
			r, _ := sipusage.RangeOf(name)
			doc.Ranges = append(doc.Ranges, r.Shape())
		}
		o.Overlay = &doc
		o.Config.SIP.QueueDelay = 0 // how busy this machine is, is not the question
		edit(k, o)
	})
}

func user(name string) location.AOR { return location.AOR(name + "@" + testDomain) }

// leads reports whether g finds number under the name of a range at owner.
func leads(g, owner *Gateway, number, name string) error {
	got, err := g.usage.Remote(context.Background(), user(number))
	want := []location.Remote{{Node: sipusage.NodeGR(owner.peer.NodeID()), Range: user(name)}}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		g.usage.Invalidate(user(number))
		return errors.Join(err, errors.New(d))
	}
	return nil
}

// fetches is how many Fetches a gateway has sent, or answered itself.
func fetches(g *Gateway) (n uint64) {
	for key, count := range g.peer.Stats().Requests {
		if key.Method == "fetch" {
			n += count
		}
	}
	return n
}

// TestARangeIsOneRecordFoundFromEveryGateway: the gateway of a PBX publishes two ranges. Each is one record, and a gateway that asks for their numbers finds
// them with one Fetch for each number, besides the ranges, and none when it asks again.
//
// Feature: TRK-02
func TestARangeIsOneRecordFoundFromEveryGateway(t *testing.T) {
	gs := ranged(t, 4, func(k int, o *Options) {
		if k == 2 {
			withPBX(&o.Config, "2xx", "+49301234*")
		}
	})
	eventually(t, "the ranges", func() error {
		return errors.Join(leads(gs[0], gs[2], "231", "2xx"), leads(gs[0], gs[2], "+4930123456", "+49301234*"))
	})
	const many = 1000
	ask := func() (took uint64) {
		before := fetches(gs[0])
		for i := range many {
			if got, err := gs[0].usage.Remote(t.Context(), user(fmt.Sprintf("+49301234%04d", i))); err != nil || len(got) != 1 {
				t.Fatal(got, err)
			}
		}
		return fetches(gs[0]) - before
	}
	begin := time.Now()
	cold := ask()
	took := time.Since(begin)
	if cold > many+10 { // the range itself is asked for again when this takes long
		t.Errorf("%d fetches for %d numbers", cold, many)
	}
	if again := ask(); again > cold/2 && time.Since(begin) < 4*time.Second {
		t.Errorf("%d fetches for numbers that are known", again)
	}
	t.Logf("%d numbers cold: %d fetches in %v", many, cold, took)
	stored := 0
	for _, g := range gs {
		stored += g.peer.Status().Stored[wire.KindSIPRegistration]
	}
	if stored > 2*len(gs) { // two ranges, and their copies
		t.Errorf("%d records of registrations in the overlay", stored)
	}
	r, err := gs[1].lookup(t.Context(), user("+493012349999"))
	if err != nil || !r.Found || r.Range != string(user("+49301234*")) || len(r.Records) != 1 || r.Records[0].Signer != r.Range {
		t.Errorf("%+v %v", r, err)
	}
	eventually(t, "the answers to the Stores", func() error { // they may come later than others find what was stored
		if d := cmp.Diff([]PublishedReport{{AOR: string(user("+49301234*")), State: "stored"}, {AOR: string(user("2xx")), State: "stored"}}, gs[2].status().Published); d != "" {
			return errors.New(d)
		}
		return nil
	})
}

// TestARouteThatGoesAwayTakesItsNumbersAlong: by a reload, and at an orderly stop.
//
// Feature: TRK-02
func TestARouteThatGoesAwayTakesItsNumbersAlong(t *testing.T) {
	gs := ranged(t, 3, func(k int, o *Options) {
		if k == 2 {
			withPBX(&o.Config, "2xx", "+49301234*")
		}
	})
	gone := func(name string) {
		t.Helper()
		eventually(t, name+" to be gone", func() error {
			if r, err := gs[0].lookup(t.Context(), user(name)); err != nil || r.Found {
				return fmt.Errorf("%+v %w", r.Records, err)
			}
			return nil
		})
	}
	for _, name := range []string{"2xx", "+49301234*"} {
		eventually(t, name, func() error { return found(gs[0], name, gs[2]) })
	}
	reroute(t, gs[2], func(c *Config) { withPBX(c, "2xx") })
	gone("+49301234*")
	if err := found(gs[0], "2xx", gs[2]); err != nil {
		t.Error(err)
	}
	gs[2].Drain()
	gone("2xx")
}

// reroute puts other trunks and routes in force, as a reload does.
func reroute(t testing.TB, g *Gateway, edit func(*Config)) {
	t.Helper()
	next := *g.inForce()
	edit(&next.config)
	var err error
	if next.plan, err = next.config.plan(); err != nil {
		t.Fatal(err)
	}
	next.over = make(chan struct{})
	g.apply(&next)
}

// without is a keyring that has no certificates of number ranges.
type without struct{ Keyring }

func (k without) Signer(aor string) (*trust.Signer, error) {
	if _, ok := sipusage.RangeOf(location.AOR(aor)); ok {
		return nil, identity.ErrNoCertificate
	}
	return k.Keyring.Signer(aor)
}

// TestARangeWithoutACertificateIsNotPublished: status and log say so, with a code; and what another certificate signs the responsible peer refuses.
//
// Feature: TRK-02
func TestARangeWithoutACertificateIsNotPublished(t *testing.T) {
	lines := &kept{}
	gs := ranged(t, 3, func(k int, o *Options) {
		if k == 2 {
			withPBX(&o.Config, "2xx", "3*")
			o.Keyring, o.Log = without{o.Keyring}, zerolog.New(lines)
		}
	})
	eventually(t, "the outcome", func() error {
		if p := gs[2].status().Published; len(p) != 2 || p[0].State != "no certificate" || p[0].Code != "E0112" || p[1].State != "no certificate" {
			return fmt.Errorf("%+v", p)
		}
		return nil
	})
	if d := cmp.Diff(gs[2].status().Published, gs[2].trunkReports().Published); d != "" {
		t.Errorf("trunk ls: %s", d)
	}
	lines.says(t, `"code":"E0112","aor":"2xx@`+testDomain+`"`)
	lines.says(t, `"code":"E0113","aor":"3*@`+testDomain+`"`)
	for _, aor := range []string{"2xx", "3*"} {
		if r, err := gs[0].lookup(t.Context(), user(aor)); err != nil || r.Found {
			t.Errorf("%s: %+v %v", aor, r, err)
		}
	}
	by, err := gs[2].o.Keyring.Signer(string(user("1001")))
	if err != nil {
		t.Fatal(err)
	}
	self := gs[2].peer.NodeID()
	reg := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(self))}
	value := wire.StoredValue{Model: wire.Dictionary, Key: string(self.Bytes()), Exists: true, Data: reg.AppendTo(nil)}
	_, err = gs[2].peer.Store(t.Context(), by, wire.ResourceIDOf(string(user("2xx"))), wire.KindSIPRegistration, value, time.Now(), time.Hour)
	var refused *overlay.RemoteError
	if !errors.As(err, &refused) || refused.Code != wire.ErrorForbidden {
		t.Errorf("a range under the certificate of 1001: %v", err)
	}
}

// TestAPhoneThatGoesLeavesTheNumberOfARoute: a number that a route publishes may be a user's, too.
func TestAPhoneThatGoesLeavesTheNumberOfARoute(t *testing.T) {
	gs := ranged(t, 2, func(k int, o *Options) {
		if k == 1 {
			withPBX(&o.Config, "1001")
		}
	})
	eventually(t, "the number", func() error { return found(gs[0], "1001", gs[1]) })
	p := newPhone(t, "1001", gs[1])
	for _, expires := range []int{300, 0} {
		if res := p.register(expires); res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
	}
	if err := found(gs[0], "1001", gs[1]); err != nil || gs[1].publisher.State(user("1001")) == "" {
		t.Error(err, gs[1].publisher.State(user("1001")))
	}
}

func TestNamesUnderWhichRoutesPublish(t *testing.T) {
	for pattern, want := range map[string]location.AOR{"2xx": "2xx@d", "2XX": "2xx@d", "+49301234*": "+49301234*@d", "112": "112@d", "bob": "bob@d",
		"*": "", "*98*": "", "al*": "", "2xx@other.example": ""} {
		p, err := trunk.ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := PublishedName(p, "d"); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %s %v", pattern, got, ok)
		}
	}
	c := DefaultConfig()
	withPBX(&c, "*")
	if _, err := c.plan(); err == nil || !strings.Contains(err.Error(), "routes[0].publish") {
		t.Error(err)
	}
}
