package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// conn is one link.
type conn struct {
	id        LinkID
	node      wire.NodeID
	probe     bool // made to look for a partition
	attached  bool // made by an Attach of either side, not by dialling a bootstrap address
	made      time.Time
	used      time.Time
	verifying int // messages from it whose signatures are being checked
	stalled   bool
	closing   bool // with the next answer over it
	in, out   bucket
	refusals  bucket // errors about messages that came over it and were not verified
	// Of a link without a name: the Node-IDs of its certificate, and the dial that it came of.
	nodes []wire.NodeID
	dial  *dial
}

// peer is a node that we are linked with: a line of the Connection Table (RFC 6940 §6.1.2).
type peer struct {
	id    wire.NodeID
	links []*conn // in order of their making
	// ready: an Update came from it, so it is a peer and may be routed through (RFC 6940 §6.5.1). Until then it is a
	// client or on its way into the ring.
	ready     bool
	born      time.Time // when it started, by the uptime in its Updates
	heard     time.Time
	misses    int
	pinging   bool
	rtt       time.Duration
	ahead     time.Duration // of our clock, when clocked
	clocked   bool
	updating  bool // an Update to it waits for its answer
	updateDue wire.ChordUpdateType
	told      time.Time // when the last Update to it was made
	asked     time.Time // when it was asked for its Update
	lost      int       // times that it was taken for lost
	left      bool      // it has sent a Leave: what else comes from it makes no peer of it
	// candidates are where it listens, as its Attach or its answer to ours said; nil when there was none.
	candidates []wire.IceCandidate
}

// link is the one that messages go out on: the last made that is not stalled.
func (p *peer) link() *conn {
	for _, c := range slices.Backward(p.links) {
		if !c.stalled {
			return c
		}
	}
	return p.links[len(p.links)-1]
}

// Responsible and Connected are the node's side of route.View.
func (n *Node) Responsible(d wire.Destination) bool {
	p, ok := point(d)
	return ok && n.member() && n.responsible(p)
}

// responsible is for a member of the ring. A peer that has just joined does not reach for more than it was given, even
// if the predecessor that it was told has not sent its Update yet.
func (n *Node) responsible(p chord.Point) bool {
	if n.leaving != nil && n.leaving.yielded {
		return false
	}
	if n.given.until.After(n.now) && !p.Within(n.given.from, chord.PointOf(n.c.Self)) {
		return false
	}
	return n.ring.Responsible(p)
}

// Connected reports whether there is a link with id.
func (n *Node) Connected(id wire.NodeID) bool { return n.peers[id] != nil }

// Unpack is what an opaque ID of ours stands for.
func (n *Node) Unpack(d wire.Destination) (wire.DestinationList, bool) { return n.opaque.Unpack(d) }

// member reports whether the node is part of the ring.
func (n *Node) member() bool { return n.state == Joined || n.state == Leaving }

// sortedPeers lists the linked nodes in an order that is the same in every run.
func (n *Node) sortedPeers() []*peer {
	return slices.Clone(n.order)
}

// whereInOrder is where a node stands, or would stand, among those that we are linked with.
func (n *Node) whereInOrder(id wire.NodeID) int {
	i, _ := slices.BinarySearchFunc(n.order, id, func(p *peer, id wire.NodeID) int { return p.id.Compare(id) })
	return i
}

// LinkUp reports a new link with a peer whose certificate was checked; from is the Dial effect that led to it, 0 for a
// link that was accepted.
func (n *Node) LinkUp(now time.Time, id LinkID, who trust.Identity, from DialID) {
	d := n.dials[from]
	delete(n.dials, from)
	if n.begin(now) && n.unnamedUp(id, &who, d) {
		n.settle()
		return
	}
	if !n.begin(now) || n.refuseLink(id, who.Node) {
		n.out.Close = append(n.out.Close, id)
		if n.state != Left {
			if d != nil {
				n.dialFailed(d, errLinkRefused)
			}
			n.settle()
		}
		return
	}
	n.addLink(id, who.Node, d)
	n.settle()
}

// refuseLink reports whether the link is not wanted.
func (n *Node) refuseLink(id LinkID, who wire.NodeID) bool {
	reason := n.refusal(id, who)
	if reason == "" && !n.makeRoom(who) {
		reason = "too_many"
	}
	if reason != "" {
		n.event(EventLinkRefused, who, reason)
	}
	return reason != ""
}

// refusal is why a link is not wanted, or nothing.
func (n *Node) refusal(id LinkID, who wire.NodeID) string {
	switch {
	case who.IsZero():
		return "no_node_id"
	case who == n.c.Self:
		return "self"
	case n.bad(who):
		return badNodeText
	case n.isBanned(who):
		return "flood"
	case n.conns[id] != nil:
		return "known"
	}
	return ""
}

func (n *Node) addLink(id LinkID, who wire.NodeID, d *dial) {
	c := &conn{id: id, node: who, made: n.now, used: n.now, attached: d != nil && !d.bootstrap || d == nil && n.attaching(who),
		probe: d != nil && d.probe != ""}
	p := n.peers[who]
	if p == nil {
		p = &peer{id: who}
		n.peers[who] = p
		n.order = slices.Insert(n.order, n.whereInOrder(who), p)
	}
	if len(p.links) >= maxLinksPerNode {
		oldest := p.links[0]
		n.out.Close = append(n.out.Close, oldest.id)
		n.dropConn(oldest)
	}
	p.links = append(p.links, c)
	n.ring.SetDown(who, false)
	p.heard, p.misses = n.now, 0
	n.conns[id] = c
	delete(n.avoid, who)
	if d != nil {
		n.dialDone(d, c)
	}
	n.attachLinked(who)
	n.joinLinkUp()
}

// LinkDown reports that a link is gone.
func (n *Node) LinkDown(now time.Time, id LinkID, err error) {
	c := n.conns[id]
	if !n.begin(now) || c == nil && !n.unnamedDown(id) {
		return
	}
	if c != nil {
		n.dropConn(c)
	}
	n.settle()
}

// LinkStalled reports that nothing has been acknowledged on a link for longer than it should take, or that this is over.
// RFC 6940 §6.6.5: such a link is no longer used for routing, but it is not yet down; neighbours stay neighbours.
// Requests that wait for an answer over it are sent another way at once.
func (n *Node) LinkStalled(now time.Time, id LinkID, stalled bool) {
	c := n.conns[id]
	if !n.begin(now) || c == nil || c.stalled == stalled {
		return
	}
	c.stalled = stalled
	p := n.peers[c.node]
	n.ring.SetDown(p.id, p.link().stalled)
	if stalled {
		n.reroute(id)
		n.suspect(p)
	} else {
		n.goOnAfter(id)
	}
	n.settle()
}

// dropConn takes a link out of the tables and sends at once what waited for an answer over it.
func (n *Node) dropConn(c *conn) {
	delete(n.conns, c.id)
	p := n.peers[c.node]
	p.links = slices.DeleteFunc(p.links, func(o *conn) bool { return o == c })
	if len(p.links) == 0 {
		n.unlinked(p, true)
	} else {
		n.ring.SetDown(p.id, p.link().stalled)
	}
	n.reroute(c.id)
	n.joinLinkDown(c)
}

// unlinked takes a node with which there is no link any more out of the tables. lost says that it went without a word.
func (n *Node) unlinked(p *peer, lost bool) {
	delete(n.peers, p.id)
	i := n.whereInOrder(p.id)
	n.order = slices.Delete(n.order, i, i+1)
	if p.ready {
		n.rangeEnds(p.id)
		n.notReady(p, lost)
	}
	if a := n.admission; a != nil && a.node == p.id {
		n.endAdmission()
	}
}

// closePeer closes every link with p, which is taken for dead.
func (n *Node) closePeer(p *peer) {
	links := p.links
	p.links = nil
	for _, c := range links {
		delete(n.conns, c.id)
		n.out.Close = append(n.out.Close, c.id)
	}
	n.unlinked(p, true)
	for _, c := range links {
		n.reroute(c.id)
		n.joinLinkDown(c)
	}
}

// Reroute takes a message, or a fragment, that was sent over a link which has ended before it was acknowledged, and passes it on
// over the next best hop. RFC 6940 §6.6: "failed links be quickly removed from the Routing Table so end-to-end retransmission can handle
// lost messages"; what is at hand need not wait for that. What arrives twice does no more harm than a retransmission. It is
// called after the LinkDown of that link. raw must not be changed.
func (n *Node) Reroute(now time.Time, raw []byte) {
	if !n.begin(now) {
		return
	}
	h, _, err := wire.ParseHeader(raw)
	first, ok := h.Destinations.First()
	if err == nil && ok && n.requests[h.Transaction] == nil { // our own requests have gone out again with the end of the link
		if out := n.nextLink(first); out != nil {
			n.relay(out, raw)
		} else {
			n.drop(wire.NodeID{}, DropNoRoute)
		}
	}
	n.settle()
}

// reroute sends the requests that went out on a link that is gone, or stalled, over the next best hop, the same octets,
// without waiting for their timers, which go on.
//
// Deviation: RFC 6940 §6.2.1 has a request sent five times. What went to a link that did not take it is not counted here: when
// half of all peers die at once, the five best hops may be among them.
func (n *Node) reroute(link LinkID) {
	var hit []*request
	for _, r := range n.requests {
		if r.sent == link || r.link == link && n.link(link) == nil {
			hit = append(hit, r)
		}
	}
	slices.SortFunc(hit, func(a, b *request) int { return cmp.Compare(a.tx, b.tx) })
	for _, r := range hit {
		n.after(func() {
			switch {
			case n.requests[r.tx] != r:
			case r.link != 0 && n.link(r.link) == nil:
				n.finish(r, result{err: ErrLinkDown})
			case r.link == 0 && r.rerouted < maxRerouted:
				r.rerouted++
				r.copies++
				n.transmit(r)
			}
		})
	}
	n.passAgain(link)
}

//
