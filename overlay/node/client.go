package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A client (RFC 6940 §4.2) "does not run the algorithm of the overlay": it routes for nobody and stores nothing. Ours is linked
// with the peer that is responsible for its Node-ID (§4.2.1), so that everybody reaches it by that, and with the peer behind,
// which takes over when the first fails. It sends no Update, so no peer takes it for one. n.ring holds the peers that it is
// linked with.

// becomeClient is when the responsible peer has sent its Update: there is nothing to ask of it.
func (n *Node) becomeClient(ap wire.NodeID, u *wire.UpdateReq) {
	n.state, n.joining = Client, nil
	n.timers[timerJoin] = time.Time{}
	n.timers[timerClient] = n.now.Add(n.jitter(clientInterval))
	n.event(EventJoined, ap, "as a client")
	n.learnHomes(ap, u)
}

// learnHomes attaches to the peers that a client belongs to, as far as an Update names them. RFC 6940 §4.2.1: when the peer is no
// longer responsible for the client's Node-ID, "the client would then need to form a connection to the appropriate peer".
func (n *Node) learnHomes(teacher wire.NodeID, u *wire.UpdateReq) {
	r := chord.New(n.c.Self)
	for _, id := range n.ring.Peers() {
		r.Add(id)
	}
	for _, id := range slices.Concat([]wire.NodeID{teacher}, u.Predecessors, u.Successors)[:min(maxLearned, 1+len(u.Predecessors)+len(u.Successors))] {
		if id.Len() == n.c.Self.Len() && !n.avoided(id) {
			r.Add(id)
		}
	}
	homes := r.Successors()
	for _, id := range homes[:min(len(homes), clientHomes)] {
		switch p := n.peers[id]; {
		case p != nil && !p.ready:
			n.askUpdate(p)
		case p == nil && !n.attaching(id):
			n.attachTo(wire.NewDestinationList(wire.ToNode(teacher), wire.ToNode(id)), 0, func(_ wire.NodeID, err error) {
				if err != nil {
					n.seekAgain(id, teacher)
				}
			})
		}
	}
}

// clientSettled draws the consequences of a change of the peers that a client is linked with.
func (n *Node) clientSettled() {
	if n.state != Client || !n.announced.changed {
		return
	}
	n.announced.changed = false
	homes := n.ring.Successors()
	if len(homes) == 0 {
		n.event(EventAlone, n.c.Self, "")
		n.state = Starting
		n.after(n.joinStart)
		return
	}
	if len(homes) < clientHomes {
		n.askUpdate(n.peers[homes[0]]) // it knows who else there is
	}
}

// clientTimer asks the responsible peer now and then who its neighbours are: it tells a client of changes, but once.
func (n *Node) clientTimer() {
	if n.state != Client {
		return
	}
	n.timers[timerClient] = n.now.Add(n.jitter(clientInterval))
	if homes := n.ring.Successors(); len(homes) > 0 {
		n.askUpdate(n.peers[homes[0]])
	}
}

// clientLink is the way of a client to where d is: over the peer that is nearest before it, or responsible for the client.
func (n *Node) clientLink(at chord.Point) *conn {
	id, ok := n.ring.NextHop(at, wire.NodeID{})
	if homes := n.ring.Successors(); !ok && len(homes) > 0 {
		id, ok = homes[0], true
	}
	if !ok {
		return nil
	}
	return n.peers[id].link()
}
