package wire

import (
	"testing"
)

// storeVector is a StoreReq with one SIP-REGISTRATION, signed.
func storeVector(tb testing.TB) []byte {
	tb.Helper()
	for _, v := range loadVectors(tb).Messages {
		if v.Name == "store_req_sip_route" {
			return v.Hex
		}
	}
	tb.Fatal("no vector store_req_sip_route")
	return nil
}

// longHeader is a header with four entries in the Via List and two in the Destination List.
func longHeader(tb testing.TB) []byte {
	node := "0110" + hexN
	return header(tb, node+node+node+"8123", node+"021110"+hexAlice, "")
}

func TestForwardingAllocatesNothing(t *testing.T) {
	b, out := longHeader(t), make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() {
		h, _, err := ParseHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := h.Destinations.First(); !ok {
			t.Fatal("no destination")
		}
		out = h.AppendTo(out[:0])
	}); n != 0 {
		t.Errorf("parsing and encoding a header allocates %v times", n)
	}
	var s Schema
	m, err := s.Parse(storeVector(t))
	if err != nil {
		t.Fatal(err)
	}
	again := fresh(m)
	id := m.Security.Signature.Identity
	if n := testing.AllocsPerRun(100, func() {
		out = again.AppendTo(out[:0])
		out = again.SignedOctets(out[:0], id)
		out = m.AppendTo(out[:0])
	}); n != 0 {
		t.Errorf("encoding a message allocates %v times", n)
	}
}

func BenchmarkParseHeader(b *testing.B) {
	octets := longHeader(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ParseHeader(octets); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseStoreReq(b *testing.B) {
	octets := storeVector(b)
	var s Schema
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Parse(octets); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendStoreReq(b *testing.B) {
	var s Schema
	m, err := s.Parse(storeVector(b))
	if err != nil {
		b.Fatal(err)
	}
	m = fresh(m)
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out = m.AppendTo(out[:0])
	}
}
