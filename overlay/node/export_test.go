package node

import "github.com/p2psip/p2psip-gateway/overlay/wire"

// Lose has the store of a node lose what is stored under a Resource-ID without anybody noticing.
func (n *Node) Lose(res wire.ResourceID) { n.store.Drop(res) }
