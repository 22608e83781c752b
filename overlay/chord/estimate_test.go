package chord

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// sized is the ring of one of n peers, with lists of k and nobody else in its table, and the Node-IDs before and after it in order.
func sized(rnd *rand.Rand, n, k int) *Ring {
	r := New(randomID(rnd, false))
	for range n - 1 {
		r.peers = append(r.peers, entryOf(r, randomID(rnd, false)))
	}
	slices.SortFunc(r.peers, func(a, b entry) int { return a.dist.compare(b.dist) })
	r.near = k
	if n-1 > 2*k {
		r.peers = slices.Delete(r.peers, k, n-1-k)
	}
	return r
}

func entryOf(r *Ring, id wire.NodeID) entry {
	p := PointOf(id)
	return entry{id: id, at: p, dist: p.Sub(r.at)}
}

func bigOf(p Point) *big.Int {
	b := new(big.Int).SetUint64(p.hi)
	return b.Lsh(b, 64).Add(b, new(big.Int).SetUint64(p.lo))
}

// TestRFC7363_6_1_DensityAgainstExactArithmetic computes 2^128/d with whole numbers.
//
// Conformance: J-07
func TestRFC7363_6_1_DensityAgainstExactArithmetic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 7363))
	for range 300 {
		n, k := 2+rnd.IntN(400), 3+rnd.IntN(8)
		r := sized(rnd, n, k)
		if len(r.peers) < 2*k {
			if got := r.Density(); got != float64(n) {
				t.Errorf("%v of %d peers who all know each other", got, n)
			}
			continue
		}
		span := new(big.Int)
		at := append(r.Predecessors(), r.Self()) // farthest first
		slices.Reverse(at[:k])
		at = append(at, r.Successors()...)
		for i := range at[1:] {
			gap := new(big.Int).Sub(bigOf(PointOf(at[i+1])), bigOf(PointOf(at[i])))
			if gap.Sign() < 0 {
				gap.Add(gap, new(big.Int).Lsh(big.NewInt(1), 128))
			}
			span.Add(span, gap)
		}
		whole := new(big.Int).Lsh(big.NewInt(2*int64(k)), 128) // 2^128 / (span / 2k)
		want, _ := new(big.Rat).SetFrac(whole, span).Float64()
		want = max(want, float64(2*k+1))
		if got := r.Density(); math.Abs(got-want) > want*1e-9 {
			t.Errorf("n %d, k %d: %v, want %v", n, k, got, want)
		}
	}
}

// TestRFC7363_6_1_Accuracy: "This estimate has been found to be accurate within 15% of the real network size". With lists of
// log2(N) the median of the errors is about that; that of nine peers' third quartile too.
//
// Conformance: J-07
func TestRFC7363_6_1_Accuracy(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 7363))
	for _, n := range []int{20, 50, 100, 200, 500, 2000} {
		k := Estimates{Size: float64(n)}.ListSize()
		var alone, shared []float64
		for range 101 {
			var nine []float64
			for range 9 {
				nine = append(nine, sized(rnd, n, k).Density())
			}
			alone = append(alone, math.Abs(nine[0]-float64(n))/float64(n))
			shared = append(shared, math.Abs(Quartile(nine)-float64(n))/float64(n))
		}
		slices.Sort(alone)
		slices.Sort(shared)
		t.Logf("N %d: median error %.3f, of the third quartile of nine %.3f", n, alone[50], shared[50])
		if alone[50] > 0.22 || shared[50] > 0.25 {
			t.Errorf("N %d: median error %.2f, shared %.2f", n, alone[50], shared[50])
		}
	}
}

// Conformance: J-08
func TestRFC7363_6_2_TableSizes(t *testing.T) {
	for _, c := range []struct {
		n              float64
		lists, fingers int
	}{
		{0, 3, 16}, {1, 3, 16}, {2, 3, 16}, {8, 3, 16}, {8.1, 4, 16}, {16, 4, 16}, {500, 9, 16}, {65536, 16, 16}, {65537, 17, 17},
		{100000, 17, 17}, {1 << 20, 20, 20}, {math.MaxUint32, 30, 30}, {math.Inf(1), 30, 30},
	} {
		e := Estimates{Size: c.n}
		if e.ListSize() != c.lists || e.FingerSize() != c.fingers {
			t.Errorf("N %v: lists of %d and %d fingers, want %d and %d", c.n, e.ListSize(), e.FingerSize(), c.lists, c.fingers)
		}
	}
	r := New(wire.NodeID{})
	if r.Resize(Estimates{Size: 500}); r.Lists() != 9 || r.Goal() != 16 {
		t.Errorf("lists of %d and %d fingers", r.Lists(), r.Goal())
	}
}

func seconds(s ...float64) (out History) {
	for _, x := range s {
		out = append(out, time.Unix(1000, 0).Add(time.Duration(x*float64(time.Second))))
	}
	return out
}

// TestRFC7363_6_3_FailureRate has U computed by hand.
//
// Conformance: J-09
func TestRFC7363_6_3_FailureRate(t *testing.T) {
	for _, c := range []struct {
		what  string
		h     History
		now   float64
		peers int
		want  float64
	}{
		{"nothing known", nil, 10, 20, 0},
		{"nobody to watch", seconds(0), 10, 0, 0},
		{"just the Join, 100 s ago: one in 20 peers", seconds(0), 100, 20, 1.0 / (20 * 100)},
		{"k < K = 5: as if there was a failure now", seconds(0, 40, 70), 100, 20, 3.0 / (20 * 100)},
		{"k = K: between the first and the last", seconds(0, 10, 20, 30, 80), 100, 20, 5.0 / (20 * 80)},
		{"the last is longer ago than they took", seconds(0, 10, 20, 30, 80), 1000, 20, 5.0 / (20 * 1000)},
		{"all at once", seconds(0, 0, 0, 0, 0), 0.5, 20, 5.0 / 20},
	} {
		if got := c.h.Rate(seconds(c.now)[0], c.peers); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	var h History
	for i := range 100 {
		h.Note(seconds(float64(i))[0], 40) // K is 25 % of 40
	}
	if len(h) != 10 || h[0] != seconds(90)[0] || h[9] != seconds(99)[0] {
		t.Errorf("history %v", h)
	}
	if h.Note(seconds(200)[0], 8); len(h) != minHistory {
		t.Errorf("%d failures, of a table of 8", len(h))
	}
}

// TestFailureRateOfPoissonFailures: RFC 7363 §6.3 has failures as a Poisson process, and the estimate "within 17% of the real
// value". With K = 10 the median is off by less than the two intervals that k counts too much.
//
// Conformance: J-09
func TestFailureRateOfPoissonFailures(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 7363))
	for _, u := range []float64{1.0 / 100, 1.0 / 3600, 1.0 / 86400} {
		const peers = 40
		var got []float64
		for range 201 {
			h := seconds(0)
			now := 0.0
			for range 30 {
				now += rnd.ExpFloat64() / (u * peers)
				h.Note(seconds(now)[0], peers)
			}
			got = append(got, h.Rate(seconds(now)[0], peers)/u)
		}
		slices.Sort(got)
		if got[100] < 0.85 || got[100] > 1.3 {
			t.Errorf("U %v: the median estimate is %.2f of it", u, got[100])
		}
	}
}

// Conformance: J-11
func TestRFC7363_6_4_JoinRate(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		ages []time.Duration
		want float64
	}{
		{nil, 0},
		{[]time.Duration{40 * s, 10 * s, 30 * s, 20 * s}, 100.0 / 30}, // index 2 of the sorted ages
		{[]time.Duration{30 * s, 10 * s, 20 * s}, 100.0 / 20},
		{[]time.Duration{0}, 100},
	} {
		if got := JoinRate(100, slices.Clone(c.ages)); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.ages, got, c.want)
		}
	}
}

// Conformance: J-12
func TestRFC7363_2_Percentile(t *testing.T) {
	for n, rank := range []int{1: 1, 2: 2, 3: 2, 4: 3, 5: 4, 6: 5, 7: 5, 8: 6, 9: 7, 10: 8, 11: 8, 12: 9} {
		if n == 0 {
			continue
		}
		values := make([]int, n)
		for i := range values {
			values[i] = n - i // descending: 1 to n
		}
		if got := Quartile(values); got != rank {
			t.Errorf("of %d values the one of rank %d, want %d", n, got, rank)
		}
	}
}

// TestRFC7363_6_6_Interval has the intervals of RFC 7363 §3.2, and others computed by hand.
//
// Conformance: J-13
func TestRFC7363_6_6_Interval(t *testing.T) {
	const longest = 600 * time.Second
	for _, c := range []struct {
		what           string
		n, joins, fail float64
		want           float64 // seconds
	}{
		// "in a 500-peer overlay churning at a rate such that one peer joins and one peer leaves the network every 30 seconds, an
		// appropriate stabilization interval would be on the order of 93 s": 250*30/80.4.
		{"RFC 7363 §3.2", 500, 1.0 / 30, 1.0 / 30 / 500, 93.30},
		{"the churn rate doubles", 500, 2.0 / 30, 2.0 / 30 / 500, 46.65},
		{"six-fold, 2000 peers", 2000, 6.0 / 30, 6.0 / 30 / 2000, 41.58},
		{"joins count as well", 500, 10.0 / 30, 1.0 / 30 / 500, 18.66},
		{"the lower limit", 500, 1, 1.0 / 500, 15},
		{"nothing happens", 500, 0, 0, 600},
		{"hardly anything", 500, 1e-9, 1e-12, 600},
		{"two peers: log2 is 1", 2, 0, 1.0 / 200, 100},
		{"alone", 1, 0, 1.0 / 200, 100},
		{"nothing known", 0, 0, 0, 600},
	} {
		got := Estimates{Size: c.n, Joins: c.joins, Fails: c.fail}.Interval(longest).Seconds()
		if math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s: %.2f s, want %v", c.what, got, c.want)
		}
	}
	if got := (Estimates{Size: 9}).Interval(time.Second); got != MinStabilization {
		t.Errorf("%v where Updates are to be sent every second", got)
	}
}
