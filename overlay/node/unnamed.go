package node

import (
	"cmp"
	"maps"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Links of certificates with several Node-IDs (RFC 6940 §6.1.2): "The intermediate node normally learns the Node-ID that the
// other node is using via an Attach". Until then such a link has no name; it is in Node.unnamed and in no other table.

// unnamedUp takes up a link with a node whose certificate says who, when that does not say which of its Node-IDs is meant.
// It reports whether the link is its business.
func (n *Node) unnamedUp(id LinkID, who *trust.Identity, d *dial) bool {
	if !who.Node.IsZero() || len(who.Nodes) < 2 {
		return false
	}
	if who.Node = n.expected(who.Nodes, d); !who.Node.IsZero() {
		return false
	}
	if slices.ContainsFunc(who.Nodes, func(w wire.NodeID) bool { return n.refusal(id, w) != "" }) || len(n.unnamed) >= maxUnnamed || !n.makeRoom(wire.NodeID{}) {
		n.event(EventLinkRefused, who.Nodes[0], "several_node_ids")
		n.closeUnnamed(&conn{id: id, dial: d})
		return true
	}
	u := &conn{id: id, nodes: who.Nodes, dial: d, made: n.now, used: n.now}
	n.unnamed[id] = u
	n.timers[timerUnnamed] = earlier(n.timers[timerUnnamed], n.now.Add(unnamedTime))
	if d != nil {
		n.askName(u)
	}
	return true
}

// expected is the one of nodes with which a link was asked for, or with which there is one already; zero when there is none.
func (n *Node) expected(nodes []wire.NodeID, d *dial) wire.NodeID {
	if d != nil && slices.Contains(nodes, d.node) {
		return d.node
	}
	for _, a := range n.attaches {
		if a.stage != asking && slices.Contains(nodes, a.node) {
			return a.node
		}
	}
	if i := slices.IndexFunc(nodes, n.Connected); i >= 0 {
		return nodes[i]
	}
	return wire.NodeID{}
}

// nameAnswered is when an Attach of ours was answered: the link of the node that did so may have been faster.
func (n *Node) nameAnswered(id wire.NodeID) {
	for _, u := range slices.SortedFunc(maps.Values(n.unnamed), func(a, b *conn) int { return cmp.Compare(a.id, b.id) }) {
		if u.dial == nil && slices.Contains(u.nodes, id) {
			n.name(u, id)
		}
	}
}

// askName asks a node that we have dialled by its address who it is: the wildcard reaches it under every name.
func (n *Node) askName(u *conn) {
	dest := wire.NewDestinationList(wire.ToNode(wire.Wildcard(n.c.Self.Len())))
	n.request(outgoing{dest: dest, link: u.id, body: &wire.PingReq{}, foreign: true, done: func(r result) {
		switch {
		case n.unnamed[u.id] != u:
		case r.body != nil:
			n.name(u, r.from)
		default:
			n.closeUnnamed(u)
		}
	}})
}

// name is when it is known which Node-ID the other end of a link uses: it is a link like all others from then on.
func (n *Node) name(u *conn, id wire.NodeID) {
	delete(n.unnamed, u.id)
	if n.refuseLink(u.id, id) {
		n.closeUnnamed(u)
		return
	}
	n.addLink(u.id, id, u.dial)
}

// closeUnnamed gives a link up.
func (n *Node) closeUnnamed(u *conn) {
	delete(n.unnamed, u.id)
	n.out.Close = append(n.out.Close, u.id)
	if u.dial != nil && n.state != Left {
		n.dialFailed(u.dial, ErrLinkDown)
	}
}

// unnamedDown is when such a link has broken. It reports whether it was one.
func (n *Node) unnamedDown(id LinkID) bool {
	u := n.unnamed[id]
	if u == nil {
		return false
	}
	delete(n.unnamed, id)
	n.reroute(id)
	if u.dial != nil {
		n.dialFailed(u.dial, ErrLinkDown)
	}
	return true
}

// unnamedTimer closes what has got no name in time.
func (n *Node) unnamedTimer() {
	for _, id := range slices.Sorted(maps.Keys(n.unnamed)) {
		u := n.unnamed[id]
		if at := u.made.Add(unnamedTime); at.After(n.now) {
			n.timers[timerUnnamed] = earlier(n.timers[timerUnnamed], at)
		} else {
			n.closeUnnamed(u)
		}
	}
}

// link is the link with that number, if there is one.
func (n *Node) link(id LinkID) *conn {
	if c := n.conns[id]; c != nil {
		return c
	}
	return n.unnamed[id]
}

// receiveUnnamed takes a message from a link without a name: of the other end itself, since it routes for nobody.
func (n *Node) receiveUnnamed(u *conn, raw []byte) {
	u.used = n.now
	m, err := n.schema.Parse(raw)
	switch {
	case !u.in.take(n.now, n.c.MessageRate, burst*n.c.MessageRate):
		n.drop(u.nodes[0], DropFlood)
	case err != nil || len(raw) > n.c.Overlay.MaxMessageSize:
		n.drop(u.nodes[0], DropSyntax)
	case n.rules.Check(&m.Header) != "" || len(m.Header.Via) > 0:
		n.drop(u.nodes[0], DropUnknownLink)
	default:
		n.verify(u, m, "", func(v trust.Verified, err error) {
			switch {
			case n.unnamed[u.id] != u: // it has a name now, and is asked again
			case err != nil:
				n.drop(u.nodes[0], refusalReason(err))
			case !slices.Contains(u.nodes, v.Sender().Node):
				n.drop(u.nodes[0], DropUnknownLink)
			case m.Body.Code().IsRequest():
				n.requestUnnamed(u, v, raw)
			default:
				n.answerUnnamed(u, v)
			}
		})
	}
}

// requestUnnamed takes a request whose signer is one of the nodes that may be at the other end.
func (n *Node) requestUnnamed(u *conn, v trust.Verified, raw []byte) {
	m, by := v.Message(), v.Sender().Node
	in := &inbound{link: u.id, from: by, header: m.Header, m: m, v: v, sender: by}
	switch m.Body.Code() {
	case wire.CodeAttachReq:
	case wire.CodePingReq:
		if route.Decide(n.c.Self, m.Header.Destinations, n).Verdict == route.Deliver {
			n.examine(in) // it is answered, and says nothing yet
			return
		}
		// Others will answer, with a Destination List that has to have a name in it.
	default:
		// RFC 6940 §6.1.2: "If a node with a certificate with multiple Node-IDs attempts to route a message other than a Ping or
		// Attach through a node without performing an Attach, the receiving node MUST reject the request with an
		// Error_Forbidden error."
		n.forbid(in, "no Attach with one of several Node-IDs")
		return
	}
	n.name(u, by)
	if c := n.conns[u.id]; c != nil {
		n.receive(c, raw)
	}
}

// answerUnnamed takes the answer to askName.
func (n *Node) answerUnnamed(u *conn, v trust.Verified) {
	if r := n.requests[v.Message().Header.Transaction]; r != nil && r.link == u.id {
		n.answerVerified(r, v.Sender().Node)(v, nil)
	}
}
