package transaction

import (
	"sync"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// offer is a request that the core may answer without a transaction; it implements sip.Offer.
type offer struct {
	l        *Layer
	req      *message.Message
	via      message.ViaValue
	from     location.Hop
	answered bool
}

// offers keeps them for the next requests.
var offers = sync.Pool{New: func() any { return new(offer) }}

// offer has the core answer a request of which nothing is known, if it likes to. Only over UDP: elsewhere no request is repeated, and there is nothing
// to be kept of it anyway. An INVITE needs its transaction for what follows.
func (l *Layer) offer(m *message.Message, via message.ViaValue, from location.Hop) (rest func(sip.ServerTransaction), answered bool) {
	if l.prompter == nil || from.Transport != flow.UDP || from.Node != "" || m.Method == "INVITE" {
		return nil, false
	}
	o := offers.Get().(*offer)
	*o = offer{l: l, req: m, via: via, from: from}
	rest = l.prompter.Prompt(o)
	answered = o.answered
	*o = offer{}
	offers.Put(o)
	return rest, answered
}

func (o *offer) Request() *message.Message { return o.req }

func (o *offer) Source() location.Hop { return o.from }

// Trying implements sip.ServerTransaction: RFC 3261 §8.2.7: "A stateless UAS MUST NOT send provisional (1xx) responses."
func (o *offer) Trying() {}

func (o *offer) Respond(res *message.Message) {
	if res.StatusCode < 200 {
		o.l.counters.drop(dropForbidden)
		return
	}
	o.l.counters.stateless.Add(1)
	o.send(res)
}

func (o *offer) Again(res *message.Message) {
	o.l.counters.retransmitted.Add(1)
	o.l.counters.repeated.Add(1)
	o.send(res)
}

func (o *offer) send(res *message.Message) {
	o.answered = true
	// RFC 3261 §8.2.7: "To header tags MUST be generated for responses in a stateless manner [..] that will generate the same tag for the same request
	// consistently": the core has put one there.
	o.l.put(res, o.l.transport.ResponseHop(o.from, o.via))
}
