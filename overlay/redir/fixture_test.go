package redir

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// nibble is the Node-ID of the examples, which have four bits: they are the first of ours.
func nibble(n uint8) wire.NodeID {
	octets := make([]byte, 16)
	octets[0] = n << 4
	return fromOctets(octets)
}

func fromOctets(b []byte) wire.NodeID {
	id, err := wire.NodeIDFromBytes(b)
	if err != nil {
		panic(err)
	}
	return id
}

func randomID(r *rand.Rand) wire.NodeID {
	return fromOctets(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.Uint64()), r.Uint64()))
}

// forest is an overlay that holds trees, and does what a storing peer does with records that have expired.
type forest struct {
	t       testing.TB
	now     time.Time
	nodes   map[wire.ResourceID]map[wire.NodeID]time.Time
	fetches int
}

func newForest(t testing.TB) *forest {
	return &forest{t: t, now: time.Unix(1_700_000_000, 0), nodes: make(map[wire.ResourceID]map[wire.NodeID]time.Time)}
}

func (f *forest) at(t Tree, p Place) []wire.NodeID {
	var out []wire.NodeID
	for id, end := range f.nodes[t.Resource(p)] {
		if end.After(f.now) {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, wire.NodeID.Compare)
	return out
}

func (f *forest) entries(t Tree, p Place) []Entry {
	var out []Entry
	for _, id := range f.at(t, p) {
		out = append(out, Entry{Node: id})
	}
	return out
}

func (f *forest) put(t Tree, p Place, id wire.NodeID, end time.Time) {
	res := t.Resource(p)
	if f.nodes[res] == nil {
		f.nodes[res] = make(map[wire.NodeID]time.Time)
	}
	f.nodes[res][id] = end
}

// register walks, and returns what was asked for.
func (f *forest) register(p *Provider) []Request {
	var steps []Request
	r := p.Register()
	for {
		q, ok := r.Next()
		if !ok {
			break
		}
		steps = append(steps, q)
		if len(steps) > 100 {
			f.t.Fatal("a registration does not end")
		}
		if q.Store {
			f.put(p.tree, q.Place, p.self, f.now.Add(Lifetime))
			r.Stored(true)
			continue
		}
		r.Fetched(f.at(p.tree, q.Place))
	}
	p.Registered(f.now, r)
	return steps
}

// find walks, and returns what was found and where.
func (f *forest) find(l *Lookup, random *rand.Rand) (wire.NodeID, []Place) {
	var steps []Place
	for {
		p, ok := l.Next()
		if !ok {
			break
		}
		steps = append(steps, p)
		if len(steps) > 40 {
			f.t.Fatal("a lookup does not end")
		}
		f.fetches++
		l.Fetched(f.entries(l.tree, p))
	}
	e, _ := l.Result(random)
	return e.Node, steps
}

// closest is what a lookup is to find, by looking at everybody.
func closest(key wire.NodeID, providers []wire.NodeID) (wire.NodeID, bool) {
	var best wire.NodeID
	for _, id := range providers {
		if id.Compare(key) >= 0 && (best.IsZero() || id.Compare(best) < 0) {
			best = id
		}
	}
	return best, !best.IsZero()
}
