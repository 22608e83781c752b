package proxy

import (
	"hash/maphash"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// ACK forwards an ACK for a 2xx, statelessly, by the routing of any request within a dialog (RFC 3261 §16.11). What
// cannot be forwarded is dropped: there is no response to an ACK (RFC 3261 §17).
func (p *Proxy) ACK(ack *message.Message, from location.Hop) {
	in, c := p.validate(ack, from)
	if c == fine {
		c = p.preprocess(in)
	}
	if c != fine {
		p.counters.acks[ackDropped].Add(1)
		return
	}
	p.standFor(in)
	p.clean(in)
	pl, c := p.determine(in)
	if c != fine || pl.aor != "" || pl.dial {
		// An ACK to an AOR, or to a number, would have to be forked like its INVITE; nobody waits for it there (RFC 3261
		// §13.2.2.4 sends it to the Contact).
		p.counters.acks[ackDropped].Add(1)
		return
	}
	p.forwardACK(in, pl.one)
}

// standFor is admit without challenge: "ACK requests [..] MUST NOT be challenged" (RFC 3261 §22.1).
func (p *Proxy) standFor(in *inbound) {
	in.trusted = p.c.Trusted != nil && p.c.Trusted(in.src)
	switch {
	case in.overlay():
		in.standing = peer
	case in.trusted || p.registered(in, in.from):
		in.standing = known
	}
}

func (p *Proxy) forwardACK(in *inbound, t target) {
	if (t.hop != location.Hop{}) {
		p.sendACK(in, &t, t.hop)
		return
	}
	uri, ok := nextHop(&t, in)
	if !ok {
		p.counters.acks[ackDropped].Add(1)
		return
	}
	if hops, ok := p.c.Resolver.Immediate(uri); ok && len(hops) > 0 {
		p.sendACK(in, &t, p.answering(hops))
		return
	}
	ok = p.resolve(p.ctx, uri, lookupWait, func(hops []location.Hop, err error) {
		if err != nil || len(hops) == 0 {
			p.counters.acks[ackDropped].Add(1)
			return
		}
		p.sendACK(in, &t, p.answering(hops))
	})
	if !ok {
		p.counters.acks[ackDropped].Add(1)
	}
}

// answering is the hop to which the INVITE went in the end: the first of those that are not down. An ACK, which has no answer, finds out nothing.
func (p *Proxy) answering(hops []location.Hop) location.Hop {
	return p.outages.order(hops, p.c.Now(), false)[0]
}

func (p *Proxy) sendACK(in *inbound, t *target, hop location.Hop) {
	hop = in.via(hop)
	m := p.branchOf(in, t, hop, in.breadth)
	if p.c.Media != nil {
		p.c.Media.ACK(m, in.src, hop)
	}
	if err := p.c.Sender.SendStateless(m, hop, p.ackBranch(in)); err != nil {
		p.counters.acks[ackDropped].Add(1) // the 2xx comes again, and with it the ACK
		return
	}
	p.counters.acks[ackForwarded].Add(1)
}

// ackBranch is the same for each copy of one ACK. RFC 3261 §16.11: "the branch parameter MUST be computed as a
// combinatoric function of message parameters which are invariant on retransmission".
func (p *Proxy) ackBranch(in *inbound) string {
	b := append(make([]byte, 0, branchLen), cookie...)
	via, _ := in.req.FirstValue(message.Via)
	b = append(appendHex(b, maphash.String(p.seed, via)), '.')
	return string(appendHex(b, in.hash))
}
