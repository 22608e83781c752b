package node

import (
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// linkage is the search for links that make paths shorter. RFC 6940 §10.7.4.2: "A peer MAY choose to keep connections to
// multiple peers that can act for a given Finger Table entry."
type linkage struct {
	seeking int                   // Attaches under way
	paused  map[chord.Point]pause // parts of the ring, by where they begin, in which nobody new was found
	size    int                   // of the ring that these parts are of
}

// pause is for how long a part of the ring is left alone, and how often in a row who was asked there had enough links.
type pause struct {
	until time.Time
	times int
}

// wakeUpkeep has the links looked at soon: something has changed.
func (n *Node) wakeUpkeep() {
	if n.c.Links >= 0 && n.timers[timerUpkeep].IsZero() {
		n.timers[timerUpkeep] = n.now.Add(n.jitter(upkeepInterval))
	}
}

// upkeepTimer gives up links that are too many, and looks for some that are missing.
func (n *Node) upkeepTimer() {
	if n.state != Joined {
		return
	}
	n.spare()
	if n.seekGaps() {
		n.timers[timerUpkeep] = n.now.Add(n.jitter(upkeepInterval))
	}
}

// spare closes links that are worth least when there are more than there should be. The other side finds another.
func (n *Node) spare() {
	for range maxSpared {
		id, ok := n.ring.Spare(n.others())
		if !ok {
			return
		}
		n.abandon(n.peers[id])
	}
}

// abandon closes the links with a node that is not lost, and leaves it alone for a while.
func (n *Node) abandon(p *peer) {
	links := p.links
	p.links = nil
	for _, c := range links {
		n.out.Close = append(n.out.Close, c.id)
		delete(n.conns, c.id)
	}
	n.unlinked(p, false)
	n.leaveAlone(p.id, avoidTime)
	for _, c := range links {
		n.reroute(c.id)
	}
}

// seekGaps attaches to peers in parts of the ring where one is missing: to whoever owns a random point there. It reports
// whether there may be more to do.
func (n *Node) seekGaps() bool {
	l := &n.links
	if size := n.ring.LaidOut(); size != l.size {
		l.paused, l.size = make(map[chord.Point]pause), size
	}
	more := false
	for _, g := range n.ring.Gaps() {
		p := l.paused[g.Start]
		if p.until.After(n.now) || n.ring.Enough(g, n.others()+l.seeking) {
			continue
		}
		more = true
		if l.seeking >= maxSeeking || len(n.attaches) >= maxAttaches/2 {
			return true
		}
		l.paused[g.Start] = pause{n.now.Add(askUpdateInterval), p.times} // one at a time
		n.seekGap(g)
	}
	return more
}

func (n *Node) seekGap(g chord.Gap) {
	at := g.Start.Add(n.randomPart(g.Limit))
	before := n.ring.Len()
	ok := n.attachTo(wire.NewDestinationList(wire.ToResource(at.Resource())), 0, func(id wire.NodeID, err error) {
		n.links.seeking--
		var refused *refusedError
		switch {
		case err == nil && n.ring.Len() <= before && n.ring.Has(id):
			n.links.paused[g.Start] = pause{until: n.now.Add(seekPause)} // it is one that we know: there is nobody in between
		case errors.As(err, &refused):
			// They have enough, as has everybody in a ring that is at rest.
			times := n.links.paused[g.Start].times
			n.links.paused[g.Start] = pause{n.now.Add(n.jitter(min(maxRefusedPause, refusedPause<<times))), min(times+1, maxRefusals)}
		}
		n.wakeUpkeep()
	})
	if ok {
		n.links.seeking++
	}
}

// randomPart draws a point below limit.
func (n *Node) randomPart(limit chord.Point) chord.Point { return limit.Scale(n.c.Rand.Float64()) }

// refusedBefore is for a node that has been in its ring for long: where it lacks somebody, it has been refused often.
func (n *Node) refusedBefore() {
	l := &n.links
	l.paused, l.size = make(map[chord.Point]pause), n.ring.LaidOut()
	for _, g := range n.ring.Gaps() {
		l.paused[g.Start] = pause{n.now.Add(n.within(maxRefusedPause)), maxRefusals}
	}
}
