package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// withPhones is a gateway at which bob has n phones.
func withPhones(t testing.TB, n int) *gateway {
	g := newGateway(t, 1, nil)
	g.cached["bob@example.org"] = nil
	for i := range n {
		addr := fmt.Sprintf("203.0.113.%d:5060", i+1)
		g.register("bob", "sip:bob@"+addr, udp(addr))
	}
	return g
}

// Feature: PRX-03
func TestPRX03_FiveTargetsRingFirst2xxWinsTheRestAreCancelled(t *testing.T) {
	g := withPhones(t, 5)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	if x.trying {
		t.Error("a 100 at once, for nothing had to be asked")
	}
	bs := g.branches(5)
	for _, s := range bs {
		s.answer(180)
	}
	bs[2].answer(200)
	wantStatuses(t, x, 180, 180, 180, 180, 180, 200)
	for i, s := range bs {
		want := []string{`SIP;cause=200;text="Call completed elsewhere"`}
		if i == 2 {
			want = nil
		}
		if diff := cmp.Diff(want, s.cancelled()); diff != "" {
			t.Errorf("branch %d: %s", i, diff)
		}
		if i != 2 {
			s.answer(487)
		}
	}
	wantStatuses(t, x, 180, 180, 180, 180, 180, 200)
	g.wantIdle()
}

func TestRFC3261_16_7_ResponsesLoseOurViaOnly(t *testing.T) {
	g := withBob(t, nil)
	req := request(t, "INVITE", bobURI, aliceURI)
	x := g.receive(req, alice)
	g.branches(1)[0].answer(200, "X-Odd: kept", "Contact: <sip:bob@10.0.0.1>")
	res := x.last(t)
	wantValues(t, res, message.Via, req.Values(message.Via)...)
	if res.Other("X-Odd") != "kept" || res.Get(message.Contact) != "<sip:bob@10.0.0.1>" {
		t.Errorf("\n%s", res.AppendTo(nil))
	}
}

func TestRFC6026_7_EachLater2xxIsForwarded(t *testing.T) {
	g := withPhones(t, 2)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(2)
	bs[0].answer(200)
	bs[1].answer(200)
	wantStatuses(t, x, 200, 200)
	g.wantIdle()
	bs[0].answer(200) // retransmitted by the phone, long after the bookkeeping is gone
	wantStatuses(t, x, 200, 200, 200)
}

// Feature: PRX-09
func TestRFC3261_16_7_ChallengesAreAggregated(t *testing.T) {
	g := withPhones(t, 3)
	g.p.c.Trusted = inNetwork("203.0.113.0/24")
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(3)
	bs[0].answer(407, `Proxy-Authenticate: Digest realm="a"`)
	bs[1].answer(486)
	bs[2].answer(401, `WWW-Authenticate: Digest realm="b"`, `Proxy-Authenticate: Digest realm="c"`)
	res := x.last(t)
	if res.StatusCode != 407 {
		t.Fatalf("got %d", res.StatusCode)
	}
	wantValues(t, res, message.ProxyAuthenticate, `Digest realm="a"`, `Digest realm="c"`)
	wantValues(t, res, message.WWWAuthenticate, `Digest realm="b"`)
}

func TestRFC3261_16_7_RedirectionIsPassedUpstream(t *testing.T) {
	g := withBob(t, nil)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(302, "Contact: <sip:bob@elsewhere.example>")
	wantStatuses(t, x, 302)
	wantValues(t, x.last(t), message.Contact, "<sip:bob@elsewhere.example>")
}

// Feature: PRX-06
func TestRFC3261_16_10_CancelReachesBranchesWithItsReason(t *testing.T) {
	g := withPhones(t, 2)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(2)
	bs[0].answer(180)
	g.p.Cancel(x, request(t, "CANCEL", bobURI, aliceURI, `Reason: SIP;cause=200;text="Call completed elsewhere"`))
	for _, s := range bs {
		if len(s.cancelled()) != 1 || s.cancelled()[0] != `SIP;cause=200;text="Call completed elsewhere"` {
			t.Errorf("cancelled with %q", s.cancelled())
		}
	}
	wantStatuses(t, x, 180)
	bs[0].answer(487)
	bs[1].answer(487)
	wantStatuses(t, x, 180, 487)
	g.wantIdle()
	g.p.Cancel(x, request(t, "CANCEL", bobURI, aliceURI)) // too late: nothing
	wantStatuses(t, x, 180, 487)
}

// Feature: PRX-07
func TestRFC3261_16_7_A2xxThatCrossesCancelIsForwarded(t *testing.T) {
	g := withPhones(t, 2)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(2)
	g.p.Cancel(x, request(t, "CANCEL", bobURI, aliceURI))
	bs[0].answer(200)
	bs[1].answer(487)
	wantStatuses(t, x, 200)
	g.wantIdle()
}

func TestRFC3261_16_10_CancelWhileTheOverlayIsAskedIs487(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, nil)
		ended := false
		g.remote = func(ctx context.Context, _ location.AOR) ([]location.Remote, error) {
			<-ctx.Done()
			ended = true
			return []location.Remote{{Node: "late"}}, nil
		}
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		g.p.Cancel(x, request(t, "CANCEL", bobURI, aliceURI))
		wantStatuses(t, x, 487)
		wait()
		if !ended {
			t.Error("the lookup goes on")
		}
		g.branches(0)
		g.wantIdle()
	})
}

// Feature: PRX-05
func TestPRX05_AFailingBranchDoesNotKillTheCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := withPhones(t, 1)
		g.register("bob", "sip:bob@10.0.0.1;transport=tcp", stream("TCP", "203.0.113.7:40000", 7))
		g.dead[7] = true
		g.register("bob", "no uri", bob)
		g.cached["bob@example.org"] = []location.Remote{{URI: "sip:bob@unresolvable.example"}, {URI: "nonsense"}, {Node: "unreachable"}}
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		wait()
		bs := g.branches(2)
		bs[0].answer(180)
		bs[1].user.Failed(fmt.Errorf("dial: %w", sip.ErrTransport))
		bs[0].answer(200)
		wantStatuses(t, x, 180, 200)
		g.wantIdle()
	})
}

// Conformance: H-37
func TestNothingReachable(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		node   bool
		status int
	}{
		{"phone that does not answer", sip.ErrTimeout, false, 408},
		{"phone that cannot be reached", sip.ErrTransport, false, 480},
		{"gateway that cannot be reached (H-37)", sip.ErrTransport, true, 480},
		{"a limit of ours", sip.ErrOverload, false, 480},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, 1, nil)
			g.cached["bob@example.org"] = nil
			if c.node {
				g.cached["bob@example.org"] = []location.Remote{{Node: "other"}}
			} else {
				g.register("bob", bobPhone, bob)
			}
			x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
			g.branches(1)[0].user.Failed(c.err)
			wantStatuses(t, x, c.status)
		})
	}
}

// Feature: PRX-17
func TestRFC4320_4_2_No408ForOtherMethods(t *testing.T) {
	g := withBob(t, nil)
	x := g.receive(request(t, "MESSAGE", bobURI, aliceURI), alice)
	g.branches(1)[0].user.Failed(sip.ErrTimeout)
	wantStatuses(t, x)
	g.wantIdle()
}

// Feature: PRX-23
func TestRFC3428_MessageForksAndTheFirst2xxWins(t *testing.T) {
	g := withPhones(t, 3)
	req := request(t, "MESSAGE", bobURI, aliceURI, "Content-Type: text/plain")
	req.Body = []byte("hello")
	x := g.receive(req, alice)
	bs := g.branches(3)
	bs[0].answer(415)
	bs[1].answer(202)
	bs[2].answer(200)
	wantStatuses(t, x, 202)
	if len(bs[2].cancelled()) > 0 {
		t.Error("a MESSAGE was cancelled")
	}
	if string(bs[1].req.Body) != "hello" || bs[1].req.Has(message.RecordRoute) {
		t.Errorf("\n%s", bs[1].req.AppendTo(nil))
	}
	g.wantIdle()
}

// Feature: PRX-08
func TestRFC3261_16_8_TimerC(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := withBob(t, nil)
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		s := g.branches(1)[0]
		pass(170 * time.Second)
		s.answer(180)
		pass(180 * time.Second)
		if len(s.cancelled()) > 0 {
			t.Fatal("cancelled less than 3 minutes after a provisional response")
		}
		pass(2 * time.Second)
		if len(s.cancelled()) != 1 {
			t.Fatal("not cancelled")
		}
		s.answer(487)
		wantStatuses(t, x, 180, 408)
		g.wantIdle()
	})
}

func TestNoTimerIsLeftBehind(t *testing.T) {
	running := 0
	g := withBob(t, func(c *Config) {
		c.After = func(time.Duration, func()) func() {
			running++
			return func() { running-- }
		}
	})
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	if running != 1 {
		t.Fatalf("%d timers in a call, want Timer C", running)
	}
	g.branches(1)[0].answer(486)
	if running != 0 {
		t.Errorf("%d timers left", running)
	}
}

// Feature: PRX-04
func TestPRX04_PhonesOfLowerQFollow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := withBob(t, nil)
		g.bindings["bob@example.org"] = append(g.bindings["bob@example.org"],
			location.Binding{Contact: "sip:voicemail@203.0.113.8", Q: 100, Hop: udp("203.0.113.8:5060")})
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		g.branches(1)[0].answer(180)
		pass(groupWait)
		bs := g.branches(2)
		if len(bs[0].cancelled()) != 1 || bs[1].req.RequestURI != "sip:voicemail@203.0.113.8" {
			t.Fatalf("cancels %q, then %s", bs[0].cancelled(), bs[1].req.RequestURI)
		}
		bs[0].answer(487)
		bs[1].answer(200)
		wantStatuses(t, x, 180, 200)
		g.wantIdle()
	})
}

// Feature: PRX-19
func TestRFC3263_4_3_TheNextAddressIsTriedAfterAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := withBob(t, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } })
		g.dns["elsewhere.example"] = []location.Hop{udp("192.0.2.11:5060"), udp("192.0.2.12:5060"), udp("192.0.2.13:5060")}
		x := g.receive(request(t, "INVITE", "sip:x@elsewhere.example", aliceURI), alice)
		wait()
		first := g.branches(1)[0]
		first.user.Failed(sip.ErrTransport)
		first.user.Failed(sip.ErrTransport) // what comes of an attempt that is over counts no more
		first.answer(486)
		g.branches(2)[1].answer(503)
		bs := g.branches(3)
		if bs[2].hop != udp("192.0.2.13:5060") || bs[0].req.Get(message.Via) == bs[1].req.Get(message.Via) {
			t.Errorf("third attempt to %v", bs[2].hop)
		}
		bs[2].answer(503)
		wantStatuses(t, x, 500)
		g.wantIdle()
	})
}

func TestEnded_WithoutAFinalResponseCancelsWhatIsUnderWay(t *testing.T) {
	g := withBob(t, nil)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	s := g.branches(1)[0]
	g.p.Ended(x)
	if len(s.cancelled()) != 1 {
		t.Error("not cancelled")
	}
	s.answer(487)
	wantStatuses(t, x)
	g.wantIdle()
}

// Conformance: H-46
func TestTooManyCallsAre503WithRetryAfterButDialogsGoOn(t *testing.T) {
	g := withBob(t, func(c *Config) { c.MaxCalls = 1 })
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	y := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	wantStatuses(t, y, 503)
	if y.last(t).Get(message.RetryAfter) == "" {
		t.Error("no Retry-After")
	}
	s := g.branches(1)[0]
	s.answer(180)
	route := x.last(t).Get(message.RecordRoute)
	g.receive(within(t, "PRACK", bobPhone, "caller", "callee", route), alice)
	g.branches(2)
}

// within is a request within the dialog of an INVITE of request.
func within(t testing.TB, method, uri, fromTag, toTag string, route ...string) *message.Message {
	t.Helper()
	text := method + " " + uri + " SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKwithin\nMax-Forwards: 70\nFrom: <sip:x@anywhere.example>;tag=" +
		fromTag + "\nTo: <sip:y@anywhere.example>;tag=" + toTag + "\nCall-ID: c1@example\nCSeq: 2 " + method
	for _, r := range route {
		text += "\nRoute: " + r
	}
	return parse(t, text+"\n\n")
}

func TestOwnResponsesTell(t *testing.T) {
	for c := fine + 1; c < codes; c++ {
		res := c.response(request(t, "INVITE", bobURI, aliceURI))
		if res.Reason == "" || !strings.HasPrefix(c.String(), fmt.Sprintf("PRX%d", c.status())) {
			t.Errorf("%d %q %s", res.StatusCode, res.Reason, c)
		}
	}
}

// Conformance: H-13 H-37
func TestLookups(t *testing.T) {
	unavailable := fmt.Errorf("fetch: %w", location.ErrUnavailable)
	for _, c := range []struct {
		name    string
		known   bool
		found   []location.Remote
		err     error
		answers []int // what the branches answer, if any
		want    int
	}{
		{"unknown user", false, nil, nil, nil, 404},
		{"unknown to the overlay too", false, nil, location.ErrNotFound, nil, 404},
		{"known user without registration", true, nil, nil, nil, 480},
		{"overlay silent: never 404", false, nil, unavailable, nil, 504},
		{"overlay silent, known user", true, nil, unavailable, nil, 504},
		{"gateway found", false, []location.Remote{{Node: "other"}}, nil, []int{486}, 486},
		{"two gateways, one with an old record", true, []location.Remote{{Node: "a"}, {Node: "b"}}, nil, []int{480, 486}, 486},
		{"the same gateway twice", true, []location.Remote{{Node: "a"}, {Node: "a"}}, nil, []int{486}, 486},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				g := newGateway(t, 1, nil)
				g.users["bob@example.org"] = c.known
				g.remote = func(context.Context, location.AOR) ([]location.Remote, error) { return c.found, c.err }
				x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
				wait()
				for i, s := range g.branches(len(c.answers)) {
					if s.req.RequestURI != bobURI || s.hop.Node == "" {
						t.Errorf("%s to %v: the AOR is the Request-URI between gateways", s.req.RequestURI, s.hop)
					}
					s.answer(c.answers[i])
				}
				wantStatuses(t, x, c.want)
				g.wantIdle()
			})
		})
	}
}

// Conformance: H-35
// Feature: PRX-02
func TestH35_LocalPhonesRingWhileTheOverlayIsAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, nil)
		g.register("bob", bobPhone, bob)
		release := make(chan []location.Remote)
		g.remote = func(context.Context, location.AOR) ([]location.Remote, error) { return <-release, nil }
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		if !x.trying {
			t.Error("no 100 before the answer")
		}
		g.branches(1)[0].answer(180)
		g.branches(1)[0].answer(486)
		wantStatuses(t, x, 180)
		release <- []location.Remote{{Node: "other"}}
		wait()
		g.branches(2)[1].answer(200)
		wantStatuses(t, x, 180, 200)
	})
}

func TestLookupThatFailsDoesNotSpoilALocalAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, nil)
		g.register("bob", bobPhone, bob)
		g.remote = func(context.Context, location.AOR) ([]location.Remote, error) { return nil, errors.New("broken") }
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		wait()
		g.branches(1)[0].answer(486)
		wantStatuses(t, x, 486)
	})
}

func TestALookupIsGivenUpInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, nil)
		g.remote = func(ctx context.Context, _ location.AOR) ([]location.Remote, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		pass(lookupWait)
		wantStatuses(t, x, 504)
	})
}

func TestLookupsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, nil)
		release := make(chan struct{})
		running, most := 0, 0
		g.remote = func(context.Context, location.AOR) ([]location.Remote, error) {
			g.mu.Lock()
			running++
			most = max(most, running)
			g.mu.Unlock()
			<-release
			g.mu.Lock()
			running--
			g.mu.Unlock()
			return nil, nil
		}
		var last *fakeTx
		for range lookups + lookupQueue + 1 {
			last = g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		}
		wantStatuses(t, last, 503)
		wait()
		close(release)
		wait()
		if most != lookups {
			t.Errorf("%d lookups at one time, want %d", most, lookups)
		}
		g.wantIdle()
	})
}

// Conformance: H-36
func TestH36_OverTheOverlayLocalPhonesOnly(t *testing.T) {
	g := newGateway(t, 1, nil)
	g.cached["bob@example.org"] = []location.Remote{{Node: "third"}}
	g.remote = func(context.Context, location.AOR) ([]location.Remote, error) {
		t.Error("looked up again")
		return nil, nil
	}
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), location.Hop{Node: "other"})
	wantStatuses(t, x, 480) // an old record: 480, no loop
	g.register("bob", bobPhone, bob)
	g.receive(request(t, "INVITE", bobURI, aliceURI), location.Hop{Node: "other"})
	if s := g.branches(1)[0]; s.hop != bob {
		t.Errorf("sent to %v", s.hop)
	}
	y := g.receive(request(t, "INVITE", bobURI+";gr=third", aliceURI), location.Hop{Node: "other"})
	wantStatuses(t, y, 403)
}

// A phone that knows its gateway by address calls users of other gateways all the same.
func TestRFC3261_16_5_AnAddressOfOursIsTheDomainAtTheNextGateway(t *testing.T) {
	a, b := newGateway(t, 1, nil), newGateway(t, 2, nil)
	join(a, b)
	b.register("bob", bobPhone, bob)
	a.cached["bob@example.org"] = []location.Remote{{Node: b.node}}
	for i, uri := range []string{"sip:bob@192.0.2.1", "sip:bob@192.0.2.1:5060;transport=udp", "sip:bob@[2001:db8::1]:5060", bobURI, "sip:bob@EXAMPLE.org:5070"} {
		a.receive(request(t, "INVITE", uri, aliceURI), alice)
		if s := b.branches(i + 1)[i]; s.req.RequestURI != bobPhone || s.hop != bob {
			t.Errorf("%s: %s to %v", uri, s.req.RequestURI, s.hop)
		}
	}
	want := []string{bobURI, bobURI + ";transport=udp", bobURI, bobURI, "sip:bob@EXAMPLE.org:5070"}
	for i, s := range a.branches(len(want)) {
		if s.req.RequestURI != want[i] {
			t.Errorf("%s crosses the overlay, want %s", s.req.RequestURI, want[i])
		}
	}
}

// Conformance: H-13 H-25
func TestRFC7904_6_AGRUUIsReachedByItsDestinationList(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "INVITE", "sip:bob@EXAMPLE.org;gr=node2%2F+~", aliceURI), alice)
	if s := g.branches(1)[0]; s.hop.Node != "node2/+~" || s.req.RequestURI != "sip:bob@EXAMPLE.org;gr=node2%2F+~" {
		t.Errorf("%s to %v", s.req.RequestURI, s.hop)
	}
	g.receive(request(t, "INVITE", bobURI, aliceURI, "Route: <sip:gw@example.org;gr=third;lr>"), alice)
	if s := g.branches(2)[1]; s.hop.Node != "third" || !s.req.Has(message.Route) {
		t.Errorf("Route of another gateway to %v", s.hop)
	}
	g.receive(request(t, "INVITE", "sip:bob@example.org;gr="+g.node, aliceURI), alice)
	if s := g.branches(3)[2]; s.hop != bob {
		t.Errorf("our own to %v", s.hop)
	}
}

// Conformance: H-15
// Feature: PRX-32
func TestRFC7904_4_2_AnAORForwardsToAnother(t *testing.T) {
	g := newGateway(t, 1, nil)
	g.cached["sales@example.org"] = []location.Remote{{URI: "sip:bob@example.org"}, {URI: "sip:carol@example.org"}}
	g.cached["bob@example.org"] = []location.Remote{{URI: "sip:sales@example.org"}, {Node: "other"}}
	g.cached["carol@example.org"] = []location.Remote{{URI: "sip:carol@192.0.2.50"}}
	g.register("bob", bobPhone, bob)
	g.receive(request(t, "INVITE", "sip:sales@example.org", aliceURI), alice)
	var got []string
	for _, s := range g.branches(3) {
		got = append(got, s.req.RequestURI)
	}
	if diff := cmp.Diff([]string{bobPhone, bobURI, "sip:carol@192.0.2.50"}, got); diff != "" {
		t.Error(diff)
	}
	if n := g.p.Stats().Lookups[lookupCached].N; n != 3 {
		t.Errorf("%d lookups of three users", n)
	}
}

// Conformance: H-40
// Feature: TRN-02
func TestRFC5630_5_3_SIPSGoesOverTLSOnly(t *testing.T) {
	g := withBob(t, nil)
	g.register("bob", "sips:bob@10.0.0.9", stream("TLS", "203.0.113.9:40000", 9))
	x := g.receive(request(t, "INVITE", "sips:bob@example.org", "sips:alice@example.org"), stream("TLS", "198.51.100.1:5000", 3))
	s := g.branches(1)[0]
	if s.hop.Transport != "TLS" || s.req.RequestURI != "sips:bob@10.0.0.9" {
		t.Errorf("%s over %s", s.req.RequestURI, s.hop.Transport)
	}
	if rr := s.req.Get(message.RecordRoute); !strings.HasPrefix(rr, "<sips:rr.") || strings.Contains(rr, "transport") {
		t.Errorf("Record-Route %s", rr)
	}
	s.answer(486)
	wantStatuses(t, x, 486)

	g.bindings["bob@example.org"] = g.bindings["bob@example.org"][:1]
	wantStatuses(t, g.receive(request(t, "INVITE", "sips:bob@example.org", aliceURI), alice), 480)

	g.bindings["bob@example.org"] = []location.Binding{{Contact: "sips:bob@10.0.0.9", Hop: stream("TLS", "203.0.113.9:40000", 9)}}
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	if got := g.branches(2)[1].req.RequestURI; got != "sip:bob@10.0.0.9" {
		t.Errorf("a sip request went to %s", got)
	}
}

func TestAFloodOfProvisionalResponsesIsBounded(t *testing.T) {
	c := &call{p: newGateway(t, 1, nil).p, busy: true}
	for range maxInbox + 10 {
		c.post(event{kind: evResponse, res: &message.Message{StatusCode: 180}})
	}
	c.post(event{kind: evResponse, res: &message.Message{StatusCode: 486}})
	if len(c.inbox) != maxInbox+1 || c.p.Stats().Dropped != 10 {
		t.Errorf("%d events wait, %d dropped", len(c.inbox), c.p.Stats().Dropped)
	}
}

// Feature: PRX-05
func TestADeadContactDoesNotHoldUpTheAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, end := range []string{"declined", "cancelled"} {
			g := withPhones(t, 2)
			x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
			bs := g.branches(2)
			bs[0].answer(180)
			want := []int{180, 603}
			if end == "cancelled" {
				want[1] = 487
				g.p.Cancel(x, &message.Message{Method: "CANCEL"})
			}
			bs[0].answer(want[1])
			pass(silentWait - time.Millisecond)
			wantStatuses(t, x, 180)
			pass(time.Millisecond)
			wantStatuses(t, x, want...)
			g.wantIdle()
			bs[1].answer(180) // the transaction sends its CANCEL now
			bs[1].answer(200)
			wantStatuses(t, x, want...)
			if len(bs[1].cancelled()) != 1 {
				t.Errorf("%s: the silent branch was cancelled %d times", end, len(bs[1].cancelled()))
			}
		}
	})
}

// Feature: PRX-03 PRX-07
func TestRFC3261_16_7_A2xxOfABranchThatWasSilentIsForwarded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := withPhones(t, 2)
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		bs := g.branches(2)
		bs[0].answer(200)
		pass(silentWait + time.Second)
		g.wantIdle()
		bs[1].answer(200)
		wantStatuses(t, x, 200, 200)
	})
}
