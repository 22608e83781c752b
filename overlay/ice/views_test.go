package ice

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// RFC 6940 §6.5.1.4: "a peer SHOULD group other peers by the peer-reflexive addresses it discovers through them. It
// SHOULD then select one peer from each group".
//
// Conformance: A-30
func TestRFC6940_6_5_1_4_OneServerOfEachGroup(t *testing.T) {
	var v Views
	want := func(when string, servers ...string) {
		t.Helper()
		var list []netip.AddrPort
		for _, s := range servers {
			list = append(list, ap(s))
		}
		if got := v.Servers(); !slices.Equal(got, list) {
			t.Errorf("%s: %v, want %v", when, got, list)
		}
	}
	want("empty")
	v.Learn(ap("192.0.2.9:1"), netip.AddrPort{})
	v.Learn(ap("192.0.2.8:1"), netip.AddrPort{})
	want("views unknown", "192.0.2.9:1")
	v.Learn(ap("10.0.0.2:1"), ap("10.0.0.1:7"))
	v.Learn(ap("192.0.2.1:1"), ap("203.0.113.1:7"))
	v.Learn(ap("192.0.2.2:1"), ap("203.0.113.1:8")) // another port: the same group
	v.Learn(ap("192.0.2.3:1"), ap("203.0.113.1:9"))
	want("two groups", "10.0.0.2:1", "192.0.2.1:1")
	// "If the connection to that host is lost, it MUST be removed from the list of STUN servers, and a new server from the
	// same group MUST be selected".
	v.Lose(ap("192.0.2.1:1"))
	want("one lost", "10.0.0.2:1", "192.0.2.2:1")
	v.Learn(ap("192.0.2.2:1"), ap("203.0.113.2:8")) // it sees us differently now
	want("one moved", "10.0.0.2:1", "192.0.2.3:1", "192.0.2.2:1")
	v.Lose(ap("10.0.0.2:1"))
	// "unless there are no others servers in the group"
	want("a group lost", "192.0.2.3:1", "192.0.2.2:1")
}

func TestViewsAreBounded(t *testing.T) {
	var v Views
	for i := range 3 * maxLearned {
		v.Learn(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 1),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 1))
	}
	if len(v.list) != maxLearned || len(v.Servers()) != maxPicked {
		t.Errorf("%d views, %d servers", len(v.list), len(v.Servers()))
	}
}

// RFC 6940 §9: who may offer TURN.
//
// Conformance: D-50
func TestRFC6940_9_CandidateForTURN(t *testing.T) {
	own := netip.MustParseAddr("203.0.113.7")
	var v Views
	if !v.MayRelay(own) || v.MayRelay(netip.MustParseAddr("10.0.0.1")) {
		t.Error("before anyone has said anything")
	}
	v.Learn(ap("192.0.2.1:1"), netip.AddrPort{})
	v.Learn(ap("192.0.2.2:1"), ap("203.0.113.7:6084"))
	if !v.MayRelay(own) {
		t.Error("seen as what it is")
	}
	v.Learn(ap("192.0.2.3:1"), ap("203.0.113.8:6084"))
	if v.MayRelay(own) {
		t.Error("behind a NAT")
	}
}

// Conformance: D-50
func TestRFC6940_9_Entries(t *testing.T) {
	node, err := wire.ParseNodeID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	at := ap("203.0.113.7:3478")
	for density, want := range map[uint8]int{0: 0, 1: 1, 20: 20, 21: 20, 255: 20} {
		list := Entries(node, density, wire.TurnServer{Address: at})
		if len(list) != want {
			t.Errorf("density %d: %d entries", density, len(list))
		}
		for i, e := range list {
			if e.Server.Address != at || int(e.Server.Iteration) != i+1 || e.Resource != wire.TurnResource(node, uint8(i+1)) {
				t.Errorf("entry %d: %+v", i, e)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	if a, b := FindTarget(r), FindTarget(r); a == b || len(a) != 16 {
		t.Errorf("targets %s, %s", a, b)
	}
}
