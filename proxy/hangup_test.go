package proxy

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

const itspContact, behindITSP = "Contact: <sip:line7@192.0.2.201:5080>", "Record-Route: <sip:192.0.2.200;lr>"

// upOverTrunk is alice's call over the only line of the provider, which answered from a place of its own.
func upOverTrunk(t *testing.T) (x *exchange, routeSet []string) {
	x = withTrunks(t, func(c *trunk.Config) { c.Trunks[1].MaxCalls = 1 })
	tx := x.dials("0301")
	s := x.branches(1)[0]
	s.req.Prepend(message.RecordRoute, "<sip:192.0.2.200;lr>") // of a proxy of the provider
	s.answer(200, itspContact)
	wantStatuses(t, tx, 200)
	return x, routes(tx.last(t))
}

// hangs sends a BYE of alice, which somebody answers; 0: nobody does.
func (x *exchange) hangs(bye *message.Message, src location.Hop, status int) {
	x.t.Helper()
	n := len(x.branches(len(x.sent)))
	x.receive(bye, src)
	wait()
	sent := x.branches(n + 1)[n]
	if status != 0 {
		sent.answer(status)
	} else {
		sent.user.Failed(sip.ErrTimeout)
	}
	wait()
}

// RFC 3261 §15: a call is over when the other side has taken the BYE. One that it can not take for that of the call, and one that does not go there,
// end nothing, and free no line.
//
// Feature: TRK-12
func TestRFC3261_15_ABYEThatTheTrunkDoesNotTakeFreesNoLine(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*message.Message)
		status int
		free   bool
	}{
		"taken":                          {nil, 200, true},
		"the trunk knows of no call":     {nil, 481, true},
		"the trunk says it is gone":      {nil, 408, true},
		"another To tag":                 {func(m *message.Message) { m.Set(message.To, "<sip:y@anywhere.example>;tag=forged") }, 481, false},
		"another From tag":               {func(m *message.Message) { m.Set(message.From, "<sip:x@anywhere.example>;tag=forged") }, 481, false},
		"another To tag, taken":          {func(m *message.Message) { m.Set(message.To, "<sip:y@anywhere.example>;tag=forged") }, 200, false},
		"an old CSeq":                    {func(m *message.Message) { m.Set(message.CSeq, "0 BYE") }, 500, false},
		"an extension that nobody knows": {func(m *message.Message) { m.Add(message.Require, "x") }, 420, false},
		"to somebody else":               {func(m *message.Message) { m.RequestURI = "sip:me@203.0.113.66" }, 200, false},
		"past its proxy":                 {func(m *message.Message) { m.Set(message.Route, m.Values(message.Route)[0]) }, 200, false},
		"never answered":                 {nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x, set := upOverTrunk(t)
				bye := within(t, "BYE", "sip:line7@192.0.2.201:5080", "caller", "callee", set...)
				if c.change != nil {
					c.change(bye)
				}
				x.hangs(bye, alice, c.status)
				if got := x.service.Lines("itsp"); (got == 0) != c.free {
					t.Errorf("%d lines are taken", got)
				}
			})
		})
	}
}

// What hangs up at the trunk itself needs no answer: the phone may be gone.
func TestABYEOfTheTrunkFreesItsLine(t *testing.T) {
	for name, c := range map[string]struct {
		src  location.Hop
		tag  string
		free bool
	}{
		"the trunk": {itsp, "callee", true}, "another trunk": {pbx, "callee", false}, "of another dialog": {itsp, "other", false},
		"somebody who has the route": {udp("203.0.113.66:5060"), "callee", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x, _ := upOverTrunk(t)
				status := 0
				if !c.free {
					status = 200
				}
				set := x.branches(1)[0].req.Values(message.RecordRoute)[1:]
				x.hangs(within(t, "BYE", "sip:alice@198.51.100.1:5060", c.tag, "caller", set...), c.src, status)
				if got := x.service.Lines("itsp"); (got == 0) != c.free {
					t.Errorf("%d lines are taken", got)
				}
			})
		})
	}
}

// A call that comes from a trunk: its phone hangs up where the INVITE said, over the proxy in front of the trunk.
func TestThePhoneHangsUpACallFromATrunk(t *testing.T) {
	bubble(t, func(t *testing.T) {
		x := withTrunks(t, nil)
		req := request(t, "INVITE", "sip:alice@"+domain, "sip:+33145@itsp.example", behindITSP)
		req.Set(message.Contact, "<sip:gw@192.0.2.202>")
		x.receive(req, itsp)
		wait()
		s := x.branches(1)[0]
		s.answer(200, "Contact: <sip:alice@198.51.100.1:5060>")
		set := s.req.Values(message.RecordRoute)
		x.hangs(within(t, "BYE", "sip:elsewhere@192.0.2.202", "callee", "caller", set...), alice, 200)
		if got := x.service.Lines("itsp"); got != 1 {
			t.Errorf("%d lines are taken after a BYE to somebody else", got)
		}
		x.hangs(within(t, "BYE", "sip:gw@192.0.2.202", "callee", "caller", set...), alice, 200)
		if got := x.service.Lines("itsp"); got != 0 {
			t.Errorf("%d lines are taken", got)
		}
	})
}

// A call whose end is not seen keeps its line for an hour after the first BYE, whatever follows, and for 12 hours without one. Caps of users are
// looked at likewise.
func TestTheLineOfACallWhoseEndIsNotSeen(t *testing.T) {
	for name, hung := range map[string]bool{"a BYE that nobody took": true, "no BYE": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				x := withTrunks(t, func(c *trunk.Config) { c.Caps.Calls = 1 })
				tx := x.dials("0301")
				x.branches(1)[0].answer(200, itspContact)
				after := 12 * time.Hour
				if hung {
					after = time.Hour
					for range 3 {
						x.hangs(within(t, "BYE", "sip:line7@192.0.2.201:5080", "caller", "callee", routes(tx.last(t))...), alice, 0)
					}
				}
				pass(after - time.Minute)
				wantRefusal(t, x.dials("0302"), 403, "TRK403C")
				pass(2 * time.Minute)
				n := len(x.branches(len(x.sent)))
				x.dials("0303")
				x.branches(n + 1)
			})
		})
	}
}
