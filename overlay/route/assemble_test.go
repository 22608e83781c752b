package route

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// cutAt returns the fragment of raw that carries its body from one offset to another.
func cutAt(raw []byte, from, to int) []byte {
	_, n, _ := wire.ParseHeader(raw)
	field := wire.FragmentHigh | uint32(from)
	if n+to == len(raw) {
		field |= wire.FragmentLast
	}
	return withBody(raw[:n], raw[n+from:n+to], field)
}

// Conformance: B-39 B-43
func TestRFC6940_6_7_VectorFragmentsInEveryOrder(t *testing.T) {
	whole, parts := vectorFragments(t)
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		a := NewAssembler(5000)
		for i, k := range order {
			got, from, drop := a.Add(start, node(byte(k+1)), false, parts[k])
			switch {
			case drop != "" || i < 2 && got != nil:
				t.Fatalf("order %v, fragment %d: %d octets, %q", order, k, len(got), drop)
			case i == 2 && (!bytes.Equal(got, whole) || from != node(1)):
				t.Errorf("order %v: from %v\n%x\nwant, from the sender of the first fragment,\n%x", order, from, got, whole)
			}
		}
		if a.Len() != 0 || a.Octets() != 0 || len(a.by) != 0 {
			t.Errorf("order %v: %d messages, %d octets, %d neighbours are left", order, a.Len(), a.Octets(), len(a.by))
		}
	}
}

// Conformance: B-39 B-43
func TestAssemblerAgainstTheOriginal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(2*MinFragmentBody, 4000).Draw(t, "body")
		raw := messageOf(good(), size)
		var parts [][]byte
		for at := 0; at < size; { // a cover of the body, overlapping
			to := min(size, at+rapid.IntRange(MinFragmentBody, 900).Draw(t, "length"))
			from := max(0, min(at-rapid.IntRange(0, 300).Draw(t, "overlap"), to-MinFragmentBody))
			parts = append(parts, cutAt(raw, from, to))
			at = to
		}
		for range rapid.IntRange(0, 5).Draw(t, "more") {
			from := rapid.IntRange(0, size-MinFragmentBody).Draw(t, "from")
			parts = append(parts, cutAt(raw, from, rapid.IntRange(from+MinFragmentBody, size).Draw(t, "to")))
		}
		lie := rapid.IntRange(-1, size-1).Draw(t, "lie") // an octet that one fragment has wrong
		parts = rapid.Permutation(parts).Draw(t, "order")
		if lie >= 0 {
			i := rapid.IntRange(0, len(parts)-1).Draw(t, "liar")
			h, n, _ := wire.ParseHeader(parts[i])
			if k := lie - int(h.Fragment&wire.FragmentOffset); k >= 0 && n+k < len(parts[i]) {
				parts[i] = bytes.Clone(parts[i])
				parts[i][n+k] ^= 1
			} else {
				lie = -1
			}
		}
		a := NewAssembler(5000)
		var done int
		for _, p := range parts {
			before := bytes.Clone(p)
			got, _, drop := a.Add(start, node(1), false, p)
			switch {
			case !bytes.Equal(p, before):
				t.Fatal("the fragment was changed")
			case drop == FragmentConflict && lie >= 0:
			case drop != "":
				t.Fatalf("dropped: %s", drop)
			case got != nil && lie < 0 && !bytes.Equal(got, raw):
				t.Fatal("the message is another one")
			case got != nil:
				done++
			}
		}
		if lie < 0 && done == 0 {
			t.Fatal("the message never got complete")
		}
		a.Expire(start.Add(MaxRequestLifetime))
		if a.held != 0 || len(a.by) != 0 || len(a.sets) != 0 {
			t.Fatalf("after all: %d octets of %d neighbours, %d sets", a.held, len(a.by), len(a.sets))
		}
	})
}

// Conformance: B-42
func TestRFC6940_6_7_IncompleteMessagesEndAfter15Seconds(t *testing.T) {
	raw := messageOf(good(), 1000)
	a := NewAssembler(5000)
	_, _, _ = a.Add(start, node(1), false, cutAt(raw, 0, 500))
	if n := a.Expire(start.Add(15*time.Second - 1)); n != 0 || a.Len() != 1 {
		t.Errorf("before 15 s: %d expired, %d left", n, a.Len())
	}
	// The clock starts with the first fragment: later ones do not prolong it.
	_, _, _ = a.Add(start.Add(10*time.Second), node(1), false, cutAt(raw, 200, 700))
	if n := a.Expire(start.Add(15 * time.Second)); n != 1 || a.Octets() != 0 {
		t.Errorf("after 15 s: %d expired, %d octets left", n, a.Octets())
	}
	if got, _, drop := a.Add(start.Add(15*time.Second), node(1), false, cutAt(raw, 500, 1000)); got != nil || drop != "" {
		t.Errorf("a late fragment made a message of %d octets, %q", len(got), drop)
	}
}

// Conformance: B-42
func TestRFC6940_6_7_DropsWhenOutOfSpace(t *testing.T) {
	const max = 65000
	a := NewAssembler(max)
	refused := map[Reason]int{}
	flood := func(from wire.NodeID, n int) {
		for i := range n {
			h := good()
			h.Transaction = wire.TransactionID(uint64(from.Bytes()[0])<<32 | uint64(i))
			_, _, drop := a.Add(start, from, false, cutAt(messageOf(h, 2000), 0, 1000))
			refused[drop]++
		}
	}
	flood(node(1), 10_000)
	if a.Octets() > neighbourOctets+max || refused[FragmentsFull] == 0 {
		t.Errorf("one neighbour holds %d octets; %v", a.Octets(), refused)
	}
	// The others are not hurt.
	raw := messageOf(good(), 2000)
	_, _, _ = a.Add(start, node(2), false, cutAt(raw, 0, 1000))
	if got, _, drop := a.Add(start, node(2), false, cutAt(raw, 1000, 2000)); !bytes.Equal(got, raw) {
		t.Errorf("another neighbour's message: %d octets, %q", len(got), drop)
	}
	for i := range 20 {
		flood(node(byte(10+i)), 2000)
	}
	if a.Octets() > totalQuotas*(neighbourOctets+max) {
		t.Errorf("%d octets held", a.Octets())
	}
	held := 0
	for e := a.order.Front(); e != nil; e = e.Next() {
		s := e.Value.(*set)
		held += s.cost
		if s.cost < len(s.header)+s.got {
			t.Fatalf("a set of %d octets costs %d", s.got, s.cost)
		}
	}
	if held != a.Octets() {
		t.Errorf("the sets hold %d octets, counted are %d", held, a.Octets())
	}
}

func TestAssemblerRefuses(t *testing.T) {
	raw := messageOf(good(), 2000)
	short := cutAt(raw, 0, 255)
	beyond := cutAt(messageOf(good(), 6000), 4800, 5800)
	far := bytes.Clone(cutAt(raw, 0, 500))
	binary.BigEndian.PutUint32(far[12:], wire.FragmentHigh|wire.FragmentOffset)
	for _, c := range []struct {
		name string
		adds [][]byte
		want Reason
	}{
		{"a short fragment that is not the last", [][]byte{short}, BadFragment},
		{"a message that is too long", [][]byte{beyond}, BadFragment},
		{"the largest offset", [][]byte{far}, BadFragment},
		{"half a header", [][]byte{raw[:20]}, BadFragment},
		{"octets behind the end", [][]byte{cutAt(raw[:len(raw)-500:len(raw)-500], 1000, 1500), cutAt(raw, 1400, 1900)}, FragmentConflict},
		{"an end before octets", [][]byte{cutAt(raw, 1400, 1900), cutAt(raw[:len(raw)-500:len(raw)-500], 1000, 1500)}, FragmentConflict},
		{"two ends", [][]byte{cutAt(raw, 1500, 2000), cutAt(raw[:len(raw)-1:len(raw)-1], 1500, 1999)}, FragmentConflict},
	} {
		a := NewAssembler(5000)
		for i, p := range c.adds {
			got, _, drop := a.Add(start, node(1), false, p)
			if want := c.want; got != nil || i == len(c.adds)-1 && drop != want || i < len(c.adds)-1 && drop != "" {
				t.Errorf("%s, fragment %d: %d octets, %q", c.name, i, len(got), drop)
			}
		}
		if a.Len() != 0 {
			t.Errorf("%s: the set is still there", c.name)
		}
	}
}

// Conformance: B-43
func TestRequestAndAnswerAreNotMixed(t *testing.T) {
	request, answer := messageOf(good(), 1000), messageOf(good(), 1200)
	a := NewAssembler(5000)
	for _, p := range []struct {
		raw    []byte
		answer bool
	}{{cutAt(request, 0, 600), false}, {cutAt(answer, 0, 600), true}, {cutAt(answer, 600, 1200), true}, {cutAt(request, 600, 1000), false}} {
		got, _, drop := a.Add(start, node(1), p.answer, p.raw)
		if want := [][]byte{request, answer}; drop != "" || got != nil && !slices.ContainsFunc(want, func(w []byte) bool { return bytes.Equal(w, got) }) {
			t.Errorf("%d octets, %q", len(got), drop)
		}
	}
	if a.Len() != 0 {
		t.Errorf("%d messages are incomplete", a.Len())
	}
}

func TestAssemblerPassesWholeMessages(t *testing.T) {
	raw := messageOf(good(), 100)
	if got, from, drop := NewAssembler(5000).Add(start, node(3), false, raw); !bytes.Equal(got, raw) || from != node(3) || drop != "" {
		t.Errorf("%x from %v, %q", got, from, drop)
	}
}

func FuzzAssembler(f *testing.F) {
	_, parts := vectorFragments(f)
	f.Add(parts[0], parts[1], parts[2])
	f.Add(parts[2], parts[2], parts[0])
	f.Fuzz(func(t *testing.T, x, y, z []byte) {
		a := NewAssembler(5000)
		for _, p := range [][]byte{x, y, z, y, x} {
			if got, _, _ := a.Add(start, node(1), false, p); got != nil {
				if h, _, err := wire.ParseHeader(got); err != nil || !h.Whole() {
					t.Errorf("%x: %v", got, err)
				}
			}
			if a.held < 0 || a.held > a.quota || a.by[node(1)] != a.held {
				t.Errorf("held %d, by neighbour %v", a.held, a.by)
			}
		}
	})
}

func BenchmarkAssembler(b *testing.B) {
	raw := messageOf(good(), 10000)
	parts, err := Fragment(raw, 1187)
	if err != nil {
		b.Fatal(err)
	}
	a := NewAssembler(65000)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range parts {
			_, _, _ = a.Add(start, node(1), false, p)
		}
	}
}
