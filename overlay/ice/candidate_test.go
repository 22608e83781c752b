package ice

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var sameAddress = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// RFC 5245 §4.1.2.1: priority = 2^24 * type preference + 2^8 * local preference + 256 - component.
func TestRFC5245_4_1_2_1_Priority(t *testing.T) {
	for _, c := range []struct {
		typ        wire.CandidateType
		preference uint16
		want       uint32
	}{
		{wire.CandidateHost, 65535, 2130706431}, {wire.CandidateHost, 65534, 2130706175},
		{wire.CandidateSrflx, 65535, 1694498815}, {wire.CandidateRelay, 65535, 16777215},
	} {
		if got := priority(c.typ, c.preference); got != c.want {
			t.Errorf("type %d, preference %d: %d, want %d", c.typ, c.preference, got, c.want)
		}
	}
}

// RFC 5245 §4.1.1.3: candidates have the same foundation when type, base address and server are the same.
func TestRFC5245_4_1_1_3_Foundation(t *testing.T) {
	a, b, server := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("192.0.2.1")
	one := foundation(wire.CandidateSrflx, a, server)
	if again := foundation(wire.CandidateSrflx, a, server); one != again || len(one) > 32 {
		t.Errorf("%q and %q", one, again)
	}
	for _, other := range []string{foundation(wire.CandidateHost, a, server), foundation(wire.CandidateSrflx, b, server),
		foundation(wire.CandidateSrflx, a, netip.MustParseAddr("192.0.2.2"))} {
		if other == one {
			t.Errorf("%q twice", one)
		}
	}
}

// RFC 5245 §4.1.3: redundant candidates are left out; §4.1.2.1: the local preference is different for each address.
func TestRFC5245_4_1_3_RedundantCandidates(t *testing.T) {
	host, other := ap("10.0.0.1:1"), ap("10.0.0.2:1")
	list := number([]origin{{typ: wire.CandidateHost, address: host}, {typ: wire.CandidateHost, address: other},
		{typ: wire.CandidateSrflx, address: host, base: host}, {typ: wire.CandidateSrflx, address: ap("203.0.113.1:1"), base: host},
		{typ: wire.CandidateSrflx, address: ap("203.0.113.1:1"), base: host}})
	if len(list) != 3 {
		t.Fatalf("%d candidates: %+v", len(list), list)
	}
	c := describe(list)
	if c[0].Address != host || c[1].Address != other || c[0].Priority == c[1].Priority || c[2].Related != host {
		t.Errorf("%+v", c)
	}
}

// Only what can be checked is: other link types, ports and addresses are not, and no more than 12.
func TestUsableCandidates(t *testing.T) {
	c := func(address string, link wire.LinkType, priority uint32) wire.IceCandidate {
		return wire.IceCandidate{Address: ap(address), Link: link, Type: wire.CandidateHost, Priority: priority}
	}
	p := Parameters{Candidates: []wire.IceCandidate{
		c("192.0.2.1:1", wire.LinkDTLSUDPSR, 1), c("192.0.2.2:1", wire.LinkDTLSUDPSR, 3), c("[::ffff:192.0.2.3]:1", wire.LinkDTLSUDPSR, 2),
		c("192.0.2.4:1", wire.LinkTLSTCPFHNoICE, 9), c("192.0.2.5:1", wire.LinkDTLSUDPSRNoICE, 9), c("192.0.2.6:0", wire.LinkDTLSUDPSR, 9),
		c("0.0.0.0:1", wire.LinkDTLSUDPSR, 9), c("224.0.0.1:1", wire.LinkDTLSUDPSR, 9), c("255.255.255.255:1", wire.LinkDTLSUDPSR, 9),
		c("127.0.0.1:1", wire.LinkDTLSUDPSR, 9), c("[fe80::1]:1", wire.LinkDTLSUDPSR, 9), {Link: wire.LinkDTLSUDPSR, RawAddress: []byte{9, 0}},
	}}
	var got []netip.AddrPort
	for _, c := range p.usable(false) {
		got = append(got, c.Address)
	}
	if diff := cmp.Diff(got, []netip.AddrPort{ap("192.0.2.2:1"), ap("192.0.2.3:1"), ap("192.0.2.1:1")}, sameAddress); diff != "" {
		t.Error(diff)
	}
	if n := len(p.usable(true)); n != 4 {
		t.Errorf("%d with loopback", n)
	}
	for range 3 * maxRemote {
		p.Candidates = append(p.Candidates, c("192.0.2.1:1", wire.LinkDTLSUDPSR, 1))
	}
	if n := len(p.usable(false)); n != maxRemote {
		t.Errorf("%d of many", n)
	}
}

func TestLibraryCandidates(t *testing.T) {
	for _, typ := range []wire.CandidateType{wire.CandidateHost, wire.CandidateSrflx, wire.CandidateRelay} {
		for _, address := range []string{"192.0.2.1:1000", "[2001:db8::1]:1000"} {
			in := wire.IceCandidate{Address: ap(address), Type: typ, Priority: 77, Foundation: "f1"}
			c, err := library(in)
			if err != nil {
				t.Fatal(err)
			}
			if c.Priority() != 77 || c.Foundation() != "f1" || addressOf(c) != in.Address || c.Component() != 1 {
				t.Errorf("%s from %+v", c, in)
			}
		}
	}
}
