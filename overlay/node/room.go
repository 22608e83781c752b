package node

import "github.com/p2psip/p2psip-gateway/overlay/wire"

// The number of links is limited over all of them: with peers, with nodes that are on their way into the ring, with clients, and with
// the dead until they are found to be. Who is needed is not refused for that: something less useful is given up first.

// limit is how many links there may be.
func (n *Node) limit() int {
	if l := n.ring.Limit(); l > 0 {
		return l
	}
	return maxLinks
}

// linkCount counts all links.
func (n *Node) linkCount() int { return len(n.conns) + len(n.unnamed) }

// Links counts the links that the node has.
func (n *Node) Links() int { return n.linkCount() }

// others counts the links that are not the one with each peer of the routing table.
func (n *Node) others() int { return n.linkCount() - n.ring.Len() }

// makeRoom gives up links until one more is within the limit. It reports false when all that are left are worth more than one with
// who.
func (n *Node) makeRoom(who wire.NodeID) bool {
	for n.linkCount() >= n.limit() {
		if !n.closeSpareLink() && !n.giveUp(who) {
			return false
		}
	}
	return true
}

// closeSpareLink closes a link beside which there is another one with the same node, which is the one in use.
func (n *Node) closeSpareLink() bool {
	for _, p := range n.order {
		for _, c := range p.links {
			if c != p.link() && n.now.Sub(c.used) >= crossingTime {
				n.out.Close = append(n.out.Close, c.id)
				n.dropConn(c)
				return true
			}
		}
	}
	return false
}

// giveUp closes the links with the node that is worth least: one that may be dead, a peer that only makes paths shorter, or a node
// that is no peer and silent.
func (n *Node) giveUp(who wire.NodeID) bool {
	for _, p := range n.order {
		if p.id != who && p.ready && (p.misses > 0 || p.link().stalled) && !n.ring.Near(p.id) {
			n.abandon(p)
			return true
		}
	}
	if id, ok := n.ring.Least(); ok && id != who && n.member() {
		n.abandon(n.peers[id])
		return true
	}
	for _, p := range n.order {
		if p.id != who && !p.ready && n.idleStranger(p) {
			n.abandon(p)
			return true
		}
	}
	return false
}

// idleStranger reports whether a node that is no peer has nothing to do with us at present.
func (n *Node) idleStranger(p *peer) bool {
	if n.joining != nil || n.admission != nil && n.admission.node == p.id || n.attaching(p.id) {
		return false
	}
	return n.now.Sub(p.heard) >= strangerIdle && n.now.Sub(p.link().used) >= strangerIdle
}
