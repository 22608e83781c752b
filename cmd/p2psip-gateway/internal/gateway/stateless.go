package gateway

import (
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/proxy"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// stateless stands in front of the transactions of a redirect peer: what it knows it answers over UDP at once, and forgets (RFC 3261 §8.2.7).
// Who has not got the answer asks again and has the same one, the ACK belongs to nothing, and a flood leaves nothing behind. Everything else
// has a transaction: what has to be asked of the overlay, refusals, and connections, on which nothing is repeated.
//
// Deviation: RFC 3261 §8.3 says of a redirect server that it "maintains transaction state for an entire SIP transaction"; §8.2.7 leaves it to a UAS for
// each request. A CANCEL that crosses the redirection on its way gets 481, not 200.
type stateless struct {
	next   flow.Receiver
	server interface {
		Redirection(req *message.Message, from location.Hop) *message.Message
	}
	flows interface {
		ResponseHop(from location.Hop, via message.ViaValue) location.Hop
		Send(to location.Hop, b []byte, receipt *flow.Receipt) error
	}
	draining *atomic.Bool
}

// Deliver implements flow.Receiver.
func (s *stateless) Deliver(m *message.Message, from location.Hop) {
	if from.Transport != flow.UDP || from.Node != "" || !redirectable(m) || s.draining.Load() {
		s.next.Deliver(m, from)
		return
	}
	via, err := m.TopVia()
	if err != nil {
		return // the reader has checked it
	}
	res := s.server.Redirection(m, from)
	if res == nil {
		s.next.Deliver(m, from)
		return
	}
	_ = s.flows.Send(s.flows.ResponseHop(from, via), res.AppendTo(nil), nil) // what is lost is asked for again
}

// redirectable reports whether a request is a new one for somebody.
func redirectable(m *message.Message) bool {
	switch {
	case !m.IsRequest(), message.Tag(m.Get(message.To)) != "":
		return false
	}
	return m.Method != "ACK" && m.Method != "CANCEL" && m.Method != "REGISTER"
}

// redirected counts what the redirect server answers, and logs refusals.
func (g *Gateway) redirected(req *message.Message, from location.Hop, status int, word string) {
	if word == "" {
		g.metrics.Response("redirect", req.Method, status, "")
		return
	}
	g.refused("redirect", proxy.Refusal{Code: word, Status: status, Method: req.Method, URI: req.RequestURI, From: req.Get(message.From), Source: from})
}
