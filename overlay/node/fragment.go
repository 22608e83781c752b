package node

import (
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// assemble takes a fragment of a message that is for this node; a complete message is delivered. RFC 6940 §6.7: "Any node
// along the path can fragment the message, but only the final destination reassembles the fragments."
func (n *Node) assemble(c *conn, h *wire.Header, raw []byte) {
	whole, first, reason := n.fragments.Add(n.now, c.node, n.requests[h.Transaction] != nil, raw)
	if reason != "" {
		n.dropFor(c.node, reason)
		n.missedUnseen(c.node)
		return
	}
	if whole == nil {
		return
	}
	// The answer goes back the way that the first fragment came, whose Via List it is.
	if first != c.node {
		p := n.peers[first]
		if p == nil {
			n.drop(first, DropUnknownLink)
			return
		}
		c = p.link()
	}
	n.deliverWhole(c, whole)
}

// tlsOnly is what a node dials whose Config does not tell.
var tlsOnly = []wire.LinkType{wire.LinkTLSTCPFHNoICE}
