package gateway

import (
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// unproven stands in front of the transactions of a gateway that has phones: a REGISTER over UDP without credentials can only be refused, most often
// with a challenge, and leaves no transaction behind. RFC 3261 §26.3.2.4: servers are to "challenge questionable requests with only a single
// 401 [..] forgoing the normal response retransmission algorithm, and thus behaving statelessly towards unauthenticated requests". Who has
// not got it asks again.
type unproven struct {
	next     flow.Receiver
	handler  sip.Handler
	trusted  func(location.Hop) bool // who registers without credentials
	send     func(m *message.Message, from location.Hop, answer []byte)
	draining *atomic.Bool
}

// Deliver implements flow.Receiver.
func (u *unproven) Deliver(m *message.Message, from location.Hop) {
	if m.Method != "REGISTER" || from.Transport != flow.UDP || from.Node != "" || m.Has(message.Authorization) ||
		u.draining.Load() || u.trusted(from) {
		u.next.Deliver(m, from)
		return
	}
	u.handler.Request(&refusing{m, from, u.send})
}

// refusing is a sip.ServerTransaction that nothing is kept of.
type refusing struct {
	req  *message.Message
	from location.Hop
	send func(m *message.Message, from location.Hop, answer []byte)
}

func (r *refusing) Request() *message.Message { return r.req }
func (r *refusing) Source() location.Hop      { return r.from }
func (r *refusing) Trying()                   {}

// Respond sends res. Its To tag is the same for the same request, as RFC 3261 §8.2.7 wants it: all refusals of a REGISTER have one tag.
func (r *refusing) Respond(res *message.Message) { r.send(r.req, r.from, res.AppendTo(nil)) }
