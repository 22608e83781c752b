package transaction

import (
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// serverTx is what a core holds of a server transaction; it implements sip.ServerTransaction.
type serverTx struct {
	e         *entry
	req       *message.Message // for the core, also when the layer needs it no more
	from      location.Hop
	rest      func(sip.ServerTransaction) // what the core has left to do, when the request was offered to it before; nil: all
	cancelled bool                        // e.mu: the core has been told of a CANCEL
	room      [1]call                     // e.mu: for e.calls, which are seldom more
}

func (s *serverTx) Request() *message.Message { return s.req }

func (s *serverTx) Source() location.Hop { return s.from }

func (s *serverTx) Respond(res *message.Message) { s.e.respond(res) }

func (e *entry) respond(res *message.Message) {
	if res.StatusCode > 100 && message.Tag(res.Get(message.To)) == "" {
		// RFC 3261 §8.2.6.2: "the UAS MUST add a tag to the To header field in the response (with the exception of the 100 (Trying)".
		res.Set(message.To, res.Get(message.To)+";tag="+e.l.hasher.tag(e.key))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.machine.kind == otherServer && res.StatusCode == 408:
		// RFC 4320 §4.2: "MUST NOT send a response with Status-Code of 408 to a non-INVITE request".
		e.l.counters.drop(dropForbidden)
		e.step(evSilence, nil, nil)
	case e.machine.kind == otherServer && res.StatusCode > 100 && res.StatusCode < 200:
		// RFC 4320 §4.1: "MUST NOT send any provisional response with a Status-Code other than 100 to a non-INVITE request".
		e.l.counters.drop(dropForbidden)
	default:
		if res.StatusCode >= 300 {
			// No longer "ongoing" (RFC 3261 §8.2.2.2): there are clients that follow a challenge without counting CSeq up.
			e.l.unmerge(e)
		}
		if e.out {
			e.step(evTick, nil, nil) // nobody watches its time any more
		}
		w := newOctets(e.hop)
		if e.step(classify(res.StatusCode), res, w.of(res)); e.last == nil {
			w.free()
		}
	}
	e.hand()
}

func (s *serverTx) Trying() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.e.step(evTrying, nil, nil)
}

// classify is the event of a status. To anything but INVITE a 2xx is a final response like others.
func classify(status int) event {
	switch {
	case status < 200:
		return evProvisional
	case status < 300:
		return evSuccess
	default:
		return evFinal
	}
}

// repeated takes a retransmission of the request; false when the transaction has just finished.
func (e *entry) repeated(from location.Hop, via message.ViaValue) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.out {
		return false
	}
	e.l.counters.retransmitted.Add(1)
	// A NAT may have moved the client: the answer goes where the question came from last.
	e.hop = e.l.transport.ResponseHop(from, via)
	e.step(evRequest, nil, nil)
	return true
}

// acknowledged takes an ACK; false when the transaction has just finished.
func (e *entry) acknowledged() bool {
	e.mu.Lock()
	if e.out {
		e.mu.Unlock()
		return false
	}
	e.step(evACK, nil, nil)
	e.mu.Unlock()
	e.run()
	return true
}

// cancelled tells the core of a CANCEL, once and only while the INVITE has no final response (RFC 3261 §9.2: it "has no effect on the
// processing of transactions" otherwise).
func (e *entry) cancelled(m *message.Message) {
	e.mu.Lock()
	if s := e.server; s != nil && e.machine.state == proceeding && !s.cancelled {
		s.cancelled = true
		e.queue(call{what: callCancel, m: m, server: s})
	}
	e.mu.Unlock()
	e.run()
}
