package node

import (
	"maps"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// leaving is a node's way out.
type leaving struct {
	op      OpID
	to      wire.NodeID       // who gets what we are responsible for: our successor
	todo    []wire.ResourceID // that it is not known to hold
	sent    int
	failed  map[wire.ResourceID]bool // that it did not take
	told    bool                     // the neighbours were told
	answers int                      // that are still awaited
	took    []wire.NodeID            // who has answered
	again   bool                     // what we are responsible for is handed over to another one: see handOverAgain
	yielded bool                     // our successor has answered: our range is its own
	held    []*inbound               // requests that wait for that: see elsewhere
}

// leave begins to leave: first our successor gets what it will be responsible for.
func (n *Node) leave(op OpID) {
	if n.state == Client { // no peer takes it for a neighbour, so there is nobody to tell
		n.leaving = &leaving{op: op}
		n.after(n.left)
		return
	}
	n.state = Leaving
	n.leaving = &leaving{op: op, failed: make(map[wire.ResourceID]bool)}
	n.joining, n.timers[timerJoin] = nil, time.Time{}
	n.timers[timerLeave] = n.now.Add(leaveWait)
	n.after(n.leaveAgain)
}

// leaveAgain looks at what there is to hand over: at first, and when the successor is another.
func (n *Node) leaveAgain() {
	switch s := n.ring.Successors(); {
	case n.leaving.told:
	case len(s) > 0:
		n.handOverTo(s[0])
	default:
		n.handOverTo(wire.NodeID{})
	}
	n.leaveStep()
}

// handOverTo has a peer get what we are responsible for.
func (n *Node) handOverTo(id wire.NodeID) {
	l := n.leaving
	l.to = id
	clear(l.failed)
	l.todo = n.lacking()
}

// lacking lists what our successor has to get before it is told that it is responsible.
func (n *Node) lacking() (todo []wire.ResourceID) {
	l := n.leaving
	if l.to.IsZero() {
		return nil
	}
	for _, res := range n.store.Resources() {
		at, ok := chord.PointOfResource(res)
		if ok && n.responsible(at) && !l.failed[res] && !slices.Contains(n.holding(res).holders, l.to) {
			todo = append(todo, res)
		}
	}
	return todo
}

// handOverAgain is for when our successor has not answered: it may be dead, and what only it holds besides us would be gone with us. So the
// next one that has answered gets it, and will be responsible for it when it finds that out.
func (n *Node) handOverAgain() bool {
	l := n.leaving
	if l.yielded || l.again {
		return false
	}
	l.again = true
	for _, id := range n.ring.Successors() {
		if slices.Contains(l.took, id) {
			n.timers[timerLeave] = n.now.Add(leaveAnswerWait)
			n.handOverTo(id)
			n.leaveStep()
			return true
		}
	}
	return false
}

// leaveStep hands over what is left, and what was stored meanwhile, and then tells the neighbours.
func (n *Node) leaveStep() {
	l := n.leaving
	for to := l.to; l.sent < copyWindow && len(l.todo) > 0; {
		res := l.todo[0]
		l.todo = l.todo[1:]
		h := n.holding(res)
		version := h.version
		done := func(ok bool) {
			l.sent--
			if ok && h.version == version {
				h.holders = append(h.holders, to)
			}
			if to == l.to {
				l.failed[res] = !ok
			}
			n.leaveStep()
		}
		if n.sendCopy(res, to, 1, done) {
			l.sent++
		}
	}
	if l.sent == 0 && !l.told {
		l.todo = n.lacking()
	}
	switch {
	case l.sent > 0 || !l.told && n.heirAhead():
	case len(l.todo) > 0:
		n.after(n.leaveStep)
	case !l.told:
		n.tellLeave()
	case l.answers == 0 || l.again:
		if s := n.ring.Successors(); l.again && !l.yielded && len(s) > 0 && s[0] == l.to {
			n.yield()
		}
		n.timers[timerLeave] = n.now // when what was passed on has left
	}
}

// heirAhead reports whether we are the last peer, and somebody is on its way into the ring: it gets all there is, if it is in time. Else
// everything would be gone with us.
func (n *Node) heirAhead() bool {
	if n.ring.Len() > 0 || len(n.store.Resources()) == 0 {
		return false
	}
	return n.admission != nil || len(n.dials) > 0 || slices.ContainsFunc(n.order, func(p *peer) bool {
		return !p.left && n.now.Sub(p.link().made) < leaveWait
	})
}

// tellLeave sends Leave to the neighbours. RFC 6940 §10.9: "peers SHOULD send a Leave request to all members of their
// Neighbor Table before exiting the Overlay Instance." A successor is told our predecessors ("from_pred"), a predecessor
// our successors.
func (n *Node) tellLeave() {
	l := n.leaving
	l.told = true
	n.timers[timerLeave] = n.now.Add(leaveAnswerWait)
	predecessors := n.ring.Predecessors()
	for _, id := range n.leaveTo() {
		data := wire.ChordLeave{Type: wire.LeaveFromPred, Nodes: predecessors}
		if slices.Contains(predecessors, id) {
			data = wire.ChordLeave{Type: wire.LeaveFromSucc, Nodes: n.ring.Successors()}
		}
		data.Nodes = slices.DeleteFunc(slices.Clone(data.Nodes), func(o wire.NodeID) bool { return o == id })
		l.answers++
		n.request(outgoing{dest: toNode(id), link: n.peers[id].link().id,
			body: &wire.LeaveReq{Leaving: n.c.Self, OverlaySpecific: data.AppendTo(nil)},
			done: func(r result) {
				l.answers--
				if r.body != nil {
					l.took = append(l.took, id)
				}
				if s := n.ring.Successors(); r.body != nil && len(s) > 0 && s[0] == id && id == l.to {
					n.yield()
				}
				n.leaveStep()
			}})
	}
	if l.answers == 0 {
		n.left()
	}
}

// yield is when our successor has taken over: what comes for our range from now on, and what waits, is its business.
func (n *Node) yield() {
	l := n.leaving
	l.yielded = true
	n.releaseWaiting(&l.held)
}

// left ends everything.
func (n *Node) left() {
	if n.state == Left {
		return
	}
	n.state = Left
	for _, p := range n.sortedPeers() {
		for _, c := range p.links {
			n.out.Close = append(n.out.Close, c.id)
		}
	}
	n.out.Close = append(n.out.Close, slices.Sorted(maps.Keys(n.unnamed))...)
	n.event(EventLeft, n.c.Self, "")
	n.finishOp(Done{Op: n.leaving.op})
}

// answerLeave takes a neighbour out of the ring (RFC 6940 §6.4.2.2).
func (n *Node) answerLeave(in *inbound, req *wire.LeaveReq) {
	switch {
	case req.Leaving != in.sender:
		// RFC 6940 §6.4.2.2: "Receivers of the LeaveReq MUST verify that the leaving_peer_id field matches the Node-ID
		// used to sign the message and, if not, the message MUST be rejected with an Error_Forbidden error."
		n.forbid(in, "leaving_peer_id is not the signer")
		return
	case !in.direct() || in.link == 0 || n.peers[in.sender] == nil:
		// "receiving peers MUST verify that any LeaveReq they receive arrives from a transport channel that is bound to
		// the Node-ID".
		n.forbid(in, "not on a link of the leaving node")
		return
	}
	n.respond(in, &wire.LeaveAns{}, nil)
	p := n.peers[in.sender]
	p.left = true
	delete(n.sought, p.id)
	if p.ready {
		// RFC 6940 §10.9: "Any peer which receives a Leave for a peer n in its neighbor set MUST follow procedures as if
		// it had detected a peer failure". There is nothing to wait for, though: who takes its place is in the message.
		n.rangeEnds(p.id)
		n.notReady(p, false)
		n.noteFailure()
	}
	if len(n.avoid) < maxAvoid {
		n.avoid[in.sender] = n.now.Add(avoidTime)
	}
	if l, err := n.schema.ParseChordLeave(req.OverlaySpecific); err == nil && n.member() {
		for _, id := range l.Nodes[:min(len(l.Nodes), maxLearned)] {
			n.seek(id)
		}
	}
}

// seek attaches to a neighbour that a leaving node named. It is routed, not sent through the teacher, who will be gone.
func (n *Node) seek(id wire.NodeID) {
	if id != n.c.Self && id.Len() == n.c.Self.Len() && n.peers[id] == nil && n.belongs(id) &&
		!n.attaching(id) && !n.avoided(id) {
		n.attachTo(toNode(id), 0, n.neighborAttached)
	}
}
