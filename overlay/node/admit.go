package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// admission is a joining node that this peer, its admitting peer, lets into the ring (RFC 6940 §10.5). There is one at a
// time: each changes the range that the next one is taken from.
type admission struct {
	node     wire.NodeID
	todo     []wire.ResourceID
	sent     int
	labelled bool       // the Update that names it our predecessor is on its way
	held     []*inbound // requests for what changes hands: see elsewhere
}

// answerJoin lets a node into the ring (RFC 6940 §6.4.2.1).
func (n *Node) answerJoin(in *inbound, req *wire.JoinReq) {
	switch {
	case req.Joining != in.sender:
		// RFC 6940 §6.4.2.1: "Receivers of the JoinReq MUST verify that the joining_peer_id field matches the Node-ID
		// used to sign the message and, if not, the message MUST be rejected with an Error_Forbidden error."
		n.forbid(in, "joining_peer_id is not the signer")
	case !in.direct() || in.link == 0 || n.peers[in.sender] == nil: // the link may have gone while the signature was checked
		// "receiving peers MUST verify that any JoinReq they receive arrives from a transport channel that is bound to
		// the Node-ID to be assumed by the Joining Node".
		n.forbid(in, "not on a link of the joining node")
	case !n.admits() || !n.responsible(chord.PointOf(req.Joining)) && !n.ring.Has(req.Joining):
		n.forbid(in, "not responsible")
	case n.admission != nil && n.admission.node != in.sender:
		n.admitNext = slices.DeleteFunc(n.admitNext, func(o *inbound) bool { return o.sender == in.sender }) // one place each
		if len(n.admitNext) < maxAdmitNext {
			n.admitNext = append(n.admitNext, in) // answered when its turn comes
		}
	default:
		n.admit(in)
	}
}

// admits reports whether we let nodes into the ring: also while we leave it as the last peer, for somebody has to have what we hold.
func (n *Node) admits() bool {
	return n.state == Joined || n.leaving != nil && !n.leaving.told && n.ring.Len() == 0
}

// admit answers the Join and begins the hand-over.
func (n *Node) admit(in *inbound) {
	id := in.sender
	if p := n.peers[id]; p.ready {
		n.notReady(p, true) // its earlier life
	}
	if n.joining != nil { // we were alone and looking for others: here is one
		n.joining, n.timers[timerJoin] = nil, time.Time{}
	}
	n.respond(in, &wire.JoinAns{}, nil)
	n.admission = &admission{node: id}
	for _, res := range n.store.Resources() {
		if n.forAdmitted(res) {
			n.admission.todo = append(n.admission.todo, res)
		}
	}
	n.after(n.handOver)
}

// forAdmitted reports whether res will belong to the node that is being admitted.
func (n *Node) forAdmitted(res wire.ResourceID) bool {
	at, ok := chord.PointOfResource(res)
	return ok && n.admission != nil && n.changesHands(at)
}

// changesHands reports whether what we are responsible for at a point will be the business of the node being admitted.
func (n *Node) changesHands(at chord.Point) bool {
	return n.responsible(at) && !at.Within(chord.PointOf(n.admission.node), chord.PointOf(n.c.Self))
}

// handOver does "a series of Store requests to JN to store the data that JN will be responsible for" (RFC 6940 §10.5),
// and then labels it our predecessor.
func (n *Node) handOver() {
	a := n.admission
	if a == nil || a.labelled {
		return
	}
	for a.sent < copyWindow && len(a.todo) > 0 {
		res := a.todo[0]
		a.todo = a.todo[1:]
		h := n.holding(res)
		version := h.version
		if n.sendCopy(res, a.node, 1, func(ok bool) { n.handedOver(a, h, ok && h.version == version) }) {
			a.sent++
		}
	}
	if a.sent == 0 && len(a.todo) == 0 {
		n.label(a)
	}
}

// handedOver notes that a copy has arrived; ok says that it still is what we hold. What does not arrive is stored at its
// new owner later, like everything that is no longer ours.
func (n *Node) handedOver(a *admission, h *holding, ok bool) {
	if n.admission != a {
		return
	}
	a.sent--
	if ok {
		h.holders = append(h.holders, a.node)
	}
	n.handOver()
}

// label sends the Update that makes a joining node a peer. RFC 6940 §10.5: "AP MUST send JN an Update explicitly
// labeling JN as its predecessor." It is a peer for us when it has answered; until then we answer for its range.
func (n *Node) label(a *admission) {
	p := n.peers[a.node]
	if p == nil {
		n.endAdmission()
		return
	}
	a.labelled = true
	u := n.updateBody(wire.ChordNeighbors)
	u.Predecessors = slices.Insert(u.Predecessors, 0, a.node)
	if len(u.Predecessors) > chord.Neighbors {
		u.Predecessors = u.Predecessors[:chord.Neighbors]
	}
	n.request(outgoing{dest: toNode(a.node), link: p.link().id, body: u, done: func(r result) {
		if n.admission != a {
			return
		}
		if p := n.peers[a.node]; r.body != nil && p != nil {
			n.event(EventAdmitted, a.node, "")
			if !p.ready {
				p.ready = true
				n.ready(p)
			}
		}
		n.endAdmission()
	}})
}

// endAdmission takes up the next node that waits, if it still belongs here.
func (n *Node) endAdmission() {
	if n.admission != nil {
		n.releaseWaiting(&n.admission.held)
	}
	n.admission = nil
	if len(n.admitNext) == 0 {
		return
	}
	in := n.admitNext[0]
	n.admitNext = n.admitNext[1:]
	n.after(func() {
		if n.peers[in.sender] == nil {
			n.endAdmission()
			return
		}
		n.answerJoin(in, in.m.Body.(*wire.JoinReq))
		if n.admission == nil {
			n.endAdmission()
		}
	})
}
