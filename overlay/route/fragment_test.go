package route

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// messageOf is a whole message with a body of n octets, no two windows of which are alike.
func messageOf(h wire.Header, n int) []byte {
	h.Length = uint32(wire.HeaderFixedLen + len(h.Via) + len(h.Destinations) + len(h.Options) + n)
	b := h.AppendTo(nil)
	r := rand.New(rand.NewPCG(uint64(h.Transaction), uint64(n)))
	for range n {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

func parse(t testing.TB, raw []byte) (wire.Header, []byte) {
	t.Helper()
	h, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatalf("%x: %v", raw, err)
	}
	return h, raw[n:]
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// rejoin checks what RFC 6940 §6.7 says of each fragment of raw, and returns the bodies in order.
func rejoin(t fataler, raw []byte, parts [][]byte, pmtu int) []byte {
	t.Helper()
	whole, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var joined []byte
	least, most := len(raw), 0
	for i, p := range parts {
		h, m, err := wire.ParseHeader(p)
		switch {
		case err != nil || m != n || len(p) > pmtu-32 && len(parts) > 1:
			t.Fatalf("fragment %d has a header of %d and %d octets: %v", i, m, len(p), err)
		case int(h.Fragment&wire.FragmentOffset) != int(whole.Fragment&wire.FragmentOffset)+len(joined):
			t.Fatalf("fragment %d has field %#x after %d octets", i, h.Fragment, len(joined))
		case h.Fragment&wire.FragmentLast != 0 != (i == len(parts)-1 && whole.Fragment&wire.FragmentLast != 0):
			t.Fatalf("fragment %d of %d has field %#x", i, len(parts), h.Fragment)
		}
		h.Fragment, h.Length = whole.Fragment, whole.Length
		if !bytes.Equal(h.AppendTo(nil), raw[:n]) {
			t.Fatalf("fragment %d: header differs in more than fragment and length", i)
		}
		joined = append(joined, p[m:]...)
		least, most = min(least, len(p)-m), max(most, len(p)-m)
	}
	if len(parts) > 1 && (least < MinFragmentBody || most-least > 1) {
		t.Fatalf("bodies have %d to %d octets", least, most)
	}
	return joined
}

// Conformance: B-40 B-41
func TestRFC6940_6_7_EqualFragmentsWithin32OctetsOfThePMTU(t *testing.T) {
	for _, c := range []struct{ body, via, pmtu, want int }{
		{1000, 0, 1187, 1}, {1187 - 56, 0, 1187, 1}, {1187 - 55, 0, 1187, 2}, {10000, 0, 1187, 10}, {10000, 40, 1187, 27},
		{65000, 0, 1187, 60}, {600, 0, 400, 2},
	} {
		h := good()
		h.Destinations, h.Via = to(1), many(c.via)
		raw := messageOf(h, c.body)
		before := bytes.Clone(raw)
		parts, err := Fragment(raw, c.pmtu)
		if err != nil || len(parts) != c.want {
			t.Fatalf("%+v: %d fragments, %v", c, len(parts), err)
		}
		if _, body := parse(t, raw); !bytes.Equal(rejoin(t, raw, parts, c.pmtu), body) || !bytes.Equal(raw, before) {
			t.Errorf("%+v: octets changed", c)
		}
	}
}

// Conformance: B-40
func TestRFC6940_6_7_IPFragmentationWhenListsLeaveNoRoom(t *testing.T) {
	full := good()
	full.Via = many(60) // 60 entries of 18 octets
	for _, c := range []struct {
		name string
		raw  []byte
		pmtu int
	}{
		{"lists fill the path", messageOf(full, 2000), 1187},
		{"less than 2*256 octets", messageOf(good(), 511), 450},
		{"room for 255", messageOf(good(), 5000), wire.HeaderFixedLen + len(to(1)) + 32 + 255},
	} {
		if parts, err := Fragment(c.raw, c.pmtu); !errors.Is(err, ErrUncuttable) {
			t.Errorf("%s: %d fragments, %v", c.name, len(parts), err)
		}
	}
	var syntax *wire.SyntaxError
	if _, err := Fragment(make([]byte, 2000), 1187); !errors.As(err, &syntax) {
		t.Errorf("not RELOAD: %v", err)
	}
}

// Conformance: B-39 B-40
func TestRFC6940_6_7_FragmentsOfFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := good()
		h.Transaction = wire.TransactionID(rapid.Uint64().Draw(t, "transaction"))
		h.Via = many(rapid.IntRange(0, 10).Draw(t, "via"))
		raw := messageOf(h, rapid.IntRange(1, 20000).Draw(t, "body"))
		parts := [][]byte{raw}
		for range rapid.IntRange(1, 4).Draw(t, "hops") {
			pmtu := rapid.IntRange(600, 2000).Draw(t, "pmtu")
			var next [][]byte
			for _, p := range parts {
				cut, err := Fragment(p, pmtu)
				if errors.Is(err, ErrUncuttable) {
					cut, err = [][]byte{p}, nil
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(cut) > 1 {
					rejoin(t, p, cut, pmtu)
				}
				next = append(next, cut...)
			}
			parts = next
		}
		var joined []byte
		for _, p := range parts {
			_, n, _ := wire.ParseHeader(p)
			joined = append(joined, p[n:]...)
		}
		if _, n, _ := wire.ParseHeader(raw); !bytes.Equal(joined, raw[n:]) {
			t.Fatal("octets changed on the way")
		}
	})
}

// vectorFragments are those of the independent implementation, and what they are of.
func vectorFragments(t testing.TB) (whole []byte, parts [][]byte) {
	t.Helper()
	b, err := os.ReadFile("../wire/testdata/reload-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Messages  []struct{ Name, Hex string }
		Fragments []struct{ Of, Hex string }
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	octets := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, f := range v.Fragments {
		parts = append(parts, octets(f.Hex))
	}
	for _, m := range v.Messages {
		if m.Name == v.Fragments[0].Of {
			whole = octets(m.Hex)
		}
	}
	return whole, parts
}

func FuzzFragment(f *testing.F) {
	whole, parts := vectorFragments(f)
	f.Add(whole, 500)
	f.Add(parts[1], 400)
	f.Fuzz(func(t *testing.T, raw []byte, pmtu int) {
		parts, err := Fragment(raw, pmtu)
		if err != nil || len(parts) == 1 {
			return
		}
		_, body := parse(t, raw)
		if !bytes.Equal(rejoin(t, raw, parts, pmtu), body) {
			t.Error("octets changed")
		}
	})
}

func BenchmarkFragment(b *testing.B) {
	raw := messageOf(good(), 10000)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Fragment(raw, 1187); err != nil {
			b.Fatal(err)
		}
	}
}
