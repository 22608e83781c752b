package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// measureClock notes by how much the clock of a peer is ahead of ours: its answer to a Ping says what it was when that was made (RFC 6940
// §6.5.3.2), half of the round trip ago. Storage times and certificates are only as good as clocks are (§7.1).
func (n *Node) measureClock(p *peer, ans *wire.PingAns, rtt time.Duration) {
	const year = 365 * 24 * time.Hour
	theirs := time.UnixMilli(int64(min(ans.Time, 1<<62)))
	p.ahead = min(max(theirs.Sub(n.now.Add(-rtt/2)), -year), year)
	p.clocked = true
	if len(n.peers) > clockFew && n.now.Sub(n.clockLooked) < clockInterval {
		return
	}
	n.clockLooked = n.now
	wrong := n.clockSkew().Abs() >= maxClockSkew
	if wrong != n.clockWrong {
		n.clockWrong = wrong
		if wrong {
			n.event(EventClock, n.c.Self, n.clockSkew().Round(time.Second).String())
		}
	}
}

// clockSkew is by how much the clocks of the neighbours are ahead of ours: the median, so that one that is wrong itself accuses
// nobody else. It is zero while fewer than two have been heard of.
func (n *Node) clockSkew() time.Duration {
	var list []time.Duration
	for _, p := range n.peers {
		if p.clocked {
			list = append(list, p.ahead)
		}
	}
	if len(list) < 2 {
		return 0
	}
	slices.Sort(list)
	a, b := list[(len(list)-1)/2], list[len(list)/2]
	return a + (b-a)/2
}
