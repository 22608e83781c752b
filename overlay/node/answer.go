package node

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// inbound is a request that we owe an answer.
type inbound struct {
	link       LinkID      // it came over; 0: made here
	from       wire.NodeID // the node at the other end of the link, or ourselves
	header     wire.Header
	m          *wire.Message
	v          trust.Verified
	sender     wire.NodeID // who signed it
	cache      *route.Cache
	extensions []wire.Extension // for the answer
	raw        []byte           // as it came; nil where it can not go anywhere else
	own        *request         // that it is, when it was never signed
	waited     bool             // for a Store: see awaitsStore
}

func (in *inbound) key() route.Key {
	return route.Key{Signer: in.sender, Transaction: in.header.Transaction}
}

// direct reports whether the request came from its sender without a hop between. RFC 6940 §6.4.2.1: Joins and Leaves
// "may be executed only between nodes which are directly adjacent".
func (in *inbound) direct() bool { return in.from == in.sender && len(in.header.Via) == 0 }

// requestVerified takes a request whose signature was checked.
func (n *Node) requestVerified(c *conn, m *wire.Message, raw []byte) func(trust.Verified, error) {
	in := &inbound{from: n.c.Self, header: m.Header, m: m, raw: raw}
	if c != nil {
		in.link, in.from = c.id, c.node
	}
	return func(v trust.Verified, err error) {
		if err != nil {
			// RFC 6940 §6.3.4: "If the signature fails to verify [...] the message MUST be discarded": without an
			// answer.
			n.drop(in.from, refusalReason(err))
			n.missedCopy(m)
			return
		}
		in.v, in.sender = v, v.Sender().Node
		if !n.repeated(in) && !n.elsewhere(in) {
			n.examine(in)
		}
	}
}

// repeated answers a request that was answered before. RFC 6940 §6.2.1: "For other requests (e.g., Store), it may be
// necessary to maintain state for the duration of the request lifetime."
func (n *Node) repeated(in *inbound) bool {
	switch in.m.Body.(type) {
	case *wire.PingReq, *wire.PathTrackReq, *wire.FetchReq, *wire.StatReq, *wire.FindReq, *wire.ProbeReq, *wire.RouteQueryReq:
		return false // to process it again is as good
	case *wire.AttachReq, *wire.AppAttachReq:
		if answer, fresh := n.answers.Begin(n.now, in.key()); !fresh {
			n.repeat(in, answer)
			return true
		}
		in.cache = n.answers
		if _, fresh := n.replays.Begin(n.now, in.key()); !fresh {
			n.drop(in.from, DropReplay)
			return true
		}
		return false
	}
	answer, fresh := n.answers.Begin(n.now, in.key())
	if !fresh {
		n.repeat(in, answer)
		return true
	}
	in.cache = n.answers
	return false
}

func (n *Node) repeat(in *inbound, answer []byte) {
	if answer == nil {
		return // it is being made
	}
	dest := n.returnPath(in)
	n.sendAnswer(in.link, dest, route.Readdress(answer, dest))
}

// examine checks what every request has to satisfy, and answers it.
func (n *Node) examine(in *inbound) {
	if e := n.checkRequest(in); e != nil {
		n.refuse(in, e)
		n.mismatched(in, e)
		return
	}
	switch body := in.m.Body.(type) {
	case *wire.PingReq:
		n.answerPing(in)
	case *wire.PathTrackReq:
		n.answerPathTrack(in, body)
	case *wire.AttachReq:
		n.answerAttach(in, body)
	case *wire.AppAttachReq:
		n.answerAppAttach(in, body)
	case *wire.JoinReq:
		n.answerJoin(in, body)
	case *wire.LeaveReq:
		n.answerLeave(in, body)
	case *wire.UpdateReq:
		n.answerUpdate(in, body)
	case *wire.RouteQueryReq:
		n.answerRouteQuery(in, body)
	case *wire.ProbeReq:
		n.answerProbe(in, body)
	case *wire.StoreReq:
		n.answerStore(in, body)
	case *wire.FetchReq:
		n.answerFetch(in, body)
	case *wire.StatReq:
		n.answerStat(in, body)
	case *wire.FindReq:
		n.answerFind(in, body)
	case *wire.ConfigUpdateReq:
		n.answerConfigUpdate(in, body)
	default: // methods that are not known
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "method not supported"))
	}
}

func (n *Node) checkRequest(in *inbound) *wire.Error {
	if e := n.checkSequence(in); e != nil {
		return e
	}
	// RFC 6940 §6.3.2.3: "any node that generates a response to the message but does not understand the forwarding
	// option MUST reject the request with an Error_Unsupported_Forwarding_Option error response".
	if hasCritical(in.header.Options, wire.OptionDestinationCritical) {
		return wire.NewError(wire.ErrorUnsupportedForwardingOption, "")
	}
	// RFC 6940 §6.3.3: an extension that is critical and not understood is answered with Error_Unknown_Extension.
	if slices.ContainsFunc(in.m.Extensions, func(x wire.Extension) bool {
		return x.Critical && x.Type != wire.ExtensionDiagnosticPing
	}) {
		return wire.NewError(wire.ErrorUnknownExtension, "")
	}
	return nil
}

// checkSequence compares configurations. RFC 6940 §6.3.2.1: only the destination of a request does, and a ConfigUpdate
// with sequence 65535 is exempt.
func (n *Node) checkSequence(in *inbound) *wire.Error {
	theirs, ours := in.header.ConfigSequence, n.c.Overlay.Sequence
	_, update := in.m.Body.(*wire.ConfigUpdateReq)
	switch {
	case theirs == ours || update && theirs == wire.ConfigSequenceAny:
		return nil
	case config.Newer(ours, theirs):
		return wire.NewError(wire.ErrorConfigTooOld, "")
	}
	return wire.NewError(wire.ErrorConfigTooNew, "")
}

// refuse answers a request with an error.
func (n *Node) refuse(in *inbound, e *wire.Error) {
	in.extensions = nil
	n.missedCopy(in.m)
	n.event(EventRefused, in.sender, e.ErrorCode.String())
	n.respond(in, e, nil)
}

func (n *Node) forbid(in *inbound, text string) {
	n.refuse(in, wire.NewError(wire.ErrorForbidden, text))
}

func (n *Node) returnPath(in *inbound) wire.DestinationList {
	return route.ReturnPath(&in.header, in.from)
}

// respond seals an answer and sends it back. certs are those that objects in it need.
func (n *Node) respond(in *inbound, body wire.Body, certs []wire.Certificate) {
	if in.own != nil {
		n.after(func() { n.answeredOwn(in.own, body) })
		return
	}
	dest := n.returnPath(in)
	h := n.header(in.header.Transaction, dest)
	h.Options = copyOptions(in.header.Options)
	m := &wire.Message{Header: h, Body: body, Extensions: in.extensions, Security: wire.SecurityBlock{Certificates: certs}}
	ok := n.seal(nil, m, func(raw []byte, err error) {
		if err != nil {
			n.drop(in.from, DropOverload)
			return
		}
		if e := n.answerTooLarge(in, body, len(raw)); e != nil {
			n.refuse(in, e)
			return
		}
		if in.cache != nil {
			in.cache.Answer(in.key(), raw)
		}
		n.sendAnswer(in.link, dest, raw)
		if c := n.conns[in.link]; c != nil && c.closing {
			n.hangUp(in.link)
		}
	})
	if !ok {
		n.drop(in.from, DropOverload)
	}
}

// copyOptions is what of the options of a request belongs into the answer. RFC 6940 §6.3.2.3: with RESPONSE_COPY, "any
// node generating a response MUST copy the option from the request to the response except that the RESPONSE_COPY,
// FORWARD_CRITICAL, and DESTINATION_CRITICAL flags MUST be cleared".
func copyOptions(l wire.OptionList) wire.OptionList {
	var out wire.OptionList
	for o := range l.All() {
		if o.Flags&wire.OptionResponseCopy != 0 {
			o.Flags &^= wire.OptionResponseCopy | wire.OptionForwardCritical | wire.OptionDestinationCritical
			out = o.AppendTo(out)
		}
	}
	return out
}

// answerTooLarge holds max_response_length: a node "MUST NOT send a response larger than that" (RFC 6940 §6.3.2); and
// the overlay's max-message-size. Errors are exempt, or neither could be told.
func (n *Node) answerTooLarge(in *inbound, body wire.Body, size int) *wire.Error {
	limit := n.c.Overlay.MaxMessageSize
	if m := in.header.MaxResponseLength; m != 0 && int64(m) < int64(limit) {
		limit = int(m)
	}
	if _, isError := body.(*wire.Error); isError || size <= limit {
		return nil
	}
	return wire.NewError(wire.ErrorResponseTooLarge, "")
}

// sendAnswer sends a response the way the request came, or another when that is gone: "possibly with extra nodes (loose
// routing)" (RFC 6940 §6.2.2).
func (n *Node) sendAnswer(link LinkID, dest wire.DestinationList, raw []byte) {
	if c := n.link(link); c != nil {
		n.relay(c, raw)
		return
	}
	d := route.Decide(n.c.Self, dest, n)
	if d.Reason == route.NotConnected && dest.Len() > 1 {
		// The hop was our predecessor, for whose range we stand in now: nobody else will find it either.
		n.sendAnswer(0, dest.Rest(), route.Readdress(raw, dest.Rest()))
		return
	}
	switch d.Verdict {
	case route.Deliver:
		n.deliverOwn(raw)
	case route.Forward:
		if c := n.nextLink(d.Next); c != nil {
			n.relay(c, raw)
			return
		}
		n.drop(n.c.Self, DropNoRoute)
	default:
		n.dropFor(n.c.Self, d.Reason)
	}
}
