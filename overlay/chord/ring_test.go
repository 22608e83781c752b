package chord

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func at(hi, lo uint64) wire.NodeID {
	id, err := wire.NodeIDFromBytes([]byte(Point{hi, lo}.Resource()))
	if err != nil {
		panic(err)
	}
	return id
}

// id8 is a Node-ID whose first octet is b: a ring of 256 positions, easy to read.
func id8(b byte) wire.NodeID { return at(uint64(b)<<56, 0) }

func ids8(b ...byte) []wire.NodeID {
	out := make([]wire.NodeID, len(b))
	for i, x := range b {
		out[i] = id8(x)
	}
	return out
}

func ring8(self byte, others ...byte) *Ring {
	r := New(id8(self))
	for _, b := range others {
		r.Add(id8(b))
	}
	return r
}

func p8(b byte) Point { return PointOf(id8(b)) }

// oracle answers by looking at every Node-ID, comparing them as numbers and nothing else.
type oracle struct {
	self wire.NodeID
	all  []wire.NodeID // ascending, self included
}

// clockwise lists the others as they follow self.
func (o oracle) clockwise() []wire.NodeID {
	var after, before []wire.NodeID
	for _, id := range o.all {
		switch {
		case id.Compare(o.self) > 0:
			after = append(after, id)
		case id != o.self:
			before = append(before, id)
		}
	}
	return append(after, before...)
}

// owner is the first node at or after k.
func (o oracle) owner(k wire.NodeID) wire.NodeID {
	for _, id := range o.all {
		if id.Compare(k) >= 0 {
			return id
		}
	}
	return o.all[0]
}

// between reports whether x is in the open interval from self to k.
func (o oracle) between(x, k wire.NodeID) bool {
	if o.self.Compare(k) < 0 {
		return o.self.Compare(x) < 0 && x.Compare(k) < 0
	}
	return o.self.Compare(x) < 0 || x.Compare(k) < 0
}

func (o oracle) nextHop(k wire.NodeID) (wire.NodeID, bool) {
	others := o.clockwise()
	if o.owner(k) == o.self {
		return wire.NodeID{}, false
	}
	if n := len(others); n >= 2 && o.owner(k) == others[n-1] {
		return others[n-1], true // between our two predecessors
	}
	hop := others[0]
	for _, id := range others {
		if o.between(id, k) {
			hop = id
		}
	}
	return hop, true
}

// randomID draws from the whole ring or, half of the time, from a hundred positions that lie on both sides of zero.
func randomID(r *rand.Rand, dense bool) wire.NodeID {
	if !dense {
		return at(r.Uint64(), r.Uint64())
	}
	p := Point{lo: uint64(r.IntN(600))}.Sub(Point{lo: 300})
	return at(p.hi, p.lo)
}

// Conformance: E-02 E-04
func TestRingAgreesWithOracle(t *testing.T) {
	rounds := 10_000
	if testing.Short() {
		rounds = 500
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		dense := round%2 == 0
		size := 1 + rnd.IntN(8)
		if round%10 == 0 {
			size = 1 + rnd.IntN(300)
		}
		all := []wire.NodeID{}
		for range size {
			if id := randomID(rnd, dense); !id.IsWildcard() {
				all = append(all, id)
			}
		}
		slices.SortFunc(all, wire.NodeID.Compare)
		all = slices.Compact(all)
		if len(all) > 0 {
			compareWithOracle(t, rnd, all, dense)
		}
		if t.Failed() {
			t.Fatalf("in round %d with %d nodes", round, len(all))
		}
	}
}

func compareWithOracle(t *testing.T, rnd *rand.Rand, all []wire.NodeID, dense bool) {
	o := oracle{all[rnd.IntN(len(all))], all}
	r := New(o.self)
	for _, i := range rnd.Perm(len(all)) {
		r.Add(all[i])
	}
	if diff := cmp.Diff(o.clockwise(), r.Peers(), equal, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("peers: %s", diff)
	}
	for range 20 {
		k := randomID(rnd, dense)
		if rnd.IntN(3) == 0 {
			k = all[rnd.IntN(len(all))]
		}
		p := PointOf(k)
		if got, want := r.Owner(p), o.owner(k); got != want {
			t.Errorf("at %s: owner of %s is %s, want %s", o.self, k, got, want)
		}
		if got, want := r.Responsible(p), o.owner(k) == o.self; got != want {
			t.Errorf("at %s: responsible for %s is %v", o.self, k, got)
		}
		got, ok := r.NextHop(p, wire.NodeID{})
		if want, wantOK := o.nextHop(k); got != want || ok != wantOK {
			t.Errorf("at %s: next hop to %s is %s, want %s", o.self, k, got, want)
		}
		if got := r.Rank(p, o.owner(k)); got != 0 {
			t.Errorf("at %s: owner of %s has rank %d", o.self, k, got)
		}
	}
}

var equal = cmp.Comparer(func(a, b wire.NodeID) bool { return a == b })

// TestRoutingReachesTheOwner follows next hops through rings in which everybody knows only neighbours and fingers.
//
// Conformance: C-13 E-04
func TestRoutingReachesTheOwner(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		all := make([]wire.NodeID, 200)
		for i := range all {
			all[i] = randomID(rnd, false)
		}
		slices.SortFunc(all, wire.NodeID.Compare)
		rings := make(map[wire.NodeID]*Ring)
		for i, self := range all {
			r := New(self)
			for d := 1; d < len(all); d *= 2 {
				r.Add(all[(i+d)%len(all)])
			}
			for d := 1; d <= Neighbors; d++ {
				r.Add(all[(i+d)%len(all)])
				r.Add(all[(i+len(all)-d)%len(all)])
			}
			rings[self] = r
		}
		o := oracle{all[0], all}
		for range 200 {
			k := randomID(rnd, false)
			here, hops := all[rnd.IntN(len(all))], 0
			for {
				next, ok := rings[here].NextHop(PointOf(k), wire.NodeID{})
				if !ok {
					break
				}
				here = next
				if hops++; hops > 12 {
					t.Fatalf("%s not reached", k)
				}
			}
			if here != o.owner(k) {
				t.Fatalf("%s: got to %s, want %s", k, here, o.owner(k))
			}
		}
	}
}

// Conformance: E-02
func TestRFC6940_10_1_SolePeerOwnsEverything(t *testing.T) {
	r := ring8(7)
	for b := range 256 {
		if !r.Responsible(p8(byte(b))) {
			t.Errorf("not responsible for %d", b)
		}
	}
	if _, ok := r.NextHop(p8(9), wire.NodeID{}); ok || len(r.Successors()) != 0 || r.Share() != 1 {
		t.Error("a sole peer has neighbours")
	}
}

// Conformance: E-02
func TestRFC6940_10_1_ResponsibleForMoreThanPredecessorUpToItself(t *testing.T) {
	r := ring8(100, 50, 200)
	for _, c := range []struct {
		p    byte
		want bool
	}{{50, false}, {51, true}, {100, true}, {101, false}, {200, false}, {0, false}} {
		if got := r.Responsible(p8(c.p)); got != c.want {
			t.Errorf("responsible for %d is %v", c.p, got)
		}
	}
	wrapped := ring8(10, 240)
	if !wrapped.Responsible(p8(250)) || !wrapped.Responsible(p8(0)) || wrapped.Responsible(p8(240)) {
		t.Error("the range does not wrap around zero")
	}
}

// Conformance: E-04
func TestRFC6940_10_3_RoutesToLargestBetweenPeerAndKey(t *testing.T) {
	r := ring8(0, 10, 40, 90, 150, 220)
	for _, c := range []struct{ key, want byte }{{100, 90}, {90, 40}, {91, 90}, {5, 10}, {10, 10}, {151, 220}, {160, 220}, {150, 90}} {
		if got, ok := r.NextHop(p8(c.key), wire.NodeID{}); !ok || got != id8(c.want) {
			t.Errorf("to %d by %s, want %d", c.key, got.Short(), c.want)
		}
	}
}

// Conformance: E-04
func TestRFC6940_10_3_RoutesToSmallestGreaterWhenNoneIsBetween(t *testing.T) {
	r := ring8(100, 130, 200, 250)
	if got, _ := r.NextHop(p8(120), wire.NodeID{}); got != id8(130) {
		t.Errorf("to 120 by %s, want 130", got.Short())
	}
}

func TestNextHopAvoidsWhatIsDown(t *testing.T) {
	for _, c := range []struct {
		key  byte
		down []byte
		want byte
	}{{100, nil, 90}, {100, []byte{90}, 40}, {100, []byte{90, 40, 10}, 150}, {5, []byte{10}, 40}, {100, []byte{10, 40, 90, 150, 220}, 90}} {
		r := ring8(0, 10, 40, 90, 150, 220)
		for _, id := range ids8(c.down...) {
			r.SetDown(id, true)
		}
		if got, ok := r.NextHop(p8(c.key), wire.NodeID{}); !ok || got != id8(c.want) {
			t.Errorf("to %d with %v down by %s, want %d", c.key, c.down, got.Short(), c.want)
		}
	}
}

func TestNextHopIsNotWhereTheMessageCameFrom(t *testing.T) {
	r := ring8(0, 10, 40, 90, 150, 220)
	if got, _ := r.NextHop(p8(100), id8(90)); got != id8(150) {
		t.Errorf("back from 90, by %s, want the next one after 100", got.Short())
	}
}

func TestNextHopBelievesWhoSaysThatItIsTheOwner(t *testing.T) {
	r := ring8(0, 10, 40, 90, 150, 220)
	r.Hear(id8(150), ids8(120, 110, 95), nil)
	r.Hear(id8(40), nil, ids8(50, 60))
	for _, c := range []struct{ key, want byte }{{130, 150}, {121, 150}, {120, 150}, {96, 150}, {94, 90}, {55, 40}} {
		if got, _ := r.NextHop(p8(c.key), wire.NodeID{}); got != id8(c.want) {
			t.Errorf("to %d by %s, want %d", c.key, got.Short(), c.want)
		}
	}
	r.SetDown(id8(150), true)
	if got, _ := r.NextHop(p8(130), wire.NodeID{}); got != id8(90) {
		t.Errorf("past an owner that is down by %s, want 90", got.Short())
	}
}

// Conformance: D-52
func TestRFC6940_10_4_ReplicasAreSuccessorAndItsSuccessor(t *testing.T) {
	if diff := cmp.Diff(ids8(20, 30), ring8(10, 5, 40, 30, 20).Replicas(), equal); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ids8(20), ring8(10, 20).Replicas(), equal); diff != "" {
		t.Error(diff)
	}
}

// Conformance: E-08
func TestRFC6940_10_5_FingersStartHalfwayAroundTheRing(t *testing.T) {
	r := New(id8(0x10))
	if r.FingerStart(1) != p8(0x90) || r.FingerStart(2) != p8(0x50) || r.FingerStart(8) != p8(0x11) {
		t.Error("finger i does not start at n+2^(128-i)")
	}
	self, err := wire.ParseNodeID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := New(self).FingerStart(16).Resource().String(), "00122233445566778899aabbccddeeff"; got != want {
		t.Errorf("finger 16 starts at %s, want %s", got, want)
	}
}

// Conformance: E-06
func TestRFC6940_10_7_3_NeverEntersItself(t *testing.T) {
	r := New(id8(1))
	if r.Add(id8(1)) || r.Len() != 0 || r.Wanted(id8(1)) || r.Useful(id8(1)) {
		t.Error("a peer is its own neighbour")
	}
	if !r.Add(id8(2)) || r.Add(id8(2)) {
		t.Error("a peer is entered once")
	}
}

// Conformance: E-06
func TestRFC6940_10_7_SmallRingsLeaveSlotsEmpty(t *testing.T) {
	r := ring8(10, 20, 30)
	if diff := cmp.Diff(ids8(20, 30), r.Successors(), equal); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ids8(30, 20), r.Predecessors(), equal); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ids8(20, 30), r.Neighbors(), equal); diff != "" {
		t.Error(diff)
	}
}

// Conformance: E-05 E-14 E-33
func TestRFC6940_10_7_ThreePredecessorsAndThreeSuccessors(t *testing.T) {
	r := ring8(100, 10, 20, 30, 40, 110, 120, 130, 140, 200)
	if diff := cmp.Diff(ids8(110, 120, 130), r.Successors(), equal); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ids8(40, 30, 20), r.Predecessors(), equal); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ids8(10, 140, 200), r.Fingers(), equal); diff != "" {
		t.Error("fingers in ascending order: ", diff)
	}
	if r.IsNeighbor(id8(10)) || !r.IsNeighbor(id8(20)) || r.IsNeighbor(id8(25)) {
		t.Error("who is a neighbour")
	}
	if !r.Wanted(id8(25)) || !r.Wanted(id8(125)) || r.Wanted(id8(150)) {
		t.Error("who belongs in the Neighbor Table")
	}
}

// Conformance: E-22 E-24
func TestRFC6940_10_7_1_LostNeighborIsReplacedByBestMatch(t *testing.T) {
	r := ring8(100, 10, 20, 30, 40, 110, 120, 130, 140)
	if !r.Remove(id8(110)) || r.Remove(id8(110)) || r.Has(id8(110)) {
		t.Error("a peer is removed once")
	}
	if diff := cmp.Diff(ids8(120, 130, 140), r.Successors(), equal); diff != "" {
		t.Error(diff)
	}
}

// Conformance: E-20
func TestRFC6940_10_7_3_ThreePredecessorsBetweenMeansOutOfTheReplicaSet(t *testing.T) {
	r := ring8(100, 70, 80, 90, 110)
	for _, c := range []struct {
		key  byte
		rank int
	}{{95, 0}, {85, 1}, {75, 2}, {65, 3}} {
		if got := r.Rank(p8(c.key), r.Self()); got != c.rank {
			t.Errorf("rank for %d is %d, want %d", c.key, got, c.rank)
		}
	}
	if got := r.Rank(p8(85), id8(95)); got != 1 {
		t.Errorf("rank of a stranger is %d, want 1", got)
	}
}

// Conformance: E-26
func TestRFC6940_10_7_4_2_FingerIsValidInItsInterval(t *testing.T) {
	r := ring8(0, 1, 2, 3, 250, 251, 252, 64, 127)
	for i, want := range map[int]bool{1: true, 2: true, 3: false, 7: true, 8: true, 9: false} {
		if got := r.FingerValid(i); got != want {
			t.Errorf("finger %d valid is %v", i, got)
		}
	}
	if diff := cmp.Diff([]int{3, 4, 5, 6}, r.Missing()); diff != "" {
		t.Error("fingers worth a search: ", diff)
	}
}

func TestFingersAreSettledWhenNeighborsAreAllThereIs(t *testing.T) {
	if got := ring8(0, 10, 200).Missing(); got != nil {
		t.Errorf("missing %v in a ring of three", got)
	}
}

// Conformance: B-35
func TestRFC6940_6_3_4_AnswerIsFromAtLeastAsCloseAsNeighbors(t *testing.T) {
	r := ring8(0, 50, 100)
	if !r.Plausible(p8(40), id8(50)) || !r.Plausible(p8(40), id8(45)) || r.Plausible(p8(40), id8(100)) {
		t.Error("who may answer for 40, with neighbours at 50 and 100")
	}
}

// Conformance: E-27
func TestRFC6940_10_7_4_3_GrowsToSixteenFingers(t *testing.T) {
	r := New(id8(0))
	for i := range 2*Neighbors + FingerGoal {
		if !r.Useful(id8(byte(3 * (i + 1)))) {
			t.Fatalf("peer %d is not useful", i)
		}
		r.Add(id8(byte(3 * (i + 1))))
	}
	if len(r.Fingers()) != FingerGoal {
		t.Errorf("%d fingers", len(r.Fingers()))
	}
	if r.Useful(id8(31)) || !r.Useful(id8(200)) || !r.Useful(id8(1)) {
		t.Error("who is useful when there are 16 fingers: a new interval, a nearer neighbour")
	}
}

func TestRingIsBounded(t *testing.T) {
	r := New(at(0, 0))
	for i := range uint64(2 * MaxPeers) {
		r.Add(at(1<<63, i))
	}
	if r.Len() != MaxPeers {
		t.Errorf("%d peers, limit %d", r.Len(), MaxPeers)
	}
	if !r.Add(at(0, 1)) || r.Len() > MaxPeers {
		t.Error("a full ring refuses a neighbour")
	}
}

func TestSizeEstimate(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	sum := 0
	for range 200 {
		r := New(randomID(rnd, false))
		for range 200 {
			r.Add(randomID(rnd, false))
		}
		// Forget all but the neighbours: the estimate has to come from their density.
		for _, id := range r.Fingers() {
			r.Remove(id)
		}
		sum += r.SizeEstimate()
	}
	if mean := sum / 200; mean < 120 || mean > 400 {
		t.Errorf("mean estimate %d for 201 peers", mean)
	}
	if got := ring8(1, 2).SizeEstimate(); got != 2 {
		t.Errorf("estimate %d for 2 peers", got)
	}
}

// Conformance: B-47
func TestShareSumsToOne(t *testing.T) {
	all := []byte{3, 90, 91, 200}
	sum := 0.0
	for _, self := range all {
		sum += ring8(self, all...).Share()
	}
	if sum < 0.999 || sum > 1.001 {
		t.Errorf("shares sum to %v", sum)
	}
}

func BenchmarkNextHop(b *testing.B) {
	rnd := rand.New(rand.NewPCG(7, 8))
	r := New(randomID(rnd, false))
	for range 40 {
		r.Add(randomID(rnd, false))
	}
	keys := make([]Point, 64)
	for i := range keys {
		keys[i] = Point{rnd.Uint64(), binary.BigEndian.Uint64([]byte("position"))}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		r.NextHop(keys[i%len(keys)], wire.NodeID{})
		i++
	}
}

func TestNextHopDoesNotAllocate(t *testing.T) {
	r := ring8(0, 10, 40, 90, 150, 220)
	if n := testing.AllocsPerRun(100, func() { r.NextHop(p8(100), wire.NodeID{}) }); n > 1 { // p8 makes one
		t.Errorf("%v allocations", n)
	}
}
