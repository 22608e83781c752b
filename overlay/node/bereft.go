package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// bereft is what a peer does about values whose copies may all be gone: their owner and both replicas were lost at the same time, or
// are on the other side of a cut. Only who has published them can bring them back, and does so within seconds (see
// EventUncertain). Until then "nothing is stored here" would be the wrong answer; so a Fetch waits for the Store.
//
// A peer that has joined just now may have got no copies yet of what its predecessor was responsible for. When that is gone, there are
// copies after us, and they are on their way (see endow): a Fetch waits for them as well.
type bereft struct {
	lost    []lostOne
	waiting []bereaved
	joined  time.Time // when we did; zero for the first peer
}

// lostOne is a near peer that went without a word.
type lostOne struct {
	id wire.NodeID
	at time.Time
}

// bereaved is a Fetch that waits.
type bereaved struct {
	in    *inbound
	res   wire.ResourceID
	until time.Time
}

// noteLost and noteBack keep the list of those that were lost lately.
func (n *Node) noteLost(id wire.NodeID) {
	b := &n.bereft
	b.lost = slices.DeleteFunc(b.lost, func(l lostOne) bool { return l.id == id || n.now.Sub(l.at) > bereftTime })
	if len(b.lost) < maxLostOnes && n.ring.Place(id) < n.ring.Lists() {
		b.lost = append(b.lost, lostOne{id, n.now})
	}
}

func (n *Node) noteBack(id wire.NodeID) {
	n.bereft.lost = slices.DeleteFunc(n.bereft.lost, func(l lostOne) bool { return l.id == id })
}

// bereftAt reports whether all who held what belongs to a point of ours, or all but peers after us, were lost lately: between it and us,
// where nobody is left, there were its owner and the replicas of that.
func (n *Node) bereftAt(at chord.Point) bool {
	most := chord.Replicas // that may be gone while there is a copy here
	if j := n.bereft.joined; !j.IsZero() && n.now.Sub(j) <= newcomerTime {
		most = 0
	}
	if len(n.bereft.lost) <= most {
		return false
	}
	gone, self := 0, chord.PointOf(n.c.Self)
	for _, l := range n.bereft.lost {
		if n.now.Sub(l.at) <= bereftTime && !self.Sub(at).Less(self.Sub(chord.PointOf(l.id))) {
			gone++
		}
	}
	return gone > most
}

// missing reports whether we would say that nothing is stored under res, and may be wrong.
func (n *Node) missing(res wire.ResourceID) bool {
	at, ok := chord.PointOfResource(res)
	return ok && n.member() && !n.store.Has(res) && n.bereftAt(at) && n.responsible(at)
}

// awaitsStore keeps a Fetch until what it asks for is stored again, but not for long. It reports whether it has.
func (n *Node) awaitsStore(in *inbound, res wire.ResourceID) bool {
	b := &n.bereft
	if in.waited || len(b.waiting) >= maxBereaved || !n.missing(res) {
		return false
	}
	if slices.ContainsFunc(b.waiting, func(o bereaved) bool { return o.in.key() == in.key() }) {
		return true // a copy of one that waits
	}
	in.waited = true
	w := bereaved{in, res, n.now.Add(bereftWait)}
	b.waiting = append(b.waiting, w)
	n.timers[timerBereft] = earlier(n.timers[timerBereft], w.until)
	return true
}

// bereftTimer lets those go on whose time is over.
func (n *Node) bereftTimer() { n.goOnBereft() }

// goOnBereft has those examined again that need not wait any more: the value is there, or is another's business, or the time is
// over.
func (n *Node) goOnBereft() {
	b := &n.bereft
	if len(b.waiting) == 0 {
		return
	}
	var next time.Time
	b.waiting = slices.DeleteFunc(b.waiting, func(w bereaved) bool {
		if w.until.After(n.now) && n.missing(w.res) {
			next = earlier(next, w.until)
			return false
		}
		n.after(func() {
			if !n.elsewhere(w.in) {
				n.examine(w.in)
			}
		})
		return true
	})
	n.timers[timerBereft] = next
}
