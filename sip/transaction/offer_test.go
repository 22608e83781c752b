package transaction

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// prompt is a core that is offered requests.
type prompt struct {
	core
	prompt func(o sip.Offer) func(sip.ServerTransaction)
}

func (p *prompt) Prompt(o sip.Offer) func(sip.ServerTransaction) { return p.prompt(o) }

func TestRFC3261_8_2_7_ARequestThatIsAnsweredAtOnceLeavesNothing(t *testing.T) {
	offered := 0
	c := &prompt{prompt: func(o sip.Offer) func(sip.ServerTransaction) {
		offered++
		o.Trying()
		o.Respond(answer(o.Request(), 180)) // "A stateless UAS MUST NOT send provisional (1xx) responses."
		if offered == 1 {
			o.Respond(answer(o.Request(), 200))
		} else {
			o.Again(answer(o.Request(), 200))
		}
		return nil
	}}
	c.request = func(sip.ServerTransaction) { t.Error("it has a transaction") }
	g := newGateway(t, c)
	p := g.dial(t, flow.UDP)
	for range 2 { // "it does not absorb retransmissions"
		p.send(ask{method: "REGISTER", branch: "z9hG4bK1"}.String())
		if m := p.next(); m.StatusCode != 200 {
			t.Errorf("%d", m.StatusCode)
		}
	}
	s := g.Stats()
	if offered != 2 || s.Kept != 0 || s.Started["non_invite_server"] != 0 || s.Stateless != 1 || s.Received != 1 || s.Sent != 1 || s.Dropped["forbidden_response"] != 2 {
		t.Errorf("offered %d times: %+v", offered, s)
	}
}

func TestWhatIsNotAnsweredAtOnceHasATransaction(t *testing.T) {
	var offered []string
	var calls string
	c := &prompt{}
	c.prompt = func(o sip.Offer) func(sip.ServerTransaction) {
		offered = append(offered, o.Request().Method)
		if o.Request().Method == "MESSAGE" {
			return nil
		}
		return func(tx sip.ServerTransaction) { calls += "rest "; tx.Respond(answer(tx.Request(), 202)) }
	}
	c.request = func(tx sip.ServerTransaction) { calls += "request "; tx.Respond(answer(tx.Request(), 200)) }
	g := newGateway(t, c)
	for i, one := range []struct {
		transport, method string
		status            int
	}{
		{flow.UDP, "REGISTER", 202}, {flow.UDP, "MESSAGE", 200}, {flow.UDP, "INVITE", 200}, {flow.TCP, "REGISTER", 200},
	} {
		p := g.dial(t, one.transport)
		for range 2 { // the second one is absorbed
			p.send(ask{method: one.method, branch: "z9hG4bK" + string(rune('a'+i))}.String())
			if one.method == "INVITE" || one.transport == flow.TCP {
				break
			}
			if got := p.status(); got != one.status {
				t.Errorf("%s over %s: %d", one.method, one.transport, got)
			}
		}
		if one.method == "INVITE" || one.transport == flow.TCP {
			if got := p.status(); got != one.status {
				t.Errorf("%s over %s: %d", one.method, one.transport, got)
			}
		}
	}
	if len(offered) != 2 || offered[0] != "REGISTER" || offered[1] != "MESSAGE" || calls != "rest request request request " {
		t.Errorf("offered %v; %s", offered, calls)
	}
}

// The memory of a request is used again when nobody has it any longer: not that of one with a transaction.
func TestTheMemoryOfARequestThatLeavesNothingIsUsedAgain(t *testing.T) {
	c := &prompt{prompt: func(o sip.Offer) func(sip.ServerTransaction) {
		if o.Request().Get(message.CallID) == "known" {
			o.Respond(answer(o.Request(), 200))
		}
		return nil
	}}
	var kept *message.Message
	c.request = func(tx sip.ServerTransaction) { kept = tx.Request(); tx.Respond(answer(kept, 200)) }
	virtual(t, Config{}, &c.core, func(l *Layer, w *wire) {
		l.prompter = c
		known := parse(ask{method: "REGISTER", branch: "z9hG4bK1", call: "known"})
		l.Deliver(known, udpHop)
		l.Deliver(parse(ask{method: "REGISTER", branch: "z9hG4bK2", call: "new"}), udpHop)
		if len(w.recycled) != 1 || w.recycled[0] != known || kept.Get(message.CallID) != "new" {
			t.Errorf("%d are used again; %v has a transaction", len(w.recycled), kept)
		}
	})
}

// Before they are refused because the gateway is going down, requests are offered: the core knows what it has answered.
func TestWhoWasAnsweredIsAnsweredWhileDraining(t *testing.T) {
	c := &prompt{prompt: func(o sip.Offer) func(sip.ServerTransaction) {
		if o.Request().Get(message.CallID) == "known" {
			o.Again(answer(o.Request(), 200))
		}
		return nil
	}}
	g := newGateway(t, c)
	g.StopAccepting()
	p := g.dial(t, flow.UDP)
	for call, want := range map[string]int{"known": 200, "new": 503} {
		p.send(ask{method: "REGISTER", branch: "z9hG4bK" + call, call: call}.String())
		if got := p.status(); got != want {
			t.Errorf("%s: %d", call, got)
		}
	}
}
