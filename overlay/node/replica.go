package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// copies is what is known of where copies are, and the copying under way.
type copies struct {
	held    map[wire.ResourceID]*holding
	todo    []wire.ResourceID // to be looked at
	later   []wire.ResourceID // to be looked at when timerCopies says
	sent    int               // copies on their way
	delayed []delayedPeer
	owners  map[wire.NodeID]*owner // that have us as a replica: see athome.go
	moved   time.Time              // when the Neighbor Table last changed
	terms   uint32                 // that there have been
	// searched is when all that is held was last looked through for what an owner has said.
	searched time.Time
}

// holding is one resource that this peer holds values of.
type holding struct {
	owned   bool // we were responsible when we last looked
	fresh   bool // changed by its owner: hold-down does not apply
	queued  bool // in todo
	version int
	holders []wire.NodeID // known to hold what we hold
	busy    []wire.NodeID // to whom a copy is on its way
	rehome  bool          // a copy to the new owner is on its way
	dropAt  time.Time
	again   time.Time // when to look again; zero when it is not in copies.later
	failed  int       // copies in a row
	pause   time.Time // until when no copies are tried

	confirmed confirmed
}

// delayedPeer has taken the place of a lost successor. RFC 6940 §10.7.1: "the peer SHOULD delay the creation of new
// replicas for the successor replacement hold-down time (30 seconds)".
type delayedPeer struct {
	id    wire.NodeID
	until time.Time
}

// holdDown notes which peers entered the replica set because another was lost; before is the set with that one.
func (n *Node) holdDown(before []wire.NodeID) {
	until := n.now.Add(n.c.HoldDown)
	for _, id := range n.ring.Replicas() {
		if !slices.Contains(before, id) && !n.delayed(id) {
			n.copies.delayed = append(n.copies.delayed, delayedPeer{id, until})
			n.timers[timerCopies] = earlier(n.timers[timerCopies], until)
		}
	}
}

// forgetHolder is for a peer that is gone: should it come back, it may hold nothing.
func (n *Node) forgetHolder(id wire.NodeID) {
	if n.c.ReadReplicas {
		n.after(func() { n.giveUpCopies(id) })
	}
	for _, h := range n.copies.held { // the order does not matter
		h.holders = slices.DeleteFunc(h.holders, func(o wire.NodeID) bool { return o == id })
	}
}

func (n *Node) delayed(id wire.NodeID) bool {
	return slices.ContainsFunc(n.copies.delayed, func(d delayedPeer) bool { return d.id == id && d.until.After(n.now) })
}

// stored notes that values under res came from a node, which holds whatever we do if whole. original says that their owner
// stored them.
func (n *Node) stored(res wire.ResourceID, from wire.NodeID, original, whole bool) {
	n.goOnBereft()
	h := n.holding(res)
	h.version++
	h.holders, h.failed, h.pause = nil, 0, time.Time{}
	h.dropAt = time.Time{} // who sent it takes us for a replica, and may know better
	if original {
		h.fresh = true
		if n.forAdmitted(res) && !slices.Contains(n.admission.todo, res) {
			n.admission.todo = append(n.admission.todo, res)
		}
	} else if whole && from != n.c.Self {
		h.holders = []wire.NodeID{from}
	}
	n.check(res)
}

func (n *Node) holding(res wire.ResourceID) *holding {
	h := n.copies.held[res]
	if h == nil {
		h = &holding{}
		n.copies.held[res] = h
	}
	return h
}

// check has the copies of a resource looked at.
func (n *Node) check(res wire.ResourceID) {
	if h := n.holding(res); !h.queued {
		h.queued = true
		n.copies.todo = append(n.copies.todo, res)
	}
}

// endPauses has copies tried again at once that failed in a ring that was another.
func (n *Node) endPauses() {
	for _, h := range n.copies.held { // the order does not matter
		h.failed, h.pause = 0, time.Time{}
	}
}

// checkAll has all copies looked at: the ring has changed.
func (n *Node) checkAll() {
	for _, res := range n.store.Resources() {
		n.check(res)
	}
}

// pump looks at resources as long as there is room for copies.
func (n *Node) pump() {
	for n.member() && n.copies.sent < copyWindow && len(n.copies.todo) > 0 {
		res := n.copies.todo[0]
		n.copies.todo = n.copies.todo[1:]
		h := n.holding(res)
		h.queued = false
		n.balance(res, h)
	}
}

// balance sends copies of a resource to where they belong.
func (n *Node) balance(res wire.ResourceID, h *holding) {
	at, ok := chord.PointOfResource(res)
	if !ok {
		return
	}
	if n.responsible(at) {
		n.replicate(res, h)
		return
	}
	switch {
	case h.rehome:
	case !h.owned:
		n.disown(h)
	case h.pause.After(n.now):
		n.lookAgain(res, h, h.pause)
	default:
		n.rehome(res, h, n.ring.Owner(at))
	}
	n.considerDrop(res, h, n.ring.Rank(at, n.c.Self))
}

// replicate sees to the replicas of what we own. RFC 6940 §10.4: "It MUST then send a Store request to its successor in
// the Neighbor Table and to that peer's successor, incrementing the replica number for each successor." §10.7.3: when
// "the replica set [...] has changed, it MUST send a Store for any data associated with R to any new node in the replica
// set."
func (n *Node) replicate(res wire.ResourceID, h *holding) {
	h.owned, h.dropAt = true, time.Time{}
	targets := n.ring.Replicas()
	h.holders = slices.DeleteFunc(h.holders, func(id wire.NodeID) bool {
		return !slices.Contains(targets, id) && (n.admission == nil || n.admission.node != id)
	})
	if h.pause.After(n.now) {
		n.lookAgain(res, h, h.pause)
		return
	}
	for i, id := range targets {
		if slices.Contains(h.holders, id) || slices.Contains(h.busy, id) || n.delayed(id) && !h.fresh && len(h.holders)+len(h.busy) > 0 {
			continue // unless there is no copy at all: the next death would be one too many
		}
		version := h.version
		sent := n.sendCopy(res, id, uint8(i+1), func(ok bool) {
			n.copies.sent--
			h.busy = slices.DeleteFunc(h.busy, func(o wire.NodeID) bool { return o == id })
			n.copied(res, h, id, ok, version)
		})
		if !sent {
			delete(n.copies.held, res) // it has expired
			return
		}
		n.copies.sent++
		h.busy = append(h.busy, id)
	}
	h.fresh = false
}

// copied notes what became of a copy.
func (n *Node) copied(res wire.ResourceID, h *holding, to wire.NodeID, ok bool, version int) {
	switch {
	case n.copies.held[res] != h:
	case !ok && slices.Contains(n.ring.Replicas(), to):
		n.retryCopy(res, h)
	case !ok: // it is gone, and another has taken its place
		n.check(res)
	case version == h.version:
		h.failed = 0
		if !slices.Contains(h.holders, to) {
			h.holders = append(h.holders, to)
		}
	default:
		h.fresh = true // it was changed meanwhile
		n.check(res)
	}
}

// disown notes that another sees to the copies of a resource now: those that we made may go.
func (n *Node) disown(h *holding) { h.owned, h.holders = false, nil }

// rehome takes care of values that are no longer ours. RFC 6940 §6.4.2.3: "When a peer detects through an Update that it
// is no longer responsible for any data value it is storing, it MUST attempt to Store a copy to the correct node unless
// it knows the newly responsible node already has a copy of the data."
func (n *Node) rehome(res wire.ResourceID, h *holding, owner wire.NodeID) {
	if slices.Contains(h.holders, owner) {
		n.disown(h)
		return
	}
	version := h.version
	sent := n.sendCopy(res, wire.NodeID{}, 1, func(ok bool) {
		n.copies.sent--
		h.rehome = false
		switch {
		case n.copies.held[res] != h:
		case !ok:
			n.retryCopy(res, h)
		case h.version == version:
			n.disown(h)
		default:
			n.check(res)
		}
	})
	if !sent {
		delete(n.copies.held, res)
		return
	}
	n.copies.sent++
	h.rehome = true
}

// considerDrop forgets what we are out of the replica set of. RFC 6940 §10.7.3: "When peer x detects that it is no
// longer in the replica set for a resource R (i.e., there are three predecessors between x and R), it SHOULD delete all
// data associated with R from its local store." That is rank 3 and above. It waits, and never happens before the owner
// has a copy.
func (n *Node) considerDrop(res wire.ResourceID, h *holding, rank int) {
	switch {
	case rank <= chord.Replicas || h.owned:
		h.dropAt = time.Time{}
	case h.dropAt.IsZero():
		h.dropAt = n.now.Add(dropDelay)
		n.lookAgain(res, h, h.dropAt)
	case h.dropAt.After(n.now):
		n.lookAgain(res, h, h.dropAt)
	default:
		n.store.Drop(res)
		delete(n.copies.held, res)
	}
}

// retryCopy has another look after a pause.
func (n *Node) retryCopy(res wire.ResourceID, h *holding) {
	h.pause = n.now.Add(min(maxCopyRetry, copyRetry<<min(h.failed, 10)))
	h.failed++
	n.lookAgain(res, h, h.pause)
}

func (n *Node) lookAgain(res wire.ResourceID, h *holding, at time.Time) {
	if h.again.IsZero() {
		n.copies.later = append(n.copies.later, res)
	}
	h.again = earlier(h.again, at)
	n.timers[timerCopies] = earlier(n.timers[timerCopies], at)
}

// copiesTimer ends hold-downs and does what had to wait.
func (n *Node) copiesTimer() {
	before := len(n.copies.delayed)
	n.copies.delayed = slices.DeleteFunc(n.copies.delayed, func(d delayedPeer) bool { return !d.until.After(n.now) })
	for _, d := range n.copies.delayed {
		n.timers[timerCopies] = earlier(n.timers[timerCopies], d.until)
	}
	if len(n.copies.delayed) < before {
		n.checkAll()
	}
	later := n.copies.later
	n.copies.later = nil
	for _, res := range later {
		h := n.copies.held[res]
		switch {
		case h == nil:
		case h.again.After(n.now):
			n.copies.later = append(n.copies.later, res)
			n.timers[timerCopies] = earlier(n.timers[timerCopies], h.again)
		default:
			h.again = time.Time{}
			n.check(res)
		}
	}
}

// forgetExpired drops what is known of resources of which nothing is left.
func (n *Node) forgetExpired() {
	held := make(map[wire.ResourceID]*holding, len(n.copies.held))
	for _, res := range n.store.Resources() {
		held[res] = n.holding(res)
	}
	n.copies.held = held
}

// sendCopy stores what we hold under res at a node, or at the owner of res when to is zero. replica_number is never 0:
// the data is not ours (RFC 6940 §7.4.1.1). It reports false, and done is not called, when there is nothing to copy.
func (n *Node) sendCopy(res wire.ResourceID, to wire.NodeID, replica uint8, done func(ok bool)) bool {
	req, certs := n.store.Copy(n.now, res, replica)
	if req == nil {
		return false
	}
	dest := wire.NewDestinationList(wire.ToResource(res))
	p, life := n.peers[to], 0
	if !to.IsZero() {
		dest = toNode(to)
	}
	if p != nil {
		life = p.lost
	}
	n.request(outgoing{dest: dest, body: req, certs: certs, done: func(r result) {
		if r.refused != nil {
			n.event(EventReplicaRefused, r.from, r.refused.ErrorCode.String())
			if c := r.refused.ErrorCode; c == wire.ErrorDataTooOld || c == wire.ErrorGenerationCounterTooLow {
				n.adopt(res, r.from)
			}
		}
		// What it has answered in an earlier life says nothing: its answer may have been looked at when it was gone already.
		same := n.peers[to] == p && (p == nil || p.lost == life)
		done(r.body != nil && same)
	}})
	return true
}

// adopt gets what is newer at a peer that refused our copy as too old. RFC 6940 §7.4.1.1: it "MUST fetch the newer data
// from the peer generating the error and use that to replace its own copy. This rule allows resynchronization after
// partitions heal."
func (n *Node) adopt(res wire.ResourceID, from wire.NodeID) {
	fetch := &wire.FetchReq{Resource: res, Specifiers: n.store.Specifiers(res)}
	if len(fetch.Specifiers) == 0 {
		return // it has expired
	}
	n.request(outgoing{dest: toNode(from), body: fetch, asked: res, done: func(r result) {
		if r.body != nil && n.store.Adopt(n.now, res, r.v) > 0 {
			// What made it refuse our copy was one value; others may be newer here. So all of them are sent again.
			n.stored(res, from, false, false)
		}
	}})
}
