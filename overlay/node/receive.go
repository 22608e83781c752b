package node

import (
	"encoding/binary"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Receive takes one whole RELOAD message (frame header removed) from a link. raw is the node's from now on.
func (n *Node) Receive(now time.Time, from LinkID, raw []byte) {
	c := n.conns[from]
	if !n.begin(now) {
		return
	}
	if u := n.unnamed[from]; u != nil {
		n.receiveUnnamed(u, raw)
		n.settle()
		return
	}
	if c == nil {
		n.drop(wire.NodeID{}, DropUnknownLink)
		return
	}
	p := n.peers[c.node]
	if n.now.Sub(p.heard) > ownerSilence {
		n.endSilence(p.id)
	}
	c.used, p.heard, p.misses = n.now, n.now, 0
	if !n.flooded(c) {
		n.receive(c, raw)
	}
	n.settle()
}

// receive examines a message (RFC 6940 §6.1).
func (n *Node) receive(c *conn, raw []byte) {
	h, size, err := wire.ParseHeader(raw)
	switch {
	case len(raw) > n.c.Overlay.MaxMessageSize:
		n.tooLarge(c, &h, size, raw, err)
		return
	case err != nil:
		n.drop(c.node, DropSyntax)
		return
	}
	if reason := n.rules.Check(&h); reason != "" {
		n.dropFor(c.node, reason)
		switch reason {
		case route.BadTTL:
			n.refuseTransit(c, &h, raw[size:], wire.ErrorTTLExceeded, "ttl above initial-ttl")
		case route.Repeated:
			n.refuseTransit(c, &h, raw[size:], wire.ErrorInvalidMessage, "destination list repeats an entry")
		}
		return
	}
	switch d := route.Decide(n.c.Self, h.Destinations, n); d.Verdict {
	case route.Deliver:
		n.deliver(c, &h, raw)
	case route.Forward:
		n.forward(c, &h, size, raw, d)
	default:
		n.dropFor(c.node, d.Reason)
	}
}

// tooLarge refuses a message that is larger than max-message-size, or what there is of its beginning. RFC 6940 §6.6: a peer "SHOULD
// send an Error_Message_Too_Large error and then close the TLS or DTLS session from which the message was received", and "If the
// forwarding header is larger than the max-message-size, the receiver SHOULD close the TLS or DTLS session without sending an
// error." A neighbour that goes by another configuration may be right by its own, and keeps its link.
func (n *Node) tooLarge(c *conn, h *wire.Header, size int, raw []byte, err error) {
	n.drop(c.node, DropTooLarge)
	switch {
	case c.closing:
	case err != nil || size > n.c.Overlay.MaxMessageSize:
		n.hangUp(c.id)
	case !isRequest(h, raw[size:]):
		if h.ConfigSequence == n.c.Overlay.Sequence {
			n.hangUp(c.id)
		}
	default:
		c.closing = h.ConfigSequence == n.c.Overlay.Sequence
		n.refuseTransit(c, h, raw[size:], wire.ErrorMessageTooLarge, "")
	}
}

// hangUp closes a link whose other end has broken a rule.
func (n *Node) hangUp(id LinkID) {
	if c := n.conns[id]; c != nil {
		n.out.Close = append(n.out.Close, id)
		n.dropConn(c)
	}
}

// isRequest looks at the message code behind the header. A fragment that is not the first has none and passes for an
// answer: it then leaves with an unchanged Via List, as RFC 6940 §6.7 wants all fragments of a message to do.
func isRequest(h *wire.Header, rest []byte) bool {
	return h.Fragment&wire.FragmentOffset == 0 && len(rest) >= 2 && codeOf(rest).IsRequest()
}

// codeOf reads the message code, the first two octets behind the header.
func codeOf(rest []byte) wire.MessageCode { return wire.MessageCode(binary.BigEndian.Uint16(rest)) }

// forward passes a message on (RFC 6940 §6.1.2).
func (n *Node) forward(c *conn, h *wire.Header, size int, raw []byte, d route.Decision) {
	request := isRequest(h, raw[size:])
	if n.c.Client {
		n.noRoute(c, h, raw[size:]) // RFC 6940 §4.2: clients do not route
		return
	}
	if request && n.endsDiagnostics(c, h, raw[size:], d.Next) {
		return
	}
	if r := n.requests[h.Transaction]; r != nil && r.foreign && request {
		n.finish(r, result{}) // it has come back: who has sent it to us is in our ring
		return
	}
	if h.TTL == 0 {
		n.dropFor(c.node, route.TTLExceeded)
		n.refuseTransit(c, h, raw[size:], wire.ErrorTTLExceeded, "")
		return
	}
	if len(h.Options) > 0 && hasCritical(h.Options, wire.OptionForwardCritical) {
		// RFC 6940 §6.3.2.3: "any node that would forward the message but does not understand this option MUST reject
		// the request with an Error_Unsupported_Forwarding_Option error response".
		n.refuseTransit(c, h, raw[size:], wire.ErrorUnsupportedForwardingOption, "")
		return
	}
	if len(h.Via) > maxViaOctets {
		n.drop(c.node, DropViaTooLong)
		return
	}
	if request && len(h.Via) == 0 && codeOf(raw[size:]) == wire.CodeAttachReq &&
		d.Next == wire.ToResource(joinPoint(c.node)) {
		// Its own, for the Via List is empty, and not one that it passes on. Or we would send it back, for it was the nearest
		// to where it wants to join.
		n.entering(c.node, c.id)
	}
	out := n.nextLinkFrom(d.Next, c.node)
	if out != nil && request && codeOf(raw[size:]) == wire.CodeAttachReq && d.Next == wire.ToResource(joinPoint(out.node)) {
		out = n.pastEarlierLife(out, d.Next)
	}
	if out == nil {
		n.noRoute(c, h, raw[size:])
		return
	}
	if request && n.holdBack(c, h, raw, d) {
		return
	}
	hop := route.Hop{Destinations: d.Destinations}
	if shorter, header, k, ok := route.Shortcut(raw, h, size, n.c.Self); request && ok {
		raw, h, size = shorter, &header, k
	} else if request {
		hop.Previous = c.node
		if len(h.Via) >= compressedVia {
			hop.Instead, _ = n.opaque.Stand(n.now, route.ReturnPath(h, c.node))
		}
	}
	longer := hop.Append(raw, h, size)
	if len(longer) > n.c.Overlay.MaxMessageSize {
		// The Via List has grown. The next hop would close its link with us, who have done nothing wrong.
		n.drop(c.node, DropTooLarge)
		n.refuseTransit(c, h, raw[size:], wire.ErrorMessageTooLarge, "")
		return
	}
	if request {
		n.keepPassed(out, d.Next, longer)
	}
	n.relay(out, longer)
}

func (n *Node) noRoute(c *conn, h *wire.Header, rest []byte) {
	if n.member() {
		n.drop(c.node, DropNoRoute)
		return
	}
	// A node that has not joined itself says so, to spare a joining node the wait.
	n.drop(c.node, DropNotJoined)
	n.refuseTransit(c, h, rest, wire.ErrorNotFound, notJoinedText)
}

const notJoinedText = "not joined"

// nextLink is the link that leads towards d; nil when there is none.
func (n *Node) nextLink(d wire.Destination) *conn { return n.nextLinkFrom(d, wire.NodeID{}) }

// nextLinkFrom is the same for a message that came from a node.
func (n *Node) nextLinkFrom(d wire.Destination, from wire.NodeID) *conn {
	if d.Type == wire.DestNode {
		// RFC 6940 §6.1.2: "If the first entry on the Destination List is in the peer's Connection Table, the peer MUST
		// forward the message to that peer directly."
		if p := n.peers[d.Node]; p != nil {
			return p.link()
		}
	}
	at, ok := point(d)
	if ok && n.state == Client {
		return n.clientLink(at)
	}
	if !ok || !n.member() {
		return nil
	}
	id, ok := n.ring.NextHop(at, from)
	if !ok && n.leaving != nil && n.leaving.yielded {
		if s := n.ring.Successors(); len(s) > 0 {
			id, ok = s[0], true
		}
	}
	if !ok {
		return nil
	}
	return n.peers[id].link()
}

// pastEarlierLife is the link that leads from a node to the one behind it. Only the node itself looks for who that is, when
// it starts: what there is of a link with it may belong to an earlier life, and nobody would notice for seconds.
//
// Deviation: RFC 6940 §10.3 has such an Attach go to the node, whose Node-ID is the largest before the Resource-ID.
func (n *Node) pastEarlierLife(to *conn, d wire.Destination) *conn {
	at, _ := point(d)
	if other, ok := n.ring.NextHop(at, to.node); ok {
		return n.peers[other].link()
	}
	return to
}

// point is the position on the ring that d names.
func point(d wire.Destination) (chord.Point, bool) {
	switch d.Type {
	case wire.DestNode:
		return chord.PointOf(d.Node), true
	case wire.DestResource:
		return chord.PointOfResource(d.Resource)
	}
	return chord.Point{}, false
}

func (n *Node) send(c *conn, raw []byte) {
	c.used = n.now
	n.out.Forward = append(n.out.Forward, Forward{c.id, raw})
}

// deliver takes a message that is for this node. c is nil for one that was made here.
func (n *Node) deliver(c *conn, h *wire.Header, raw []byte) {
	if c != nil && !h.Whole() {
		n.assemble(c, h, raw)
		return
	}
	n.deliverWhole(c, raw)
}

func (n *Node) deliverWhole(c *conn, raw []byte) {
	from := n.c.Self
	if c != nil {
		from = c.node
	}
	m, err := n.schema.Parse(raw)
	if err != nil {
		n.drop(from, DropSyntax)
		return
	}
	if m.Body.Code().IsRequest() {
		n.verify(c, m, "", n.requestVerified(c, m, raw))
		return
	}
	r := n.requests[m.Header.Transaction]
	if code := m.Body.Code(); r == nil || code != wire.CodeError && code != r.code.Answer() {
		n.drop(from, DropNoTransaction)
		return
	}
	n.verify(c, m, r.asked, n.answerVerified(r, from))
}

// deliverOwn takes a message of ours that is for ourselves, the same way as all others.
func (n *Node) deliverOwn(raw []byte) {
	h, _, err := wire.ParseHeader(raw)
	if err != nil {
		n.drop(n.c.Self, DropSyntax)
		return
	}
	n.deliver(nil, &h, raw)
}

// hasCritical reports whether an option, of which this program knows none, has the flag.
func hasCritical(l wire.OptionList, flag uint8) bool {
	for o := range l.All() {
		if o.Flags&flag != 0 {
			return true
		}
	}
	return false
}

// refuseTransit answers, with an error, a request that was not examined further than its header. "The peer SHOULD
// generate an appropriate error" (RFC 6940 §6.1); an answer or error is never answered. Each error costs us a signature, and who
// has caused it nothing: so there are only so many.
func (n *Node) refuseTransit(c *conn, h *wire.Header, rest []byte, code wire.ErrorCode, text string) {
	if !isRequest(h, rest) {
		return
	}
	if !c.refusals.take(n.now, transitErrors, burst*transitErrors) {
		n.drop(c.node, DropOverload)
		return
	}
	n.event(EventRefused, c.node, code.String())
	in := &inbound{link: c.id, from: c.node, header: *h}
	n.respond(in, wire.NewError(code, text), nil)
}
