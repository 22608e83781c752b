package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Lose has the store of a node lose what is stored under a Resource-ID without anybody noticing.
func (n *Node) Lose(res wire.ResourceID) { n.store.Drop(res) }

// SpendFinds has a node have answered as many Finds as it may in the next hour.
func (n *Node) SpendFinds() { n.finds.full = n.now.Add(time.Hour) }

// HearOwner has a node take an Update of a peer for what it says of what that peer owns.
func (n *Node) HearOwner(id wire.NodeID, u *wire.UpdateReq) { n.heardOwner(n.peers[id], u) }

// Term is the time for which a peer has said without a break what it owns; 0: it does not have us as a replica.
func (n *Node) Term(id wire.NodeID) uint32 {
	if o := n.copies.owners[id]; o != nil {
		return o.term
	}
	return 0
}
