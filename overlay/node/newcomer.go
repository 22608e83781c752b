package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// newcomer is a neighbour that has become a peer lately, as far as we know. It was given what it is responsible for (RFC 6940 §10.5), and
// gets the copies of what its predecessors are responsible for from them, as soon as they know of it. A predecessor that is dead
// already, which nobody has noticed, sends none; then the newcomer comes to be responsible for what it has never seen, and those who
// hold it, and come after it, take it for a copy of somebody else's.
type newcomer struct {
	id wire.NodeID
	at time.Time
}

// noteNewcomer is for a peer that has just entered the routing table: one that we have admitted, or one that has started only now.
func (n *Node) noteNewcomer(p *peer, admitted bool) {
	started := p.born.Sub(n.started) > restartTolerance && n.now.Sub(p.born) <= newcomerTime
	if !n.member() || !admitted && !started || !n.ring.Wanted(p.id) {
		return
	}
	n.newcomers = slices.DeleteFunc(n.newcomers, func(o newcomer) bool { return o.id == p.id || n.now.Sub(o.at) > newcomerTime })
	if len(n.newcomers) >= maxNewcomers {
		n.newcomers = slices.Delete(n.newcomers, 0, 1)
	}
	n.newcomers = append(n.newcomers, newcomer{p.id, n.now})
}

func (n *Node) isNewcomer(id wire.NodeID) bool {
	return slices.ContainsFunc(n.newcomers, func(o newcomer) bool { return o.id == id && n.now.Sub(o.at) <= newcomerTime })
}

// endow sees to it that newcomers get what they have come to be responsible for because a peer is gone, of which we are a replica.
// RFC 6940 §6.4.2.3: a copy goes "to the correct node unless it knows the newly responsible node already has a copy of the data".
func (n *Node) endow(gone wire.NodeID) {
	if len(n.newcomers) == 0 || !n.member() {
		return
	}
	for _, res := range n.store.Resources() {
		at, ok := chord.PointOfResource(res)
		if !ok || n.responsible(at) || n.ring.Rank(at, n.c.Self) > chord.Replicas {
			continue
		}
		owner := n.ring.Owner(at)
		if n.isNewcomer(owner) && chord.PointOf(gone).Sub(at).Less(chord.PointOf(owner).Sub(at)) {
			n.holding(res).owned = true // as if it had been ours: see rehome
			n.check(res)
		}
	}
}
