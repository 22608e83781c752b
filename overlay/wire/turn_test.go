package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

func TestRFC6940_9_TurnResource(t *testing.T) {
	if got := TurnResource(nodeN(t), 1).String(); got != "ef34792ebc2eafc889f07e51693ee04d" {
		t.Errorf("N, d = 1: %s", got)
	}
}

var turnServers = []struct {
	name, hex string
	server    TurnServer
}{
	{"IPv4", "01" + "0106" + "c0000201" + "0d96", TurnServer{Iteration: 1, Address: netip.MustParseAddrPort("192.0.2.1:3478")}},
	{"IPv6", "14" + "0212" + "20010db8000000000000000000000001" + "0d96",
		TurnServer{Iteration: 20, Address: netip.MustParseAddrPort("[2001:db8::1]:3478")}},
	{"unknown address type", "02" + "0901ff", TurnServer{Iteration: 2, RawAddress: []byte{9, 1, 0xff}}},
}

func TestRFC6940_9_TurnServer(t *testing.T) {
	for _, v := range turnServers {
		b := unhex(t, v.hex)
		got, err := ParseTurnServer(b)
		if err != nil || got.Iteration != v.server.Iteration || got.Address != v.server.Address ||
			!bytes.Equal(got.RawAddress, v.server.RawAddress) {
			t.Errorf("%s: %+v, %v", v.name, got, err)
		}
		sameOctets(t, v.name, v.server.AppendTo(nil), b)
		for n := range b {
			if _, err := ParseTurnServer(b[:n]); !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrAddress) {
				t.Errorf("%s: the first %d octets: %v", v.name, n, err)
			}
		}
		if _, err := ParseTurnServer(append(b, 0)); !errors.Is(err, ErrTrailing) {
			t.Errorf("%s: one octet more: %v", v.name, err)
		}
	}
}

func FuzzParseTurnServer(f *testing.F) {
	for _, v := range turnServers {
		f.Add(unhex(f, v.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseTurnServer(b); err == nil {
			sameOctets(t, "encoding", s.AppendTo(nil), b)
		}
	})
}
