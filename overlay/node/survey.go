package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// survey is the search for copies that are not what they should be. Replicas are made when something is stored and when the ring
// changes, and their holders are believed to keep them; a survey finds those that do not, whatever the reason.
//
// RFC 6940 §7.4.3 is meant for that: a Stat is answered with the storage times and digests of values, not with the values. An owner
// asks its replicas, and the first replica asks the owner, about one resource after the other, so slowly that nobody notices; values go
// to and fro only where there is a difference.
type survey struct {
	todo  []comparison
	pause time.Duration // between two
}

// comparison is of what two peers hold under one Resource-ID.
type comparison struct {
	res  wire.ResourceID
	with wire.NodeID
}

// startSurvey sets the timer when the node has become a peer.
func (n *Node) startSurvey() {
	n.survey = survey{}
	n.timers[timerSurvey] = n.now.Add(surveyTime/10 + n.within(surveyTime))
}

// surveyTimer makes the next comparison, unless there is better to do.
func (n *Node) surveyTimer() {
	s := &n.survey
	if len(s.todo) == 0 {
		s.todo = n.comparisons()
		s.pause = max(surveyPause, surveyTime/time.Duration(1+len(s.todo)))
		n.timers[timerSurvey] = n.now.Add(n.jitter(s.pause))
		return
	}
	n.timers[timerSurvey] = n.now.Add(n.jitter(s.pause))
	if n.state != Joined || len(n.requests) > surveyBusy {
		return
	}
	c := s.todo[0]
	s.todo = s.todo[1:]
	if slices.Contains(n.compareWith(c.res), c.with) {
		n.compare(c)
	}
}

// comparisons are all that there are to be made now, around the ring, beginning anywhere: the first part of the range of a busy peer must
// not be all that is ever looked at. At most maxComparisons.
func (n *Node) comparisons() (list []comparison) {
	resources := n.store.Resources()
	if len(resources) == 0 || n.state != Joined {
		return nil
	}
	first := n.c.Rand.IntN(len(resources))
	for i := range resources {
		res := resources[(first+i)%len(resources)]
		for _, id := range n.compareWith(res) {
			if len(list) < maxComparisons {
				list = append(list, comparison{res, id})
			}
		}
	}
	return list
}

// compareWith lists with whom a resource is to be compared: an owner with its replicas, and the first of those with the owner.
func (n *Node) compareWith(res wire.ResourceID) []wire.NodeID {
	at, ok := chord.PointOfResource(res)
	switch {
	case !ok:
		return nil
	case n.responsible(at):
		return n.ring.Replicas()
	case n.ring.Rank(at, n.c.Self) == 1:
		return []wire.NodeID{n.ring.Owner(at)}
	}
	return nil
}

// compare asks another peer what it holds, and has the older side get what it lacks.
func (n *Node) compare(c comparison) {
	specifiers := n.store.Specifiers(c.res)
	h := n.copies.held[c.res]
	if len(specifiers) == 0 || h == nil || h.pause.After(n.now) || slices.Contains(h.busy, c.with) {
		return
	}
	version := h.version
	n.request(outgoing{dest: toNode(c.with), body: &wire.StatReq{Resource: c.res, Specifiers: specifiers}, done: func(r result) {
		ans, ok := r.body.(*wire.StatAns)
		if !ok || n.copies.held[c.res] != h || h.version != version || !n.member() {
			return // it has changed meanwhile, or there is no telling
		}
		ours, theirs := n.store.Compare(n.now, c.res, ans)
		if ours || theirs {
			n.event(EventCopyDiffers, c.with, "")
		} else {
			n.confirm(c.res, c.with)
		}
		if theirs {
			n.adopt(c.res, c.with)
		}
		if ours {
			n.renew(c, h)
		}
	}})
}

// renew sends a copy to who has turned out not to have it.
func (n *Node) renew(c comparison, h *holding) {
	at, _ := chord.PointOfResource(c.res)
	if n.responsible(at) {
		h.holders = slices.DeleteFunc(h.holders, func(id wire.NodeID) bool { return id == c.with })
		n.check(c.res)
		return
	}
	n.sendCopy(c.res, c.with, 1, func(bool) {})
}
