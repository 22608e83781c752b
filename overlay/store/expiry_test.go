package store

import (
	"slices"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: D-23
func TestRFC6940_7_4_1_3_ValuesAndTombstonesAgeOut(t *testing.T) {
	for _, data := range []string{"value", ""} {
		s := New(testOverlay())
		mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry(data, 1, 100)))
		if got := s.Deadline(); !got.Equal(at0(100)) {
			t.Fatalf("deadline %v", got)
		}
		if got := fetchOne(t, s, at0(99), alice.resource(), wildcard(sipReg)); len(got) != 1 || got[0].Lifetime != 1 {
			t.Fatalf("at 99 s: %+v", got)
		}
		spec := wildcard(sipReg)
		spec.Keys = []string{alice.key()}
		if got := texts(fetchOne(t, s, at0(101), alice.resource(), spec)); !slices.Equal(got, []string{"?"}) {
			t.Fatalf("at 101 s: %q", got)
		}
		if n := s.Expire(at0(101)); n != 1 {
			t.Fatalf("Expire counted %d", n)
		}
		if n := s.Expire(at0(101)); n != 0 || !s.Deadline().IsZero() || len(s.Resources()) != 0 || len(s.Count()) != 0 {
			t.Fatalf("left: %d, %v, %v", n, s.Deadline(), s.Resources())
		}
	}
}

// Conformance: D-21
func TestRFC6940_7_4_1_3_TombstoneBlocksReplay(t *testing.T) {
	s := New(testOverlay())
	old := storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("old", 1, hour)))
	if _, e := s.Put(at0(0), old, true); e != nil {
		t.Fatal(e)
	}
	mustPut(t, s, at0(1), alice, kindData(sipReg, 0, alice.entry("", 2, hour)))
	for _, when := range []float64{2, hour} {
		_, e := s.Put(at0(when), old, true)
		refused(t, e, wire.ErrorDataTooOld, "too_old")
	}
	s.Expire(at0(hour + 1))
	if _, e := s.Put(at0(hour+1), old, true); e != nil { // the window that RFC 6940 §7.4.1.3 admits
		t.Fatal(e)
	}
}

// Conformance: D-27
func TestRFC6940_7_1_ValueEndsWithItsCertificate(t *testing.T) {
	s := New(testOverlay())
	v := storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("x", 1, hour)))
	id := alice.Identity
	id.Cert = trust.NewCertificate(chain(t).leaf) // ends 50 s after the epoch
	if _, e := s.Put(at0(0), trust.Assume(v.Message(), id, trust.ValueSigner{Identity: id}), true); e != nil {
		t.Fatal(e)
	}
	if !s.Deadline().Equal(id.Cert.NotAfter) {
		t.Fatalf("deadline %v, certificate ends %v", s.Deadline(), id.Cert.NotAfter)
	}
}

// Conformance: D-24
func TestRFC6940_7_4_1_1_LifetimeShrinksWhenHandedOn(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("x", 1, 100)))
	mustPut(t, s, at0(0), alice, kindData(kindSingle, 0, alice.single("y", 1, 41)))
	req, _ := s.Copy(at0(40.5), alice.resource(), 1)
	if got := req.Kinds[0].Values[0].Lifetime; got != 59 {
		t.Fatalf("lifetime %d after 40.5 of 100 s", got)
	}
	if len(req.Kinds) != 1 {
		t.Fatal("a value with less than a second left was handed on")
	}
	// Handing a value back and forth does not lengthen its life.
	at := 40.5
	for i := range 50 {
		next := New(testOverlay())
		if _, e := next.Put(at0(at), storeReq(peer, req.Resource, 1, req.Kinds...), false); e != nil {
			t.Fatalf("hop %d: %s", i, e.Info)
		}
		at += 0.9
		if req, _ = next.Copy(at0(at), alice.resource(), 1); req == nil {
			break
		}
		if end := at + float64(req.Kinds[0].Values[0].Lifetime); end > 100 {
			t.Fatalf("hop %d: ends at %v s", i, end)
		}
	}
}

func TestExpiryOrderWithReplacedValues(t *testing.T) {
	s := New(testOverlay())
	for i, life := range []uint32{50, 10, 30, 20} {
		mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(uint32(i), "x", 1, life)))
	}
	mustPut(t, s, at0(0), alice, kindData(kindArray, 0, alice.element(1, "y", 2, 40)))
	for _, want := range []float64{20, 30, 40, 50} {
		if got := s.Deadline(); !got.Equal(at0(want)) {
			t.Fatalf("deadline %v, want %v s", got, want)
		}
		if n := s.Expire(at0(want)); n != 1 {
			t.Fatalf("at %v s: %d expired", want, n)
		}
	}
}
