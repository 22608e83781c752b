package redir

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// interval by the formula of RFC 7374 §3, with numbers of any size.
func formula(b int, level uint16, id wire.NodeID) (node, interval uint64) {
	n := new(big.Int).SetBytes(id.Bytes())
	part := func(exp int64) uint64 {
		p := new(big.Int).Exp(big.NewInt(int64(b)), big.NewInt(exp), nil)
		return p.Rsh(p.Mul(p, n), 128).Uint64()
	}
	return part(int64(level)), part(int64(level) + 1)
}

// Conformance: I-03
func TestRFC7374_3_Intervals(t *testing.T) {
	two := Tree{Branching: 2}
	// Figure 3.
	for id, want := range map[uint8][4]uint64{0: {0, 0, 0, 0}, 3: {0, 0, 0, 0}, 4: {0, 0, 0, 1}, 7: {0, 0, 0, 1}, 8: {0, 1, 1, 2},
		11: {0, 1, 1, 2}, 12: {0, 1, 1, 3}, 15: {0, 1, 1, 3}} {
		var got [4]uint64
		for level := range uint16(2) {
			p, _ := two.At(level, nibble(id))
			got[2*level], got[2*level+1] = uint64(p.Node), two.interval(level, nibble(id))
		}
		if got != want {
			t.Errorf("Node-ID %d: node and interval at levels 0 and 1 are %v, not %v", id, got, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	ends := []wire.NodeID{wire.Wildcard(16), fromOctets(make([]byte, 16))}
	for range 2000 {
		ends = append(ends, randomID(random))
	}
	for _, b := range []int{2, 3, 7, 10, 16, 255, 65535, MaxBranching} {
		tree := Tree{Branching: b}
		for level := range tree.MaxLevel() + 1 {
			for _, id := range ends {
				p, ok := tree.At(level, id)
				node, interval := formula(b, level, id)
				if !ok || uint64(p.Node) != node || tree.interval(level, id) != interval || p.Level != level {
					t.Fatalf("b %d, level %d, %v: node %d, interval %d; want %d, %d", b, level, id, p.Node, tree.interval(level, id), node, interval)
				}
			}
		}
	}
}

// Conformance: I-15
func TestLevelsEndWhere16BitsDo(t *testing.T) {
	for b, want := range map[int]uint16{0: 16, 1: 16, 2: 16, 3: 10, 10: 4, 256: 2, 65536: 1, 1 << 20: 1} {
		tree := Tree{Branching: b}
		if got := tree.MaxLevel(); got != want {
			t.Errorf("b %d: %d levels below the root, not %d", b, got, want)
		}
		if p, ok := tree.At(want, wire.Wildcard(16)); !ok || b == 2 && p.Node != 65535 {
			t.Errorf("b %d: the last node of level %d is %+v, %v", b, want, p, ok)
		}
		if _, ok := tree.At(want+1, nibble(1)); ok {
			t.Errorf("b %d has a level %d", b, want+1)
		}
	}
}

// Conformance: I-02
func TestRFC7374_3_TheRootOfVoiceMail(t *testing.T) {
	tree := Tree{Namespace: "voice-mail", Branching: 10}
	if got := tree.Resource(Place{}); got != wire.ResourceIDOf("voice-mail\x00\x00\x00\x00") {
		t.Errorf("%v", got)
	}
}
