package sipusage

import (
	"bytes"
	"errors"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func nodeN(t testing.TB) wire.NodeID {
	t.Helper()
	id, err := wire.ParseNodeID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Conformance: H-24
func TestRFC7904_6_GRUU(t *testing.T) {
	const vector = "ARAAESIzRFVmd4iZqrvM3e7/"
	n := nodeN(t)
	if got := NodeGR(n); got != vector {
		t.Fatalf("gr=%s, want %s", got, vector)
	}
	two := wire.NewDestinationList(wire.Destination{Type: wire.DestOpaque, Opaque: "x"}, wire.ToNode(n))
	for _, want := range []wire.DestinationList{wire.NewDestinationList(wire.ToNode(n)), two} {
		got, err := ParseGR(GR(want), 16)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x, %v; want %x", got, err, want)
		}
		if id, ok := Terminal(got); !ok || id != n {
			t.Fatalf("terminal %v", id)
		}
	}
	if gr := GR(two); gr[len(gr)-1] != '~' { // 22 octets need padding
		t.Fatalf("padded as %s", gr)
	}
}

// Conformance: H-24
func TestRFC7904_6_BareNodeIDIsUnderstood(t *testing.T) {
	// The value of the RFC's example: "01234567890123456789" in base64.
	const example = "MDEyMzQ1Njc4OTAxMjM0NTY3ODk~"
	l, err := ParseGR(example, 20)
	if id, ok := Terminal(l); err != nil || !ok || string(id.Bytes()) != "01234567890123456789" {
		t.Fatalf("%v, %v", id, err)
	}
	if _, err := ParseGR(example[:len(example)-1], 20); err != nil {
		t.Fatalf("without padding: %v", err)
	}
	if _, err := ParseGR(example, 16); !errors.Is(err, location.ErrNotFound) {
		t.Fatalf("20 octets in an overlay of 16: %v", err)
	}
}

func TestRFC7904_6_NotAGRUU(t *testing.T) {
	n := nodeN(t)
	for name, gr := range map[string]string{
		"empty":            "",
		"not base64":       "!!!!",
		"equals sign":      "MDEyMzQ1Njc4OTAxMjM0NTY3ODk=",
		"ends in resource": GR(wire.NewDestinationList(wire.ToResource("0123456789abcdef"))),
		"ends in opaque":   GR(wire.NewDestinationList(wire.ToNode(n), wire.Destination{Type: wire.DestOpaque, Opaque: "x"})),
		"wildcard":         NodeGR(wire.Wildcard(16)),
		"other length":     NodeGR(wire.Wildcard(17)),
		"truncated":        NodeGR(n)[:20],
		"too long":         string(bytes.Repeat([]byte("A"), maxGRUU+4)),
	} {
		if l, err := ParseGR(gr, 16); !errors.Is(err, location.ErrNotFound) {
			t.Errorf("%s: %x, %v", name, l, err)
		}
	}
}

// Conformance: H-24 H-26
func FuzzParseGR(f *testing.F) {
	f.Add("ARAAESIzRFVmd4iZqrvM3e7/", 16)
	f.Add("MDEyMzQ1Njc4OTAxMjM0NTY3ODk~", 20)
	f.Fuzz(func(t *testing.T, gr string, n int) {
		l, err := ParseGR(gr, n)
		if err != nil {
			return
		}
		if id, ok := Terminal(l); !ok || id.Len() != n {
			t.Fatalf("%q leads to %v", gr, id)
		}
		if again, err := ParseGR(GR(l), n); err != nil || !bytes.Equal(again, l) {
			t.Fatalf("%q is %x, then %x", gr, l, again)
		}
	})
}
