package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// passed is a request of another node that was passed on.
type passed struct {
	link LinkID
	at   time.Time
	next wire.Destination
	raw  []byte // as it was sent
}

// keepPassed remembers a request for as long as it is useful to send it another way.
func (n *Node) keepPassed(out *conn, next wire.Destination, raw []byte) {
	if p := n.peers[next.Node]; next.Type == wire.DestNode && p != nil {
		return // there is no other way
	}
	old := 0
	for old < len(n.passed) && (n.now.Sub(n.passed[old].at) > passedTime || len(n.passed)-old >= maxPassed) {
		old++
	}
	n.passed = append(slices.Delete(n.passed, 0, old), passed{out.id, n.now, next, raw})
}

// passAgain sends what was passed on over a link that is gone, or stalled, the next best way. Whoever made the request
// would do that when its timer fires: here it is known sooner. A copy is answered like the first (RFC 6940 §6.2.1).
func (n *Node) passAgain(link LinkID) {
	n.goOnAfter(link)
	var hit []passed
	n.passed = slices.DeleteFunc(n.passed, func(x passed) bool {
		if x.link == link && n.now.Sub(x.at) <= passedTime {
			hit = append(hit, x)
		}
		return x.link == link
	})
	if len(hit) == 0 {
		return
	}
	n.after(func() {
		for _, x := range hit {
			if c := n.nextLink(x.next); c != nil && c.id != link && !c.stalled {
				n.event(EventRerouted, c.node, "")
				n.keepPassed(c, x.next, x.raw)
				n.relay(c, x.raw)
			}
		}
	})
}
