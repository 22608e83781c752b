package proxy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const (
	asAlice = `Proxy-Authorization: Digest username="alice", realm="example.org", nonce="n"`
	anybody = `sip:anonymous@anonymous.invalid`
)

// asserting has P-Asserted-Identity written, for phones too.
func asserting(c *Config) {
	c.Authenticator, c.RequireAuth = digest("alice"), true
	c.Identity.Assert, c.Identity.Phones = true, true
}

func registeredAlice(g *gateway) { g.register("alice", "sip:alice@198.51.100.1:5060", alice) }

// Feature: TRK-08
func TestRFC3325_5_WhoAuthenticatedIsAsserted(t *testing.T) {
	const own, bobs = "P-Preferred-Identity: <sip:alice@example.org>", "P-Preferred-Identity: <sip:bob@example.org>"
	for _, c := range []struct {
		name, from string
		prepare    func(*gateway)
		change     func(*Config)
		fields     []string
		want       string // of P-Asserted-Identity
	}{
		{"with credentials", aliceURI, nil, nil, []string{asAlice}, "<sip:alice@example.org>"},
		{"over the flow of the registration", aliceURI, registeredAlice, nil, nil, "<sip:alice@example.org>"},
		{"with a client certificate", aliceURI, nil, func(c *Config) {
			c.Identity.Certified = func(location.Hop) []location.AOR { return []location.AOR{"carol@example.org", "alice@example.org"} }
		}, nil, "<sip:alice@example.org>"},
		{"whatever the phone says", aliceURI, registeredAlice, nil, []string{"P-Asserted-Identity: <sip:boss@example.org>, <tel:+1>"}, "<sip:alice@example.org>"},
		{"behind anonymous, with credentials", anybody, nil, nil, []string{asAlice}, "<sip:alice@example.org>"},
		{"behind anonymous, named by P-Preferred-Identity", anybody, registeredAlice, nil, []string{own}, "<sip:alice@example.org>"},
		{"but not as somebody else", anybody, registeredAlice, nil, []string{bobs}, ""},
		{"nor instead of the user of From", aliceURI, registeredAlice, nil, []string{bobs}, "<sip:alice@example.org>"},
		{"a stranger", "sip:x@foreign.example", nil, nil, []string{"P-Asserted-Identity: <sip:x@foreign.example>"}, ""},
		{"a trusted source", aliceURI, nil, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } }, []string{"P-Asserted-Identity: <sip:boss@example.org>"}, ""},
		{"a trusted source that registered", aliceURI, registeredAlice, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } }, nil, "<sip:alice@example.org>"},
		{"a trusted source that is believed", aliceURI, nil, func(c *Config) {
			c.Trusted, c.Identity.Trusted = func(location.Hop) bool { return true }, true
		}, []string{"P-Asserted-Identity: <sip:boss@example.org>"}, "<sip:boss@example.org>"},
		{"not when that is off", aliceURI, registeredAlice, func(c *Config) { c.Identity.Assert = false }, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := withBob(t, func(conf *Config) {
				asserting(conf)
				if c.change != nil {
					c.change(conf)
				}
			})
			if c.prepare != nil {
				c.prepare(g)
			}
			g.receive(request(t, "INVITE", bobURI, c.from, append(c.fields, "Remote-Party-ID: <sip:boss@example.org>")...), alice)
			m := g.branches(1)[0].req
			if got := strings.Join(m.Values(message.PAssertedIdentity), ","); got != c.want {
				t.Errorf("P-Asserted-Identity is %q, want %q", got, c.want)
			}
			if m.Has(message.PPreferredIdentity) || (m.Other("Remote-Party-ID") != "") != strings.HasSuffix(c.name, "is believed") {
				t.Errorf("passed on: %q, %q", m.Get(message.PPreferredIdentity), m.Other("Remote-Party-ID"))
			}
		})
	}
}

// The number of a user is that user, however From says it; any other number is one from outside.
func TestRFC3966_ANumberInFromIsAUserToo(t *testing.T) {
	g := withBob(t, asserting)
	g.users["1001@example.org"] = true
	wantStatuses(t, g.receive(request(t, "INVITE", bobURI, "tel:10-01"), alice), 407)
	wantStatuses(t, g.receive(request(t, "INVITE", bobURI, "tel:1001", asAlice), alice), 403)
	g.receive(request(t, "INVITE", bobURI, "tel:+4989"), alice)
	if m := g.branches(1)[0].req; m.Has(message.PAssertedIdentity) {
		t.Errorf("P-Asserted-Identity %q", m.Get(message.PAssertedIdentity))
	}
	g.register("1001", "sip:1001@198.51.100.1:5060", alice)
	g.receive(request(t, "INVITE", bobURI, "tel:1001"), alice)
	wantValues(t, g.branches(2)[1].req, message.PAssertedIdentity, "<sip:1001@example.org>")
}

func TestRFC3325_7_WhoSeesTheAssertedIdentity(t *testing.T) {
	const foreign = "sip:x@203.0.113.9"
	for _, c := range []struct {
		name, uri, privacy string
		change             func(*Config)
		want               bool
	}{
		{"a phone", bobURI, "", nil, true},
		{"no phone, when so configured", bobURI, "", func(c *Config) { c.Identity.Phones = false }, false},
		{"a phone, when the caller insists", bobURI, "none", func(c *Config) { c.Identity.Phones = false }, true},
		{"no phone with id", bobURI, "ID", nil, false},
		{"no phone with user among others", bobURI, "header; user", nil, false},
		{"no phone with id in a network that is trusted", bobURI, "id", func(c *Config) { c.Trusted = func(location.Hop) bool { return true } }, false},
		{"a gateway with id", "sip:carol@example.org", "id;critical", nil, true},
		{"nobody outside", foreign, "", nil, false},
		{"a neighbour that is trusted", foreign, "", func(c *Config) {
			c.Trusted = func(h location.Hop) bool { return h.Remote.Addr().String() == "203.0.113.9" }
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := withBob(t, func(conf *Config) {
				asserting(conf)
				if c.change != nil {
					c.change(conf)
				}
			})
			registeredAlice(g)
			g.cached["carol@example.org"] = []location.Remote{{Node: "elsewhere"}}
			fields := []string{"Privacy: " + c.privacy}
			if c.privacy == "" {
				fields = nil
			}
			g.receive(request(t, "INVITE", c.uri, aliceURI, fields...), alice)
			if got := g.branches(1)[0].req.Has(message.PAssertedIdentity); got != c.want {
				t.Errorf("seen: %v", got)
			}
		})
	}
}

func TestRFC3323_5_PrivacyThatIsNotThereFailsWhenItIsCritical(t *testing.T) {
	g := withBob(t, asserting)
	registeredAlice(g)
	wantStatuses(t, g.receive(request(t, "INVITE", bobURI, aliceURI, "Privacy: user;critical"), alice), 500)
	g.receive(request(t, "INVITE", bobURI, aliceURI, "Privacy: user"), alice)
	g.branches(1)
}

func TestRFC3325_5_AssertedIdentityInResponsesIsRemoved(t *testing.T) {
	g := withBob(t, asserting)
	registeredAlice(g)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(200, "P-Asserted-Identity: <sip:boss@example.org>")
	if x.last(t).Has(message.PAssertedIdentity) {
		t.Error("passed on")
	}
}

// holders are the certificates that gateways hold, as the overlay knows them.
type holders struct {
	mu     sync.Mutex
	of     map[string][]location.AOR
	known  map[string]bool
	asked  atomic.Int32
	answer func(context.Context) error // before an answer; nil: at once
}

func (h *holders) holds(node string, aor location.AOR) location.Holding {
	answer := location.HeldByNobody
	for gateway, aors := range h.of {
		if slices.Contains(aors, aor) {
			if gateway == node {
				return location.Held
			}
			answer = location.HeldByOthers
		}
	}
	return answer
}

// answers sets what comes before an answer from now on.
func (h *holders) answers(f func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

func (h *holders) HoldsCached(node string, aor location.AOR) (holds location.Holding, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.holds(node, aor), len(h.known) > 0 && h.known[node+" "+string(aor)]
}

func (h *holders) Holds(ctx context.Context, node string, aor location.AOR) (location.Holding, error) {
	h.asked.Add(1)
	h.mu.Lock()
	answer := h.answer
	h.mu.Unlock()
	if answer != nil {
		if err := answer(ctx); err != nil {
			return 0, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil {
		h.known = map[string]bool{}
	}
	h.known[node+" "+string(aor)] = true
	return h.holds(node, aor), nil
}

// believing returns a gateway that marks and has a user 1002, what it knows of others, and what it was told: gateway "other" holds the certificates of
// alice and of a number.
func believing(t testing.TB, change func(*Config)) (g *gateway, h *holders, told func() []Caller) {
	h = &holders{of: map[string][]location.AOR{"other": {"alice@example.org", "+4930@example.org"}, "third": {"1001@example.org"}}}
	var mu sync.Mutex
	var all []Caller
	g = withBob(t, func(c *Config) {
		c.Identity = Identity{Assert: true, Phones: true, Mark: true, Callers: h, Told: func(c Caller) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, c)
		}}
		if change != nil {
			change(c)
		}
	})
	g.users["1002@example.org"] = true
	return g, h, func() []Caller {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

const assertsAlice = "P-Asserted-Identity: <sip:alice@example.org>"

func TestRFC3325_5_AGatewayIsBelievedThatHoldsTheCertificateOfTheCaller(t *testing.T) {
	for _, c := range []struct {
		name, from string
		asserted   []string
		verdict    Verdict
		want       string // of P-Asserted-Identity
	}{
		{"an honest call", aliceURI, []string{assertsAlice}, Verified, "<sip:alice@example.org>"},
		{"without what the caller wants to be called", aliceURI, []string{`P-Asserted-Identity: "Bank" <sip:alice@example.org>`}, Verified, "<sip:alice@example.org>"},
		{"behind anonymous", anybody, []string{assertsAlice}, Verified, "<sip:alice@example.org>"},
		{"with a number", aliceURI, []string{assertsAlice + ", <tel:+49-30>"}, Verified, "<sip:alice@example.org>,<sip:+4930@example.org>"},
		{"forged From", "sip:carol@example.org", nil, Unverified, ""},
		{"forged P-Asserted-Identity", aliceURI, []string{"P-Asserted-Identity: <sip:carol@example.org>"}, Unverified, ""},
		{"forged From behind an identity that is proven", "sip:carol@example.org", []string{assertsAlice}, Unverified, ""},
		{"somebody of another domain", anybody, []string{"P-Asserted-Identity: <sip:x@foreign.example>"}, Unverified, ""},
		{"three identities", aliceURI, []string{assertsAlice + ", " + assertsAlice[21:] + ", <tel:+4930>"}, Unverified, ""},
		{"the number of somebody else", "sip:1001@example.org", nil, Unverified, ""},
		{"the number of somebody else as such", "tel:10-01", nil, Unverified, ""},
		{"a number of its own as such", "TEL:+4930", []string{"P-Asserted-Identity: <tel:+4930>"}, Verified, "<sip:+4930@example.org>"},
		{"the number of a user here", "sip:1002@example.org", nil, Unverified, ""},
		{"a number of nobody, from a trunk there", "sip:+4989@example.org", nil, Unknown, ""},
		{"asserted, too", "sip:+4989@example.org", []string{"P-Asserted-Identity: <tel:+4989>"}, Unknown, ""},
		{"asserted with one that is proven", "sip:+4989@example.org", []string{assertsAlice + ", <tel:+4989>"}, Unknown, ""},
		{"in From only", "sip:+4989@example.org", []string{assertsAlice}, Verified, "<sip:alice@example.org>"},
		{"no identity", "sip:x@foreign.example", nil, Unknown, ""},
		{"a user of that gateway, who is not asserted", aliceURI, nil, Unknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g, h, told := believing(t, nil)
				var asked [2]int32
				for i := range asked {
					g.receive(request(t, "INVITE", bobURI, c.from, append(c.asserted, "Alert-Info: <urn:alert:source:internal>")...), location.Hop{Node: "other"})
					wait()
					asked[i] = h.asked.Load()
				}
				if asked[1] != asked[0] {
					t.Errorf("asked %d times more for the second call", asked[1]-asked[0])
				}
				m := g.branches(2)[1].req
				if got := strings.Join(m.Values(message.PAssertedIdentity), ","); got != c.want {
					t.Errorf("P-Asserted-Identity is %q, want %q", got, c.want)
				}
				if got := m.Other("Alert-Info"); (got == alertExternal) != (c.verdict == Unverified) {
					t.Errorf("Alert-Info is %q", got)
				}
				if all := told(); len(all) != 2 || all[1].Verdict != c.verdict {
					t.Errorf("told of %+v", all)
				}
				if n := g.p.Stats().Callers[c.verdict].N; n != 2 {
					t.Errorf("%d counted as %v", n, c.verdict)
				}
			})
		})
	}
}

func TestACallerThatIsNotProvenInTimeIsUnverified(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, h, told := believing(t, nil)
		h.answers(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		x := g.receive(request(t, "INVITE", bobURI, aliceURI, assertsAlice), location.Hop{Node: "other"})
		pass(checkWait - time.Millisecond)
		g.branches(0)
		pass(2 * time.Millisecond)
		b := g.branches(1)[0]
		if b.req.Has(message.PAssertedIdentity) || b.req.Other("Alert-Info") != alertExternal || !told()[0].Late {
			t.Errorf("forwarded as %q, %q; %+v", b.req.Get(message.PAssertedIdentity), b.req.Other("Alert-Info"), told())
		}
		b.answer(200)
		wantStatuses(t, x, 200)
	})
}

func TestACallIsCancelledWhileItsCallerIsLookedAt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, h, _ := believing(t, nil)
		h.answers(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		x := g.receive(request(t, "INVITE", bobURI, aliceURI, assertsAlice), location.Hop{Node: "other"})
		g.p.Cancel(x, &message.Message{Method: "CANCEL"})
		wait()
		wantStatuses(t, x, 487)
		g.branches(0)
		g.wantIdle()
	})
}

func TestAForgedCallerIsRefusedWhereThatIsAskedFor(t *testing.T) {
	for _, method := range []string{"INVITE", "MESSAGE", "SUBSCRIBE"} {
		bubble(t, func(t *testing.T) {
			g, h, _ := believing(t, func(c *Config) { c.Identity.Refuse = true })
			forged := func() *fakeTx {
				x := g.receive(request(t, method, bobURI, "sip:carol@example.org"), location.Hop{Node: "other"})
				wait()
				return x
			}
			wantStatuses(t, forged(), 403)
			x := forged()
			wantStatuses(t, x, 403)
			if w := x.last(t).Get(message.Warning); !strings.Contains(w, "PRX403F") || len(g.refusals) != 2 || g.refusals[1].Code != "PRX403F" {
				t.Errorf("Warning %q, refusals %+v", w, g.refusals)
			}
			g.branches(0)
			h.answers(func(context.Context) error { return errors.New("no answer") })
			x = g.receive(request(t, method, bobURI, "sip:dave@example.org"), location.Hop{Node: "other"})
			wait()
			wantStatuses(t, x, 504)
			h.answers(nil)
			g.receive(request(t, method, bobURI, aliceURI, assertsAlice), location.Hop{Node: "other"})
			wait()
			g.branches(1)[0].answer(200)
			g.wantIdle()
		})
	}
}

func TestQuestionsAboutCallersLeaveRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, h, told := believing(t, nil)
		h.answers(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		for range maxChecks + 1 {
			g.receive(request(t, "INVITE", bobURI, aliceURI, assertsAlice), location.Hop{Node: "other"})
		}
		if len(told()) != 1 || !told()[0].Late {
			t.Errorf("told of %d", len(told()))
		}
		pass(checkWait)
		g.branches(maxChecks + 1)
		h.answers(nil)
		g.receive(request(t, "INVITE", bobURI, aliceURI, assertsAlice), location.Hop{Node: "other"})
		wait()
		if !g.branches(maxChecks + 2)[maxChecks+1].req.Has(message.PAssertedIdentity) {
			t.Error("not asked any more")
		}
	})
}

// What is known costs nothing to know again.
func TestAKnownCallerCostsNoMemory(t *testing.T) {
	g, h, _ := believing(t, nil)
	h.known = map[string]bool{}
	g.p.c.Identity.Callers, g.p.c.Identity.Told = constant{}, nil
	req := request(t, "INVITE", bobURI, aliceURI, assertsAlice)
	in, code := g.p.validate(req, location.Hop{Node: "other"})
	if code != fine {
		t.Fatal(code)
	}
	g.p.clean(in)
	c := &call{p: g.p, in: in}
	n := testing.AllocsPerRun(100, func() {
		if c.identify(plan{}) || in.verdict != Verified {
			t.Fatal(in.verdict)
		}
		in.msg.Del(message.PAssertedIdentity)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// constant knows that everybody holds everything.
type constant struct{}

func (constant) HoldsCached(string, location.AOR) (location.Holding, bool) {
	return location.Held, true
}

func (constant) Holds(context.Context, string, location.AOR) (location.Holding, error) {
	return location.Held, nil
}
