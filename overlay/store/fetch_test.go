package store

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: D-28
func TestRFC6940_7_4_2_2_OneResponsePerKind(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)))
	ans, _, e := s.Fetch(at0(0), fetchReq(alice.resource(), single(kindSingle), wildcard(sipReg), ranges(wire.ArrayRange{First: 0, Last: lastIndex})))
	if e != nil {
		t.Fatal(e)
	}
	var order []wire.KindID
	for _, k := range ans.Kinds {
		order = append(order, k.Kind)
	}
	if !slices.Equal(order, []wire.KindID{kindSingle, sipReg, kindArray}) {
		t.Fatalf("order %x", order)
	}
	if ans.Kinds[0].Generation != 0 || ans.Kinds[1].Generation == 0 || len(ans.Kinds[2].Values) != 0 {
		t.Fatalf("%+v", ans.Kinds)
	}
	if got := texts(ans.Kinds[0].Values); !slices.Equal(got, []string{"?"}) {
		t.Fatalf("single value that is not there: %q", got)
	}
}

func TestReadNamesTheSignerOfEachValue(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)))
	spec := wildcard(sipReg)
	spec.Keys = []string{"nothing", alice.key()}
	ans, signers, e := s.Read(at0(0), fetchReq(alice.resource(), spec))
	if e != nil || len(signers) != 2 || !slices.Equal(texts(ans.Kinds[0].Values), []string{"?", "x"}) {
		t.Fatalf("%+v, %+v, %v", ans, signers, e)
	}
	if got := signers[0].Identity; !got.Node.IsZero() || got.User != "" {
		t.Errorf("a value that is not there is signed by %+v", got)
	}
	if got := signers[1].Identity; got.Node != alice.Node || got.User != alice.User || got.Cert != nil {
		t.Errorf("signed by %+v", got)
	}
}

// Conformance: D-32
func TestRFC6940_7_4_2_2_SyntheticValues(t *testing.T) {
	s := New(testOverlay())
	missing := wildcard(sipReg)
	missing.Keys = []string{alice.key()}
	got := fetchOne(t, s, at0(0), alice.resource(), missing)
	want := []wire.StoredData{{
		Value:     wire.StoredValue{Model: wire.Dictionary, Key: alice.key()},
		Signature: wire.Signature{Identity: wire.SignerIdentity{Type: 3}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if got := fetchOne(t, s, at0(0), alice.resource(), wildcard(sipReg)); len(got) != 0 {
		t.Fatalf("wildcard on nothing: %q", texts(got))
	}
	// A real tombstone keeps its signature.
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("", 1, hour)))
	for _, spec := range []wire.Specifier{wildcard(sipReg), missing} {
		got := fetchOne(t, s, at0(0), alice.resource(), spec)
		if !slices.Equal(texts(got), []string{"-"}) || len(got[0].Signature.Value) == 0 {
			t.Fatalf("tombstone: %+v", got)
		}
	}
}

// Conformance: D-20 D-30
func TestRFC6940_7_4_2_1_DictionaryKeys(t *testing.T) {
	s := New(testOverlay())
	for _, h := range []holder{alice2, alice} {
		mustPut(t, s, at0(0), h, kindData(sipReg, 0, h.entry(string(h.Node.String()[0]), 1, hour)))
	}
	for _, c := range []struct{ keys, want []string }{
		{nil, []string{"1", "2"}},
		{[]string{alice2.key()}, []string{"2"}},
		{[]string{"?", alice.key()}, []string{"?", "1"}},
	} {
		spec := wildcard(sipReg)
		spec.Keys = c.keys
		if got := texts(fetchOne(t, s, at0(0), alice.resource(), spec)); !slices.Equal(got, c.want) {
			t.Errorf("keys %q: %q, want %q", c.keys, got, c.want)
		}
	}
	spec := wildcard(sipReg)
	spec.Keys = make([]string, maxKeys+1)
	_, _, e := s.Fetch(at0(0), fetchReq(alice.resource(), spec))
	refused(t, e, wire.ErrorResponseTooLarge, "too_many_keys")
}

// Conformance: D-19 D-31
func TestRFC6940_7_4_2_1_ArrayRanges(t *testing.T) {
	type r = wire.ArrayRange
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(1, "b", 1, hour), alice.element(3, "d", 1, hour)))
	for _, c := range []struct {
		ranges []wire.ArrayRange
		want   []string
	}{
		{[]r{{First: 0, Last: lastIndex}}, []string{"?", "b", "?", "d"}},
		{[]r{{First: lastIndex, Last: lastIndex}}, []string{"d"}},
		{[]r{{First: 3, Last: 4}, {First: 0, Last: 1}}, []string{"d", "?", "?", "b"}},
		{[]r{{First: 4, Last: lastIndex}}, []string{}},
		{nil, []string{}},
		{[]r{{First: 0, Last: 1000}}, []string{"b", "d"}}, // too wide to fill the gaps
	} {
		if got := texts(fetchOne(t, s, at0(0), alice.resource(), ranges(c.ranges...))); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.ranges, got, c.want)
		}
	}
	for _, bad := range [][]r{{{First: 2, Last: 1}}, {{First: 0, Last: 2}, {First: 2, Last: 3}}, {{First: 5, Last: 6}, {First: 0, Last: lastIndex}}} {
		_, _, e := s.Fetch(at0(0), fetchReq(alice.resource(), ranges(bad...)))
		refused(t, e, wire.ErrorInvalidMessage, "bad_range")
	}
	// Many ranges do not add up to many gaps.
	var many []r
	for i := range uint32(100) {
		many = append(many, r{First: i * 1000, Last: i*1000 + 99})
	}
	if got := fetchOne(t, s, at0(0), alice.resource(), ranges(many...)); len(got) > maxSynthetic {
		t.Fatalf("%d values for 2 that exist", len(got))
	}
	// An array that is not there has no last element.
	if got := fetchOne(t, s, at0(0), bob.resource(), ranges(r{First: lastIndex, Last: lastIndex})); len(got) != 0 {
		t.Fatalf("%q", texts(got))
	}
}

// Conformance: D-29
func TestRFC6940_7_4_2_1_MatchingGenerationReturnsNoValues(t *testing.T) {
	s := New(testOverlay())
	spec := wildcard(sipReg)
	spec.Generation = mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)))
	ans, certs, e := s.Fetch(at0(0), fetchReq(alice.resource(), spec))
	if e != nil || len(ans.Kinds[0].Values) != 0 || ans.Kinds[0].Generation != spec.Generation || certs != nil {
		t.Fatalf("%+v %v", ans, e)
	}
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("y", 2, hour)))
	if got := texts(fetchOne(t, s, at0(0), alice.resource(), spec)); !slices.Equal(got, []string{"y"}) {
		t.Fatalf("after a change: %q", got)
	}
}

// Conformance: D-35
func TestRFC6940_7_4_1_2_FetchOfUnknownKind(t *testing.T) {
	s := New(testOverlay())
	specs := []wire.Specifier{wildcard(sipReg), {Kind: kindAbsent}}
	_, _, e := s.Fetch(at0(0), fetchReq(alice.resource(), specs...))
	refused(t, e, wire.ErrorUnknownKind, "unknown_kind")
	if string(e.Info) != "\x04\xf0\x00\x00\x99" {
		t.Fatalf("error_info %x", e.Info)
	}
	_, e = s.Stat(at0(0), &wire.StatReq{Resource: alice.resource(), Specifiers: specs})
	refused(t, e, wire.ErrorUnknownKind, "unknown_kind")
	_, _, e = s.Fetch(at0(0), fetchReq(alice.resource(), specs[0], specs[0]))
	refused(t, e, wire.ErrorInvalidMessage, "kind_twice")
	_, _, e = s.Fetch(at0(0), fetchReq(alice.resource(), single(sipReg)))
	refused(t, e, wire.ErrorInvalidMessage, "wrong_model")
}

// Conformance: D-36
func TestRFC6940_7_4_3_StatMirrorsFetch(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("abc", 1, hour)))
	spec := wildcard(sipReg)
	spec.Keys = []string{alice.key(), "absent"}
	ans, e := s.Stat(at0(10), &wire.StatReq{Resource: alice.resource(), Specifiers: []wire.Specifier{spec}})
	if e != nil {
		t.Fatal(e)
	}
	sum, none := sha256.Sum256([]byte("\x00\x00\x00\x03abc")), sha256.Sum256([]byte("\x00\x00\x00\x00"))
	want := []wire.StoredMetaData{
		{StorageTime: uint64(epoch.UnixMilli()) + 1, Lifetime: hour - 10, Model: wire.Dictionary, Key: alice.key(), Exists: true, ValueLength: 3,
			Hash: 4, HashValue: sum[:]},
		{Model: wire.Dictionary, Key: "absent", Hash: 4, HashValue: none[:]},
	}
	if d := cmp.Diff(want, ans.Kinds[0].Values); d != "" {
		t.Fatal(d)
	}
	if ans.Kinds[0].Generation != 1 {
		t.Fatalf("generation %d", ans.Kinds[0].Generation)
	}
}

// Conformance: D-37
func TestRFC6940_7_4_4_Find(t *testing.T) {
	s := New(testOverlay())
	people := []holder{alice, bob, peer, newHolder("carol@dht.example.org", 0x11)}
	for _, h := range people[:3] {
		mustPut(t, s, at0(0), h, kindData(sipReg, 0, h.entry("x", 1, hour)))
	}
	gone := alice2
	mustPut(t, s, at0(0), gone, kindData(kindSingle, 0, gone.single("", 1, hour)))
	all := func(wire.ResourceID) bool { return true }
	stored := s.Resources()
	// The walk R_n+1 = nearest(1 + R_n) visits every resource and comes round.
	next := func(r wire.ResourceID) wire.ResourceID {
		b := []byte(r)
		for i := len(b) - 1; i >= 0; i-- {
			if b[i]++; b[i] != 0 {
				break
			}
		}
		return wire.ResourceID(b)
	}
	at := stored[0]
	for i := range 2 * len(stored) {
		ans, e := s.Find(at0(0), &wire.FindReq{Resource: next(at), Kinds: []wire.KindID{sipReg, kindAbsent, kindSingle}}, all)
		if e != nil {
			t.Fatal(e)
		}
		if at = ans.Results[0].Closest; at != stored[(i+1)%len(stored)] {
			t.Fatalf("step %d: %s", i, at)
		}
		zero := wire.ResourceID(make([]byte, 16))
		if ans.Results[1] != (wire.FindKindData{Kind: kindAbsent, Closest: zero}) || ans.Results[2].Closest != zero {
			t.Fatalf("unknown Kind and tombstone: %+v", ans.Results)
		}
	}
	ans, _ := s.Find(at0(0), &wire.FindReq{Resource: stored[0], Kinds: []wire.KindID{sipReg}}, func(r wire.ResourceID) bool { return r == stored[2] })
	if ans.Results[0].Closest != stored[2] {
		t.Fatalf("outside the range: %s", ans.Results[0].Closest)
	}
	_, e := s.Find(at0(0), &wire.FindReq{Resource: stored[0], Kinds: []wire.KindID{sipReg, sipReg}}, all)
	refused(t, e, wire.ErrorInvalidMessage, "kind_twice")
}
