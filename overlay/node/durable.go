package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Restore puts back one record that an earlier life of this node held, before the first Tick. It returns how many of its
// values are good still; signers says who signed them, by certificates as they stand today.
//
// The values may be older than what the ring has by now. So the node offers what it restored, once it is a peer, as if it
// had been responsible for it until now: to the owner, or as the owner to its replicas. RFC 6940 §7.4.1.1 does the rest: who
// has the same takes it for done, who has something newer refuses with Error_Data_Too_Old and is asked for it.
func (n *Node) Restore(now time.Time, r store.Record, signers []trust.ValueSigner) int {
	if !n.begin(now) || n.c.Client {
		return 0
	}
	restored := n.store.Restore(n.now, r, signers)
	if restored > 0 {
		n.holding(r.Resource).owned = true
	}
	return restored
}

// Records is everything that the node holds, for a driver that keeps it.
func (n *Node) Records() []store.Record { return n.store.Records() }
