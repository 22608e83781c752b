package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What a peer holds as a replica it reads at home, when it knows that its owner holds the same.
//
// Deviation: RFC 6940 §7.4.2 has a Fetch go to the peer that is responsible. §10.4 puts the same values at its next two successors, and
// here a Store is not acknowledged before they have them (see acknowledge). What is not there, or not for certain, the owner is asked.
//
// An owner tells us with each change of its neighbours what it is responsible for, and whether we are one of its next two successors
// (§10.7.3). As long as it goes on to say so, each change of its values comes here at once. So what it has sent us once is what it
// holds, up to what is under way: it comes over the same link as any later sign of life, and there has to be one of the last moments.

// owner is a peer that has us as a replica, by its own words.
type owner struct {
	from chord.Point // its predecessor: what lies after that, up to itself, is its own
	// term is of the time for which it has said so without a break. It is never 0, and never used twice.
	term uint32
	// heard is since when no silence of it has been longer than ownerSilence: what got lost on the way is sent again by then.
	heard time.Time
	// answered is when the latest request was made that it has answered, asked when it was last asked only to be heard, and waiting since when
	// it has not answered that; zero: it has.
	answered, asked, waiting time.Time
	question                 wire.ResourceID // what it was asked for then
	wanted                   time.Time       // when something that it owns was last looked for here
}

// confirmed says that the owner of a resource holds what we do.
type confirmed struct {
	term uint32 // of the owner; 0: it does not, or we do not know
	// kindTerm is the same for one Kind alone.
	kindTerm uint32
	kind     wire.KindID
}

// heardOwner takes an Update of a peer for what it says of us. Its lists are sets, in any order.
func (n *Node) heardOwner(p *peer, u *wire.UpdateReq) {
	if !n.c.ReadReplicas {
		return
	}
	c := &n.copies
	at, self := chord.PointOf(p.id), chord.PointOf(n.c.Self)
	before := 0 // successors of p before us
	for _, id := range u.Successors {
		if chord.PointOf(id).Sub(at).Less(self.Sub(at)) {
			before++
		}
	}
	o, known := c.owners[p.id]
	if !p.ready || before >= chord.Replicas || !slices.Contains(u.Successors, n.c.Self) || len(u.Predecessors) == 0 ||
		!known && len(c.owners) >= maxOwners {
		delete(c.owners, p.id)
		return
	}
	from := chord.PointOf(u.Predecessors[0])
	for _, id := range u.Predecessors[1:] {
		if q := chord.PointOf(id); at.Sub(q).Less(at.Sub(from)) {
			from = q
		}
	}
	if !known {
		o = &owner{from: from, heard: n.now}
		n.newTerm(o)
		c.owners[p.id] = o
	} else if from != o.from {
		n.rangeMoved(o, from, at)
		o.from = from
	}
}

// newTerm is for what an owner has shown until now: it says nothing any more.
func (n *Node) newTerm(o *owner) {
	n.copies.terms++
	o.term = n.copies.terms
}

// missedUnseen is for something that a peer sent and nobody has looked at: it may have been a copy of anything.
func (n *Node) missedUnseen(from wire.NodeID) {
	if o := n.copies.owners[from]; o != nil {
		n.newTerm(o)
	}
}

// endSilence is for a peer of which nothing was heard for longer than ownerSilence.
func (n *Node) endSilence(id wire.NodeID) {
	if o := n.copies.owners[id]; o != nil {
		o.heard = n.now
	}
}

// rangeMoved is for an owner at a point whose range begins somewhere else now: what it said of what has come or gone says nothing any more. Where that is said again
// and again it says nothing of anything: what we hold is looked through once a second.
func (n *Node) rangeMoved(o *owner, from, at chord.Point) {
	if n.now.Sub(n.copies.searched) < searchPause {
		n.newTerm(o)
		return
	}
	n.copies.searched = n.now
	for res, h := range n.copies.held { // the order does not matter
		if p, ok := chord.PointOfResource(res); ok && p.Within(o.from, at) != p.Within(from, at) {
			h.confirmed.unless(o.term)
		}
	}
}

func (c *confirmed) unless(term uint32) {
	if c.term == term || c.kindTerm == term {
		*c = confirmed{}
	}
}

// ownerNow is the term of a peer if it says that it is responsible for what we hold under res; else 0.
func (n *Node) ownerNow(id wire.NodeID, at chord.Point) uint32 {
	if o := n.copies.owners[id]; o != nil && at.Within(o.from, chord.PointOf(id)) {
		return o.term
	}
	return 0
}

// confirm notes that a peer has shown that it holds what we do under res; if it is the owner, that matters.
func (n *Node) confirm(res wire.ResourceID, by wire.NodeID) {
	at, ok := chord.PointOfResource(res)
	if h := n.copies.held[res]; ok && h != nil {
		if term := n.ownerNow(by, at); term != 0 {
			h.confirmed = confirmed{term: term}
		}
	}
}

// confirmKind does so for one Kind, by the answer to a Fetch.
func (n *Node) confirmKind(op *OpFetch, d *Done) {
	at, ok := chord.PointOfResource(op.Resource)
	h := n.copies.held[op.Resource]
	if !ok || h == nil || len(op.Specifier.Keys) > 0 {
		return
	}
	term := n.ownerNow(d.From, at)
	if term == 0 || h.confirmed.term == term {
		return
	}
	ours, _, e := n.store.Read(n.now, &wire.FetchReq{Resource: op.Resource, Specifiers: []wire.Specifier{op.Specifier}})
	if e == nil && slices.EqualFunc(ours.Kinds[0].Values, d.Values, func(a wire.StoredData, b Value) bool {
		return a.StorageTime == b.StorageTime && a.Value.Exists == b.Value.Exists && a.Value.Index == b.Value.Index && a.Value.Key == b.Value.Key
	}) {
		h.confirmed.kindTerm, h.confirmed.kind = term, op.Specifier.Kind
	}
}

// missedCopy is for a Store that we have not carried out: we may lack what was in it. Anybody can make us believe so, and we ask, then.
func (n *Node) missedCopy(m *wire.Message) {
	if m == nil {
		return
	}
	if s, ok := m.Body.(*wire.StoreReq); ok {
		if h := n.copies.held[s.Resource]; h != nil {
			h.confirmed = confirmed{}
		}
	}
}

// isAtHome reports whether we hold of one Kind under res what its owner does.
func (n *Node) isAtHome(res wire.ResourceID, kind wire.KindID) bool {
	at, ok := chord.PointOfResource(res)
	// In an overlay without reactive recovery nobody tells at once of a change.
	if !ok || n.state != Joined || !n.reactive() || !n.announced.ready || n.admission != nil {
		return false
	}
	id := n.ring.Owner(at)
	p, h, term := n.peers[id], n.copies.held[res], n.ownerNow(id, at)
	if term != 0 {
		n.copies.owners[id].wanted = n.now
	}
	if p == nil || h == nil || term == 0 || h.confirmed.term != term && (h.confirmed.kindTerm != term || h.confirmed.kind != kind) {
		return false
	}
	return !p.link().stalled && !n.neighborsPending() && n.now.Sub(n.copies.moved) > 2*ownerSilence && n.isHeard(p, n.copies.owners[id], res)
}

// isWanted reports whether a node is an owner of whose values some were looked for here not long ago: in an idle ring nobody has to be heard that often.
func (n *Node) isWanted(id wire.NodeID) bool {
	o := n.copies.owners[id]
	return o != nil && !o.wanted.IsZero() && n.now.Sub(o.wanted) <= wantedFor
}

// isHeard reports whether an owner has been heard of all the time, and hears us. While all are content with what they find here, it takes a
// Fetch now and then to know that: for it isHeard reports false for one resource, until there is an answer.
func (n *Node) isHeard(p *peer, o *owner, res wire.ResourceID) bool {
	if n.now.Sub(o.answered) > ownerSilence/2 && n.now.Sub(o.asked) > ownerSilence/6 {
		o.asked, o.question = n.now, res
		if o.waiting.IsZero() {
			o.waiting = n.now
		}
		return false
	}
	return n.now.Sub(p.heard) <= ownerSilence && n.now.Sub(o.heard) > 2*ownerSilence &&
		(o.waiting.IsZero() || n.now.Sub(o.waiting) <= ownerSilence/2 && res != o.question)
}

// heardAnswer is for a node that has answered a request of ours, which was made at a time.
func (n *Node) heardAnswer(id wire.NodeID, made time.Time) {
	o := n.copies.owners[id]
	if o == nil || made.Before(o.answered) {
		return
	}
	o.answered = made
	if made.Before(o.waiting) {
		return
	}
	if !o.waiting.IsZero() && n.now.Sub(o.waiting) > ownerSilence/2 {
		o.heard = n.now // a silence as well: it may be that it did not hear us
	}
	o.waiting = time.Time{}
}

// fetchAtHome answers a Fetch of what we hold as a replica. It reports false when there is nothing: the owner may know better.
func (n *Node) fetchAtHome(op *OpFetch) ([]Value, bool) {
	if len(op.Specifier.Keys) > 0 || !n.isAtHome(op.Resource, op.Specifier.Kind) {
		return nil, false
	}
	d := n.fetchOwn(0, op)
	return d.Values, slices.ContainsFunc(d.Values, func(v Value) bool { return v.Value.Exists && v.Lifetime > 0 })
}

// giveUpCopies ends those that are on their way to a peer that is gone: they would be sent again, to its next life, when they are old.
func (n *Node) giveUpCopies(to wire.NodeID) {
	var hit []*request
	for _, r := range n.requests {
		first, ok := r.dest.First()
		if s, isStore := r.body.(*wire.StoreReq); ok && isStore && s.Replica > 0 && first == wire.ToNode(to) {
			hit = append(hit, r)
		}
	}
	slices.SortFunc(hit, func(a, b *request) int { return cmp.Compare(a.tx, b.tx) })
	for _, r := range hit {
		if n.requests[r.tx] == r {
			n.finish(r, result{err: ErrLinkDown})
		}
	}
}
