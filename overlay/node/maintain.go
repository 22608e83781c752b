package node

import (
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// timer names a timer of the node.
type timer int

const (
	timerJoin timer = iota
	timerAnnounce
	timerLiveness
	timerUpdate
	timerFingers
	timerCopies
	timerLeave
	timerSought
	timerHeld
	timerProbe
	timerUnnamed
	timerClient
	timerUpkeep
	timerSpread
	timerAcknowledge
	timerHeldBack
	timerUncertain
	timerBereft
	timerSurvey
	timerCount
)

// runTimers fires what is due. Each function sets its timer again if it wants to be called again.
func (n *Node) runTimers() {
	for t, f := range [timerCount]func(){n.joinTimer, n.announceTimer, n.livenessTimer, n.updateTimer, n.fingersTimer,
		n.copiesTimer, n.leaveTimer, n.soughtTimer, n.heldTimer, n.probeTimer, n.unnamedTimer, n.clientTimer, n.upkeepTimer, n.spreadTimer,
		n.acknowledgeTimer, n.heldBackTimer, n.uncertainTimer, n.bereftTimer, n.surveyTimer} {
		if at := n.timers[t]; !at.IsZero() && !at.After(n.now) {
			n.timers[t] = time.Time{}
			f()
		}
	}
}

func (n *Node) announceTimer() {
	if n.member() && !n.announced.ready {
		n.announce()
	}
}

func (n *Node) leaveTimer() {
	switch {
	case !n.leaving.told:
		n.tellLeave()
	case !n.handOverAgain():
		n.left()
	}
}

// livenessTimer pings every node that was silent: "connectivity pings" (RFC 6940 §10.7.1).
func (n *Node) livenessTimer() {
	next := n.now.Add(n.c.PingInterval)
	if len(n.order) > 2*chord.Neighbors {
		next = n.now.Add(nextPatience * n.c.PingInterval)
	}
	var due []*peer
	for i, p := range n.order {
		silent := p.heard.Add(n.patience(p))
		switch {
		case !silent.After(n.now) && !p.pinging, p.updateDue != 0 && !p.updating, len(p.links) > 1:
			due = append(due, n.order[i])
		case silent.After(n.now):
			next = earlier(next, silent)
		}
	}
	for _, p := range due {
		if n.peers[p.id] == p {
			n.attend(p)
		}
		if silent := p.heard.Add(n.patience(p)); silent.After(n.now) {
			next = earlier(next, silent)
		}
	}
	n.timers[timerLiveness] = next
}

func (n *Node) attend(p *peer) {
	if !p.pinging && !p.heard.Add(n.patience(p)).After(n.now) {
		n.ping(p)
	}
	n.closeIdle(p)
	if p.updateDue != 0 && !p.updating {
		n.update(p, p.updateDue)
	}
}

// patience is how long a node may be silent. Who is pinged hears from us too; so that one ping does for both sides, the
// larger Node-ID leaves it to the smaller one.
//
// The successor and the predecessor watch a peer closely, and those next to them less so: what they find, the Updates of the
// others tell (see missed). A link that only makes paths shorter may rest: who uses it finds out whether it is alive.
func (n *Node) patience(p *peer) time.Duration {
	d := n.c.PingInterval
	if p.ready {
		switch place := n.ring.Place(p.id); {
		case place == 0, n.tuned() && place < chord.Neighbors: // no Update tells of them
		case place < chord.Neighbors:
			d *= nextPatience
		default:
			d = max(nextPatience*d, time.Duration(n.ring.Len())*farInterval)
		}
	}
	if n.tuned() {
		d = min(d, tunedPatience)
	}
	if len(n.order) <= 2*chord.Neighbors && n.isWanted(p.id) {
		d = min(d, ownerSilence*2/3) // so that what it owns can be read here at once after a rest: in a large ring that would be too many pings
	}
	if n.c.Self.Compare(p.id) > 0 {
		d = d * 5 / 4
	}
	return d
}

// ping asks a linked node for a sign of life, once. After two in vain it is dead.
func (n *Node) ping(p *peer) {
	p.pinging = true
	asked := n.now
	n.request(outgoing{dest: toNode(p.id), link: p.link().id, body: &wire.PingReq{}, once: true, done: func(r result) {
		p.pinging = false
		switch {
		case n.peers[p.id] != p:
		case r.err == nil:
			p.misses, p.rtt = 0, r.rtt
			if ans, ok := r.body.(*wire.PingAns); ok {
				n.measureClock(p, ans, r.rtt)
			}
			if !p.ready && !p.left && !p.born.IsZero() && n.member() {
				n.askUpdate(p) // it was a peer, and is alive: is it one still?
			}
		case errors.Is(r.err, ErrOverload):
		case p.heard.After(asked): // something else came from it
		default:
			if p.misses++; p.misses >= missedPings || p.link().stalled {
				n.suspect(p)
				n.closePeer(p)
				return
			}
			n.suspect(p)
		}
	}})
}

// closeIdle closes links that carry nothing: there is another one with the same node.
func (n *Node) closeIdle(p *peer) {
	for _, c := range p.links {
		if c != p.link() && n.now.Sub(c.used) >= linkIdle {
			n.out.Close = append(n.out.Close, c.id)
			n.dropConn(c)
			return // one at a time: dropConn changes the list
		}
	}
}

// updateTimer does the periodic exchange. RFC 6940 §10.7.4.1: "A peer MUST periodically send an Update request to every
// peer in its Neighbor Table." "A peer SHOULD randomly offset these Update requests so they do not occur all at once."
func (n *Node) updateTimer() {
	if n.tuned() {
		n.stabilize()
		return
	}
	n.timers[timerUpdate] = n.now.Add(n.jitter(n.c.Overlay.ChordUpdateInterval))
	if !n.member() || !n.announced.ready {
		return
	}
	for _, id := range n.ring.Neighbors() {
		if p := n.peers[id]; p != nil {
			n.update(p, wire.ChordNeighbors)
		}
	}
	n.checkAll()
	n.forgetExpired()
}

// fingersTimer looks for better fingers. RFC 6940 §10.7.4.2: "A simple way to implement this selection is to search
// through the Finger Table entries from i=1, and each time an invalid entry is encountered, send a Ping to replace that
// entry with probability 0.5."
func (n *Node) fingersTimer() {
	if n.tuned() {
		return // stabilize does it
	}
	n.timers[timerFingers] = n.now.Add(n.jitter(n.c.Overlay.ChordPingInterval))
	if !n.member() {
		return
	}
	for _, i := range n.ring.Missing() {
		if n.c.Rand.IntN(2) == 0 {
			n.pingFinger(i)
			return
		}
	}
}

// pingFinger looks for a peer in the range of a finger. "the peer SHOULD send the Ping to a Node-ID selected randomly
// from that range": it goes to the Resource-ID, whose owner answers; a Node-ID that nobody has is met with silence (RFC
// 6940 §6.1.1).
func (n *Node) pingFinger(i int) {
	at := n.ring.FingerStart(i).Add(n.randomBelow(chord.Bits - i))
	dest := wire.NewDestinationList(wire.ToResource(at.Resource()))
	n.request(outgoing{dest: dest, body: &wire.PingReq{}, done: func(r result) {
		if r.body != nil && n.member() && n.peers[r.from] == nil && !n.attaching(r.from) && n.ring.Useful(r.from) {
			n.attachTo(toNode(r.from), 0, func(wire.NodeID, error) {})
		}
	}})
}

// randomBelow draws a point below 2^bits.
func (n *Node) randomBelow(bits int) (p chord.Point) {
	for i := range bits {
		if n.c.Rand.IntN(2) == 1 {
			p = p.Add(chord.Power(i))
		}
	}
	return p
}

// seekFingers sets up the fingers. RFC 6940 §10.5: "In order to set up its i'th Finger Table entry, JN MUST send an
// Attach to peer n+2^(128-i)." It goes to the Resource-ID, and only for fingers whose peer is not known to be a
// neighbour.
//
// Deviation: §10.5 lets a node do that before its Join, as a SHOULD; neighbours are enough to be a peer, and sooner.
func (n *Node) seekFingers() {
	if !n.member() {
		return
	}
	for _, i := range n.ring.Missing() {
		n.seekFinger(i)
	}
}

func (n *Node) seekFinger(i int) {
	dest := wire.NewDestinationList(wire.ToResource(n.ring.FingerStart(i).Resource()))
	n.attachTo(dest, 0, func(wire.NodeID, error) {})
}

// fingerLost looks for a replacement. RFC 6940 §10.7.2: "If using reactive recovery, the peer MUST initiate a search for
// a new Finger Table entry".
func (n *Node) fingerLost(id wire.NodeID) {
	if !n.member() || !n.reactive() {
		return
	}
	d := chord.PointOf(id).Sub(chord.PointOf(n.c.Self))
	for i := 1; i <= n.ring.Goal(); i++ {
		if !d.Less(chord.Power(chord.Bits - i)) {
			if !n.ring.FingerSettled(i) {
				n.after(func() { n.seekFinger(i) })
			}
			return
		}
	}
}
