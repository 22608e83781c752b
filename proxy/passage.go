package proxy

import (
	"encoding/binary"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// passage says how the responses to one attempt of a branch pass upstream. It does not change after the request is sent, so that it also holds for
// a 2xx that comes when the call is forgotten: see Proxy.Relay.
type passage struct {
	anonymous bool   // what the called side says of itself is taken out (RFC 3325 §5: "a message (request or response)")
	renamed   bool   // from and to take the place of From and To, whose tag stays
	from, to  string // as the caller wrote them
}

// passageOf is that of a request to the current hop of a branch.
func (c *call) passageOf(branch int) (p passage) {
	l := &c.legs[branch]
	p.anonymous = !c.p.c.Identity.Trusted || l.known || !c.vouched(branch)
	if p.renamed = (l.way != nil || c.in.renamed) && !c.in.inside; p.renamed {
		p.from, p.to = c.in.req.Get(message.From), c.in.req.Get(message.To)
	}
	return p
}

// pass makes of a response what goes upstream; false: nothing does.
func (p *passage) pass(res *message.Message) bool {
	// RFC 3261 §16.7 step 3: "The proxy removes the topmost Via header field value from the response. If no Via header
	// field values remain in the response, the response was meant for this element and MUST NOT be forwarded".
	res.PopValue(message.Via)
	if !res.Has(message.Via) {
		return false
	}
	if p.renamed {
		// RFC 3261 §8.2.6.2: "The From field of the response MUST equal the From header field of the request", and To likewise, but for
		// its tag.
		to := p.to
		if tag := message.Tag(res.Get(message.To)); tag != "" {
			to += ";tag=" + tag
		}
		res.Set(message.From, p.from)
		res.Set(message.To, to)
	}
	if p.anonymous && res.Has(message.PAssertedIdentity) {
		res.Del(message.PAssertedIdentity)
	}
	return true
}

// The first octet of a note.
const (
	noteAnonymous byte = 1 << iota
	noteRenamed
)

// note is p in octets, few for most calls: they are kept for each call for half a minute.
func (p *passage) note() []byte {
	flags := byte(0)
	if p.anonymous {
		flags |= noteAnonymous
	}
	if !p.renamed {
		return []byte{flags}
	}
	b := binary.AppendUvarint([]byte{flags | noteRenamed}, uint64(len(p.from)))
	return append(append(b, p.from...), p.to...)
}

// readNote reads what note wrote.
func readNote(b []byte) (p passage, ok bool) {
	if len(b) == 0 {
		return p, false
	}
	p.anonymous, p.renamed = b[0]&noteAnonymous != 0, b[0]&noteRenamed != 0
	if !p.renamed {
		return p, true
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 || n > uint64(len(b)-1-size) {
		return p, false
	}
	rest := string(b[1+size:])
	p.from, p.to = rest[:n], rest[n:]
	return p, true
}

// Relays implements sip.RelayingUser.
func (u *user) Relays() (sip.ServerTransaction, []byte) { return u.c.tx, u.passage.note() }

// Relay implements sip.Handler: a 2xx behind the first goes upstream as that did (RFC 6026 §7.2). To the Media it says nothing new.
func (p *Proxy) Relay(res *message.Message, note []byte) bool {
	how, ok := readNote(note)
	if !ok || !how.pass(res) {
		return false
	}
	if p.c.Media != nil {
		p.c.Media.Response(0, res)
	}
	return true
}
