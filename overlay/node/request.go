package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// outgoing says what request to make.
type outgoing struct {
	by         *trust.Signer // nil: the node itself
	dest       wire.DestinationList
	body       wire.Body
	certs      []wire.Certificate // for the bucket, besides the signer's
	extensions []wire.Extension
	asked      wire.ResourceID // of a FetchReq
	link       LinkID          // on which it has to leave; 0: as it is routed
	once       bool            // no retransmission
	own        bool            // a Store of this program, which need not be signed when the answer is ours too
	foreign    bool            // the answer may come from a ring that we are not in
	done       func(result)    // called once, never within request
}

// request is one that waits for its answer (RFC 6940 §6.2.1).
type request struct {
	outgoing
	tx        wire.TransactionID
	code      wire.MessageCode
	sequence  uint16 // of the configuration when it was made
	again     bool   // it is sent for the second time: the first met another configuration
	over      bool
	raw       []byte // as sealed; nil before
	sent      LinkID // the link of the last copy
	begun     time.Time
	copies    int         // sent after the first
	rerouted  int         // times, without waiting for the timer
	hint      *wire.Error // from a node on the way
	untrusted bool        // an answer came that was not believed
}

// result is how a request ended: body and from are set, or refused, or err.
type result struct {
	v       trust.Verified
	body    wire.Body
	from    wire.NodeID // who answered
	refused *wire.Error
	err     error
	hops    int
	rtt     time.Duration
}

// request originates a request. It returns nil, and done follows, when there is too much to do.
func (n *Node) request(o outgoing) *request {
	r := &request{outgoing: o, code: o.body.Code()}
	if !n.originate(r) {
		n.after(func() { o.done(result{err: ErrOverload}) })
		return nil
	}
	return r
}

// originate sends r as a new transaction. It reports false when there is too much to do.
func (n *Node) originate(r *request) bool {
	r.tx, r.raw, r.begun, r.sequence = n.newTransaction(), nil, n.now, n.c.Overlay.Sequence
	transmissions := route.Transmissions
	if r.once {
		transmissions = 1
	}
	m := &wire.Message{Header: n.header(r.tx, r.dest), Body: r.body, Extensions: r.extensions,
		Security: wire.SecurityBlock{Certificates: slices.Clip(r.certs)}}
	if r.code == wire.CodeConfigUpdateReq {
		// RFC 6940 §6.3.2.1: it passes the check of the sequence wherever it arrives.
		m.Header.ConfigSequence = wire.ConfigSequenceAny
	}
	if len(r.dest) == 0 || !n.table.Start(n.now, r.tx, transmissions) {
		return false
	}
	if !n.vouchOrSeal(r, m) {
		n.table.End(r.tx)
		return false
	}
	n.requests[r.tx] = r
	return true
}

// newTransaction draws 64 random bits that are not in use (RFC 6940 §6.3.2).
func (n *Node) newTransaction() wire.TransactionID {
	for {
		tx := wire.TransactionID(n.c.Rand.Uint64())
		if !n.table.Has(tx) {
			return tx
		}
	}
}

// header is the forwarding header of a message made here. RFC 6940 §6.3.2: an originator "SHOULD" start with a ttl of
// 100, or of the initial-ttl of the configuration.
func (n *Node) header(tx wire.TransactionID, dest wire.DestinationList) wire.Header {
	return wire.Header{
		Overlay:        n.rules.Overlay,
		ConfigSequence: n.c.Overlay.Sequence,
		Version:        wire.Version,
		TTL:            n.c.Overlay.InitialTTL,
		Fragment:       wire.Unfragmented,
		Transaction:    tx,
		Destinations:   dest,
	}
}

func (n *Node) requestSealed(r *request, raw []byte, err error) {
	switch {
	case n.requests[r.tx] != r: // cancelled
	case err != nil:
		n.finish(r, result{err: ErrOverload})
	case len(raw) > n.c.Overlay.MaxMessageSize:
		n.finish(r, result{refused: wire.NewError(wire.ErrorMessageTooLarge, "")})
	default:
		r.raw = raw
		n.transmit(r)
	}
}

// transmit sends a copy of a request: always the same octets, so that copies can be told by their signature.
func (n *Node) transmit(r *request) {
	r.sent = 0
	if r.raw == nil {
		return
	}
	if r.link != 0 {
		if c := n.link(r.link); c != nil {
			n.send(c, r.raw)
			r.sent = c.id
		}
		return
	}
	switch d := route.Decide(n.c.Self, r.dest, n); d.Verdict {
	case route.Deliver:
		n.deliverOwn(r.raw)
	case route.Forward:
		if c := n.nextLink(d.Next); c != nil {
			raw := r.raw
			if len(d.Destinations) != len(r.dest) { // it began with ourselves
				raw = route.Readdress(raw, d.Destinations)
			}
			n.send(c, raw)
			r.sent = c.id
		}
	}
}

// collect does what the end-to-end timers ask for.
func (n *Node) collect() {
	again, failed := n.table.Collect(n.now)
	for _, tx := range again {
		if r := n.requests[tx]; r != nil {
			r.copies++
			n.transmit(r)
		}
	}
	for _, tx := range failed {
		if r := n.requests[tx]; r != nil {
			n.finish(r, r.failure())
		}
	}
}

// failure is how a request ends that was never answered properly.
func (r *request) failure() result {
	switch {
	case r.hint != nil:
		return result{refused: r.hint}
	case r.untrusted:
		return result{err: ErrUntrusted}
	}
	return result{err: ErrTimeout}
}

// forget ends a request, if there is one.
func (n *Node) forget(r *request) {
	if r == nil {
		return
	}
	n.table.End(r.tx)
	delete(n.requests, r.tx)
	r.over = true
}

func (n *Node) finish(r *request, res result) {
	n.forget(r)
	r.done(res)
}

// answerVerified takes a response whose signature was checked.
func (n *Node) answerVerified(r *request, link wire.NodeID) func(trust.Verified, error) {
	return func(v trust.Verified, err error) {
		if n.requests[r.tx] != r || v.Message() != nil && v.Message().Header.Transaction != r.tx {
			return // another copy of the answer was faster
		}
		if err != nil {
			r.untrusted = true
			n.drop(link, refusalReason(err))
			return
		}
		m := v.Message()
		res := result{v: v, body: m.Body, from: v.Sender().Node, rtt: n.now.Sub(r.begun)}
		n.heardAnswer(res.from, r.begun)
		if link != n.c.Self {
			res.hops = int(n.c.Overlay.InitialTTL-m.Header.TTL) + 1
		}
		e, isError := m.Body.(*wire.Error)
		if isError {
			res = result{refused: e, from: res.from, hops: res.hops}
		}
		switch {
		case n.mayAnswer(r, res.from, link):
			n.answered(r, res, m.Header.ConfigSequence)
		case isError && n.isHint(r, e, res.from):
		default:
			r.untrusted = true
			n.event(EventAnswerRefused, res.from, m.Body.Code().String())
			n.doubt(r, res.from)
		}
	}
}

// answered ends a request that was answered, unless there is more to do about a refusal. sequence is that of the
// configuration of who has answered.
func (n *Node) answered(r *request, res result, sequence uint16) {
	if res.refused == nil || !n.outdated(r, res, sequence) && !n.unknownKind(r, res) {
		n.finish(r, res)
	}
}

// mayAnswer reports whether an answer signed by from, that came over the link with link, is an answer to r. RFC 6940
// §6.3.4: "If the request was sent to a Node-ID, the response MUST be signed by that Node-ID; to a Resource-ID, by a
// node at least as close to it as any in our Neighbor Table" (in our words), the wildcard excepted: then the neighbour
// itself answers.
func (n *Node) mayAnswer(r *request, from, link wire.NodeID) bool {
	d, _ := r.dest.Last()
	switch {
	case d.Type == wire.DestNode && d.Node.IsWildcard():
		return from == link
	case d.Type == wire.DestNode:
		return from == d.Node
	case d.Type == wire.DestResource:
		at, ok := point(d)
		return ok && (!n.member() && n.state != Client || r.foreign || n.ring.Plausible(at, from))
	}
	return true // an opaque ID: only the last node but one knows whom it names
}

// doubt asks a neighbour for a sign of life that makes an answer of from's one that is not believed, because it is closer
// to what was asked for: it may be dead, and others have noticed before us.
func (n *Node) doubt(r *request, from wire.NodeID) {
	d, _ := r.dest.Last()
	at, ok := point(d)
	if d.Type != wire.DestResource || !ok {
		return
	}
	if id, ok := n.ring.Closer(at, from); ok {
		if p := n.peers[id]; p != nil && !p.pinging && n.now.Sub(p.heard) >= doubtAfter {
			n.ping(p)
		}
	}
}

// isHint takes an error of a node on the way. It cannot satisfy the rule for answers, so it never completes a request;
// but when it says that no copy will do better, the request has failed.
func (n *Node) isHint(r *request, e *wire.Error, from wire.NodeID) bool {
	switch e.ErrorCode {
	case wire.ErrorTTLExceeded, wire.ErrorTTLHopsExceeded, wire.ErrorLoopDetected, wire.ErrorUpstreamMisrouting,
		wire.ErrorMessageExpired, wire.ErrorUnderlayUnreachable, wire.ErrorUnderlayTimeExceeded:
		// Routes may settle: the next copy may arrive.
		r.hint = e
	case wire.ErrorUnsupportedForwardingOption, wire.ErrorMessageTooLarge:
		n.finish(r, result{refused: e, from: from})
	case wire.ErrorNotFound:
		// Our bootstrap node has not joined itself.
		if c := n.conns[r.link]; c == nil || c.node != from {
			return false
		}
		n.finish(r, result{refused: e, from: from})
	default:
		return false
	}
	return true
}
