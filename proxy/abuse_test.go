package proxy

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// A user who registers a contact behind a proxy of his choice can choose the trunk for that proxy: no call gets there so. Who registers from the
// address of the trunk is behind it indeed.
//
// Feature: TRK-12
func TestAPathDoesNotLeadAroundTheRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		path, contact string
		from          location.Hop
		goes          bool
	}{
		"to the provider":                 {"<sip:192.0.2.200;lr>", "sip:+1900@192.0.2.200", alice, false},
		"to the provider by its name":     {"<sip:sip.itsp.example;lr>", "sip:+1900@sip.itsp.example", alice, false},
		"to the PBX that it is behind":    {"<sip:192.0.2.109;lr>", "sip:eve@192.0.2.109", pbx, true},
		"to a proxy that is no trunk":     {"<sip:192.0.2.77;lr>", "sip:eve@10.0.0.1", alice, true},
		"to the PBX from somewhere else":  {"<sip:192.0.2.109;lr>", "sip:eve@192.0.2.109", alice, false},
		"over a connection, to that":      {"<sip:192.0.2.200;lr>", "sip:+1900@192.0.2.200", stream("TCP", "198.51.100.1:40000", 7), true},
		"over one that is gone, to there": {"<sip:192.0.2.200;lr>", "sip:+1900@192.0.2.200", stream("TCP", "198.51.100.1:40000", 8), false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, nil)
				x.dead[8] = true
				x.dns["sip.itsp.example"] = []location.Hop{itsp}
				x.users["eve@example.org"] = true
				x.bindings["eve@example.org"] = []location.Binding{{Contact: c.contact, Q: 1000, Hop: c.from, Path: []string{c.path}}}
				tx := x.dials("eve")
				if c.goes {
					if s := x.branches(1)[0]; c.from.Flow != 0 && s.hop != c.from {
						t.Errorf("sent to %v", s.hop)
					}
					return
				}
				wantRefusal(t, tx, 403, "TRK403R")
				x.branches(0)
			})
		})
	}
}

// The token of a dialog with a phone says nothing of trunks: in the name of that dialog nobody calls over one, and gets no credentials of ours.
//
// Feature: TRK-12
func TestATokenOfAnotherDialogOpensNoTrunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.register("bob", bobPhone, bob)
		tx := x.calledBy(alice, aliceURI, bobURI)
		x.branches(1)[0].answer(180)
		route := tx.last(t).Get(message.RecordRoute)
		again := x.receive(within(t, "INVITE", "sip:+1900@192.0.2.200", "caller", "callee", route), alice)
		wantRefusal(t, again, 403, "TRK403R")
		x.branches(1)
		x.receive(within(t, "MESSAGE", "sip:+1900@192.0.2.200", "caller", "callee", route), alice)
		s := x.branches(2)[1]
		s.answer(407, `Proxy-Authenticate: Digest realm="itsp.example", nonce="n"`)
		x.branches(2) // it is not answered in our name
	})
}

// A re-INVITE in a call over a trunk goes there, in either direction, and so does one where the trunk has redirected a call to itself.
func TestDialogsOverTrunksGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		tx := x.dials("0301")
		x.branches(1)[0].answer(200)
		route := tx.last(t).Get(message.RecordRoute)
		x.receive(within(t, "INVITE", "sip:+49301@192.0.2.200", "caller", "callee", route), alice)
		wantHop(t, x.branches(2)[1], itsp)

		y := withTrunks(t, nil)
		ty := y.calledBy(pbx, "sip:231@192.0.2.109", aliceURI)
		y.branches(1)[0].answer(200)
		y.receive(within(t, "INVITE", "sip:231@192.0.2.109", "callee", "caller", ty.last(t).Get(message.RecordRoute)), alice)
		wantHop(t, y.branches(2)[1], pbx)
	})
}

// A final response that is not for forwarding, for it has no Via but ours, ends its branch, and nothing is left of the request.
func TestRFC3261_16_7_AFinalResponseForUsAloneEndsTheBranch(t *testing.T) {
	for _, method := range []string{"MESSAGE", "INVITE"} {
		for _, status := range []int{200, 404} {
			g := withBob(t, nil)
			x := g.receive(request(t, method, bobURI, aliceURI), alice)
			s := g.branches(1)[0]
			res := message.NewResponse(s.req, status, "", "callee")
			via := res.Values(message.Via)[0]
			res.Del(message.Via)
			res.Prepend(message.Via, via)
			s.user.Response(res)
			if method == "INVITE" {
				wantStatuses(t, x, 408)
			} else {
				wantStatuses(t, x)
			}
			g.wantIdle()
		}
	}
}

// The end of a server transaction that has had no answer ends everything, whatever its method: no branch is waited for that nobody will tell of.
func TestEnded_NothingIsLeftOfAnyRequest(t *testing.T) {
	g := withBob(t, nil)
	x := g.receive(request(t, "MESSAGE", bobURI, aliceURI), alice)
	g.branches(1)
	g.p.Ended(x)
	wantStatuses(t, x)
	g.wantIdle()
}

// In a flood nothing is dropped that does not come again.
func TestAFloodDropsNoFinalResponse(t *testing.T) {
	for _, invite := range []bool{true, false} {
		c := &call{p: newGateway(t, 1, nil).p, busy: true, fork: fork{invite: invite}}
		for range maxInbox {
			c.post(event{kind: evResponse, res: &message.Message{StatusCode: 100}})
		}
		c.post(event{kind: evTrying})
		c.post(event{kind: evResponse, res: &message.Message{StatusCode: 200}})
		want := maxInbox
		if !invite {
			want++ // nobody sends a 200 to MESSAGE again
		}
		if len(c.inbox) != want {
			t.Errorf("invite %v: %d events wait, want %d", invite, len(c.inbox), want)
		}
	}
}

// RFC 3261 §16.6 step 2: what a Request-URI may not hold is taken out of a contact: header fields (§19.1.1, table 1) and the method.
func TestRFC3261_16_6_TheRequestURIHasNoHeaders(t *testing.T) {
	const contact, want = "sip:bob@10.0.0.2:5060;method=BYE;ob?Subject=x&Route=%3Csip:192.0.2.9%3E", "sip:bob@10.0.0.2:5060;ob"
	g := newGateway(t, 1, func(c *Config) {
		c.Recurse, c.Trusted = true, func(location.Hop) bool { return true }
	})
	g.register("bob", contact, bob)
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	if got := g.branches(1)[0].req.RequestURI; got != want {
		t.Errorf("from a binding: %s", got)
	}
	g.branches(1)[0].answer(302, "Contact: <sip:carol@192.0.2.50?Subject=x>")
	if got := g.branches(2)[1].req.RequestURI; got != "sip:carol@192.0.2.50" {
		t.Errorf("from a redirection: %s", got)
	}
}

// An ACK for an emergency number goes nowhere: it leads to no dialog, and its Route is a stranger's.
func TestAnACKForAnEmergencyNumberIsDropped(t *testing.T) {
	x := withTrunks(t, nil)
	ack := request(t, "ACK", "sip:112@example.org", "sip:x@anywhere.example", "Route: <sip:192.0.2.66;lr>")
	x.p.ACK(ack, udp("203.0.113.5:5060"))
	if len(x.acks) != 0 {
		t.Errorf("sent to %v:\n%s", x.acks[0].hop, x.acks[0].req.AppendTo(nil))
	}
}

// Names that nobody resolves keep no lookup of users from its turn.
func TestNamesThatHangLeaveRoomForLookups(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newGateway(t, 1, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } })
		g.hole = true
		var asked atomic.Int64
		g.remote = func(context.Context, location.AOR) ([]location.Remote, error) {
			asked.Add(1)
			return nil, nil
		}
		for range lookups {
			g.receive(request(t, "INVITE", "sip:x@black.example", aliceURI), alice)
		}
		pass(time.Millisecond)
		g.receive(request(t, "INVITE", "sip:nobody@example.org", aliceURI), alice)
		pass(time.Millisecond)
		if asked.Load() != 1 {
			t.Error("the overlay was not asked while names hang")
		}
		pass(lookupWait)
	})
}

// What a trunk is blamed for is what it did: a caller who gives up while its name is being looked up is none of it.
func TestACallerWhoGivesUpIsNoFailureOfTheTrunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		x.plan.Trunks[1].Targets[0].URI = "sip:slow.example"
		x.service.Set(trunk.NewPlan(x.plan))
		release := make(chan struct{})
		x.slow = release
		x.dns["slow.example"] = []location.Hop{itsp}
		tx := x.dials("0301")
		x.p.Cancel(tx, &message.Message{Method: "CANCEL"})
		wait()
		close(release)
		wait()
		wantStatuses(t, tx, 487)
		for _, s := range x.service.Status() {
			if s.Results["silent"] != 0 || s.LastError != "" {
				t.Errorf("trunk %s: %v %s", s.Name, s.Results, s.LastError)
			}
		}
		if strings.Contains(tx.last(t).Get(message.Warning), "TRK") {
			t.Error(tx.last(t).Get(message.Warning))
		}
	})
}

// A user who gives every call the same Call-ID has each of them counted, or refused: over a route that is published too, for which nobody pays.
//
// Feature: TRK-12
func TestCallsWithOneCallIDAreNotOneLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, func(c *trunk.Config) { c.Trunks[0].MaxCalls = 1 })
		x.dials("231")
		x.branches(1)[0].answer(200)
		again := request(t, "INVITE", "sip:232@"+domain, aliceURI)
		again.Set(message.From, "<"+aliceURI+">;tag=again")
		tx := x.receive(again, alice)
		wait()
		wantRefusal(t, tx, 482, "TRK482C")
		x.branches(1)
		if n := x.service.Lines("pbx"); n != 1 {
			t.Errorf("%d lines are taken", n)
		}
	})
}
