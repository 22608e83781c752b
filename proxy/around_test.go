package proxy

import (
	"context"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// Ways by which somebody could call over a trunk without being asked who it is, or without being counted: none of them leads there.
//
// Feature: TRK-12
func TestNoWayAroundTheRoutes(t *testing.T) {
	stranger, gateway2 := udp("203.0.113.5:5060"), location.Hop{Node: "far"}
	const anybody, toProvider = "sip:x@anywhere.example", "Route: <sip:192.0.2.200;lr>"
	for name, c := range map[string]struct {
		src    location.Hop
		from   string
		uri    string
		fields []string
		status int
		word   string
	}{
		"a user, the address of the provider":       {alice, aliceURI, "sip:+1900@192.0.2.200", nil, 403, "TRK403R"},
		"a user, another port there":                {alice, aliceURI, "sip:+1900@192.0.2.200:5070", nil, 403, "TRK403R"},
		"a user, by maddr":                          {alice, aliceURI, "sip:0900@example.org;maddr=192.0.2.200", nil, 403, "TRK403R"},
		"a user, by Route":                          {alice, aliceURI, "sip:+1900@example.org", []string{toProvider}, 403, "TRK403R"},
		"a user, by the name of the provider":       {alice, aliceURI, "sip:+1900@sip.itsp.example", nil, 403, "TRK403R"},
		"the PBX, the address of the provider":      {pbx, "sip:231@192.0.2.109", "sip:+1900@192.0.2.200", nil, 403, "TRK403R"},
		"a user, as if within a dialog":             {alice, aliceURI, "sip:0900@example.org", []string{"To: <sip:0900@example.org>;tag=x"}, 404, "PRX404"},
		"a user, there as if within a dialog":       {alice, aliceURI, "sip:+1900@192.0.2.200", []string{"To: <sip:x@192.0.2.200>;tag=x"}, 403, "TRK403R"},
		"a stranger, by Route":                      {stranger, anybody, "sip:0900@example.org", []string{toProvider}, 403, "PRX403R"},
		"a stranger, the address of the provider":   {stranger, anybody, "sip:+1900@192.0.2.200", nil, 403, "PRX403R"},
		"a stranger, the account":                   {stranger, anybody, "sip:0900@example.org;account=itsp", nil, 403, "TRK403A"},
		"another gateway, by Route":                 {gateway2, "sip:bob@example.org", "sip:0900@example.org", []string{toProvider}, 403, "PRX403R"},
		"another gateway, to the provider":          {gateway2, "sip:bob@example.org", "sip:+1900@192.0.2.200", nil, 403, "PRX403R"},
		"another gateway, by our GRUU":              {gateway2, "sip:bob@example.org", "sip:0900@example.org;gr=node1%2F+~", nil, 403, "TRK403U"},
		"another gateway, by the GRUU of a third":   {gateway2, "sip:bob@example.org", "sip:0900@example.org;gr=third", nil, 403, "PRX403R"},
		"another gateway, the account":              {gateway2, "sip:bob@example.org", "sip:0900@example.org;account=itsp", nil, 403, "TRK403U"},
		"another gateway, as if within a dialog":    {gateway2, "sip:bob@example.org", "sip:0900@example.org", []string{"To: <sip:0900@example.org>;tag=x"}, 480, ""},
		"another gateway, a user of another domain": {gateway2, "sip:bob@example.org", "sip:0900@branch.example", nil, 403, "TRK403U"},
	} {
		for _, method := range []string{"INVITE", "REFER", "MESSAGE"} {
			if c.word == "TRK403R" && strings.Contains(name, "within") && method != "INVITE" {
				continue // opens no call
			}
			t.Run(name+" "+method, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					x := withTrunks(t, func(c *trunk.Config) { c.Trunks[1].Domain = "sip.itsp.example" })
					x.dns[domain] = []location.Hop{itsp} // maddr
					x.dns["sip.itsp.example"] = []location.Hop{udp("192.0.2.222:5060")}
					req := request(t, method, c.uri, c.from)
					for _, f := range c.fields {
						name, value, _ := strings.Cut(f, ": ")
						req.Set(message.ParseName(name), value)
					}
					tx := x.receive(req, c.src)
					wait()
					if got := tx.last(t); got.StatusCode != c.status || !strings.Contains(got.Get(message.Warning), c.word) {
						t.Errorf("%d %q, want %d %s", got.StatusCode, got.Get(message.Warning), c.status, c.word)
					}
					x.branches(0)
					x.wantIdle()
				})
			})
		}
	}
}

// Who has calls forwarded over a trunk: a user of this gateway opens it, and pays; a record or a redirection that comes from elsewhere opens
// nothing for strangers.
//
// Feature: TRK-12
func TestForwardingsOverTrunks(t *testing.T) {
	stranger, gateway2 := udp("203.0.113.5:5060"), location.Hop{Node: "far"}
	const anybody = "sip:x@anywhere.example"
	for name, c := range map[string]struct {
		src     location.Hop
		from    string
		forward string // of bob, here
		record  string // of bob, in the overlay
		payer   location.AOR
		word    string
	}{
		"a user of this gateway":                    {alice, aliceURI, "sip:0301@example.org", "", "bob@example.org", ""},
		"for a stranger":                            {stranger, anybody, "sip:0301@example.org", "", "bob@example.org", ""},
		"for another gateway":                       {gateway2, "sip:carol@example.org", "sip:0301@example.org", "", "bob@example.org", ""},
		"to the address of the provider":            {alice, aliceURI, "sip:+1900@192.0.2.200", "", "", "TRK403R"},
		"to it, for a stranger":                     {stranger, anybody, "sip:+1900@192.0.2.200", "", "", "TRK403R"},
		"a user of another gateway":                 {alice, aliceURI, "", "sip:0301@example.org", "alice@example.org", ""},
		"a user of another gateway, for a stranger": {stranger, anybody, "", "sip:0301@example.org", "", "TRK403A"},
		"one to the address of the provider":        {alice, aliceURI, "", "sip:+1900@192.0.2.200", "", "TRK403R"},
		"one to it, for a stranger":                 {stranger, anybody, "", "sip:+1900@192.0.2.200", "", "TRK403R"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, func(c *trunk.Config) { c.Caps.Calls = 1 })
				x.p.c.Forward = func(aor location.AOR) (string, bool) { return c.forward, c.forward != "" && aor == "bob@example.org" }
				x.users["bob@example.org"] = true
				none := x.remote
				x.remote = func(ctx context.Context, aor location.AOR) ([]location.Remote, error) {
					if c.record != "" && aor == "bob@example.org" {
						return []location.Remote{{URI: c.record, Depth: 1}}, nil
					}
					return none(ctx, aor)
				}
				tx := x.calledBy(c.src, c.from, bobURI)
				if c.word != "" {
					wantRefusal(t, tx, 403, c.word)
					x.branches(0)
					return
				}
				wantHop(t, x.branches(1)[0], itsp)
				if why := x.service.Take("next", &sip.Way{Trunk: "itsp", Charge: c.payer}, &sip.Dialled{}); why == nil || why.Word != "TRK403C" {
					t.Errorf("%s does not pay", c.payer)
				}
			})
		})
	}
}

// What a redirection from another gateway leads to opens no trunk for strangers; a trunk may redirect to its own address.
func TestRedirectionsToTrunks(t *testing.T) {
	redirected := func(t *testing.T, src location.Hop, from, contact string, set func(*exchange)) (*exchange, *fakeTx) {
		x := withTrunks(t, nil)
		x.p.c.Recurse = true
		set(x)
		tx := x.calledBy(src, from, bobURI)
		res := x.branches(1)[0]
		res.answer(302, "Contact: <"+contact+">")
		wait()
		return x, tx
	}
	there := func(x *exchange) {
		x.cached["bob@example.org"] = []location.Remote{{Node: "far"}}
		x.users["bob@example.org"] = true
	}
	here := func(x *exchange) { x.register("bob", bobPhone, bob) }
	bubble(t, func(t *testing.T) {
		x, _ := redirected(t, udp("203.0.113.5:5060"), "sip:x@anywhere.example", "sip:0301@example.org", there)
		x.branches(1)
		x, _ = redirected(t, alice, aliceURI, "sip:0301@192.0.2.200", here)
		x.branches(1)
		x, _ = redirected(t, alice, aliceURI, "sip:0301@example.org", here)
		wantHop(t, x.branches(2)[1], itsp)
	})
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.p.c.Recurse = true
		x.dials("231")
		x.branches(1)[0].answer(302, "Contact: <sip:232@192.0.2.110>")
		wait()
		wantHop(t, x.branches(2)[1], pbx2)
	})
}

// What only gateways say to each other of accounts does not come from those in front of them.
func TestNobodyElseCallsOverAnAccount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.calledBy(udp("203.0.113.5:5060"), "sip:x@anywhere.example", "sip:0900@example.org;gr=far;account=itsp;emergency")
		if uri := x.branches(1)[0].req.RequestURI; strings.Contains(uri, "account") {
			t.Error(uri)
		}
		x.cached["299@example.org"] = []location.Remote{{Node: "far", Range: "29x@example.org"}}
		x.calledBy(alice, aliceURI, "sip:299@example.org;Account=itsp")
		if uri := x.branches(2)[1].req.RequestURI; strings.Contains(strings.ToLower(uri), "account") {
			t.Error(uri)
		}
	})
}

// A Call-ID that is used again is no way around the caps; what is no call takes no line.
func TestCallsAreCountedOneByOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.dials("0301")
		again := request(t, "INVITE", "sip:0302@"+domain, aliceURI)
		again.Set(message.CSeq, "2 INVITE")
		again.Set(message.From, "<"+aliceURI+">;tag=other")
		tx := x.receive(again, alice)
		wait()
		wantRefusal(t, tx, 482, "TRK482C")
		x.branches(1)[0].answer(486)
		again = again.Clone()
		again.Set(message.CSeq, "3 INVITE")
		x.receive(again, alice) // the first is over
		wait()
		x.branches(2)[1].answer(486)
	})
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		for _, method := range []string{"MESSAGE", "SUBSCRIBE", "OPTIONS"} {
			x.receive(request(t, method, "sip:231@"+domain, aliceURI), alice)
			wait()
		}
		for _, s := range x.branches(3) {
			s.answer(200)
		}
		if n := x.service.Lines("pbx"); n != 0 {
			t.Errorf("%d lines", n)
		}
	})
}
