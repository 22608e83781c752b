package store

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const sipReg = wire.KindSIPRegistration

// Conformance: D-13
func TestRFC6940_7_4_1_1_RejectsOlderStorageTime(t *testing.T) {
	for _, c := range []struct {
		name string
		next wire.StoredData
		ok   bool
		want string
	}{
		{"older", alice.entry("new", 999, hour), false, "old"},
		{"equal, different", alice.entry("new", 1000, hour), false, "old"},
		{"equal, identical", alice.entry("old", 1000, hour), true, "old"},
		{"newer", alice.entry("new", 1001, hour), true, "new"},
		{"newer tombstone", alice.entry("", 1001, hour), true, "-"},
		{"older tombstone", alice.entry("", 999, hour), false, "old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(testOverlay())
			mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("old", 1000, hour)))
			_, e := s.Put(at0(1), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, c.next)), true)
			if c.ok != (e == nil) {
				t.Fatalf("error %v", e)
			}
			if e != nil {
				refused(t, e, wire.ErrorDataTooOld, "too_old")
			}
			if got := texts(fetchOne(t, s, at0(1), alice.resource(), wildcard(sipReg))); !slices.Equal(got, []string{c.want}) {
				t.Fatalf("holds %q, want %q", got, c.want)
			}
		})
	}
}

// Conformance: D-13
func TestRFC6940_7_4_1_1_IdenticalValueChangesNothing(t *testing.T) {
	s := New(testOverlay())
	v := alice.entry("x", 1, hour)
	first := mustPut(t, s, at0(0), alice, kindData(sipReg, 0, v))
	if again := mustPut(t, s, at0(100), alice, kindData(sipReg, 0, v)); again != first {
		t.Fatalf("counter went from %d to %d", first, again)
	}
	if d := fetchOne(t, s, at0(100), alice.resource(), wildcard(sipReg))[0]; d.Lifetime != hour-100 {
		t.Fatalf("lifetime %d, want that of the first reception", d.Lifetime)
	}
}

// Conformance: D-01
func TestRFC6940_7_4_1_1_AllOrNothing(t *testing.T) {
	bad := alice.single("y", 5, hour)
	for _, c := range []struct {
		name  string
		spoil func(k *wire.StoreKindData)
		code  wire.ErrorCode
	}{
		{"second Kind too old", func(k *wire.StoreKindData) { k.Values[0].StorageTime = 0 }, wire.ErrorDataTooOld},
		{"second Kind too large", func(k *wire.StoreKindData) { k.Values[0].Value.Data = make([]byte, 101) }, wire.ErrorDataTooLarge},
		{"second Kind unsigned", func(k *wire.StoreKindData) { k.Values[0].Signature.Identity.Type = wire.IdentityNone }, wire.ErrorForbidden},
		{"second Kind unknown", func(k *wire.StoreKindData) { k.Kind, k.Values = kindAbsent, nil }, wire.ErrorUnknownKind},
		{"second Kind counter", func(k *wire.StoreKindData) { k.Generation = 77 }, wire.ErrorGenerationCounterTooLow},
		{"Kind twice", func(k *wire.StoreKindData) { k.Kind, k.Values = sipReg, nil }, wire.ErrorInvalidMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(testOverlay())
			mustPut(t, s, at0(0), alice, kindData(kindSingle, 0, alice.single("x", 3, hour)))
			before, _ := s.Copy(at0(1), alice.resource(), 1)
			second := kindData(kindSingle, 0, bad)
			c.spoil(&second)
			_, e := s.Put(at0(1), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("z", 9, hour)), second), true)
			if e == nil || e.ErrorCode != c.code {
				t.Fatalf("error %v, want %#x", e, uint16(c.code))
			}
			after, _ := s.Copy(at0(1), alice.resource(), 1)
			if d := cmp.Diff(before, after); d != "" {
				t.Fatalf("changed by a refused Store:\n%s", d)
			}
			if n := s.Count(); n[sipReg] != 0 || n[kindSingle] != 1 || len(s.certs) != 1 {
				t.Fatalf("counts %v, %d certificates", n, len(s.certs))
			}
		})
	}
}

// Conformance: D-04
func TestRFC6940_7_4_1_1_UnknownKindsAreListed(t *testing.T) {
	s := New(testOverlay())
	_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, wire.StoreKindData{Kind: 0xf0000001 + 0x100},
		kindData(sipReg, 0, alice.entry("x", 1, hour)), wire.StoreKindData{Kind: 0xf0000102}), true)
	refused(t, e, wire.ErrorUnknownKind, "unknown_kind")
	if want := []byte("\x08\xf0\x00\x01\x01\xf0\x00\x01\x02"); string(e.Info) != string(want) {
		t.Fatalf("error_info %x, want %x", e.Info, want)
	}
	var many []wire.StoreKindData
	for i := range 100 {
		many = append(many, wire.StoreKindData{Kind: 0xf0001000 + wire.KindID(i)})
	}
	_, e = s.Put(at0(0), storeReq(alice, alice.resource(), 0, many...), true)
	if len(e.Info) != 1+4*63 || e.Info[0] != 252 {
		t.Fatalf("%d octets of error_info, first %d", len(e.Info), e.Info[0])
	}
}

// Conformance: D-05 D-09
func TestRFC6940_7_4_1_1_Signatures(t *testing.T) {
	none, anonymous := alice.entry("x", 1, hour), alice.entry("x", 1, hour)
	none.Signature.Identity = wire.SignerIdentity{Type: wire.IdentityNone}
	anonymous.Signature.Hash, anonymous.Signature.Algorithm = 0, 0
	for _, d := range []wire.StoredData{none, anonymous} {
		s := New(testOverlay())
		_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, d)), true)
		refused(t, e, wire.ErrorForbidden, "unsigned")
		if len(s.Resources()) != 0 {
			t.Fatal("stored")
		}
	}
	s := New(testOverlay())
	good, bad := alice.entry("x", 1, hour), alice2.entry("y", 1, hour)
	m := storeReq(peer, alice.resource(), 1, kindData(sipReg, 1, good, bad)).Message()
	v := trust.Assume(m, peer.Identity, trust.ValueSigner{Identity: alice.Identity}, trust.ValueSigner{Err: errors.New("bad")})
	_, e := s.Put(at0(0), v, false)
	refused(t, e, wire.ErrorForbidden, "bad_signature")
	_, e = s.Put(at0(0), trust.Assume(m, peer.Identity), false) // nobody looked at the signatures
	refused(t, e, wire.ErrorForbidden, "unsigned")
	if len(s.Resources()) != 0 {
		t.Fatal("stored")
	}
}

// Conformance: D-08
func TestRFC6940_7_3_OriginalStoreNeedsTheOwnersSignature(t *testing.T) {
	s := New(testOverlay())
	data := kindData(sipReg, 1, alice.entry("x", 1, hour))
	_, e := s.Put(at0(0), storeReq(bob, alice.resource(), 0, kindData(sipReg, 0, data.Values...)), true)
	refused(t, e, wire.ErrorForbidden, "user_mismatch")
	if _, e = s.Put(at0(0), storeReq(bob, alice.resource(), 1, data), false); e != nil {
		t.Fatalf("replica refused: %s", e.Info)
	}
}

// Conformance: D-10 D-11 D-15
func TestRFC6940_7_4_1_1_GenerationCounter(t *testing.T) {
	s := New(testOverlay())
	var last uint64
	for i := range uint64(3) {
		g := mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1+i, hour)))
		if g <= last {
			t.Fatalf("counter %d after %d", g, last)
		}
		last = g
	}
	for _, wrong := range []uint64{last - 1, last + 1} {
		_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(sipReg, wrong, alice.entry("y", 10, hour)),
			kindData(kindSingle, 0, alice.single("y", 10, hour))), true)
		refused(t, e, wire.ErrorGenerationCounterTooLow, "counter_too_low")
		// RFC 6940 §7.4.1.2: "error_info in the ErrorResponse MUST be a StoreAns response containing the correct generation counter for
		// each Kind and the replica list, which will be empty".
		want := []byte{0, 28}
		want = binary.BigEndian.AppendUint32(want, uint32(sipReg))
		want = binary.BigEndian.AppendUint64(want, last)
		want = binary.BigEndian.AppendUint32(append(want, 0, 0), uint32(kindSingle))
		want = append(want, make([]byte, 10)...)
		if string(e.Info) != string(want) {
			t.Fatalf("error_info %x, want %x", e.Info, want)
		}
	}
	if g := mustPut(t, s, at0(0), alice, kindData(sipReg, last, alice.entry("y", 10, hour))); g <= last {
		t.Fatalf("counter %d after %d", g, last)
	}
}

// Conformance: D-12
func TestRFC6940_7_4_1_1_ReplicaSetsTheCounter(t *testing.T) {
	s := New(testOverlay())
	_, e := s.Put(at0(0), storeReq(peer, alice.resource(), 1, kindData(sipReg, 0, alice.entry("x", 1, hour))), false)
	refused(t, e, wire.ErrorInvalidMessage, "replica_counter_zero")
	for i, g := range []uint64{7, 3} {
		ans, e := s.Put(at0(0), storeReq(peer, alice.resource(), 1, kindData(sipReg, g, alice.entry("x", uint64(1+i), hour))), false)
		if e != nil || ans.Kinds[0].Generation != g {
			t.Fatalf("%v, %v; want counter %d", ans, e, g)
		}
	}
}

// Conformance: D-18
func TestRFC6940_7_2_1_SingleValueIsOverwritten(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(kindSingle, 0, alice.single("a", 1, hour)))
	mustPut(t, s, at0(0), alice, kindData(kindSingle, 0, alice.single("b", 2, hour)))
	if got := texts(fetchOne(t, s, at0(0), alice.resource(), single(kindSingle))); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("holds %q", got)
	}
	if n := s.Count()[kindSingle]; n != 1 {
		t.Fatalf("counts %d", n)
	}
}

// Conformance: D-14
func TestRFC6940_7_4_1_1_MaxSize(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry(strings.Repeat("x", 100), 1, hour)))
	_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry(strings.Repeat("x", 101), 2, hour))), true)
	refused(t, e, wire.ErrorDataTooLarge, "too_large")
}

// Conformance: D-14
func TestRFC6940_7_4_1_1_MaxCount(t *testing.T) {
	s := New(testOverlay())
	for i := range uint32(4) {
		mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(i, "x", 1, hour)))
	}
	more := storeReq(alice, alice.resource(), 0, kindData(kindArray, 0, alice.element(4, "x", 1, hour)))
	_, e := s.Put(at0(0), more, true)
	refused(t, e, wire.ErrorDataTooLarge, "too_many")
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(0, "y", 2, hour))) // replacing is not growing
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(1, "", 2, hour)))  // and a tombstone makes room
	if _, e = s.Put(at0(0), more, true); e != nil {
		t.Fatalf("refused although a value was removed: %s", e.Info)
	}
	for i := uint32(10); i < 13; i++ {
		mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(i, "", 1, hour)))
	}
	_, e = s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(kindArray, 0, alice.element(13, "", 1, hour))), true)
	refused(t, e, wire.ErrorDataTooLarge, "too_many")
}

func TestQuotas(t *testing.T) {
	s := New(testOverlay())
	s.maxPerSigner = 2
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(0, "a", 1, hour), alice.element(1, "a", 1, hour)))
	_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(kindArray, 0, alice.element(2, "a", 1, hour))), true)
	refused(t, e, wire.ErrorDataTooLarge, "signer_quota")
	_, e = s.Put(at0(0), storeReq(bob, bob.resource(), 0, kindData(kindSingle, 0, bob.single("b", 1, hour))), true)
	refused(t, e, wire.ErrorDataTooLarge, "signer_quota") // another user of the same node
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(1, "b", 2, hour)))

	s = New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("a", 1, hour)))
	s.maxOctets = s.octets
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("b", 2, hour)))
	_, e = s.Put(at0(0), storeReq(bob, bob.resource(), 0, kindData(sipReg, 0, bob.entry("b", 1, hour))), true)
	refused(t, e, wire.ErrorDataTooLarge, "full")
	if s.Expire(at0(hour)) != 1 || s.octets != 0 || len(s.signers) != 0 || len(s.certs) != 0 || len(s.due) != 0 {
		t.Fatalf("left after expiry: %+v", s)
	}
	mustPut(t, s, at0(hour), bob, kindData(sipReg, 0, bob.entry("b", 1, hour)))
}

// Conformance: D-19
func TestRFC6940_7_4_1_1_ArrayAppend(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(lastIndex, "a", 1, hour)))
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(2, "c", 1, hour)))
	appended := kindData(kindArray, 0, alice.element(lastIndex, "d", 2, hour))
	g := mustPut(t, s, at0(0), alice, appended)
	if again := mustPut(t, s, at0(0), alice, appended); again != g {
		t.Fatal("the same value was appended twice")
	}
	got := fetchOne(t, s, at0(0), alice.resource(), ranges(wire.ArrayRange{First: 0, Last: lastIndex}))
	if !slices.Equal(texts(got), []string{"a", "?", "c", "d"}) || got[3].Value.Index != 3 || got[1].Value.Index != 1 {
		t.Fatalf("%q, last index %d", texts(got), got[len(got)-1].Value.Index)
	}
	s = New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(lastIndex-1, "z", 1, hour)))
	_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, appended), true)
	refused(t, e, wire.ErrorDataTooLarge, "too_many")
}

func TestRFC6940_7_4_1_1_ValuesAreProcessedInTurn(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("a", 1, hour), alice.entry("b", 2, hour)))
	if got := texts(fetchOne(t, s, at0(0), alice.resource(), wildcard(sipReg))); !slices.Equal(got, []string{"b"}) {
		t.Fatalf("holds %q", got)
	}
	if s.count[sipReg] != 1 || s.signers[alice.Node] != 1 || len(s.due) != 1 {
		t.Fatalf("books: %v %v %d", s.count, s.signers, len(s.due))
	}
	_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("c", 4, hour), alice.entry("d", 3, hour))), true)
	refused(t, e, wire.ErrorDataTooOld, "too_old")
}

func TestWrongModelAndBody(t *testing.T) {
	s := New(testOverlay())
	_, e := s.Put(at0(0), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.single("x", 1, hour))), true)
	refused(t, e, wire.ErrorInvalidMessage, "wrong_model")
	_, e = s.Put(at0(0), trust.Assume(&wire.Message{Body: &wire.PingReq{}}, alice.Identity), true)
	refused(t, e, wire.ErrorInvalidMessage, "not_a_store")
	if RefusalReason(&wire.Error{ErrorCode: wire.ErrorForbidden, Info: []byte("elsewhere")}) != "other" {
		t.Fatal("a text of somebody else has a label of ours")
	}
}

func TestStoredOctetsAreNotTheMessages(t *testing.T) {
	s := New(testOverlay())
	v := storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("value", 1, hour)))
	m := v.Message()
	m.Security.Certificates[0].Data = slices.Clone(m.Security.Certificates[0].Data)
	if _, e := s.Put(at0(0), v, true); e != nil {
		t.Fatal(e)
	}
	before, certs := s.Copy(at0(0), alice.resource(), 1)
	d := m.Body.(*wire.StoreReq).Kinds[0].Values[0]
	for _, b := range [][]byte{d.Value.Data, d.Signature.Value, m.Security.Certificates[0].Data} {
		clear(b)
	}
	if string(before.Kinds[0].Values[0].Value.Data) != "value" || before.Kinds[0].Values[0].Signature.Value[0] == 0 || certs[0].Data[0] == 0 {
		t.Fatal("the store holds octets of the received message")
	}
}

func TestUnknownDataModelIsAnUnknownKind(t *testing.T) {
	o := testOverlay()
	o.Kinds = append(o.Kinds, config.Kind{ID: kindAbsent, Access: config.UserMatch, MaxCount: 1, MaxSize: 1})
	_, e := New(o).Put(at0(0), storeReq(alice, alice.resource(), 0, wire.StoreKindData{Kind: kindAbsent, Raw: []byte{1}}), true)
	refused(t, e, wire.ErrorUnknownKind, "unknown_kind")
}

// Nothing says whose the counter of a copy is that its owner gets from anywhere: it must not undo what others rely on.
func TestCountersOfOthersDoNotMoveThatOfTheOwner(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, hour)))
	want := mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("y", 2, hour)))
	counter := func() uint64 {
		ans, _, e := s.Fetch(at0(0), fetchReq(alice.resource(), wildcard(sipReg)))
		if e != nil {
			t.Fatal(e)
		}
		return ans.Kinds[0].Generation
	}
	for name, k := range map[string]wire.StoreKindData{
		"the same value again": kindData(sipReg, 1, alice.entry("y", 2, hour)),
		"no value":             kindData(sipReg, 77, []wire.StoredData{}...),
	} {
		if _, e := s.TakeBack(at0(0), storeReq(peer, alice.resource(), 1, k)); e != nil || counter() != want {
			t.Errorf("%s: %v, counter %d, want %d", name, e, counter(), want)
		}
	}
	if _, e := s.Put(at0(0), storeReq(peer, alice.resource(), 1, kindData(sipReg, 77)), false); e != nil || counter() != want {
		t.Errorf("a replica without values: %v, counter %d, want %d", e, counter(), want)
	}
	if _, e := s.TakeBack(at0(0), storeReq(peer, alice.resource(), 1, kindData(sipReg, 1, alice.entry("z", 3, hour)))); e != nil || counter() != want+1 {
		t.Errorf("a newer value: %v, counter %d, want %d", e, counter(), want+1)
	}
	if _, e := s.TakeBack(at0(0), storeReq(peer, bob.resource(), 1, kindData(sipReg, 9, bob.entry("b", 3, hour)))); e != nil || s.lookup(bob.resource(), sipReg).generation != 9 {
		t.Errorf("where nothing stood: %v", e)
	}
}
