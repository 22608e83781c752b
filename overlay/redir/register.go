package redir

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Request is what a walk asks of the overlay next: a wildcard Fetch of one tree node, or a Store of the walker's own
// record in it.
type Request struct {
	Place Place
	Store bool
}

// Registration is one walk of a provider through the tree (RFC 7374 §4.3). Its requests come from Next; each is to be
// answered by Fetched or Stored before the next one.
type Registration struct {
	tree    Tree
	self    wire.NodeID
	start   uint16
	level   uint16
	down    bool
	first   standing // in the tree node that the walk started from
	now     standing // in the one that was fetched last
	store   bool     // what is to be done next at level: Store, else Fetch
	done    bool
	placed  []Place
	deepest uint16
}

// standing is how a provider stands among those of a tree node, itself included.
type standing struct {
	outer bool // the lowest or the highest of its interval
	alone bool // in its interval
}

func (t Tree) standing(level uint16, self wire.NodeID, providers []wire.NodeID) standing {
	interval := t.interval(level, self)
	var below, above bool
	for _, p := range providers {
		c := p.Compare(self)
		inside := c != 0 && t.interval(level, p) == interval
		below, above = below || inside && c < 0, above || inside && c > 0
	}
	return standing{outer: !below || !above, alone: !below && !above}
}

// Register begins a walk of the provider self from the level start.
func (t Tree) Register(self wire.NodeID, start uint16) *Registration {
	start = min(start, t.MaxLevel())
	return &Registration{tree: t, self: self, start: start, level: start, deepest: start}
}

// Next is the next request; false: the registration is complete.
func (r *Registration) Next() (Request, bool) {
	if r.done {
		return Request{}, false
	}
	p, _ := r.tree.At(r.level, r.self)
	return Request{Place: p, Store: r.store}, true
}

// Fetched takes the answer to a Fetch: the providers in the tree node.
func (r *Registration) Fetched(providers []wire.NodeID) {
	r.now = r.tree.standing(r.level, r.self, providers)
	if r.level == r.start {
		r.first = r.now
	}
	switch {
	case r.level == r.start, !r.down && len(providers) < 2*int(r.tree.branching()):
		// RFC 7374 §4.3: "Note that node n always stores its RedirServiceProvider entry, regardless of the contents of the
		// dictionary."
		//
		// Deviation: above the start level, only where the lowest and the highest of each interval have room. By another record
		// nobody finds a provider whom he would not find without it, but the root would hold 2*b^2 of them with their
		// certificates, which is more than a message takes.
		r.store = true
	case r.now.outer || r.down && r.level == r.tree.MaxLevel():
		// RFC 7374 §4.3 step 5: "store its RedirServiceProvider record in that tree node if n.id is the lowest or highest Node-ID in
		// its interval". In the last level every provider stands: there is none below that could tell them apart.
		r.store = true
	default:
		r.advance()
	}
}

// Stored takes the answer to a Store. One that was refused is an answer too: the walk goes on.
func (r *Registration) Stored(ok bool) {
	r.store = false
	if p, valid := r.tree.At(r.level, r.self); ok && valid {
		r.placed = append(r.placed, p)
	}
	r.advance()
}

// advance goes to the next level.
func (r *Registration) advance() {
	// RFC 7374 §4.3 step 4: "If node n's Node-ID (n.id) is the lowest or highest Node-ID stored in the tree node responsible for
	// I(Lstart,n.id), node n MUST reduce the current level by one [...]. Node n MUST continue in this way until it reaches either
	// the root of the tree or a level at which n.id is not the lowest or highest Node-ID in the interval I(level,n.id)." Who is
	// lowest or highest in the tree node is so in its interval; the example of §7.1 goes by the interval at the start level too.
	if !r.down && r.now.outer && r.level > 0 {
		r.level--
		return
	}
	if !r.down {
		r.down, r.level, r.now = true, r.start, r.first
	}
	// RFC 7374 §4.3 step 5: "Node n MUST end this downward walk as soon as it reaches a level l at which it is the only service
	// provider in its interval I(l,n.id)."
	if r.now.alone || r.level == r.tree.MaxLevel() {
		r.done = true
		return
	}
	r.level++
	r.deepest = r.level
}

// Provider keeps the registration of one node as provider of one service. It is not safe for concurrent use.
type Provider struct {
	tree  Tree
	self  wire.NodeID
	start uint16
	held  map[Place]time.Time // where records stand, and when they end
}

// NewProvider returns a provider that has not registered.
func NewProvider(t Tree, self wire.NodeID) *Provider {
	return &Provider{tree: t, self: self, start: StartLevel, held: make(map[Place]time.Time)}
}

// Tree is that of the service.
func (p *Provider) Tree() Tree { return p.tree }

// Register begins the next walk.
func (p *Provider) Register() *Registration { return p.tree.Register(p.self, p.start) }

// Registered takes a walk that began at now and is over, or has failed: what it stored is remembered in both cases. It
// returns when the next one is due.
func (p *Provider) Registered(now time.Time, r *Registration) time.Time {
	for _, at := range r.placed {
		p.held[at] = now.Add(Lifetime)
	}
	for at, end := range p.held {
		if !end.After(now) {
			delete(p.held, at)
		}
	}
	if r.done {
		// RFC 7374 §4.2: "In subsequent registrations, Lstart MAY, as an optimization, be set to the lowest level at which a
		// registration operation has last completed."
		p.start = r.deepest
	}
	return now.Add(Refresh)
}

// Held is where records of the provider may stand at now: what is to be removed before it leaves. RFC 7374 §4.6: "a service
// provider SHOULD remove the RedirServiceProvider records it has stored by storing exists=False values in their place".
func (p *Provider) Held(now time.Time) []Place {
	var out []Place
	for at, end := range p.held {
		if end.After(now) {
			out = append(out, at)
		}
	}
	sortPlaces(out)
	return out
}

// Record is the value to store in a tree node.
func (p *Provider) Record(at Place) wire.RedirServiceProvider {
	return wire.RedirServiceProvider{Destinations: wire.NewDestinationList(wire.ToNode(p.self)), Namespace: p.tree.Namespace,
		Level: at.Level, Node: at.Node}
}
