package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// uncertain is what raises the suspicion that something stored may have no copy left.
type uncertain struct {
	since time.Time // when those that are counted began to go
	gone  int
	back  int
	text  string
	said  time.Time
}

// The texts of EventUncertain.
const (
	peersLost = "peers_lost"
	peersBack = "peers_back"
)

// countLost and countBack notice that many peers have gone without a word, or have come back, within a short time. A share s
// of all peers that dies at once takes all copies of a part s³ of what is stored with it; and each of two rings that were one has
// only what was stored there. Whoever has stored something knows whether it matters, and can store it again: see
// EventUncertain. Only the near ones are counted: links with others are given up, too, and nobody says why.
func (n *Node) countLost(id wire.NodeID) {
	if n.ring.Place(id) >= n.ring.Lists() {
		return
	}
	u := n.uncertainty()
	u.gone++
	n.suspectLoss(u.gone, peersLost)
}

func (n *Node) countBack() {
	u := n.uncertainty()
	u.back++
	n.suspectLoss(u.back, peersBack)
}

func (n *Node) uncertainty() *uncertain {
	u := &n.uncertain
	if n.now.Sub(u.since) > alarmTime {
		u.since, u.gone, u.back = n.now, 0, 0
	}
	return u
}

func (n *Node) suspectLoss(count int, text string) {
	if u := &n.uncertain; n.state == Joined && count > max(chord.Replicas, min(n.ring.Len(), 2*n.ring.Lists())*massPercent/100) {
		u.text = text
		at := n.now.Add(uncertainWait)
		if next := u.said.Add(uncertainInterval); at.Before(next) {
			at = next
		}
		n.timers[timerUncertain] = earlier(n.timers[timerUncertain], at)
	}
}

// uncertainTimer tells.
func (n *Node) uncertainTimer() {
	if n.state == Joined {
		n.uncertain.said = n.now
		n.event(EventUncertain, n.c.Self, n.uncertain.text)
	}
}
