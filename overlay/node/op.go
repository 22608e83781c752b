package node

import (
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What may happen to a local operation.
var (
	ErrTimeout   = errors.New("node: no answer in time")
	ErrNotJoined = errors.New("node: not joined")
	ErrOverload  = errors.New("node: too much to do")
	ErrUntrusted = errors.New("node: no answer that could be believed")
	ErrLinkDown  = errors.New("node: link down")
)

// Op is a local operation: OpStore, OpFetch, OpFind, OpAppAttach, OpPing, OpPathTrack or OpLeave.
type Op interface{ isOp() }

// OpStore stores values of one Kind under one resource. By has signed them, signs the request, and must be whom the Kind's
// access control policy wants.
type OpStore struct {
	By         *trust.Signer
	Resource   wire.ResourceID
	Kind       wire.KindID
	Values     []wire.StoredData
	Generation uint64 // 0: do not check
}

// OpFetch fetches values of one Kind: from the peer that is responsible, or what the node At holds of them.
type OpFetch struct {
	Resource  wire.ResourceID
	Specifier wire.Specifier
	At        wire.NodeID // zero: who is responsible
}

// OpAppAttach asks the last node of Destinations for a connection of an application. Done carries the Node-ID that
// answered: a connection from it is to be expected at the AppCandidates.
type OpAppAttach struct {
	Destinations wire.DestinationList
	Application  wire.ApplicationID
	Offer        Offer // of an overlay with ICE: what has been gathered for it
}

// OpFind looks for the stored Resource-ID of one Kind that is closest to Resource (RFC 6940 §7.4.4).
type OpFind struct {
	Resource wire.ResourceID
	Kind     wire.KindID
}

// OpPing pings.
type OpPing struct {
	Destinations wire.DestinationList
	Diagnose     *Diagnose // nil: an ordinary Ping
}

// OpLeave leaves the ring in order: hand-over and Leave to the neighbours (RFC 6940 §10.9). Done follows when nothing
// more is to be sent.
type OpLeave struct{}

func (OpStore) isOp()     {}
func (OpFetch) isOp()     {}
func (OpFind) isOp()      {}
func (OpAppAttach) isOp() {}
func (OpPing) isOp()      {}
func (OpLeave) isOp()     {}

// Value is one fetched value whose signature and access control were found good; a tombstone when Exists is false. The
// signer of one that this node holds itself comes without a certificate.
type Value struct {
	wire.StoredData
	Signer trust.Identity
}

// Done is the end of a local operation. Exactly one of Err, Refused and Body is set; OpLeave has none.
type Done struct {
	Op      OpID
	Body    wire.Body      // the answer: *wire.StoreAns, *wire.FetchAns, *wire.FindAns, *wire.AppAttachAns, *wire.PingAns, *wire.PathTrackAns
	From    wire.NodeID    // who answered, or refused; zero with Err
	Answer  trust.Verified // the message with Body; the zero value when this node answered a Fetch or Store of its own
	Values  []Value        // of a FetchAns: those that may be believed
	Refused *wire.Error    // what a peer answered instead
	Err     error          // what happened to us: ErrTimeout, ErrNotJoined, ErrOverload, ErrUntrusted
	Hops    int            // links that the answer took; 0 when we answered ourselves
}

// Do starts a local operation. Its end is a Done effect with the same OpID.
func (n *Node) Do(now time.Time, op Op) OpID {
	n.lastOp++
	id := n.lastOp
	if found, ok := op.(OpFound); ok {
		if n.begin(now) {
			n.noteFound(found.Addresses)
		}
		n.finishOp(Done{Op: id})
		n.settle()
		return id
	}
	handOver, configure := op.(OpConfigure)
	if !n.begin(now) || !n.state.Serves() && !configure {
		n.finishOp(Done{Op: id, Err: ErrNotJoined})
		return id
	}
	if _, ok := op.(OpLeave); ok {
		n.leave(id)
	} else if configure {
		n.consider(&candidate{document: handOver.Document, op: id})
	} else {
		n.doRequest(id, op)
	}
	n.settle()
	return id
}

func (n *Node) doRequest(id OpID, op Op) {
	o := outgoing{done: func(r result) { n.opDone(id, nil, r) }}
	switch op := op.(type) {
	case OpStore:
		o.by, o.own = op.By, true
		o.dest = wire.NewDestinationList(wire.ToResource(op.Resource))
		o.body = &wire.StoreReq{Resource: op.Resource,
			Kinds: []wire.StoreKindData{{Kind: op.Kind, Generation: op.Generation, Values: op.Values}}}
	case OpFetch:
		if op.At.IsZero() && n.answersItself(op.Resource) {
			n.finishOp(n.fetchOwn(id, &op))
			return
		}
		o.dest = wire.NewDestinationList(wire.ToResource(op.Resource))
		if !op.At.IsZero() {
			o.dest = wire.NewDestinationList(wire.ToNode(op.At))
		}
		o.asked = op.Resource
		o.body = &wire.FetchReq{Resource: op.Resource, Specifiers: []wire.Specifier{op.Specifier}}
		o.done = func(r result) { n.opDone(id, &op, r) }
	case OpAppAttach:
		o.dest = op.Destinations
		offer := op.Offer
		if n.c.Overlay.NoICE {
			offer = n.listening(n.c.AppCandidates)
		}
		o.body = &wire.AppAttachReq{AppAttach: n.appAttachBody(op.Application, wire.RolePassive, offer)}
		o.done = func(r result) { n.opDone(id, nil, checkAppAttachAns(op.Application, r)) }
	case OpFind:
		o.dest = wire.NewDestinationList(wire.ToResource(op.Resource))
		o.body = &wire.FindReq{Resource: op.Resource, Kinds: []wire.KindID{op.Kind}}
	case OpPing:
		o.dest = op.Destinations
		o.body = &wire.PingReq{}
		o.extensions = n.diagnosticPing(op)
	case OpPathTrack:
		o.dest = op.Hops
		o.body = &wire.PathTrackReq{Destination: op.Destination, Request: n.diagnosticsRequest(op.Flags)}
	}
	if r := n.request(o); r != nil {
		n.ops[id] = r
	}
}

// checkAppAttachAns looks at what the answer says: a peer that answers for another application was not understood.
func checkAppAttachAns(app wire.ApplicationID, r result) result {
	if a, ok := r.body.(*wire.AppAttachAns); ok && (a.Application != app || a.Role != wire.RoleActive) {
		return result{err: ErrUntrusted}
	}
	return r
}

func (n *Node) opDone(id OpID, fetch *OpFetch, r result) {
	delete(n.ops, id)
	d := Done{Op: id, Body: r.body, From: r.from, Answer: r.v, Refused: r.refused, Err: r.err, Hops: r.hops}
	if ans, ok := r.body.(*wire.FetchAns); ok && fetch != nil {
		d.Values = n.believe(fetch, ans, r.v.Values(), r.from)
		n.confirmKind(fetch, &d)
	}
	n.finishOp(d)
}

func (n *Node) finishOp(d Done) { n.out.Done = append(n.out.Done, d) }

// believe picks the values of a FetchAns that are good. RFC 6940 §7.4.2.2: "the requesting node [...] SHOULD verify the
// signatures"; the access control policy is asked again, since a storing peer could otherwise plant what a member signed
// for another resource.
func (n *Node) believe(op *OpFetch, ans *wire.FetchAns, signers []trust.ValueSigner, from wire.NodeID) []Value {
	var values []Value
	for i := range ans.Kinds {
		k := &ans.Kinds[i]
		kind, known := n.c.Overlay.Kind(k.Kind)
		known = known && k.Kind == op.Specifier.Kind
		for j := range k.Values {
			if len(signers) == 0 {
				return values
			}
			s := signers[0]
			signers = signers[1:]
			switch d := &k.Values[j]; {
			case !d.Value.Exists && s.Err == nil && s.Identity.Node.IsZero():
				// RFC 6940 §7.4.2.2: a value that nothing is known of, made up by the answering peer.
			case s.Err != nil:
				n.event(EventValueRefused, from, refusalReason(s.Err))
			case !known:
				n.event(EventValueRefused, from, "not_asked")
			case store.CheckAccess(n.c.Overlay, kind, op.Resource, d, s.Identity) != nil:
				n.event(EventValueRefused, from, "access")
			default:
				values = append(values, Value{StoredData: *d, Signer: s.Identity})
			}
		}
	}
	return values
}

// Cancel forgets a local operation: no Done effect follows.
func (n *Node) Cancel(now time.Time, id OpID) {
	r := n.ops[id]
	if !n.begin(now) || r == nil {
		return
	}
	delete(n.ops, id)
	n.forget(r)
}

func refusalReason(err error) string {
	var refusal *trust.RefusalError
	if errors.As(err, &refusal) {
		return string(refusal.Reason)
	}
	return DropOverload
}
