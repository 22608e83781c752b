package redir

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// example is the tree of figure 4.
func example(t *testing.T) (*forest, Tree, map[uint8][]Request) {
	f, tree := newForest(t), Tree{Namespace: "voice-mail", Branching: 2}
	steps := make(map[uint8][]Request)
	for _, id := range []uint8{2, 3, 7, 4} {
		steps[id] = f.register(NewProvider(tree, nibble(id)))
	}
	return f, tree, steps
}

func fetchAndStore(p ...Place) (out []Request) {
	for _, at := range p {
		out = append(out, Request{Place: at}, Request{Place: at, Store: true})
	}
	return out
}

// Conformance: I-06
func TestRFC7374_7_1_Registration(t *testing.T) {
	f, tree, steps := example(t)
	want := map[uint8][]Request{
		2: fetchAndStore(Place{2, 0}, Place{1, 0}, Place{0, 0}),
		3: fetchAndStore(Place{2, 0}, Place{1, 0}, Place{0, 0}, Place{3, 1}),
		7: fetchAndStore(Place{2, 1}, Place{1, 0}, Place{0, 0}),
		4: fetchAndStore(Place{2, 1}, Place{1, 0}, Place{0, 0}),
	}
	if d := cmp.Diff(want, steps); d != "" {
		t.Error(d)
	}
	// Figure 4.
	for at, want := range map[Place][]uint8{{0, 0}: {2, 3, 4, 7}, {1, 0}: {2, 3, 4, 7}, {2, 0}: {2, 3}, {2, 1}: {4, 7}, {3, 0}: nil,
		{3, 1}: {3}, {3, 2}: nil, {3, 3}: nil} {
		var ids []wire.NodeID
		for _, n := range want {
			ids = append(ids, nibble(n))
		}
		if got := f.at(tree, at); !slices.Equal(got, ids) {
			t.Errorf("tree node %v holds %v", at, got)
		}
	}
}

// A record is stored at the start level whoever stands there, and above it only by the lowest and the highest.
//
// Conformance: I-06
func TestRFC7374_4_3_WhoIsInTheMiddleStopsAtTheStartLevel(t *testing.T) {
	f, tree := newForest(t), Tree{Namespace: "x", Branching: 2}
	low, middle, high := fromOctets([]byte("\x20\x00..............")), fromOctets([]byte("\x20\x80..............")), fromOctets([]byte("\x21\x00.............."))
	f.register(NewProvider(tree, low))
	f.register(NewProvider(tree, high))
	for i := range 16 { // the tree node above has no room for more than the lowest and the highest
		f.put(tree, Place{1, 0}, fromOctets([]byte(fmt.Sprintf("\x20\x01............%02d", i))), f.now.Add(Lifetime))
	}
	steps := f.register(NewProvider(tree, middle))
	if !slices.Contains(steps, Request{Place{2, 0}, true}) {
		t.Errorf("not stored at the start level: %+v", steps)
	}
	if slices.ContainsFunc(steps, func(r Request) bool { return r.Place.Level < 2 }) {
		t.Errorf("went up: %+v", steps)
	}
}

// Conformance: I-08
func TestRFC7374_7_2_Lookup(t *testing.T) {
	f, tree, _ := example(t)
	random := rand.New(rand.NewPCG(1, 1))
	found, steps := f.find(tree.Find(nibble(5), StartLevel), random)
	if found != nibble(7) || !slices.Equal(steps, []Place{{2, 1}}) {
		t.Errorf("from level 2: %v by %v", found, steps)
	}
	found, steps = f.find(tree.Find(nibble(5), 3), random)
	if found != nibble(7) || !slices.Equal(steps, []Place{{3, 2}, {2, 1}}) {
		t.Errorf("from level 3: %v by %v", found, steps)
	}
	// Condition 2: between 2 and 3 of one interval the walk goes down.
	between := fromOctets([]byte("\x28\x00.............."))
	found, steps = f.find(tree.Find(between, StartLevel), random)
	if found != nibble(3) || !slices.Equal(steps, []Place{{2, 0}, {3, 1}}) {
		t.Errorf("between 2 and 3: %v by %v", found, steps)
	}
}

// Conformance: I-09
func TestRFC7374_4_5_BehindTheLastProviderAnyOfTheRootIsTaken(t *testing.T) {
	f, tree, _ := example(t)
	random := rand.New(rand.NewPCG(1, 1))
	seen := make(map[wire.NodeID]bool)
	for range 100 {
		found, steps := f.find(tree.Find(nibble(9), StartLevel), random)
		if seen[found] = true; !slices.Equal(steps, []Place{{2, 2}, {1, 1}, {0, 0}}) {
			t.Fatalf("%v", steps)
		}
	}
	if len(seen) != 4 {
		t.Errorf("of four providers %v were found", seen)
	}
	if found, _ := f.find(Tree{Namespace: "nobody", Branching: 2}.Find(nibble(9), StartLevel), random); !found.IsZero() {
		t.Errorf("found %v in an empty tree", found)
	}
}

// RFC 7374 §4.5: "Should it happen that a service lookup operation fails due to the downward walk reaching a level that does not
// contain a successor, the cache is searched for successors of the search key."
//
// Conformance: I-09
func TestRFC7374_4_5_ADownwardWalkThatFindsNothing(t *testing.T) {
	f, tree := newForest(t), Tree{Namespace: "x", Branching: 2}
	f.put(tree, Place{2, 0}, nibble(2), f.now.Add(Lifetime))
	f.put(tree, Place{2, 0}, nibble(3), f.now.Add(Lifetime))
	found, steps := f.find(tree.Find(fromOctets([]byte("\x28\x00..............")), StartLevel), nil)
	if found != nibble(3) || !slices.Equal(steps, []Place{{2, 0}, {3, 1}}) {
		t.Errorf("%v by %v", found, steps)
	}
}

// Conformance: I-05
func TestRFC7374_4_2_StartLevels(t *testing.T) {
	f := NewFinder(Tree{Branching: 2})
	if got := f.start(); got != StartLevel {
		t.Errorf("the first lookup starts at %d", got)
	}
	ended := func(levels ...uint16) {
		for _, level := range levels {
			f.Found(&Lookup{level: level, done: true})
		}
	}
	ended(5, 5, 4, 4)
	if got := f.start(); got != 4 {
		t.Errorf("two at 4 and two at 5: %d, not the lower one", got)
	}
	ended(6, 6, 6, 6, 6, 6, 6, 6, 6)
	if got := f.start(); got != 6 {
		t.Errorf("nine of thirteen at 6: %d", got)
	}
	ended(1, 1, 1, 1, 1, 1, 1, 1) // the first five are out of the last sixteen
	if got := f.start(); got != 1 || len(f.levels) != 16 {
		t.Errorf("eight each at 6 and 1: %d of %v", got, f.levels)
	}
	f.Found(&Lookup{level: 7})
	if f.levels[15] != 1 {
		t.Error("a lookup that did not end counts")
	}
}

// Conformance: I-05
func TestRFC7374_4_2_ARegistrationStartsWhereTheLastOneEnded(t *testing.T) {
	f, tree := newForest(t), Tree{Namespace: "x", Branching: 2}
	f.register(NewProvider(tree, nibble(2)))
	p := NewProvider(tree, nibble(3))
	f.register(p)
	if q, _ := p.Register().Next(); q.Place != (Place{3, 1}) {
		t.Errorf("the second registration of 3 starts at %+v", q)
	}
	broken := p.Register()
	broken.Fetched(nil)
	p.Registered(f.now, broken)
	if q, _ := p.Register().Next(); q.Place != (Place{3, 1}) {
		t.Errorf("after a registration that failed: %+v", q)
	}
}

// Conformance: I-07 I-10
func TestRFC7374_4_4_RecordsAreRefreshedAndRemembered(t *testing.T) {
	f, tree := newForest(t), Tree{Namespace: "x", Branching: 2}
	p := NewProvider(tree, nibble(2))
	r := p.Register()
	r.Fetched(nil)
	r.Stored(true)
	if next := p.Registered(f.now, r); next != f.now.Add(Lifetime*9/10) {
		t.Errorf("the next registration begins after %v", next.Sub(f.now))
	}
	f.register(p)
	want := []Place{{0, 0}, {1, 0}, {2, 0}}
	if got := p.Held(f.now); !slices.Equal(got, want) {
		t.Errorf("held: %v", got)
	}
	// Another one comes, so that this one goes down further; what it does not store again ends.
	f.now = f.now.Add(Refresh)
	f.register(NewProvider(tree, nibble(3)))
	f.register(p)
	if got := p.Held(f.now); !slices.Equal(got, append(want, Place{3, 1})) {
		t.Errorf("held later: %v", got)
	}
	if got := p.Held(f.now.Add(Lifetime)); len(got) != 0 {
		t.Errorf("held when all have expired: %v", got)
	}
	if got := p.Record(Place{3, 1}); got.Level != 3 || got.Node != 1 || got.Namespace != "x" {
		t.Errorf("%+v", got)
	}
}

// TestLookupsFindTheNearestProvider compares 1000 lookups among 200 providers with a look at all of them: right after everybody has
// registered once, and when the registrations have been repeated, from start levels as they adapt.
//
// Conformance: I-04 I-06 I-08
func TestLookupsFindTheNearestProvider(t *testing.T) {
	for _, b := range []int{2, 10} {
		for seed := range uint64(8) {
			compare(t, b, seed, 200, 1000)
		}
	}
}

func compare(t *testing.T, b int, seed uint64, count, lookups int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 7374))
	f, tree := newForest(t), Tree{Namespace: "turn-server", Branching: b}
	var ids []wire.NodeID
	var providers []*Provider
	for range count {
		id := randomID(random)
		ids = append(ids, id)
		providers = append(providers, NewProvider(tree, id))
		f.register(providers[len(providers)-1])
	}
	check := func(when string, begin func(wire.NodeID) *Lookup, end func(*Lookup)) {
		f.fetches = 0
		for range lookups {
			key := randomID(random)
			l := begin(key)
			got, steps := f.find(l, random)
			end(l)
			if want, ok := closest(key, ids); ok && got != want || !ok && !slices.Contains(ids, got) {
				t.Fatalf("b %d, seed %d, %s: %v finds %v by %v, not %v", b, seed, when, key, got, steps, want)
			}
		}
		if mean := float64(f.fetches) / float64(lookups); mean > 4.5 {
			t.Errorf("b %d, %s: a lookup takes %.2f Fetches", b, when, mean)
		} else if seed == 0 {
			t.Logf("b %d, %s: a lookup takes %.2f Fetches", b, when, mean)
		}
	}
	check("registered once", func(k wire.NodeID) *Lookup { return tree.Find(k, StartLevel) }, func(*Lookup) {})
	for range 16 {
		f.now = f.now.Add(Refresh)
		for _, p := range providers {
			f.register(p)
		}
	}
	finder := NewFinder(tree)
	check("repeated", finder.Find, finder.Found)
}

// TestAnyWalkEnds gives walks the answers of a tree in which anything stands anywhere.
func TestAnyWalkEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, start := rapid.IntRange(0, 70000).Draw(t, "b"), rapid.Uint16().Draw(t, "start")
		tree := Tree{Branching: b}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		some := func() []wire.NodeID {
			out := make([]wire.NodeID, random.IntN(5))
			for i := range out {
				out[i] = randomID(random)
			}
			return out
		}
		r, steps := tree.Register(randomID(random), start), 0
		for {
			q, ok := r.Next()
			if !ok {
				break
			}
			if q.Store {
				r.Stored(random.IntN(2) == 0)
			} else {
				r.Fetched(some())
			}
			if steps++; steps > 80 {
				t.Fatal("a registration does not end")
			}
		}
		l := tree.Find(randomID(random), start)
		for steps = 0; ; steps++ {
			if _, ok := l.Next(); !ok {
				break
			}
			var entries []Entry
			for _, id := range some() {
				entries = append(entries, Entry{Node: id})
			}
			l.Fetched(entries)
			if steps > 40 {
				t.Fatal("a lookup does not end")
			}
		}
		_, _ = l.Result(random)
		_ = l.Providers()
	})
}

func BenchmarkLookup(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 7374))
	f, tree := newForest(b), Tree{Namespace: "turn-server", Branching: 10}
	for range 200 {
		f.register(NewProvider(tree, randomID(random)))
	}
	key := randomID(random)
	place, _ := tree.At(StartLevel, key)
	entries := f.entries(tree, place)
	b.ReportAllocs()
	for b.Loop() {
		l := tree.Find(key, StartLevel)
		l.Fetched(entries)
	}
}
