package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// oracle is the obvious implementation of a dictionary Kind: one map, every rule spelled out, nothing indexed.
type oracle struct {
	values     map[[2]string]oracleValue // by resource and key
	generation map[wire.ResourceID]uint64
}

type oracleValue struct {
	wire.StoredData
	until float64
}

func (o *oracle) expire(now float64) {
	for pos, v := range o.values {
		if now >= v.until {
			delete(o.values, pos)
		}
	}
	for res := range o.generation {
		if o.countOf(res, true)+o.countOf(res, false) == 0 {
			delete(o.generation, res)
		}
	}
}

func (o *oracle) countOf(res wire.ResourceID, exists bool) (n int) {
	for pos, v := range o.values {
		if pos[0] == string(res) && v.Value.Exists == exists {
			n++
		}
	}
	return n
}

func (o *oracle) clone() oracle {
	c := oracle{map[[2]string]oracleValue{}, map[wire.ResourceID]uint64{}}
	for k, v := range o.values {
		c.values[k] = v
	}
	for k, v := range o.generation {
		c.generation[k] = v
	}
	return c
}

// put returns 0 or the error code.
func (o *oracle) put(now float64, sender holder, res wire.ResourceID, k wire.StoreKindData, original bool) wire.ErrorCode {
	o.expire(now)
	for _, d := range k.Values {
		who := signerOf(d).Identity
		if wire.ResourceIDOf(who.User) != res || d.Value.Key != string(who.Node.Bytes()) {
			return wire.ErrorForbidden
		}
		if original && (wire.ResourceIDOf(sender.User) != res || d.Value.Key != sender.key()) {
			return wire.ErrorForbidden
		}
	}
	if !original && k.Generation == 0 {
		return wire.ErrorInvalidMessage
	}
	if original && k.Generation != 0 && k.Generation != o.generation[res] {
		return wire.ErrorGenerationCounterTooLow
	}
	before := o.clone()
	changed := false
	for _, d := range k.Values {
		pos := [2]string{string(res), d.Value.Key}
		old, had := o.values[pos]
		switch {
		case len(d.Value.Data) > 100:
			*o = before
			return wire.ErrorDataTooLarge
		case had && old.StorageTime == d.StorageTime && string(old.Signature.Value) == string(d.Signature.Value):
			continue
		case had && old.StorageTime >= d.StorageTime:
			*o = before
			return wire.ErrorDataTooOld
		}
		o.values[pos] = oracleValue{d, now + float64(d.Lifetime)}
		changed = true
	}
	if o.countOf(res, true) > 4 || o.countOf(res, false) > 4 {
		*o = before
		return wire.ErrorDataTooLarge
	}
	if o.countOf(res, true)+o.countOf(res, false) > 0 && len(k.Values) > 0 {
		if !original {
			o.generation[res] = k.Generation
		} else if changed {
			o.generation[res]++
		}
	}
	return 0
}

// dump is what the oracle would answer to a wildcard Fetch.
func (o *oracle) dump(now float64, res wire.ResourceID) string {
	o.expire(now)
	var lines []string
	for pos, v := range o.values {
		if pos[0] == string(res) {
			lines = append(lines, line(v.StoredData, uint32(v.until-now)))
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("generation %d\n%s", o.generation[res], strings.Join(lines, "\n"))
}

func line(d wire.StoredData, left uint32) string {
	return fmt.Sprintf("%x at %d for %d: %v %q", d.Value.Key, d.StorageTime, left, d.Value.Exists, d.Value.Data)
}

func dump(s *Store, now float64, res wire.ResourceID) string {
	ans, _, e := s.Fetch(at0(now), fetchReq(res, wildcard(sipReg)))
	if e != nil {
		return string(e.Info)
	}
	var lines []string
	for _, d := range ans.Kinds[0].Values {
		lines = append(lines, line(d, d.Lifetime))
	}
	slices.Sort(lines)
	return fmt.Sprintf("generation %d\n%s", ans.Kinds[0].Generation, strings.Join(lines, "\n"))
}

// audit checks the books against what is stored.
func audit(t *rapid.T, s *Store) {
	n, octets := 0, 0
	signers, uses := map[wire.NodeID]int{}, map[[32]byte]int{}
	for res, kinds := range s.resources {
		for _, v := range kinds {
			if len(v.entries) == 0 || v.generation == 0 || v.resource != res || !slices.IsSortedFunc(v.entries, at) {
				t.Fatalf("%s: %+v", res, v)
			}
			for _, e := range v.entries {
				n++
				octets += e.octets
				signers[e.signer.Node]++
				if s.due[e.due] != e || e.values != v {
					t.Fatalf("%s: entry is not where it should be", res)
				}
				for _, c := range e.certs {
					uses[c.sum]++
				}
			}
		}
	}
	held := map[[32]byte]int{}
	for sum, c := range s.certs {
		held[sum] = c.uses
	}
	if n != len(s.due) || octets != s.octets || !cmp.Equal(signers, s.signers, cmp.Comparer(func(a, b wire.NodeID) bool { return a == b })) ||
		!cmp.Equal(uses, held) {
		t.Fatalf("%d values, %d due; %d octets, %d counted; signers %v, %v; certificates %v, %v", n, len(s.due), octets, s.octets, signers,
			s.signers, uses, held)
	}
}

// Conformance: D-15 D-20
func TestStoreAgainstOracle(t *testing.T) {
	holders := []holder{alice, alice2, bob, peer}
	rapid.Check(t, func(t *rapid.T) {
		s := New(testOverlay())
		model := oracle{map[[2]string]oracleValue{}, map[wire.ResourceID]uint64{}}
		now := 0.0
		value := rapid.Custom(func(t *rapid.T) wire.StoredData {
			h := rapid.SampledFrom(holders).Draw(t, "signer")
			d := rapid.SampledFrom([]string{"", "a", "b", strings.Repeat("x", 101)}).Draw(t, "data")
			return h.entry(d, rapid.Uint64Range(0, 6).Draw(t, "time"), rapid.Uint32Range(0, 30).Draw(t, "lifetime"))
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				sender := rapid.SampledFrom(holders).Draw(t, "sender")
				res := rapid.SampledFrom(holders).Draw(t, "resource").resource()
				original := rapid.Bool().Draw(t, "original")
				k := kindData(sipReg, rapid.Uint64Range(0, 3).Draw(t, "generation"), rapid.SliceOfN(value, 0, 3).Draw(t, "values")...)
				ans, e := s.Put(at0(now), storeReq(sender, res, 0, k), original)
				want := model.put(now, sender, res, k, original)
				if e != nil && e.ErrorCode != want || e == nil && want != 0 {
					t.Fatalf("error %+v, want %#x", e, uint16(want))
				}
				if e == nil && ans.Kinds[0].Generation != model.generation[res] {
					t.Fatalf("answered counter %d, want %d", ans.Kinds[0].Generation, model.generation[res])
				}
			},
			"wait": func(t *rapid.T) { now += float64(rapid.IntRange(0, 20).Draw(t, "seconds")) },
			"drop": func(t *rapid.T) {
				res := rapid.SampledFrom(holders).Draw(t, "resource").resource()
				s.Drop(res)
				for pos := range model.values {
					if pos[0] == string(res) {
						delete(model.values, pos)
					}
				}
			},
			"expire": func(*rapid.T) { s.Expire(at0(now)) },
			"": func(t *rapid.T) {
				for _, h := range holders {
					if got, want := dump(s, now, h.resource()), model.dump(now, h.resource()); got != want {
						t.Fatalf("%s at %v s:\n%s\nwant\n%s", h.User, now, got, want)
					}
				}
				audit(t, s)
				if got, want := s.Count()[sipReg], len(model.values); got != want {
					t.Fatalf("counts %d, want %d", got, want)
				}
			},
		})
	})
}

func BenchmarkPut(b *testing.B) {
	s := New(testOverlay())
	var t uint64
	b.ReportAllocs()
	for b.Loop() {
		t++
		v := storeReq(alice, alice.resource(), 0, kindData(sipReg, 0, alice.entry("value", t, hour)))
		if _, e := s.Put(at0(0), v, true); e != nil {
			b.Fatal(e)
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	s := New(testOverlay())
	mustPut(b, s, at0(0), alice, kindData(sipReg, 0, alice.entry("value", 1, hour)))
	req := fetchReq(alice.resource(), wildcard(sipReg))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, e := s.Fetch(at0(1), req); e != nil {
			b.Fatal(e)
		}
	}
}
