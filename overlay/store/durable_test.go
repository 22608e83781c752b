package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// restart puts records into a new store, through their kept form.
func restart(t testing.TB, now time.Time, records []Record) (s *Store, restored int) {
	t.Helper()
	s = New(testOverlay())
	s.Track()
	for i := range records {
		r, err := ParseRecord(records[i].AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records[i], r); diff != "" {
			t.Fatalf("kept record differs (-was +is):\n%s", diff)
		}
		restored += s.Restore(now, r, signersOf(r))
	}
	return s, restored
}

func signersOf(r Record) []trust.ValueSigner {
	var out []trust.ValueSigner
	for _, d := range r.Values {
		out = append(out, signerOf(d))
	}
	return out
}

// A value and a removal keep their storage times across a restart, until they expire.
//
// Conformance: D-53
func TestRestartDoesNotTakeOlderValues(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("old", 1, 100)))
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("", 5, 100)), kindData(kindSingle, 0, alice.single("one", 7, 50)))
	s, n := restart(t, at0(40), s.Records())
	if n != 2 {
		t.Fatalf("%d values restored", n)
	}
	if got := fetchOne(t, s, at0(41), alice.resource(), wildcard(sipReg)); len(got) != 1 || got[0].Value.Exists || got[0].Lifetime != 59 {
		t.Fatalf("after the restart: %+v", got)
	}
	_, e := s.Put(at0(41), storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("old", 1, 100))), true)
	refused(t, e, wire.ErrorDataTooOld, "too_old")
	_, e = s.Put(at0(41), storeReq(alice, alice.resource(), 0, kindData(kindSingle, 0, alice.single("zero", 6, 100))), true)
	refused(t, e, wire.ErrorDataTooOld, "too_old")
	mustPut(t, s, at0(101), alice, kindData(sipReg, 0, alice.entry("old", 1, 100))) // nothing stands in the way any more
}

// Conformance: D-53
func TestRestoreLeavesOutWhatIsNotGoodAnyMore(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("a", 1, 100)))
	mustPut(t, s, at0(0), alice2, kindData(sipReg, 0, alice2.entry("b", 1, hour)))
	r := s.Records()[0]
	believed := func(change func(r *Record, signers []trust.ValueSigner)) (*Store, int) {
		c := r
		c.Values = slices.Clone(r.Values)
		signers := signersOf(c)
		change(&c, signers)
		s := New(testOverlay())
		s.Track()
		return s, s.Restore(at0(10), c, signers)
	}
	for name, c := range map[string]struct {
		change func(r *Record, signers []trust.ValueSigner)
		want   int
	}{
		"all good":                  {func(*Record, []trust.ValueSigner) {}, 2},
		"one signature is not good": {func(_ *Record, s []trust.ValueSigner) { s[0].Err = errors.New("expired") }, 1},
		"somebody else signed it":   {func(_ *Record, s []trust.ValueSigner) { s[0].Identity = bob.Identity }, 1},
		"one has expired":           {func(r *Record, _ []trust.ValueSigner) { r.Expires = []time.Time{at0(10), r.Expires[1]} }, 1},
		"a Kind that is not known":  {func(r *Record, _ []trust.ValueSigner) { r.Kind = kindAbsent }, 0},
		"another resource":          {func(r *Record, _ []trust.ValueSigner) { r.Resource = bob.resource() }, 0},
		"too large for the Kind":    {func(r *Record, _ []trust.ValueSigner) { r.Values[1].Value.Data = make([]byte, 101) }, 1},
	} {
		s, n := believed(c.change)
		if n != c.want {
			t.Errorf("%s: %d values, want %d", name, n, c.want)
		}
		if changed := s.TakeChanges(); (c.want == 2) != (changed == nil) {
			t.Errorf("%s: changes %+v: what is left out has to leave the disk, and nothing else", name, changed)
		}
	}
}

func TestRestoreWithAClockThatWasSetBack(t *testing.T) {
	s := New(testOverlay())
	mustPut(t, s, at0(1e6), alice, kindData(sipReg, 0, alice.entry("a", 1, 100)))
	s, _ = restart(t, at0(0), s.Records())
	if d := s.Deadline(); !d.Equal(at0(100)) {
		t.Errorf("the value lives until %v", d.Sub(epoch))
	}
}

// What the changes say, added up, is what the store holds.
func TestChangesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(testOverlay())
		s.Track()
		disk := make(map[string]Record)
		now := at0(0)
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "pause")) * time.Second)
			by := rapid.SampledFrom([]holder{alice, alice2, bob}).Draw(t, "by")
			data := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "data")
			life := rapid.Uint32Range(1, 100).Draw(t, "life")
			generation := rapid.Uint64Range(1, 9).Draw(t, "generation")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				s.Drop(by.resource())
			case 1:
				s.Expire(now)
			case 2:
				s.Put(now, storeReq(peer, by.resource(), 1, kindData(sipReg, generation, by.entry(data, uint64(i), life))), false)
			case 3:
				s.Put(now, storeReq(by, by.resource(), 0, kindData(kindArray, 0, by.element(lastIndex, data, uint64(i), life))), true)
			default:
				s.Put(now, storeReq(by, by.resource(), 0, kindData(sipReg, 0, by.entry(data, uint64(i), life)),
					kindData(kindSingle, 0, by.single(data, uint64(i), life))), true)
			}
			for _, r := range s.TakeChanges() {
				if len(r.Values) == 0 {
					delete(disk, r.Key())
				} else {
					disk[r.Key()] = r
				}
			}
			held := make(map[string]Record)
			for _, r := range s.Records() {
				held[r.Key()] = r
			}
			if diff := cmp.Diff(held, disk); diff != "" {
				t.Fatalf("kept (-held +kept):\n%s", diff)
			}
		}
	})
}

func sampleRecord(t testing.TB) Record {
	t.Helper()
	s := New(testOverlay())
	mustPut(t, s, at0(0), alice, kindData(sipReg, 0, alice.entry("value", 1, 100)))
	mustPut(t, s, at0(0), alice2, kindData(sipReg, 0, alice2.entry("", 1, 100)))
	return s.Records()[0]
}

func TestEveryPrefixOfARecordIsDamaged(t *testing.T) {
	r := sampleRecord(t)
	b := r.AppendTo(nil)
	for n := range b {
		if _, err := ParseRecord(b[:n:n]); err == nil {
			t.Fatalf("%d of %d octets are a record", n, len(b))
		}
	}
	if _, err := ParseRecord(append(b, 0)); err == nil {
		t.Fatal("an octet too many is a record")
	}
}

func FuzzParseRecord(f *testing.F) {
	r := sampleRecord(f)
	f.Add(r.AppendTo(nil))
	f.Add((&Record{Resource: alice.resource(), Kind: kindSingle}).AppendTo(nil))
	f.Add([]byte{recordVersion, 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			return
		}
		s := New(testOverlay())
		s.Restore(at0(0), r, signersOf(r)) // whatever it says
		again, err := ParseRecord(r.AppendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
