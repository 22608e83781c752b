package proxy

import (
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// When a call over a trunk is over. A BYE that passes is no proof of that: with another tag, an old CSeq or another Request-URI the trunk never
// hangs up, and whoever writes it so would be counted for nothing. What proves it is the trunk's own BYE, or what it answers at the very place
// where it said that it takes requests of the dialog.

// talk is what trunks are to know of a call that res opens.
func (c *call) talk(res *message.Message) sip.Talk {
	p, in := c.p, c.in
	down := res.Values(message.RecordRoute)
	for i, v := range down {
		if uri, err := routeURI(v); err == nil && p.own(uri) {
			down = down[:i] // what is behind us, seen from the caller
			break
		}
	}
	slices.Reverse(down) // RFC 3261 §12.1.2: the caller takes the route set in reverse order
	return sip.Talk{Tags: p.tags(in.fromTag, message.Tag(res.Get(message.To))), In: p.wayTo(in.req.Values(message.RecordRoute), contactURI(in.req)),
		Out: p.wayTo(down, contactURI(res))}
}

// contactURI is the remote target that a message makes (RFC 3261 §12.1), the zero URI when it makes none.
func contactURI(m *message.Message) message.URI {
	a, err := message.ParseAddress(m.Get(message.Contact))
	if err != nil {
		return message.URI{}
	}
	uri, err := message.ParseURI(a.URI)
	if err != nil {
		return message.URI{}
	}
	return uri
}

// tags tells dialogs of one Call-ID apart, whichever side it is seen from.
func (p *Proxy) tags(one, other string) uint64 {
	return maphash.String(p.seed, one) + maphash.String(p.seed, other)
}

// wayTo stands for a route set and a remote target; 0 when that is none.
func (p *Proxy) wayTo(routes []string, target message.URI) uint64 {
	if target.Host == "" {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(p.seed)
	part := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	part(target.User)
	part(strings.ToLower(target.Host))
	part(strconv.Itoa(int(target.Port)))
	for _, r := range routes {
		if uri, err := routeURI(r); err == nil {
			part(uri.String())
		}
	}
	return h.Sum64()
}

// hungUp tells trunks of a BYE: that it passes, with status 0, and what the other side answers.
func (p *Proxy) hungUp(in *inbound, status int) {
	if !p.trunking() || !in.genuine || in.msg.Method != "BYE" {
		return
	}
	p.c.Trunks.HungUp(in.req.Get(message.CallID), &sip.Hangup{Tags: p.tags(in.fromTag, message.Tag(in.req.Get(message.To))),
		Way: p.wayTo(in.msg.Values(message.Route), in.uri), Trunk: in.origin.Trunk, Node: in.src.Node, Status: status})
}
