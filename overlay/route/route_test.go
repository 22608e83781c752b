package route

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// node is the Node-ID of 16 octets b.
func node(b byte) wire.NodeID {
	id, err := wire.NodeIDFromBytes(bytes.Repeat([]byte{b}, 16))
	if err != nil {
		panic(err)
	}
	return id
}

func to(b ...byte) wire.DestinationList {
	var l wire.DestinationList
	for _, x := range b {
		l = l.Append(wire.ToNode(node(x)))
	}
	return l
}

func resource(b byte) wire.Destination { return wire.ToResource(wire.ResourceID(node(b).Bytes())) }

var rules = Rules{Overlay: 0x01020304, InitialTTL: 100}

// short is a list of one short opaque ID.
func short(id string) wire.DestinationList {
	return wire.NewDestinationList(wire.Destination{Type: wire.DestShortOpaque, Opaque: id})
}

func good() wire.Header {
	return wire.Header{Overlay: rules.Overlay, Version: wire.Version, TTL: 100, Fragment: wire.Unfragmented, Transaction: 7,
		Destinations: to(1)}
}

// Conformance: B-02 B-03 B-17 B-18 C-08 C-21 C-22 C-26
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*wire.Header)
		want Reason
	}{
		{"baseline", func(*wire.Header) {}, ""},
		{"RFC 6940 §6.3.2 overlay", func(h *wire.Header) { h.Overlay++ }, BadOverlay},
		{"RFC 6940 §6.3.2.1 configuration sequence, which only the destination compares", func(h *wire.Header) { h.ConfigSequence = 9 }, ""},
		{"RFC 6940 §6.3.2 version", func(h *wire.Header) { h.Version = 0x0b }, BadVersion},
		{"RFC 6940 §6.3.2 ttl above initial-ttl", func(h *wire.Header) { h.TTL = 101 }, BadTTL},
		{"RFC 6940 §6.7 high bit clear", func(h *wire.Header) { h.Fragment = wire.FragmentLast }, Fragmented},
		{"RFC 6940 §6.3.2 reserved fragment bits", func(h *wire.Header) { h.Fragment |= 0x3f000000 }, ""},
		{"a fragment", func(h *wire.Header) { h.Fragment = wire.FragmentHigh | 256 }, ""},
		{"no destination", func(h *wire.Header) { h.Destinations = nil }, NoDestination},
		{"RFC 6940 §13.6.5 [A,A]", func(h *wire.Header) { h.Destinations = to(1, 1) }, Repeated},
		{"RFC 6940 §13.6.5 [A,B,A]", func(h *wire.Header) { h.Destinations = to(1, 2, 1) }, Repeated},
		{"long list without duplicates", func(h *wire.Header) { h.Destinations = many(maxPairwise + 5) }, ""},
		{"long list with duplicates", func(h *wire.Header) {
			h.Destinations = many(maxPairwise + 5).Append(wire.ToNode(node(3)))
		}, Repeated},
		{"longest list", func(h *wire.Header) { h.Destinations = many(MaxDestinations) }, ""},
		{"too long a list", func(h *wire.Header) { h.Destinations = many(MaxDestinations + 1) }, NoDestination},
	} {
		h := good()
		c.edit(&h)
		if got := rules.Check(&h); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func many(n int) wire.DestinationList {
	var b []byte
	for i := range n {
		b = append(b, byte(i+1))
	}
	return to(b...)
}

// view owns what its fields name.
type view struct {
	owned     []wire.Destination
	connected []wire.NodeID
	opaque    map[string]wire.DestinationList
}

func (v view) Responsible(d wire.Destination) bool { return slices.Contains(v.owned, d) }
func (v view) Connected(id wire.NodeID) bool       { return slices.Contains(v.connected, id) }
func (v view) Unpack(d wire.Destination) (wire.DestinationList, bool) {
	l, ok := v.opaque[d.Opaque]
	return l, ok && d.Type == wire.DestShortOpaque
}

// TestDecide is the decision table of RFC 6940 §6.1 for node 1, which owns resource 10 and position 20, and has links
// with 3 and with 21, whose position is its own.
//
// Conformance: B-11 C-02 C-08 C-09 C-10 C-11 C-12 C-13 C-37 E-03
func TestDecide(t *testing.T) {
	v := view{[]wire.Destination{resource(10), wire.ToNode(node(20)), wire.ToNode(node(21))}, []wire.NodeID{node(3), node(21)},
		map[string]wire.DestinationList{"\x80\x08": to(3, 4), "\x80\x09": short("\x80\x08"), "\x80\x0a": short("\x80\x0a")}}
	wildcard := wire.ToNode(wire.Wildcard(16))
	opaque := wire.Destination{Type: wire.DestShortOpaque, Opaque: "\x80\x01"}
	unknown := wire.Destination{Type: 9, Opaque: "later"}
	for _, c := range []struct {
		name string
		list wire.DestinationList
		want Decision
	}{
		{"§6.1.1 our resource", wire.NewDestinationList(resource(10)), Decision{Verdict: Deliver}},
		{"§6.1.1 our Node-ID", to(1), Decision{Verdict: Deliver}},
		{"§6.1.1 our Node-ID, then another", to(1, 4), Decision{Verdict: Forward, Next: wire.ToNode(node(4)), Destinations: to(4)}},
		{"§6.1.1 our Node-ID, then our resource", to(1).Append(resource(10)), Decision{Verdict: Deliver}},
		{"§6.1.1 wildcard", wire.NewDestinationList(wildcard), Decision{Verdict: Deliver}},
		{"§6.1.1 wildcard is never forwarded", wire.NewDestinationList(wildcard, wire.ToNode(node(4))), Decision{Verdict: Deliver}},
		{"§6.1.1 Node-ID in our range, not connected", to(20), Decision{Reason: NotConnected}},
		{"§6.1.1 Node-ID in our range, a client", to(21), Decision{Verdict: Forward, Next: wire.ToNode(node(21)), Destinations: to(21)}},
		{"§6.1.2 connected", to(3), Decision{Verdict: Forward, Next: wire.ToNode(node(3)), Destinations: to(3)}},
		{"§6.1.2 resource of another", wire.NewDestinationList(resource(11)),
			Decision{Verdict: Forward, Next: resource(11), Destinations: wire.NewDestinationList(resource(11))}},
		{"§6.1.3 opaque ID that is not ours", wire.NewDestinationList(opaque), Decision{Reason: OpaqueID}},
		{"opaque ID behind us", to(1).Append(opaque), Decision{Reason: OpaqueID}},
		{"§6.1.3 opaque ID of ours", short("\x80\x08"),
			Decision{Verdict: Forward, Next: wire.ToNode(node(3)), Destinations: to(3, 4)}},
		{"§6.1.3 opaque ID of ours between others", slices.Concat(to(1), short("\x80\x08"), to(5)),
			Decision{Verdict: Forward, Next: wire.ToNode(node(3)), Destinations: to(3, 4, 5)}},
		{"opaque ID of ours for another one", short("\x80\x09"),
			Decision{Verdict: Forward, Next: wire.ToNode(node(3)), Destinations: to(3, 4)}},
		{"opaque ID of ours for itself", short("\x80\x0a"), Decision{Reason: OpaqueID}},
		{"opaque ID behind another", to(4).Append(opaque),
			Decision{Verdict: Forward, Next: wire.ToNode(node(4)), Destinations: to(4).Append(opaque)}},
		{"§6.3.2.2 type that is not known", wire.NewDestinationList(unknown), Decision{Reason: OpaqueID}},
		{"type that is not known behind us", to(1).Append(unknown), Decision{Reason: OpaqueID}},
		{"type that is not known behind another", to(4).Append(unknown),
			Decision{Verdict: Forward, Next: wire.ToNode(node(4)), Destinations: to(4).Append(unknown)}},
		{"nothing", nil, Decision{Reason: NoDestination}},
	} {
		got := Decide(node(1), c.list, v)
		if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b wire.NodeID) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// Conformance: C-09
func TestRFC6940_6_1_1_ResourceMustBeTheOnlyEntry(t *testing.T) {
	// The parser refuses such a list; a decision does so too.
	v := view{owned: []wire.Destination{resource(10)}}
	list := append(wire.NewDestinationList(resource(10)), to(3)...)
	if got := Decide(node(1), list, v); got.Verdict != Drop || got.Reason != NotAlone {
		t.Errorf("%+v", got)
	}
}

// octets is a header and something behind it, encoded.
func octets(h wire.Header) []byte {
	body := []byte("contents and security block")
	h.Length = uint32(len(h.AppendTo(nil)) + len(body))
	return append(h.AppendTo(nil), body...)
}

// Conformance: B-16 C-14 C-15 C-20
func TestRFC6940_6_1_2_ForwardedRequestNamesThePreviousHop(t *testing.T) {
	h := good()
	h.Via, h.Destinations = to(0xa, 0xb), to(0xd, 0xe)
	h.Options = wire.NewOptionList(wire.ForwardingOption{Type: 200, Value: []byte("kept")})
	raw := octets(h)
	parsed, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := Hop{Previous: node(0xc), Destinations: parsed.Destinations.Rest()}.Append(raw, &parsed, n)
	got, m, err := wire.ParseHeader(out)
	if err != nil {
		t.Fatal(err)
	}
	want := h
	want.TTL, want.Length = 99, uint32(len(out))
	want.Via, want.Destinations = to(0xa, 0xb, 0xc), to(0xe)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(out[m:], raw[n:]) {
		t.Errorf("contents became %q", out[m:])
	}
}

// Conformance: C-19
func TestRFC6940_6_1_2_ResponseKeepsItsViaList(t *testing.T) {
	h := good()
	h.Via, h.Destinations = to(9), to(1, 2)
	raw := octets(h)
	parsed, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := Hop{Destinations: parsed.Destinations.Rest()}.Append(raw, &parsed, n)
	got, _, err := wire.ParseHeader(out)
	if err != nil || !bytes.Equal(got.Via, to(9)) || !bytes.Equal(got.Destinations, to(2)) || got.TTL != 99 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestForwardWithoutChangedListsPatchesInPlace(t *testing.T) {
	raw := octets(good())
	h, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	out := Hop{Destinations: h.Destinations}.Append(raw, &h, n)
	if &out[0] != &raw[0] || out[11] != 99 {
		t.Error("copied, or the TTL was not decremented")
	}
	hop := Hop{Previous: node(3), Destinations: h.Destinations}
	if allocs := testing.AllocsPerRun(100, func() { hop.Append(raw, &h, n) }); allocs > 1 {
		t.Errorf("%v allocations to forward a request, want 1", allocs)
	}
}

// Conformance: C-01 C-16
func TestRFC6940_6_2_2_ResponseDestinationsAreThePathReversed(t *testing.T) {
	for _, c := range []struct{ via, want wire.DestinationList }{
		{nil, to(9)},
		{to(1), to(9, 1)},
		{to(1, 2, 3), to(9, 3, 2, 1)},
	} {
		if got := ReturnPath(&wire.Header{Via: c.via}, node(9)); !bytes.Equal(got, c.want) {
			t.Errorf("via %x: %x, want %x", c.via, got, c.want)
		}
	}
}

func TestReaddressKeepsEverythingElse(t *testing.T) {
	h := good()
	h.Via = to(5)
	raw := octets(h)
	before := slices.Clone(raw)
	out := Readdress(raw, to(8, 9))
	got, n, err := wire.ParseHeader(out)
	if err != nil {
		t.Fatal(err)
	}
	want := h
	want.Destinations, want.Length = to(8, 9), uint32(len(out))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if !bytes.HasSuffix(raw, out[n:]) || !bytes.Equal(raw, before) {
		t.Error("contents or original changed")
	}
}

func FuzzForward(f *testing.F) {
	h := good()
	h.Via = to(4)
	f.Add(octets(h), true)
	f.Add(octets(good()), false)
	f.Fuzz(func(t *testing.T, raw []byte, request bool) {
		h, n, err := wire.ParseHeader(raw)
		if err != nil || h.TTL == 0 || rules.Check(&h) != "" {
			return
		}
		hop := Hop{Destinations: h.Destinations.Rest()}
		if request {
			hop.Previous = node(3)
		}
		rest := slices.Clone(raw[n:])
		out := hop.Append(raw, &h, n)
		got, m, err := wire.ParseHeader(out)
		if err != nil {
			t.Fatalf("%x became %x: %v", raw, out, err)
		}
		if !bytes.Equal(out[m:], rest) || !bytes.Equal(got.Destinations, hop.Destinations) {
			t.Errorf("%x became %x", raw, out)
		}
	})
}

var start = time.Unix(1_700_000_000, 0)

// Conformance: C-03
func TestRFC6940_6_2_1_FiveTransmissionsThenFailure(t *testing.T) {
	const timer = 3 * time.Second
	table := NewTable(timer, 10)
	if !table.Start(start, 1, Transmissions) {
		t.Fatal("refused")
	}
	sent := []time.Duration{0}
	for d := time.Duration(0); ; d += time.Second {
		again, failed := table.Collect(start.Add(d))
		if len(again) > 0 {
			sent = append(sent, d)
		}
		if len(failed) > 0 {
			if d != 15*time.Second {
				t.Errorf("failed after %v", d)
			}
			break
		}
	}
	if diff := cmp.Diff([]time.Duration{0, timer, 2 * timer, 3 * timer, 4 * timer}, sent); diff != "" {
		t.Error(diff)
	}
	if table.Len() != 0 || !table.Deadline().IsZero() {
		t.Error("a failed request stays")
	}
}

func TestTransmissionAheadOfTimeCounts(t *testing.T) {
	table := NewTable(3*time.Second, 10)
	table.Start(start, 1, Transmissions)
	table.Start(start.Add(time.Second), 2, Transmissions)
	for i := range 4 {
		if !table.Again(start.Add(2*time.Second), 1) {
			t.Fatalf("transmission %d refused", i+2)
		}
	}
	if table.Again(start.Add(2*time.Second), 1) {
		t.Error("a sixth transmission")
	}
	if got := table.Deadline(); got != start.Add(4*time.Second) {
		t.Errorf("next due %v, want that of the other request", got.Sub(start))
	}
	if _, failed := table.Collect(start.Add(5 * time.Second)); !slices.Equal(failed, []wire.TransactionID{1}) {
		t.Errorf("failed %v", failed)
	}
}

func TestTableLimits(t *testing.T) {
	table := NewTable(time.Second, 2)
	if !table.Start(start, 1, 1) || table.Start(start, 1, 1) || !table.Start(start, 2, 1) || table.Start(start, 3, 1) {
		t.Error("one of each ID, two in all")
	}
	if !table.End(1) || table.End(1) || table.Has(1) || !table.Has(2) || table.Len() != 1 {
		t.Error("a request ends once")
	}
	if table.Again(start, 1) {
		t.Error("an ended request is sent again")
	}
}

// Conformance: C-05
func TestRFC6940_6_2_1_CopiesAreAnsweredAlikeForTheRequestLifetime(t *testing.T) {
	c := NewCache(MaxRequestLifetime, 10)
	k := Key{node(1), 7}
	if _, fresh := c.Begin(start, k); !fresh {
		t.Fatal("the first one is no copy")
	}
	if answer, fresh := c.Begin(start, k); fresh || answer != nil {
		t.Error("a copy while the answer is being made")
	}
	c.Answer(k, []byte("answer"))
	if answer, fresh := c.Begin(start.Add(14*time.Second), k); fresh || string(answer) != "answer" {
		t.Errorf("a copy after 14 s: %q, %v", answer, fresh)
	}
	if _, fresh := c.Begin(start, Key{node(2), 7}); !fresh {
		t.Error("the same transaction of another signer is another request")
	}
	if _, fresh := c.Begin(start.Add(MaxRequestLifetime), k); !fresh {
		t.Error("remembered for longer than asked")
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := NewCache(time.Minute, 3)
	for i := range wire.TransactionID(10) {
		c.Begin(start, Key{Transaction: i})
	}
	if c.Len() != 3 {
		t.Errorf("%d entries", c.Len())
	}
	if _, fresh := c.Begin(start, Key{Transaction: 9}); fresh {
		t.Error("the newest was forgotten")
	}
	c.Answer(Key{Transaction: 1}, []byte("to one that was forgotten"))
}

func BenchmarkForward(b *testing.B) {
	h := good()
	h.Via = to(4, 5)
	raw := octets(h)
	b.ReportAllocs()
	for b.Loop() {
		h, n, err := wire.ParseHeader(raw)
		if err != nil {
			b.Fatal(err)
		}
		Hop{Previous: node(3), Destinations: h.Destinations}.Append(raw, &h, n)
	}
}

// TestShortcutForgetsALoop has a request come by this node for the second time.
func TestShortcutForgetsALoop(t *testing.T) {
	a, self, b := wire.ToNode(node(1)), wire.ToNode(node(2)), wire.ToNode(node(3))
	h := wire.Header{Version: wire.Version, TTL: 50, Fragment: wire.Unfragmented, Via: wire.NewDestinationList(a, self, b),
		Destinations: wire.NewDestinationList(wire.ToNode(node(9)))}
	head := h.AppendTo(nil)
	h.Length = uint32(len(head) + 3)
	raw := append(h.AppendTo(nil), "abc"...)
	shorter, header, size, ok := Shortcut(raw, &h, len(head), node(2))
	if !ok || header.Via.Len() != 1 || string(shorter[size:]) != "abc" {
		t.Fatalf("%v, via %v, %q", ok, header.Via, shorter)
	}
	again, n, err := wire.ParseHeader(shorter)
	if first, _ := again.Via.First(); err != nil || n != size || first != a || again.Length != uint32(len(shorter)) {
		t.Errorf("%+v, %v", again, err)
	}
	if _, _, _, ok := Shortcut(raw, &h, len(head), node(7)); ok {
		t.Error("a loop where there is none")
	}
}
