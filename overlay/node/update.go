package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// announced is what the others were told of our place in the ring.
type announced struct {
	ready       bool      // we may tell: see joined
	changed     bool      // the ring has changed since it was last looked at
	spread      time.Time // the first change that is to be spread
	neighbors   []wire.NodeID
	predecessor wire.NodeID
}

// update sends an Update. Only one to each peer waits for its answer; what becomes due meanwhile is sent then, with the
// contents of then.
func (n *Node) update(p *peer, t wire.ChordUpdateType) {
	if p.left || n.leaving != nil && n.leaving.told {
		return
	}
	if p.updating {
		p.updateDue = max(p.updateDue, t)
		return
	}
	p.updating, p.updateDue, p.told = true, 0, n.now
	n.request(outgoing{dest: toNode(p.id), link: p.link().id, body: n.updateBody(t), done: func(r result) {
		p.updating = false
		if r.err != nil {
			p.updateDue = max(p.updateDue, t) // the liveness timer tries again
		} else if p.updateDue != 0 && n.peers[p.id] == p {
			n.update(p, p.updateDue)
		}
	}})
}

func toNode(id wire.NodeID) wire.DestinationList { return wire.NewDestinationList(wire.ToNode(id)) }

// updateBody is the ChordUpdate of RFC 6940 §10.7.
func (n *Node) updateBody(t wire.ChordUpdateType) *wire.UpdateReq {
	u := &wire.UpdateReq{Uptime: n.uptime(), Type: t}
	if t >= wire.ChordNeighbors {
		u.Predecessors, u.Successors = n.ring.Predecessors(), n.ring.Successors()
	}
	if t == wire.ChordFull {
		u.Fingers = n.ring.Fingers()
	}
	return u
}

// answerUpdate answers an Update, which takes effect for its signer only: it is accepted from a node that we are linked
// with or that we are attaching to, and what it lists are nodes to look for, not facts.
//
// It must come over a link of its signer: the signature covers neither a time nor whom it is for (RFC 6940 §6.3.4), so that a member
// that was sent one could show it to others later, and an old uptime looks like a peer that has started again.
func (n *Node) answerUpdate(in *inbound, u *wire.UpdateReq) {
	p := n.peers[in.sender]
	if p == nil && !n.attaching(in.sender) {
		n.forbid(in, "not attached")
		return
	}
	if p != nil && !in.direct() {
		n.forbid(in, "not on a link of the peer")
		return
	}
	n.respond(in, &wire.UpdateAns{}, nil)
	if p != nil {
		n.heardUpdate(p, u)
	}
}

func (n *Node) heardUpdate(p *peer, u *wire.UpdateReq) {
	born := n.now.Add(-time.Duration(u.Uptime) * time.Second)
	if p.ready && !p.born.IsZero() && born.Sub(p.born) > restartTolerance {
		n.notReady(p, true) // it has started again, and holds nothing
	}
	p.born = born
	if !p.ready && !p.left {
		p.ready = true
		n.ready(p)
	}
	if u.Type >= wire.ChordNeighbors {
		n.ring.Hear(p.id, u.Predecessors, u.Successors)
		n.heardOwner(p, u)
	}
	if n.joining != nil && !n.member() {
		n.joinUpdate(p, u)
		return
	}
	if n.state == Client {
		n.learnHomes(p.id, u)
	} else if n.member() {
		n.missed(p, u)
		listed := n.listed(u)
		if u.Type >= wire.ChordNeighbors {
			n.unnamedBy(p.id, listed)
		}
		n.learn(p.id, listed)
	}
}

// ready enters a peer into the routing table.
func (n *Node) ready(p *peer) {
	if !n.ring.Add(p.id) {
		return
	}
	delete(n.sought, p.id)
	n.noteBack(p.id)
	if n.forgetLost(p.id) {
		n.countBack()
	}
	n.announced.changed = true
	n.noteNewcomer(p, n.admission != nil && n.admission.node == p.id)
	n.wakeUpkeep()
	n.askAge(p)
	if n.ring.IsNeighbor(p.id) {
		n.event(EventNeighborUp, p.id, "")
	}
}

// notReady takes a peer out of the routing table; lost says that it went without a word (RFC 6940 §10.7.1).
func (n *Node) notReady(p *peer, lost bool) {
	p.ready = false
	delete(n.copies.owners, p.id)
	neighbor, before := n.ring.IsNeighbor(p.id), n.ring.Replicas()
	if lost {
		p.lost++
		n.rememberLost(p)
		n.countLost(p.id)
		n.noteLost(p.id)
	}
	if !n.ring.Remove(p.id) {
		return
	}
	n.announced.changed = true
	if lost {
		n.noteFailure()
	}
	n.forgetHolder(p.id)
	n.endow(p.id)
	n.wakeUpkeep()
	if !neighbor {
		n.event(EventPeerLost, p.id, "")
		n.fingerLost(p.id)
		return
	}
	n.event(EventNeighborLost, p.id, "")
	if lost {
		n.holdDown(before)
		n.reattach(p.id)
	}
}

// reattach tries once to get a lost neighbour back. RFC 6940 §10.7.1: "A peer MAY attempt to reestablish connectivity
// with a lost neighbor [...] by actively routing a new Attach". It goes through the nearest peer that is left.
func (n *Node) reattach(id wire.NodeID) {
	if !n.member() || n.isBanned(id) || n.bad(id) {
		return
	}
	via, ok := n.ring.NextHop(chord.PointOf(id), wire.NodeID{})
	if !ok {
		if via, ok = n.ring.Predecessor(); !ok {
			return
		}
	}
	n.after(func() {
		if n.peers[id] == nil && n.peers[via] != nil && n.member() {
			n.attachTo(wire.NewDestinationList(wire.ToNode(via), wire.ToNode(id)), 0, func(wire.NodeID, error) {})
		}
	})
}

// learn looks for the nodes that a peer names (RFC 6940 §10.7.3).
func (n *Node) learn(teacher wire.NodeID, ids []wire.NodeID) {
	for _, id := range ids[:min(len(ids), maxLearned)] {
		p := n.peers[id]
		if id == n.c.Self || id.Len() != n.c.Self.Len() || p != nil && (p.ready || p.left) {
			continue
		}
		n.seekAgain(id, teacher)
		switch {
		case p != nil:
			if n.ring.Near(id) {
				n.askUpdate(p)
			}
		case n.attaching(id), n.avoided(id):
		case n.ring.Near(id) && (n.ring.Wanted(id) || len(n.attaches) < maxAttaches/2):
			// RFC 6940 §10.7.3: "x MUST attempt to Attach to the new peers". §10.6: "When a peer needs to Attach to a
			// new peer in its Neighbor Table, it MUST source-route the Attach request through the peer from which it
			// learned".
			n.attachTo(wire.NewDestinationList(wire.ToNode(teacher), wire.ToNode(id)), 0, n.neighborAttached)
		case len(n.attaches) < maxAttaches/2 && n.ring.Useful(id):
			n.attachTo(toNode(id), 0, func(wire.NodeID, error) {})
		}
	}
}

func (n *Node) neighborAttached(wire.NodeID, error) {
	if n.member() && !n.announced.ready && !n.neighborsPending() {
		n.announce()
	}
}

// neighborsPending reports whether some Attach to a node that belongs in the Neighbor Table is under way.
func (n *Node) neighborsPending() bool {
	return slices.ContainsFunc(n.attaches, func(a *attach) bool { return !a.node.IsZero() && n.ring.Wanted(a.node) })
}

// askUpdate asks a node that others take for a peer, and that we are linked with, for the Update that we never got.
func (n *Node) askUpdate(p *peer) {
	if !p.asked.IsZero() && n.now.Sub(p.asked) < askUpdateInterval {
		return
	}
	p.asked = n.now
	n.request(outgoing{dest: toNode(p.id), link: p.link().id, done: func(result) {},
		body: &wire.RouteQueryReq{SendUpdate: true, Destination: wire.ToNode(n.c.Self)}})
}

// announce tells every link of our place, for the first time: neighbours in full, the others that we are a peer.
func (n *Node) announce() {
	n.announced.ready = true
	n.timers[timerAnnounce] = time.Time{}
	n.announced.neighbors = n.neighborhood()
	n.announced.predecessor, _ = n.ring.Predecessor()
	for _, p := range n.sortedPeers() {
		t := wire.ChordPeerReady
		if n.ring.IsNeighbor(p.id) {
			t = wire.ChordNeighbors
		}
		n.update(p, t)
	}
}

// neighborhood is the Neighbor Table in a form that can be compared.
func (n *Node) neighborhood() []wire.NodeID {
	return n.ring.Neighbors()
}

// ringSettled draws the consequences of a change of the routing table, once for all changes of one input.
func (n *Node) ringSettled() {
	if !n.announced.changed || !n.member() {
		return
	}
	n.announced.changed = false
	if n.ring.Len() == 0 {
		n.alone()
	} else if n.joining != nil {
		n.joining, n.timers[timerJoin] = nil, time.Time{} // somebody has joined us
	}
	n.goOnBereft()
	neighbors := n.neighborhood()
	predecessor, _ := n.ring.Predecessor()
	rangeChanged := predecessor != n.announced.predecessor
	if slices.Equal(neighbors, n.announced.neighbors) {
		return
	}
	n.endPauses()
	n.checkAll()
	n.copies.moved = n.now
	if n.leaving != nil {
		n.leaveAgain()
		return
	}
	if !n.announced.ready {
		return
	}
	if !n.tuned() {
		n.timers[timerUpdate] = earlier(n.timers[timerUpdate], n.now.Add(n.jitter(settledInterval)))
	}
	n.announced.neighbors, n.announced.predecessor = neighbors, predecessor
	// RFC 6940 §10.7.3: "if the Neighbor Table changes and the peer is using reactive recovery, the peer MUST send an
	// Update request to each member of its Connection Table"; "When a peer discovers that its range of responsible IDs
	// has changed, it MUST send an Update to all entries in its Connection Table": clients are among them.
	//
	// Where the range has not changed, those who are farther away are told a little later, and once for several changes.
	if n.tuned() {
		n.tellClients(rangeChanged)
		return
	}
	if !n.reactive() && !rangeChanged {
		return
	}
	for _, p := range n.sortedPeers() {
		if rangeChanged || !p.ready || n.ring.Place(p.id) < closePlaces {
			n.update(p, wire.ChordNeighbors)
		} else if n.timers[timerSpread].IsZero() {
			n.announced.spread, n.timers[timerSpread] = n.now, n.now.Add(n.jitter(spreadTime))
		}
	}
}

// spreadTimer tells the others of changes of the Neighbor Table.
func (n *Node) spreadTimer() {
	if n.state != Joined {
		return
	}
	for _, p := range n.sortedPeers() {
		if !p.told.After(n.announced.spread) {
			n.update(p, wire.ChordNeighbors)
		}
	}
}
