package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Lose has the store of a node lose what is stored under a Resource-ID without anybody noticing.
func (n *Node) Lose(res wire.ResourceID) { n.store.Drop(res) }

// SpendFinds has a node have answered as many Finds as it may in the next hour.
func (n *Node) SpendFinds() { n.finds.full = n.now.Add(time.Hour) }
