package proxy

import (
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Ask sends an OPTIONS to the phone of a binding, the way that a call would take, and reports whether there is one. A phone behind a proxy that
// only a name leads to is not asked: that would take a lookup.
func (p *Proxy) Ask(b location.Binding, user sip.ClientUser) bool {
	t, c := p.bound(b, false)
	if c != fine {
		return false
	}
	m := &message.Message{Method: "OPTIONS", RequestURI: t.uri}
	for _, v := range t.path {
		m.Add(message.Route, v)
	}
	hop := t.hop
	if (hop == location.Hop{}) {
		in := &inbound{msg: m}
		uri, ok := nextHop(&t, in)
		if !ok {
			return false
		}
		hops, ok := p.c.Resolver.Immediate(uri)
		if !ok || len(hops) == 0 {
			return false
		}
		hop = hops[0]
	}
	m.Add(message.MaxForwards, "70")
	m.Add(message.From, "<sip:"+p.c.Domain+">;tag="+newTag())
	m.Add(message.To, "<"+t.uri+">")
	m.Add(message.CallID, newTag()+newTag())
	m.Add(message.CSeq, "1 OPTIONS")
	m.Add(message.Accept, "application/sdp")
	restrict(m)
	if a := p.side(hop).address; a.Host != "" {
		m.Add(message.Contact, "<sip:"+message.HostPort(a.Host, a.Port)+transportParam("sip:", a.Transport)+">")
	}
	p.c.Sender.Send(m, hop, "", user)
	return true
}
