package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// BornLink is one link of a node that is born into a ring.
type BornLink struct {
	ID   LinkID
	Peer wire.NodeID
	// Predecessors and Successors are of the lists of that peer at least the first and the last.
	Predecessors, Successors []wire.NodeID
	// Candidates are where it listens. They may be shared, and are not modified.
	Candidates []wire.IceCandidate
}

// Born makes a node that has not started a peer of a ring at once, as if it had joined long ago: all nodes at the other ends of
// the links are peers too, and the links are up. It is for simulators, in which a hundred thousand nodes can not join one after
// the other. The periods of its timers begin anywhere, or all nodes would tick as one.
func (n *Node) Born(now time.Time, links []BornLink) {
	n.begin(now)
	n.started = now
	// In one piece each, and no larger than need be: of 17 million ends of links that is 2 GB less.
	conns, peers, held := make([]conn, len(links)), make([]peer, len(links)), make([]*conn, len(links))
	n.order = make([]*peer, 0, len(links))
	n.ring.Grow(len(links))
	for i, l := range links {
		c := &conns[i]
		*c = conn{id: l.ID, node: l.Peer, made: now, used: now, attached: true}
		p := n.peers[l.Peer]
		if p == nil {
			p = &peers[i]
			*p = peer{id: l.Peer, ready: true, born: now, candidates: l.Candidates, links: held[i : i : i+1]}
			n.peers[l.Peer] = p
			n.ring.Add(l.Peer)
			n.ring.Hear(l.Peer, l.Predecessors, l.Successors)
			n.order = append(n.order, p)
		}
		p.heard = now.Add(-n.within(n.c.PingInterval))
		p.links = append(p.links, c)
		n.conns[l.ID] = c
	}
	slices.SortFunc(n.order, func(a, b *peer) int { return a.id.Compare(b.id) })
	n.enterRing()
	n.refusedBefore()
	n.announced = announced{ready: true, neighbors: n.neighborhood()}
	n.announced.predecessor, _ = n.ring.Predecessor()
	n.timers[timerLiveness] = now.Add(n.within(n.c.PingInterval))
	n.timers[timerUpdate] = now.Add(n.within(n.c.Overlay.ChordUpdateInterval))
	n.timers[timerFingers] = now.Add(n.within(n.c.Overlay.ChordPingInterval))
	n.timers[timerProbe] = now.Add(n.within(n.c.ProbeInterval))
	n.startTuning()
}

// within draws a time below d.
func (n *Node) within(d time.Duration) time.Duration {
	return time.Duration(n.c.Rand.Int64N(max(1, int64(d))))
}
