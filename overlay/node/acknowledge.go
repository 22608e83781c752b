package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// unacknowledged is a Store that was carried out, and whose answer waits for the replicas.
type unacknowledged struct {
	in    *inbound
	ans   *wire.StoreAns
	res   wire.ResourceID
	until time.Time
}

// acknowledge answers a Store when its values have as many copies as there are to be, or after acknowledgeWait: what was
// acknowledged is not to be lost with the peer that has said so.
//
// Deviation: RFC 6940 §10.4 has the peer "store the data and return a success response", and "then send a Store request to
// its successor". Nobody sees the order but by the time that the answer takes.
func (n *Node) acknowledge(in *inbound, res wire.ResourceID, ans *wire.StoreAns) {
	if n.ring.Len() == 0 || len(n.unacked) >= maxUnacknowledged {
		n.respond(in, ans, nil)
		return
	}
	until := n.now.Add(acknowledgeWait)
	n.unacked = append(n.unacked, unacknowledged{in, ans, res, until})
	n.timers[timerAcknowledge] = earlier(n.timers[timerAcknowledge], until)
}

// acknowledgeTimer exists for its end: see acknowledgeReplicated.
func (n *Node) acknowledgeTimer() {}

// acknowledgeReplicated answers the Stores that have waited long enough.
func (n *Node) acknowledgeReplicated() {
	if len(n.unacked) == 0 {
		return
	}
	next := time.Time{}
	n.unacked = slices.DeleteFunc(n.unacked, func(u unacknowledged) bool {
		if u.until.After(n.now) && !n.replicated(u.res) && n.member() {
			next = earlier(next, u.until)
			return false
		}
		n.respond(u.in, u.ans, nil)
		return true
	})
	n.timers[timerAcknowledge] = next
}

// replicated reports whether all replicas of a resource are known to hold what is stored there now, and so what was
// stored before it.
func (n *Node) replicated(res wire.ResourceID) bool {
	h := n.copies.held[res]
	if h == nil {
		return true // it has expired
	}
	for _, id := range n.ring.Replicas() {
		if !slices.Contains(h.holders, id) {
			return false
		}
	}
	return true
}
