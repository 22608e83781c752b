package node

import (
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What we ask for and are responsible for ourselves never leaves this program: nobody could change it on the way, so that the
// message signatures of RFC 6940 §6.3.4 prove nothing, and the values were verified when they were taken. A Fetch is answered
// at once; a Store is examined like any other, and only its certificate is looked at by the driver.

// answersItself reports whether a request for res is ours to answer now, and need not wait for a range that changes hands.
func (n *Node) answersItself(res wire.ResourceID) bool {
	d := wire.ToResource(res)
	at, ok := point(d)
	return ok && n.Responsible(d) && n.waitsForHandOver(at) == nil && !n.missing(res)
}

// fetchOwn answers a Fetch of ours from the store. Access control is asked again: the configuration may have changed.
func (n *Node) fetchOwn(id OpID, op *OpFetch) Done {
	d := Done{Op: id, From: n.c.Self}
	ans, signers, e := n.store.Read(n.now, &wire.FetchReq{Resource: op.Resource, Specifiers: []wire.Specifier{op.Specifier}})
	if e != nil {
		d.Refused = e
		return d
	}
	d.Body, d.Values = ans, n.believe(op, ans, signers, n.c.Self)
	return d
}

// FetchOwn answers a Fetch of what this node is responsible for, as Do would, between inputs: it has no effect that could not wait for the next
// input. What this node holds as a replica of a peer that is known to hold the same it answers as well, up to ownerSilence late. It reports
// false when the Fetch has to be done: the values are, or may be, with others, or the answer is an error.
func (n *Node) FetchOwn(now time.Time, op OpFetch) (values []Value, ok bool) {
	if !n.begin(now) || !n.state.Serves() {
		return nil, false
	}
	if !n.answersItself(op.Resource) {
		return n.fetchAtHome(&op)
	}
	d := n.fetchOwn(0, &op)
	return d.Values, d.Refused == nil
}

// Held is what this node holds itself of what op names, whether it is responsible for that or not, and the certificates of those who signed.
func (n *Node) Held(now time.Time, op OpFetch) ([]wire.StoredData, []wire.Certificate) {
	ans, certs, e := n.store.Fetch(now, &wire.FetchReq{Resource: op.Resource, Specifiers: []wire.Specifier{op.Specifier}})
	if e != nil {
		return nil, nil
	}
	return ans.Kinds[0].Values, certs
}

// vouchOrSeal has a request sealed, or only its certificate looked at where it is ours to answer. It reports false when there
// is too much to do.
func (n *Node) vouchOrSeal(r *request, m *wire.Message) bool {
	store, ok := m.Body.(*wire.StoreReq)
	if !r.own || !ok || !n.answersItself(store.Resource) {
		return n.sealRequest(r, m)
	}
	id, ok := n.newJob(&job{verified: func(v trust.Verified, err error) { n.vouched(r, m, v, err) }})
	if ok {
		n.out.Verify = append(n.out.Verify, Verify{Job: id, Message: m, By: r.by})
	}
	return ok
}

func (n *Node) sealRequest(r *request, m *wire.Message) bool {
	return n.seal(r.by, m, func(raw []byte, err error) { n.requestSealed(r, raw, err) })
}

// sealOwn sends a request of ours the ordinary way after all: the range was given to somebody else meanwhile.
func (n *Node) sealOwn(r *request, m *wire.Message) {
	if n.requests[r.tx] == r && !n.sealRequest(r, m) {
		n.finish(r, result{err: ErrOverload})
	}
}

// vouched takes a Store of ours whose certificate was looked at.
func (n *Node) vouched(r *request, m *wire.Message, v trust.Verified, err error) {
	var refusal *trust.RefusalError
	switch {
	case n.requests[r.tx] != r: // cancelled
	case errors.As(err, &refusal):
		n.drop(n.c.Self, refusalReason(err))
		n.finish(r, result{err: ErrUntrusted})
	case err != nil:
		n.finish(r, result{err: ErrOverload})
	default:
		in := &inbound{from: n.c.Self, header: m.Header, m: m, v: v, sender: v.Sender().Node, own: r}
		if !n.elsewhere(in) {
			n.examine(in)
		}
	}
}

// answeredOwn takes our own answer.
func (n *Node) answeredOwn(r *request, body wire.Body) {
	if n.requests[r.tx] != r {
		return
	}
	res := result{body: body, from: n.c.Self, rtt: n.now.Sub(r.begun)}
	if e, ok := body.(*wire.Error); ok {
		res.body, res.refused = nil, e
	}
	n.answered(r, res, n.c.Overlay.Sequence)
}
