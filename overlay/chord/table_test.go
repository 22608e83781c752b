package chord

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// settled is a ring of n peers that have all found their links: the near ones, and a random peer in each gap that accepts more.
func settled(rnd *rand.Rand, n, links int) (all []wire.NodeID, rings map[wire.NodeID]*Ring) {
	for range n {
		all = append(all, randomID(rnd, false))
	}
	slices.SortFunc(all, wire.NodeID.Compare)
	rings = make(map[wire.NodeID]*Ring)
	for i, self := range all {
		r := New(self).Widen(links)
		for d := 1; d <= min(r.Lists(), (n-1)/2); d++ {
			r.Add(all[(i+d)%n])
			r.Add(all[(i+n-d)%n])
		}
		rings[self] = r
	}
	o := oracle{all: all}
	for _, i := range rnd.Perm(n) {
		r := rings[all[i]]
		for _, g := range r.Gaps() {
			id := o.owner(at128(g.Start.Add(g.Limit.Scale(rnd.Float64()))))
			if !r.Enough(g, 0) && !rings[id].Full(0) && r.Add(id) {
				rings[id].Add(all[i])
			}
		}
	}
	for _, r := range rings {
		for _, id := range r.Peers() {
			r.Hear(id, rings[id].Predecessors(), rings[id].Successors())
		}
	}
	return all, rings
}

func at128(p Point) wire.NodeID { return at(p.hi, p.lo) }

// follow counts the hops to the owner of k.
func follow(t *testing.T, rings map[wire.NodeID]*Ring, here wire.NodeID, k Point) (hops int) {
	var from wire.NodeID
	for ; ; hops++ {
		next, ok := rings[here].NextHop(k, from)
		if !ok {
			return hops
		}
		from, here = here, next
		if hops > 30 {
			t.Fatalf("%v is not reached", k)
		}
	}
}

// TestHopsOfWideTables follows messages through rings whose peers have up to 200 links.
func TestHopsOfWideTables(t *testing.T) {
	for _, c := range []struct {
		peers int
		mean  float64
	}{{120, 1}, {1000, 1.9}} {
		rnd := rand.New(rand.NewPCG(8, uint64(c.peers)))
		all, rings := settled(rnd, c.peers, DefaultLinks)
		most := 0
		for _, r := range rings {
			if c.peers <= DefaultLinks {
				for _, id := range all {
					if r.Useful(id) {
						r.Add(id)
					}
				}
				for _, id := range r.Peers() {
					r.Hear(id, rings[id].Predecessors(), rings[id].Successors())
				}
			}
			most = max(most, r.Len())
		}
		sum := 0
		const messages = 5000
		for range messages {
			sum += follow(t, rings, all[rnd.IntN(len(all))], Point{rnd.Uint64(), rnd.Uint64()})
		}
		if mean := float64(sum) / messages; mean > c.mean || most > DefaultLinks {
			t.Errorf("%d peers: %.2f hops, and up to %d links", c.peers, mean, most)
		} else {
			t.Logf("%d peers: %.2f hops, and up to %d links", c.peers, mean, most)
		}
	}
}

// TestFirstSlotIsCovered: within the width of a far slot there is a middle one in each part as long as the lists of one peer reach, up to the
// size of the ring for which there are links enough, and of both kinds there are some in any ring.
func TestFirstSlotIsCovered(t *testing.T) {
	for _, links := range []int{50, 100, DefaultLinks, MaxLinks} {
		r := New(at(1, 0)).Widen(links)
		last := 0
		for size := links + 1; size < 1<<24; size = size*5/4 + 1 {
			far, middle := r.kinds(size)
			tiles := float64(size) / float64(2*r.near)
			if fit := float64(far) + middleCost*float64(middle); fit > farShare*float64(links-2*r.near)+1 || middle < last {
				t.Errorf("%d links, %d peers: %d far and %d middle", links, size, far, middle)
			}
			if size <= 100_000 && links >= DefaultLinks && float64(middle) < tiles/float64(far)-1.5 {
				t.Errorf("%d links, %d peers: %d far slots, of which %d middle ones do not cover the first", links, size, far, middle)
			}
			last = middle
		}
	}
}

// A ring that is a little too large for a mesh is not taken for one by those who know most of it, nor is one that is a mesh taken for more.
func TestSizeIsCountedWhereMostAreKnown(t *testing.T) {
	for _, n := range []int{150, DefaultLinks, 206, 230, 300} {
		rnd := rand.New(rand.NewPCG(3, uint64(n)))
		all, rings := settled(rnd, n, DefaultLinks)
		for _, id := range all { // as far as there is room
			for _, o := range all {
				if r := rings[id]; r.Len() < DefaultLinks-1 && (n <= DefaultLinks || rnd.IntN(2) == 0) {
					r.Add(o)
				}
			}
		}
		wrong := 0
		for _, id := range all {
			r := rings[id]
			for _, o := range r.Peers() {
				r.Hear(o, rings[o].Predecessors(), rings[o].Successors())
			}
			if r.Mesh() != (n <= DefaultLinks) {
				wrong++
			}
		}
		if wrong > n/5 || wrong > 0 && (n <= DefaultLinks || n == 300) {
			t.Errorf("%d peers: %d of them are wrong about whether everybody is worth a link", n, wrong)
		}
	}
}

func TestSpareKeepsTheNearAndTheLonely(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	r := New(randomID(rnd, false)).Widen(100)
	for range 300 {
		r.Add(randomID(rnd, false))
	}
	near := append(r.Successors(), r.Predecessors()...)
	widest := func() (w Point) {
		for i := 1; i < r.Len(); i++ {
			if d := r.peers[i].dist.Sub(r.peers[i-1].dist); w.Less(d) {
				w = d
			}
		}
		return w
	}
	before := widest()
	for id, ok := r.Spare(0); ok; id, ok = r.Spare(0) {
		if slices.Contains(near, id) {
			t.Fatalf("%s is near and spared", id)
		}
		r.Remove(id)
	}
	if r.Len() != 96 { // one part in 32 is for links that are on their way
		t.Errorf("%d links are left of 300, want 96", r.Len())
	}
	if after := widest(); after.hi/4 > before.hi {
		t.Errorf("the widest gap grew from %x to %x", before.hi, after.hi)
	}
}

func TestAbsentAreThoseWhomAListLeavesOut(t *testing.T) {
	r := ring8(0, 10, 20, 30, 40, 50, 200, 220, 240)
	for _, c := range []struct {
		of         byte
		list       []byte
		successors bool
		want       []byte
	}{
		{10, []byte{30, 40}, true, []byte{20}}, {10, []byte{20, 30}, true, nil}, {220, []byte{0, 20}, true, []byte{240, 10}},
		{50, []byte{20, 40}, false, []byte{30}}, {10, []byte{0, 220}, false, []byte{240}}, {10, nil, true, nil},
	} {
		got := r.Absent(id8(c.of), ids8(c.list...), c.successors)
		slices.SortFunc(got, func(a, b wire.NodeID) int {
			return PointOf(a).Sub(p8(c.of)).compare(PointOf(b).Sub(p8(c.of)))
		})
		if !slices.Equal(got, ids8(c.want...)) {
			t.Errorf("of %d, %v: %v, want %v", c.of, c.list, got, c.want)
		}
	}
}

// A peer is the next alive after a point when all between are not to be routed through.
func TestSuspected(t *testing.T) {
	r := New(id8(100))
	for _, i := range []byte{10, 60, 80, 90} {
		r.Add(id8(i))
	}
	for _, c := range []struct {
		down []byte
		at   byte
		want byte // 0: nobody
	}{
		{nil, 70, 0}, {[]byte{80}, 70, 0}, {[]byte{80, 90}, 70, 80}, {[]byte{80, 90}, 85, 90}, {[]byte{80, 90}, 50, 0},
		{[]byte{80, 90}, 95, 0}, // its own
	} {
		for _, i := range []byte{10, 60, 80, 90} {
			r.SetDown(id8(i), slices.Contains(c.down, i))
		}
		id, ok := r.Suspected(PointOf(id8(c.at)))
		if ok != (c.want != 0) || ok && id != id8(c.want) {
			t.Errorf("%v down, %d: %v %v, want %d", c.down, c.at, id, ok, c.want)
		}
	}
}
