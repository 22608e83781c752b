package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Fetch answers a FetchReq with lifetimes as they remain (RFC 6940 §7.4.2) and the certificates that its values need.
func (s *Store) Fetch(now time.Time, req *wire.FetchReq) (*wire.FetchAns, []wire.Certificate, *wire.Error) {
	var certs collector
	ans, e := s.fetch(now, req, certs.add)
	return ans, certs.certs, e
}

// Read is Fetch for the peer that holds the values: with who signed each, as Verified.Values has it, instead of certificates.
func (s *Store) Read(now time.Time, req *wire.FetchReq) (*wire.FetchAns, []trust.ValueSigner, *wire.Error) {
	var signers []trust.ValueSigner
	ans, e := s.fetch(now, req, func(e *entry) { signers = append(signers, trust.ValueSigner{Identity: e.signer}) })
	return ans, signers, e
}

// fetch answers a FetchReq and shows each value of the answer to each.
func (s *Store) fetch(now time.Time, req *wire.FetchReq, each func(*entry)) (*wire.FetchAns, *wire.Error) {
	s.expire(now)
	kinds, e := s.specified(req.Specifiers)
	if e != nil {
		return nil, e
	}
	// RFC 6940 §7.4.2.2: "There MUST be one FetchKindResponse element for each Kind-ID in the request."
	ans := &wire.FetchAns{Kinds: make([]wire.FetchKindResponse, len(kinds))}
	for i, k := range kinds {
		found, generation, r := s.selectValues(req.Resource, k, &req.Specifiers[i])
		if r != nil {
			return nil, r.answer()
		}
		a := &ans.Kinds[i]
		a.Kind, a.Generation = k.ID, generation
		for _, e := range found {
			a.Values = append(a.Values, e.remaining(now))
			each(e)
		}
	}
	return ans, nil
}

// Stat answers a StatReq (RFC 6940 §7.4.3): what Fetch would answer, with a hash instead of the value.
func (s *Store) Stat(now time.Time, req *wire.StatReq) (*wire.StatAns, *wire.Error) {
	s.expire(now)
	kinds, e := s.specified(req.Specifiers)
	if e != nil {
		return nil, e
	}
	ans := &wire.StatAns{Kinds: make([]wire.StatKindResponse, len(kinds))}
	for i, k := range kinds {
		found, generation, r := s.selectValues(req.Resource, k, &req.Specifiers[i])
		if r != nil {
			return nil, r.answer()
		}
		a := &ans.Kinds[i]
		a.Kind, a.Generation = k.ID, generation
		for _, e := range found {
			a.Values = append(a.Values, e.metadata(now))
		}
	}
	return ans, nil
}

func (e *entry) metadata(now time.Time) wire.StoredMetaData {
	d := e.remaining(now)
	// RFC 6940 §7.4.3.2: hash_value is "a digest using hash_algorithm on the value field of the DataValue, including its 4
	// leading length bytes".
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, uint32(len(d.Value.Data))), d.Value.Data...))
	return wire.StoredMetaData{
		StorageTime: d.StorageTime, Lifetime: d.Lifetime,
		Model: d.Value.Model, Index: d.Value.Index, Key: d.Value.Key, Exists: d.Value.Exists,
		ValueLength: uint32(len(d.Value.Data)), Hash: wire.HashSHA256, HashValue: sum[:],
	}
}

// specified looks up the Kinds of a request that reads.
func (s *Store) specified(specs []wire.Specifier) ([]config.Kind, *wire.Error) {
	var unknown []wire.KindID
	kinds := make([]config.Kind, len(specs))
	seen := make(map[wire.KindID]bool, len(specs))
	for i, spec := range specs {
		if seen[spec.Kind] { // one response per Kind: two specifiers of one Kind can not be answered
			return nil, errKindTwice.answer()
		}
		seen[spec.Kind] = true
		var ok bool
		if kinds[i], ok = s.known(spec.Kind); !ok {
			unknown = append(unknown, spec.Kind)
		}
	}
	// RFC 6940 §7.4.1.2: "If any type of request tries to access a data Kind that the peer does not know about, the peer MUST fail
	// the request and generate an Error_Unknown_Kind error."
	if unknown != nil {
		return nil, wire.NewUnknownKind(unknown)
	}
	return kinds, nil
}

// selectValues picks what spec asks for, with made-up entries for what is not there.
func (s *Store) selectValues(res wire.ResourceID, k config.Kind, spec *wire.Specifier) ([]*entry, uint64, *refusal) {
	v := s.lookup(res, k.ID)
	generation := uint64(0)
	if v != nil {
		generation = v.generation
	}
	if spec.Model != k.Model {
		return nil, 0, errModel
	}
	ranges := spec.Ranges
	if k.Model == wire.Array && !inOrder(ranges) {
		return nil, 0, errRange
	}
	if len(spec.Keys) > maxKeys {
		return nil, 0, errTooManyAsked
	}
	// RFC 6940 §7.4.2.2: "If the generation counter in the request matches the generation counter in the stored data, then no
	// StoredData values are returned." Zero is no counter.
	if spec.Generation != 0 && spec.Generation == generation {
		return nil, generation, nil
	}
	switch k.Model {
	case wire.Array:
		return v.inRanges(ranges), generation, nil
	case wire.Dictionary:
		return v.withKeys(spec.Keys), generation, nil
	}
	return []*entry{v.entryAt(wire.StoredValue{Model: wire.SingleValue})}, generation, nil
}

// entryAt is what stands at pos, or a made-up entry. RFC 6940 §7.4.2.2: "A nonexistent value (i.e., one which the node has no
// knowledge of) is represented by a synthetic value with "exists" set to False and has an empty signature."
func (v *values) entryAt(pos wire.StoredValue) *entry {
	if e := v.find(pos); e != nil {
		return e
	}
	return &entry{data: wire.StoredData{Value: pos, Signature: wire.Unsigned()}}
}

// withKeys picks dictionary entries. RFC 6940 §7.4.2.1: "If no keys are specified, then this is a wildcard fetch and all
// key-value pairs are returned."
func (v *values) withKeys(keys []string) []*entry {
	if len(keys) == 0 {
		return v.all()
	}
	out := make([]*entry, len(keys))
	for i, key := range keys {
		out[i] = v.entryAt(wire.StoredValue{Model: wire.Dictionary, Key: key})
	}
	return out
}

func (v *values) all() []*entry {
	if v == nil {
		return nil
	}
	return v.entries
}

// inOrder checks the ranges of an array. RFC 6940 §7.4.2.1: "The first integer MUST be less than or equal to the second. While
// multiple ranges MAY be specified, they MUST NOT overlap."
func inOrder(ranges []wire.ArrayRange) bool {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b wire.ArrayRange) int { return cmp.Compare(a.First, b.First) })
	for i, r := range sorted {
		if r.First > r.Last && r.Last != lastIndex || i > 0 && r.First <= sorted[i-1].Last {
			return false
		}
	}
	return true
}

// inRanges picks array entries, gaps included as long as they are few.
func (v *values) inRanges(ranges []wire.ArrayRange) []*entry {
	var out []*entry
	budget := uint64(maxSynthetic)
	for _, r := range ranges {
		first, last, ok := v.resolve(r)
		if !ok {
			continue
		}
		if span := uint64(last) - uint64(first) + 1; span > budget {
			out = append(out, v.existing(first, last)...)
		} else {
			budget -= span
			for i := uint64(first); i <= uint64(last); i++ {
				out = append(out, v.entryAt(wire.StoredValue{Model: wire.Array, Index: uint32(i)}))
			}
		}
	}
	return out
}

// resolve replaces 0xffffffff. RFC 6940 §7.4.2.1: "0 is used to indicate the first element, and 0xffffffff is used to indicate the
// final element." ok is false for a range beyond the final element.
func (v *values) resolve(r wire.ArrayRange) (first, last uint32, ok bool) {
	if r.Last != lastIndex {
		return r.First, r.Last, true
	}
	entries := v.all()
	if len(entries) == 0 {
		return 0, 0, false
	}
	last = entries[len(entries)-1].data.Value.Index
	if r.First == lastIndex {
		return last, last, true
	}
	return r.First, last, r.First <= last
}

func (v *values) existing(first, last uint32) []*entry {
	var out []*entry
	for _, e := range v.all() {
		if i := e.data.Value.Index; i >= first && i <= last {
			out = append(out, e)
		}
	}
	return out
}
