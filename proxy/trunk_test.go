package proxy

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// Where the PBX and the provider of these tests are.
var (
	pbx  = udp("192.0.2.109:5060")
	pbx2 = udp("192.0.2.110:5060")
	itsp = udp("192.0.2.200:5060")
)

// exchange is a gateway with trunks.
type exchange struct {
	*gateway
	service *trunk.Service
	down    map[string]bool // targets
	plan    trunk.Config
	calls   int
}

// withTrunks is a gateway in front of a PBX with two targets, extensions 2xx and the block +4930123*, and of a provider, for numbers from 0 on
// and 112. change changes the plan.
func withTrunks(t testing.TB, change func(*trunk.Config)) *exchange {
	x := &exchange{down: map[string]bool{}}
	at := func(s string) netip.Prefix { return netip.MustParsePrefix(s + "/32") }
	x.plan = trunk.Config{Domain: domain, Caps: trunk.Caps{Calls: 4, Daily: 100},
		Trunks: []trunk.Trunk{
			{Name: "pbx", Targets: []trunk.Target{{URI: "sip:192.0.2.109", Weight: 1}, {URI: "sip:192.0.2.110", Weight: 1}}, Timeout: 4 * time.Second,
				AcceptFrom: []netip.Prefix{at("192.0.2.109"), at("192.0.2.110")}, TrustIdentity: true},
			{Name: "itsp", Targets: []trunk.Target{{URI: "sip:192.0.2.200", Weight: 1}}, Timeout: 4 * time.Second, AcceptFrom: []netip.Prefix{at("192.0.2.200")},
				Register: &trunk.RegisterConfig{User: "4930123", AuthUser: "4930123", Secret: "s", Realm: "itsp.example"}},
		},
		Routes: []trunk.Route{
			{Match: pattern(t, "2xx"), To: []string{"pbx"}, Publish: true},
			{Match: pattern(t, "+4930123*"), To: []string{"pbx"}, Publish: true},
			{Match: pattern(t, "112"), To: []string{"itsp"}, Emergency: true},
			{Match: pattern(t, "0*"), To: []string{"itsp"}, Change: trunk.Change{Strip: 1, Prepend: "+49"}, Require: trunk.RequireAuth},
			{Match: pattern(t, "*@branch.example"), To: []string{"pbx"}},
		}}
	if change != nil {
		change(&x.plan)
	}
	x.gateway = newGateway(t, 1, func(c *Config) {
		x.service = trunk.New(trunk.Options{Plan: trunk.NewPlan(x.plan), Conditions: x, Now: time.Now,
			Bindings: func(user string) []location.Binding { return x.bindings[location.AOR(user+"@"+domain)] },
			Answer: func(a *trunk.RegisterConfig, res *message.Message, method, uri string) (message.Name, string, error) {
				if !strings.Contains(res.Get(message.ProxyAuthenticate), a.Realm) {
					return 0, "", sip.ErrTransport
				}
				return message.ProxyAuthorization, "Digest for " + a.Realm + " " + method + " " + uri, nil
			}})
		c.Trunks = x.service
		c.Phones = func(h location.Hop) bool { return h == phoneHop }
		c.Identity.Assert = true
		c.RequireAuth = true
		c.Authenticator = noCredentials{}
	})
	x.remote = func(_ context.Context, aor location.AOR) ([]location.Remote, error) {
		if x.users[aor] {
			return nil, nil
		}
		return nil, location.ErrNotFound
	}
	x.register("alice", "sip:alice@198.51.100.1:5060", alice)
	return x
}

func pattern(t testing.TB, s string) trunk.Pattern {
	t.Helper()
	p, err := trunk.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (x *exchange) TargetDown(_, uri string) bool { return x.down[uri] }
func (x *exchange) HopDown(location.Hop) bool     { return false }

// noCredentials challenges everybody.
type noCredentials struct{}

func (noCredentials) Authenticate(*message.Message) (string, []string, bool) {
	return "", []string{`Digest realm="example.org", nonce="n"`}, false
}

var phoneHop = udp("198.51.100.7:5060")

// dials has alice, or from, call a user part, and returns what she got and what was sent.
func (x *exchange) dials(user string, fields ...string) *fakeTx {
	x.t.Helper()
	return x.calledBy(alice, aliceURI, "sip:"+user+"@"+domain, fields...)
}

// calledBy is a call with a Call-ID of its own, the first of which is that of request.
func (x *exchange) calledBy(src location.Hop, from, uri string, fields ...string) *fakeTx {
	x.t.Helper()
	x.calls++
	req := request(x.t, "INVITE", uri, from, fields...)
	req.Set(message.CallID, "c"+strconv.Itoa(x.calls)+"@example")
	tx := x.receive(req, src)
	wait()
	return tx
}

func wantRefusal(t testing.TB, tx *fakeTx, status int, word string) {
	t.Helper()
	res := tx.last(t)
	if res.StatusCode != status || !strings.Contains(res.Get(message.Warning), `"`+word+" ") {
		t.Errorf("%d %q, want %d %s", res.StatusCode, res.Get(message.Warning), status, word)
	}
}

// A user's own record comes before a range, the longest prefix before others, here and in the overlay; what nobody has is 404.
//
// Feature: TRK-01
func TestPrecedenceOfTrunks(t *testing.T) {
	ranged := func(name string) func(*exchange) {
		return func(x *exchange) {
			x.remote = func(context.Context, location.AOR) ([]location.Remote, error) {
				return []location.Remote{{Node: "far", Range: location.AOR(name + "@" + domain)}}, nil
			}
		}
	}
	for name, c := range map[string]struct {
		number string
		set    func(*exchange)
		uri    string // "": status
		node   string
		status int
	}{
		"the range":               {number: "231", uri: "sip:231@192.0.2.109"},
		"a direct number":         {number: "+493012345", uri: "sip:+493012345@192.0.2.109"},
		"outside":                 {number: "0301", uri: "sip:+49301@192.0.2.200"},
		"a phone of that number":  {number: "231", set: func(x *exchange) { x.register("231", "sip:231@198.51.100.9", udp("198.51.100.9:5060")) }, uri: "sip:231@198.51.100.9"},
		"a user who is not there": {number: "231", set: func(x *exchange) { x.users["231@example.org"] = true }, status: 480},
		"one at another gateway": {number: "231", set: func(x *exchange) {
			x.remote = func(context.Context, location.AOR) ([]location.Remote, error) {
				return []location.Remote{{Node: "far"}}, nil
			}
		}, uri: "sip:231@example.org", node: "far"},
		"one there that is known":   {number: "231", set: func(x *exchange) { x.cached["231@example.org"] = []location.Remote{{Node: "far"}} }, uri: "sip:231@example.org", node: "far"},
		"a longer range elsewhere":  {number: "231", set: ranged("23x"), uri: "sip:231@example.org", node: "far"},
		"a shorter range elsewhere": {number: "+493012345", set: ranged("+4930*"), uri: "sip:+493012345@192.0.2.109"},
		"the same range elsewhere":  {number: "231", set: ranged("2xx"), uri: "sip:231@192.0.2.109"},
		"nobody's, without an error": {number: "231", set: func(x *exchange) {
			x.remote = func(context.Context, location.AOR) ([]location.Remote, error) { return nil, nil }
		}, uri: "sip:231@192.0.2.109"},
		"the same, known":             {number: "231", set: func(x *exchange) { x.cached["231@example.org"] = nil }, uri: "sip:231@192.0.2.109"},
		"nobody":                      {number: "999", status: 404},
		"the overlay does not answer": {number: "231", set: func(x *exchange) { x.remote = hang }, uri: "sip:231@192.0.2.109"},
		"nor is there a route":        {number: "999", set: func(x *exchange) { x.remote = hang }, status: 504},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, nil)
				if c.set != nil {
					c.set(x)
				}
				tx := x.dials(c.number)
				pass(exactWait + time.Millisecond)
				if c.status != 0 {
					pass(lookupWait)
					wantStatuses(t, tx, c.status)
					return
				}
				s := x.branches(1)[0]
				if s.req.RequestURI != c.uri || s.hop.Node != c.node {
					t.Errorf("%s to %v, want %s", s.req.RequestURI, s.hop, c.uri)
				}
				s.answer(200)
				wantStatuses(t, tx, 200)
				x.wantIdle()
			})
		})
	}
}

// Trunks are closed to whoever did not prove who it is, and other gateways reach what is published only.
//
// Feature: TRK-12
func TestWhoMayUseTrunks(t *testing.T) {
	stranger, gateway2 := udp("203.0.113.5:5060"), location.Hop{Node: "far"}
	for name, c := range map[string]struct {
		src    location.Hop
		from   string
		number string
		change func(*trunk.Config)
		word   string // "": it goes
		status int
	}{
		"a user":                              {alice, aliceURI, "0301", nil, "", 0},
		"a stranger, to an extension":         {stranger, "sip:x@anywhere.example", "231", nil, "TRK403A", 403},
		"a stranger, outside":                 {stranger, "sip:x@anywhere.example", "0301", nil, "TRK403A", 403},
		"a stranger who says to be a user":    {stranger, aliceURI, "0301", nil, "PRX407", 407},
		"a stranger, where anybody may":       {stranger, "sip:x@anywhere.example", "231", func(c *trunk.Config) { c.Routes[0].Require = trunk.RequireNone }, "", 0},
		"another gateway, to an extension":    {gateway2, "sip:bob@example.org", "231", nil, "", 0},
		"another gateway, outside":            {gateway2, "sip:bob@example.org", "0301", nil, "TRK403U", 403},
		"another gateway, emergency":          {gateway2, "sip:bob@example.org", "112", nil, "TRK403U", 403},
		"another gateway, not proven":         {gateway2, "sip:bob@example.org", "231", func(c *trunk.Config) { c.Routes[0].Require = trunk.RequireAuth }, "TRK403A", 403},
		"the provider, to an extension":       {itsp, "sip:+33145@itsp.example", "+493012345", nil, "", 0},
		"the provider, back outside":          {itsp, "sip:+33145@itsp.example", "0301", nil, "TRK403A", 403},
		"the PBX, outside":                    {pbx, "sip:231@192.0.2.109", "0301", nil, "", 0},
		"the PBX, to itself":                  {pbx, "sip:231@192.0.2.109", "232", nil, "TRK482", 482},
		"a caller who is not on the list":     {alice, aliceURI, "0301", func(c *trunk.Config) { c.Routes[3].Allow = []trunk.Pattern{pattern(t, "1xx")} }, "TRK403L", 403},
		"a caller who is":                     {alice, aliceURI, "0301", func(c *trunk.Config) { c.Routes[3].Allow = []trunk.Pattern{pattern(t, "al*")} }, "", 0},
		"a number that may not be called":     {alice, aliceURI, "0900", func(c *trunk.Config) { c.Trunks[1].Prefixes = []trunk.Pattern{pattern(t, "+4930*")} }, "TRK403P", 403},
		"a number that may":                   {alice, aliceURI, "0301", func(c *trunk.Config) { c.Trunks[1].Prefixes = []trunk.Pattern{pattern(t, "+4930*")} }, "", 0},
		"nothing left of it":                  {alice, aliceURI, "0", func(c *trunk.Config) { c.Routes[3].Change = trunk.Change{Strip: 1} }, "TRK484", 484},
		"from elsewhere, as if from the PBX":  {stranger, "sip:231@192.0.2.109", "alice", nil, "TRK403S", 403},
		"with a header field of the PBX only": {stranger, "sip:x@anywhere.example", "alice", nil, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, c.change)
				tx := x.calledBy(c.src, c.from, "sip:"+c.number+"@"+domain)
				if c.word != "" {
					wantRefusal(t, tx, c.status, c.word)
					x.branches(0)
					x.wantIdle()
					return
				}
				x.branches(1)[0].answer(200)
				wantStatuses(t, tx, 200)
			})
		})
	}
}

// The next target has its turn when the first fails, not when somebody declined.
//
// Feature: TRK-10
func TestFailoverBetweenTargets(t *testing.T) {
	for _, c := range []struct {
		status int
		moves  bool
		alone  int // what the caller gets when both answer so
	}{
		{503, true, 503}, {408, true, 503}, {500, true, 500}, {502, true, 502}, {504, true, 504},
		{486, false, 486}, {603, false, 603}, {600, false, 600}, {404, false, 404}, {480, false, 480}, {403, false, 403}, {484, false, 484}, {501, false, 501}, {302, false, 302},
	} {
		bubble(t, func(t *testing.T) {
			x := withTrunks(t, nil)
			tx := x.dials("231")
			first := x.branches(1)[0]
			wantHop(t, first, pbx)
			first.answer(c.status)
			wait()
			if !c.moves {
				wantStatuses(t, tx, c.status)
				x.branches(1)
				return
			}
			second := x.branches(2)[1]
			wantHop(t, second, pbx2)
			second.answer(c.status)
			wantStatuses(t, tx, c.alone)
			if c.alone == 503 {
				wantRefusal(t, tx, 503, "TRK503")
			}
			x.wantIdle()
		})
	}
}

// A target that says nothing at all has 4 seconds, and rests afterwards: the next call goes on at once. One that says 100 has all the time there is.
//
// Feature: TRK-10
func TestSilentTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		tx := x.dials("231")
		first := x.branches(1)[0]
		pass(3 * time.Second)
		x.branches(1)
		pass(time.Second)
		second := x.branches(2)[1]
		wantHop(t, second, pbx2)
		if got := first.cancelled(); len(got) != 1 {
			t.Errorf("the first try is cancelled %q", got)
		}
		second.user.(sip.TryingUser).Trying()
		pass(20 * time.Second)
		second.answer(180)
		second.answer(200)
		wantStatuses(t, tx, 180, 200)

		begin := time.Now()
		tx = x.dials("232", "X: 1")
		wantHop(t, x.branches(3)[2], pbx2)
		if time.Since(begin) > time.Second {
			t.Error("a target that is known to be silent was tried again")
		}
		x.branches(3)[2].answer(486)
		wantStatuses(t, tx, 486)
		x.wantIdle()
	})
}

// Early media may last: 183 and what follows pass, however long.
//
// Feature: TRK-14
func TestEarlyMediaFromATrunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		tx := x.dials("0301")
		s := x.branches(1)[0]
		s.answer(183, "Require: 100rel", "RSeq: 1", "Content-Type: application/sdp")
		pass(60 * time.Second)
		if got := tx.last(t); got.Other("RSeq") != "1" || got.Get(message.Require) != "100rel" {
			t.Errorf("%+v", got)
		}
		s.answer(200)
		wantStatuses(t, tx, 183, 200)
		x.branches(1)
	})
}

// A 2xx that comes from a target after its time is the caller's: the other target is cancelled.
func TestLateAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		tx := x.dials("231")
		first := x.branches(1)[0]
		pass(4 * time.Second)
		second := x.branches(2)[1]
		first.answer(200)
		wantStatuses(t, tx, 200)
		if len(second.cancelled()) == 0 {
			t.Error("the second target rings on")
		}
		second.answer(487)
		x.wantIdle()
	})
}

// All targets are known to be down: 503 at once, with the word for it.
//
// Feature: TRK-10
func TestAllTargetsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.down["sip:192.0.2.109"], x.down["sip:192.0.2.110"] = true, true
		begin := time.Now()
		tx := x.dials("231")
		wantRefusal(t, tx, 503, "TRK503")
		if time.Since(begin) > time.Second {
			t.Error("it took its time")
		}
		x.branches(0)

		x.down["sip:192.0.2.110"] = false
		tx = x.dials("231", "X: 1")
		wantHop(t, x.branches(1)[0], pbx2)
		x.branches(1)[0].user.Failed(sip.ErrTransport)
		wantRefusal(t, tx, 503, "TRK503")
		tx = x.dials("231", "X: 2")
		wantRefusal(t, tx, 503, "TRK503") // it rests
		x.p.Back(pbx2)
		x.dials("231", "X: 3")
		wantHop(t, x.branches(2)[1], pbx2)
	})
}

// What another gateway says of its trunk is passed on as it is: the gateway did not fail.
func TestTrunkOfAnotherGatewayIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.cached["bob@example.org"] = []location.Remote{{Node: "far"}}
		tx := x.dials("bob")
		x.branches(1)[0].answer(503, `Warning: 399 p2psip "TRK503 no target of the trunk answers"`)
		wantRefusal(t, tx, 503, "TRK503")
		x.cached["carol@example.org"] = []location.Remote{{Node: "far"}}
		tx = x.dials("carol", "X: 1")
		x.branches(2)[1].answer(503)
		wantRefusal(t, tx, 500, "PRX500")
	})
}

// Each target gets the share of calls that its weight says, as first choice.
//
// Feature: TRK-10
func TestLoadShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) {
			c.Trunks[0].Weighted = true
			c.Trunks[0].Targets[0].Weight = 3
		})
		n := map[location.Hop]int{}
		for range 400 {
			x.sent = nil
			tx := x.dials("231")
			n[x.branches(1)[0].hop]++
			x.branches(1)[0].answer(486)
			wantStatuses(t, tx, 486)
		}
		if n[pbx] < 240 || n[pbx] > 360 || n[pbx]+n[pbx2] != 400 {
			t.Errorf("%v", n)
		}
	})
}

// A challenge of a trunk is answered here, over the hop that it came from, twice at most; one for another realm is not.
//
// Feature: TRK-06
func TestChallengeOfATrunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		tx := x.dials("0301")
		first := x.branches(1)[0]
		first.answer(407, `Proxy-Authenticate: Digest realm="itsp.example", nonce="n"`)
		second := x.branches(2)[1]
		wantHop(t, second, itsp)
		wantValues(t, second.req, message.ProxyAuthorization, "Digest for itsp.example INVITE sip:+49301@192.0.2.200")
		if first.req.Get(message.CSeq) != second.req.Get(message.CSeq) {
			t.Error("another CSeq: the caller would not know the answer")
		}
		if via1, _ := first.req.TopVia(); strings.Contains(second.req.Get(message.Via), via1.Branch) {
			t.Error("the same branch")
		}
		second.answer(407, `Proxy-Authenticate: Digest realm="itsp.example", nonce="m", stale=true`)
		x.branches(3)[2].answer(407, `Proxy-Authenticate: Digest realm="itsp.example", nonce="k"`)
		wantRefusal(t, tx, 503, "TRK503A")
		if tx.last(t).Has(message.ProxyAuthenticate) {
			t.Error("the phone is asked")
		}

		tx = x.dials("0302", "X: 1")
		x.branches(4)[3].answer(407, `Proxy-Authenticate: Digest realm="evil.example", nonce="n"`)
		wantRefusal(t, tx, 503, "TRK503A")
		x.branches(4)

		tx = x.dials("231", "X: 2") // a trunk without account
		x.branches(5)[4].answer(401, `WWW-Authenticate: Digest realm="itsp.example", nonce="n"`)
		x.branches(6)[5].answer(200)
		wantStatuses(t, tx, 200)
		x.wantIdle()
	})
}

// What comes from a trunk is for our domain, whatever host it writes, with the number translated.
//
// Feature: TRK-07
func TestCallsFromATrunk(t *testing.T) {
	for name, c := range map[string]struct{ from, uri string }{
		"our domain":        {"sip:+4930123231@192.0.2.109", "sip:09alice@example.org"},
		"our address":       {"sip:+4930123231@192.0.2.109", "sip:09alice@192.0.2.1"},
		"its own address":   {"sip:+4930123231@192.0.2.109", "sip:09alice@192.0.2.109:5060;transport=udp"},
		"its other address": {"sip:+4930123231@192.0.2.110", "sip:09alice@192.0.2.110"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, func(c *trunk.Config) {
					c.Trunks[0].Inbound = trunk.NewNumbers([]trunk.Rule{{Match: pattern(t, "09*"), Change: trunk.Change{Strip: 2}}})
				})
				tx := x.calledBy(pbx, c.from, c.uri, "P-Asserted-Identity: <sip:+4930123231@192.0.2.109>")
				s := x.branches(1)[0]
				if s.req.RequestURI != "sip:alice@198.51.100.1:5060" {
					t.Error(s.req.RequestURI)
				}
				wantValues(t, s.req, message.From, "<sip:+4930123231@example.org>;tag=caller")
				s.answer(200)
				wantValues(t, tx.last(t), message.From, "<"+c.from+">;tag=caller")
				if tag := message.Tag(tx.last(t).Get(message.To)); tag != "callee" || !strings.HasPrefix(tx.last(t).Get(message.To), "<"+c.uri+">") {
					t.Error(tx.last(t).Get(message.To))
				}
			})
		})
	}
}

// RFC 3325 §5: P-Asserted-Identity is taken from who is trusted, and given to who is; §7: Privacy keeps it back.
//
// Feature: TRK-08
func TestIdentityTowardTrunks(t *testing.T) {
	const asserted = "<sip:alice@example.org>"
	for name, c := range map[string]struct {
		number  string
		privacy string
		plan    func(*trunk.Config)
		pai     []string
		from    string
	}{
		"a trusted trunk":               {number: "231", pai: []string{asserted}, from: asserted},
		"the same, with privacy":        {number: "231", privacy: "id", pai: []string{asserted}, from: asserted},
		"the same, with user privacy":   {number: "231", privacy: "user;id", pai: []string{asserted}, from: `"Anonymous" <sip:anonymous@anonymous.invalid>`},
		"one that is not":               {number: "0301", from: asserted},
		"the same, with privacy ":       {number: "0301", privacy: "id", from: `"Anonymous" <sip:anonymous@anonymous.invalid>`},
		"no privacy":                    {number: "0301", privacy: "none", from: asserted},
		"the number of the house":       {number: "0301", plan: func(c *trunk.Config) { c.Identity = "+4930123000" }, from: "<sip:+4930123000@example.org>"},
		"the same, to who is trusted":   {number: "0301", plan: func(c *trunk.Config) { c.Identity, c.Trunks[1].TrustIdentity = "+4930123000", true }, pai: []string{"<sip:+4930123000@example.org>"}, from: asserted},
		"the same, hidden":              {number: "0301", privacy: "id", plan: func(c *trunk.Config) { c.Identity = "+4930123000" }, from: `"Anonymous" <sip:anonymous@anonymous.invalid>`},
		"not for extensions":            {number: "231", plan: func(c *trunk.Config) { c.Identity = "+4930123000" }, pai: []string{asserted}, from: asserted},
		"a trunk with a domain":         {number: "231", plan: func(c *trunk.Config) { c.Trunks[0].Domain = "pbx.example" }, pai: []string{"<sip:alice@pbx.example>"}, from: "<sip:alice@pbx.example>"},
		"a domain and a house's number": {number: "0301", plan: func(c *trunk.Config) { c.Trunks[1].Domain, c.Identity = "itsp.example", "+49" }, from: "<sip:+49@itsp.example>"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, c.plan)
				fields := []string{"P-Asserted-Identity: <sip:forged@example.org>"}
				if c.privacy != "" {
					fields = append(fields, "Privacy: "+c.privacy)
				}
				tx := x.dials(c.number, fields...)
				s := x.branches(1)[0]
				wantValues(t, s.req, message.PAssertedIdentity, c.pai...)
				wantValues(t, s.req, message.From, c.from+";tag=caller")
				s.answer(200)
				wantValues(t, tx.last(t), message.From, asserted+";tag=caller")
			})
		})
	}
}

// A trunk that wants its own host has it in Request-URI and To, and gets the request where its target is.
func TestDomainOfATrunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) { c.Trunks[1].Domain = "itsp.example" })
		tx := x.dials("0301")
		s := x.branches(1)[0]
		wantHop(t, s, itsp)
		if s.req.RequestURI != "sip:+49301@itsp.example" || s.req.Has(message.Route) {
			t.Error(s.req.RequestURI)
		}
		wantValues(t, s.req, message.To, "<sip:+49301@itsp.example>")
		s.answer(200)
		if got := tx.last(t).Get(message.To); got != "<sip:0301@example.org>;tag=callee" {
			t.Error(got)
		}
	})
}

// What a trunk says of callers that are not its own is for phones here, not for other gateways: none could prove it.
func TestIdentityFromTrunks(t *testing.T) {
	for name, c := range map[string]struct {
		src    location.Hop
		pai    string
		local  []string // what a trusted trunk here sees
		remote []string
	}{
		"an extension of the PBX": {pbx, "<sip:231@192.0.2.109>", nil, []string{"<sip:231@example.org>"}},
		"a number from outside":   {pbx, "<sip:+33145@192.0.2.109>", nil, nil},
		"the provider":            {itsp, "<sip:231@192.0.2.200>", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, nil)
				x.cached["carol@example.org"] = []location.Remote{{Node: "far"}}
				x.calledBy(c.src, "sip:231@192.0.2.109", "sip:carol@example.org", "P-Asserted-Identity: "+c.pai)
				wantValues(t, x.branches(1)[0].req, message.PAssertedIdentity, c.remote...)
			})
		})
	}
}

// RFC 5031: emergency calls go to the local trunk, whoever is at the phone, with the overlay gone and every line taken.
//
// Feature: TRK-13
func TestEmergencyCalls(t *testing.T) {
	for name, c := range map[string]struct {
		src  location.Hop
		from string
		uri  string
		want int // 0: it goes
	}{
		"a phone":                       {alice, aliceURI, "sip:112@example.org", 0},
		"the service":                   {alice, aliceURI, "urn:service:sos", 0},
		"one of its services":           {alice, aliceURI, "URN:service:SOS.fire", 0},
		"a registered phone as anybody": {phoneHop, "sip:carol@example.org", "sip:112@example.org", 0},
		"anonymously":                   {phoneHop, "sip:anonymous@anonymous.invalid", "urn:service:sos", 0},
		"from the PBX":                  {pbx, "sip:231@192.0.2.109", "sip:112@192.0.2.1", 0},
		"a stranger":                    {udp("203.0.113.5:5060"), "sip:x@anywhere.example", "urn:service:sos", 403},
		"another service":               {alice, aliceURI, "urn:service:counseling", 416},
		"no service":                    {alice, aliceURI, "urn:service:sosume", 416},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, func(c *trunk.Config) { c.Trunks[1].MaxCalls, c.Caps.Calls = 1, 1 })
				x.remote = hang
				x.users["112@example.org"] = true // a user of that name is not asked first
				x.service.Take("other", &sip.Way{Trunk: "itsp", Charge: "alice@example.org"}, &sip.Dialled{})
				tx := x.calledBy(c.src, c.from, c.uri)
				if c.want != 0 {
					wantStatuses(t, tx, c.want)
					return
				}
				s := x.branches(1)[0]
				wantHop(t, s, itsp)
				if s.req.RequestURI != "sip:112@192.0.2.200" {
					t.Error(s.req.RequestURI)
				}
				s.answer(200)
				wantStatuses(t, tx, 200)
			})
		})
	}
}

// Lines, and what one user may have at a time and in a day. A call frees its line when it ends, fails or is given up.
//
// Feature: TRK-12
func TestLimitsOfTrunks(t *testing.T) {
	call := func(x *exchange, id string) *fakeTx {
		req := request(x.t, "INVITE", "sip:0301@"+domain, aliceURI)
		req.Set(message.CallID, id)
		tx := x.receive(req, alice)
		wait()
		return tx
	}
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) { c.Trunks[1].MaxCalls, c.Caps = 2, trunk.Caps{Calls: 3, Daily: 5} })
		call(x, "1")
		call(x, "2")
		wantRefusal(t, call(x, "3"), 503, "TRK503B")
		x.branches(2)[0].answer(486)
		tx := call(x, "4")
		x.branches(3)[2].answer(200, "Contact: <sip:x@192.0.2.200>")
		wantStatuses(t, tx, 200)
		wantRefusal(t, call(x, "5"), 503, "TRK503B")
		bye := within(t, "BYE", "sip:x@192.0.2.200", "caller", "callee", routes(x.branches(3)[2].req)...)
		bye.Set(message.CallID, "4")
		x.hangs(bye, alice, 200)
		call(x, "6")
		if len(x.branches(5)) != 5 {
			t.Error("the line of a call that ended is not free")
		}
		if got := x.service.Lines("itsp"); got != 2 {
			t.Errorf("%d lines", got)
		}
	})
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) { c.Caps = trunk.Caps{Calls: 2, Daily: 3} })
		call(x, "1")
		call(x, "2")
		wantRefusal(t, call(x, "3"), 403, "TRK403C")
		x.branches(2)[0].answer(486)
		call(x, "4")
		x.branches(3)[1].answer(486)
		wantRefusal(t, call(x, "5"), 403, "TRK403D")
		x.dials("231") // an extension is not charged
		x.branches(4)[3].answer(486)
		pass(24 * time.Hour)
		call(x, "6")
		x.branches(5)
	})
}

// PBXs that hand a call to each other make a new one each time; it ends.
func TestCallsThatBounceBetweenTrunks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) { c.Trunks[1].TrustIdentity = true })
		var last *fakeTx
		for i := range 20 {
			req := request(t, "INVITE", "sip:0301@"+domain, "sip:231@192.0.2.109")
			req.Set(message.CallID, string(rune('a'+i)))
			last = x.receive(req, pbx)
			wait()
		}
		wantRefusal(t, last, 482, "TRK482")
		if n := len(x.sent); n != 4 {
			t.Errorf("%d calls went round", n)
		}
		// One that is answered, or over, makes room for another.
		for i, status := range []int{200, 486} {
			x.branches(4 + i)[i].answer(status)
			wait()
			req := request(t, "INVITE", "sip:0301@"+domain, "sip:231@192.0.2.109")
			req.Set(message.CallID, string(rune('A'+i)))
			x.receive(req, pbx)
			wait()
			if n := len(x.sent); n != 5+i {
				t.Errorf("%d calls went on after one had ended with %d", n, status)
			}
		}
	})
}

// Feature: TRK-04
func TestPBXThatRegisters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) {
			c.Trunks[0] = trunk.Trunk{Name: "pbx", RegisteredAs: "pbx1", Timeout: 4 * time.Second, TrustIdentity: true}
		})
		tx := x.dials("+493012345")
		wantRefusal(t, tx, 503, "TRK503") // not registered
		flow := stream("TCP", "192.0.2.50:40000", 7)
		x.register("pbx1", "sip:s@192.0.2.50:40000;line=abc;transport=tcp", flow)
		tx = x.dials("+493012345", "X: 1")
		s := x.branches(1)[0]
		wantHop(t, s, flow)
		if s.req.RequestURI != "sip:+493012345@192.0.2.50:40000;line=abc;transport=tcp" {
			t.Error(s.req.RequestURI)
		}
		s.answer(200)
		wantStatuses(t, tx, 200)

		tx = x.calledBy(flow, "sip:231@192.0.2.50", "sip:alice@example.org", "X: 2") // no credentials: the flow says who it is
		x.branches(2)[1].answer(200)
		wantStatuses(t, tx, 200)
		other := stream("TCP", "192.0.2.50:40001", 8)
		tx = x.calledBy(other, "sip:pbx1@example.org", "sip:alice@example.org", "X: 3")
		wantStatuses(t, tx, 407)
	})
}

// Nothing resolves the name of one trunk: calls to it end in time, those to another are as quick as ever.
//
// Feature: TRK-11
func TestNamesOfOneTrunkThatNobodyResolves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) {
			c.Trunks[0].Targets = []trunk.Target{{URI: "sip:black.hole.example", Weight: 1}}
		})
		x.hole = true
		for range 200 {
			x.dials("231")
		}
		begin := time.Now()
		tx := x.dials("0301")
		x.branches(1)[0].answer(200)
		wantStatuses(t, tx, 200)
		if time.Since(begin) > 0 {
			t.Errorf("it took %v", time.Since(begin))
		}
		tx = x.dials("232")
		pass(4 * time.Second)
		wantRefusal(t, tx, 503, "TRK503")
	})
}

func TestOtherDomainsOverTrunks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.calledBy(alice, aliceURI, "sip:anybody@Branch.example")
		if s := x.branches(1)[0]; s.req.RequestURI != "sip:anybody@192.0.2.109" {
			t.Error(s.req.RequestURI)
		}
		wantRefusal(t, x.calledBy(udp("203.0.113.5:5060"), "sip:x@anywhere.example", "sip:anybody@branch.example"), 403, "TRK403A")
		wantRefusal(t, x.calledBy(udp("203.0.113.5:5060"), "sip:x@anywhere.example", "sip:anybody@other.example"), 403, "PRX403R")
	})
}

func routes(m *message.Message) []string {
	out := m.Values(message.RecordRoute)
	slices.Reverse(out)
	return out
}

// hang is an overlay that does not answer.
func hang(ctx context.Context, _ location.AOR) ([]location.Remote, error) {
	<-ctx.Done()
	return nil, location.ErrUnavailable
}
