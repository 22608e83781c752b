package node

import (
	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// probing is the search for a ring that we are not in.
type probing struct {
	nodes map[string]wire.NodeID // who was last found at a bootstrap address
}

// probeTimer repeats the discovery of a bootstrap node. RFC 6940 §10.7.4.4: "a peer P MUST periodically repeat the
// discovery process used in the initial join for the overlay to locate an appropriate bootstrap node, B."
//
// Deviation: the RFC leaves the interval open; it is a minute, more or less a tenth, and each time one address is tried. While
// neighbours were lost lately it is less, and they are tried as well.
func (n *Node) probeTimer() {
	address, again := n.probeAddress()
	n.timers[timerProbe] = n.now.Add(n.jitter(again))
	if n.state != Joined || n.joining != nil {
		return // who has lost everybody looks for a ring all the time
	}
	if address == "" || len(n.dials) >= maxDials {
		return
	}
	if p := n.peers[n.probing.nodes[address]]; p != nil {
		n.probe(p.link())
		return
	}
	n.lastDial++
	n.dials[n.lastDial] = &dial{id: n.lastDial, bootstrap: true, probe: address}
	n.out.Dial = append(n.out.Dial, Dial{Dial: n.lastDial, Address: address})
}

// probeUp is when there is a link with the node at a bootstrap address.
func (n *Node) probeUp(address string, c *conn) {
	if n.probing.nodes == nil || len(n.probing.nodes) >= maxBootstrap {
		n.probing.nodes = make(map[string]wire.NodeID)
	}
	n.probing.nodes[address] = c.node
	n.probe(c)
}

// probe asks, through the bootstrap node at the other end of c, who is there behind us. RFC 6940 §10.7.4.4: "P SHOULD
// then send a Ping for its own Node-ID routed through B."
//
// Deviation: our Node-ID belongs to us, so that in one ring we would answer ourselves. The Ping goes to the Resource-ID
// after it, whose owner is our successor.
func (n *Node) probe(c *conn) {
	dest := wire.NewDestinationList(wire.ToNode(c.node), wire.ToResource(joinPoint(n.c.Self)))
	n.request(outgoing{dest: dest, link: c.id, body: &wire.PingReq{}, foreign: true, done: func(r result) {
		switch {
		case n.state != Joined || n.conns[c.id] != c:
		case r.body != nil && n.foreign(r.from):
			n.event(EventPartition, r.from, "")
			n.merge(c, r.from)
			return
		case r.err == nil && r.refused == nil && n.belongsHere(c.node):
			n.merge(c, c.node) // it is in our ring, and we have not had it
			return
		}
		n.probeOver(c)
	}})
}

// foreign reports whether a node that answers in place of our successor is one that we know nothing of: "If a response
// is received from peer S', which is not P's successor, then the overlay is partitioned" (RFC 6940 §10.7.4.4). One that
// our routing table has will be our successor when the ring has settled, or is about to learn that we are.
func (n *Node) foreign(id wire.NodeID) bool { return id != n.c.Self && !n.ring.Has(id) && !n.bad(id) }

// merge makes two rings one. RFC 6940 §10.7.4.4: "P SHOULD send an Attach to S' routed through B, followed by an Update
// sent to S'." What S' learns from it, and what its own Update teaches us, brings the neighbours together.
func (n *Node) merge(c *conn, id wire.NodeID) {
	delete(n.avoid, id)
	greet := func() {
		if p := n.peers[id]; p != nil && n.state == Joined {
			n.update(p, wire.ChordFull)
			n.askUpdate(p)
		}
	}
	if p := n.peers[id]; p != nil && p.link().attached {
		greet()
		n.probeOver(c)
		return
	}
	dest := toNode(id)
	if id != c.node {
		dest = wire.NewDestinationList(wire.ToNode(c.node), wire.ToNode(id))
	}
	ok := n.attachTo(dest, c.id, func(_ wire.NodeID, err error) {
		if err == nil {
			greet()
		}
		n.probeOver(c)
	})
	if !ok {
		n.probeOver(c)
	}
}

// probeOver closes a link that was made to look for a partition and that nothing else needs.
func (n *Node) probeOver(c *conn) {
	p := n.peers[c.node]
	if n.conns[c.id] != c || !c.probe || c.attached || n.joining != nil || p.ready && len(p.links) == 1 {
		return
	}
	n.out.Close = append(n.out.Close, c.id)
	n.dropConn(c)
}

// forOwner reports whether a copy was sent to whoever owns its Resource-ID, and that is us. Its sender has found out that it
// is not responsible any more (RFC 6940 §6.4.2.3).
//
// Deviation: for such a copy the place of the sender on the ring is not looked at, which RFC 6940 §10.4 says one SHOULD do.
// When two rings become one, many peers may stand between a former owner and us, and its values would be lost. They are
// signed by their owners, and what is older than what we hold is refused. Nor would it do to ask whether the ring has changed lately:
// when a small ring comes back to a large one, most owners see no other neighbours.
func (n *Node) forOwner(in *inbound, at chord.Point) bool {
	last, _ := in.header.Destinations.Last()
	return last.Type == wire.DestResource && n.responsible(at)
}
