package redir

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Entry is a provider that stands in the tree.
type Entry struct {
	Node         wire.NodeID
	Destinations wire.DestinationList // by which it is reached
}

// Lookup is one walk in search of the provider that most immediately follows a key (RFC 7374 §4.5). Its requests come from
// Next; each is to be answered by Fetched before the next one.
type Lookup struct {
	tree    Tree
	key     wire.NodeID
	level   uint16
	visited map[uint16]bool
	seen    map[wire.NodeID]Entry // §4.5: the temporary cache
	root    []Entry
	done    bool
}

// Find begins a lookup of key from the level start.
func (t Tree) Find(key wire.NodeID, start uint16) *Lookup {
	return &Lookup{tree: t, key: key, level: min(start, t.MaxLevel()), visited: make(map[uint16]bool), seen: make(map[wire.NodeID]Entry)}
}

// Next is the next tree node to fetch; false: the lookup is over.
func (l *Lookup) Next() (Place, bool) {
	if l.done {
		return Place{}, false
	}
	return l.tree.At(l.level, l.key)
}

// Fetched takes what stands in the tree node.
func (l *Lookup) Fetched(entries []Entry) {
	l.visited[l.level] = true
	for _, e := range entries {
		l.seen[e.Node] = e
	}
	if l.level == 0 {
		l.root = entries
	}
	next := int(l.level)
	switch {
	case !slices.ContainsFunc(entries, func(e Entry) bool { return e.Node.Compare(l.key) >= 0 }):
		// RFC 7374 §4.5, Condition 1: "If there is no successor of node n present in the just-fetched ReDiR tree node (note: within
		// the entire tree node and not only within the current interval) [...], node n MUST reduce the current level by one".
		next--
	case l.inside(entries):
		// RFC 7374 §4.5, Condition 2: "If n.id is neither the lowest nor the highest Node-ID within the interval (note: within the
		// interval, not within the entire tree node) I(level,n.id), n MUST next check the tree node responsible for n.id at the next
		// level down the tree."
		next++
	default:
		// RFC 7374 §4.5, Condition 3: "the service lookup has finished successfully".
		l.done = true
		return
	}
	// A level that was there before ends the walk: the tree is being changed. RFC 7374 §4.5: "Should it happen that a service
	// lookup operation fails due to the downward walk reaching a level that does not contain a successor, the cache is searched".
	if next < 0 || next > int(l.tree.MaxLevel()) || l.visited[uint16(next)] {
		l.done = true
		return
	}
	l.level = uint16(next)
}

// inside reports whether the key lies between providers of its interval, and none has it.
func (l *Lookup) inside(entries []Entry) bool {
	interval := l.tree.interval(l.level, l.key)
	below, above := false, false
	for _, e := range entries {
		c := e.Node.Compare(l.key)
		if c == 0 {
			return false
		}
		if l.tree.interval(l.level, e.Node) == interval {
			below, above = below || c < 0, above || c > 0
		}
	}
	return below && above
}

// Result is the provider that was found: the closest of all that were seen that do not come before the key. RFC 7374 §4.5:
// where all do, "An appropriate strategy in this case is to pick one of the RedirServiceProvider entries stored in the dictionary
// of the root node at random." False: nobody provides the service.
func (l *Lookup) Result(random *rand.Rand) (Entry, bool) {
	var best Entry
	for _, e := range l.seen {
		if e.Node.Compare(l.key) >= 0 && (best.Node.IsZero() || e.Node.Compare(best.Node) < 0) {
			best = e
		}
	}
	if best.Node.IsZero() && len(l.root) > 0 {
		best = l.root[random.IntN(len(l.root))]
	}
	return best, !best.Node.IsZero()
}

// Providers are all that were seen, by Node-ID.
func (l *Lookup) Providers() []Entry {
	out := make([]Entry, 0, len(l.seen))
	for _, e := range l.seen {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return a.Node.Compare(b.Node) })
	return out
}

// Finder remembers at which levels lookups in one tree ended. It is not safe for concurrent use.
type Finder struct {
	tree   Tree
	levels []uint16 // the last, oldest first
}

// NewFinder returns one that knows of no lookup.
func NewFinder(t Tree) *Finder { return &Finder{tree: t} }

// Find begins a lookup. RFC 7374 §4.2: "record the levels at which the last 16 service lookups completed and take Lstart to be
// the mode of those depths".
func (f *Finder) Find(key wire.NodeID) *Lookup { return f.tree.Find(key, f.start()) }

// Found takes a lookup that is over.
func (f *Finder) Found(l *Lookup) {
	if !l.done {
		return
	}
	f.levels = append(f.levels, l.level)
	f.levels = f.levels[max(0, len(f.levels)-remembered):]
}

// start is the mode, of those that are as frequent the least.
func (f *Finder) start() uint16 {
	best, most := uint16(StartLevel), 0
	for _, level := range f.levels {
		n := 0
		for _, other := range f.levels {
			if other == level {
				n++
			}
		}
		if n > most || n == most && level < best {
			best, most = level, n
		}
	}
	return best
}

func sortPlaces(p []Place) {
	slices.SortFunc(p, func(a, b Place) int { return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Node, b.Node)) })
}
