// Package store holds the values that a peer keeps for the overlay: access control, data models, lifetimes, generation
// counters and replicas (RFC 6940 §7). It is a value: no clock, I/O, goroutine or lock; the node that owns it serialises
// the calls. What it returns shares octets with the store and must not be modified.
package store

import (
	"maps"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Store is what one peer holds.
type Store struct {
	overlay   *config.Overlay
	resources map[wire.ResourceID][]*values // by Kind-ID; never an empty list, never empty values
	due       queue
	certs     map[[32]byte]*certificate
	count     map[wire.KindID]int
	signers   map[wire.NodeID]int
	chosen    map[wire.NodeID]int // of signers, the values whose Resource-IDs they have chosen
	octets    int
	expired   int // since Expire was last called
	changes   changes

	maxOctets, maxPerSigner, maxChosen int
}

// New returns an empty store for the Kinds of o.
func New(o *config.Overlay) *Store {
	return &Store{
		overlay:      o,
		resources:    make(map[wire.ResourceID][]*values),
		certs:        make(map[[32]byte]*certificate),
		count:        make(map[wire.KindID]int),
		signers:      make(map[wire.NodeID]int),
		chosen:       make(map[wire.NodeID]int),
		maxChosen:    maxChosen,
		maxOctets:    maxOctets,
		maxPerSigner: maxPerSigner,
	}
}

// known looks up a Kind that this peer can store. One whose data model it does not know is as good as unknown.
func (s *Store) known(id wire.KindID) (config.Kind, bool) {
	k, ok := s.overlay.Kind(id)
	return k, ok && k.Model != 0
}

// lookup returns nil when nothing is stored.
func (s *Store) lookup(res wire.ResourceID, kind wire.KindID) *values {
	for _, v := range s.resources[res] {
		if v.kind.ID == kind {
			return v
		}
	}
	return nil
}

// Resources lists the Resource-IDs that hold something, in ascending order.
func (s *Store) Resources() []wire.ResourceID { return slices.Sorted(maps.Keys(s.resources)) }

// Len is the number of Resource-IDs that hold something.
func (s *Store) Len() int { return len(s.resources) }

// Has reports whether something is held under res.
func (s *Store) Has(res wire.ResourceID) bool { return s.resources[res] != nil }

// Drop forgets everything under res: this peer is no longer in its replica set (RFC 6940 §10.7.3).
func (s *Store) Drop(res wire.ResourceID) {
	for _, v := range s.resources[res] {
		for _, e := range v.entries {
			s.remove(e)
		}
		s.note(res, v.kind.ID)
	}
	delete(s.resources, res)
}

// Expire removes what has outlived its lifetime and returns how many values that were since the last call (RFC 6940
// §7.4.1.3). Every method that takes the time leaves expired values out, whether Expire was called or not.
func (s *Store) Expire(now time.Time) int {
	s.expire(now)
	n := s.expired
	s.expired = 0
	return n
}

// Deadline is when the next value expires; zero when nothing does.
func (s *Store) Deadline() time.Time {
	if len(s.due) == 0 {
		return time.Time{}
	}
	return s.due[0].expires
}

// Count is the number of values held, by Kind, tombstones included. The map is the caller's.
func (s *Store) Count() map[wire.KindID]int { return maps.Clone(s.count) }

// Held is the number of values held under one Resource-ID, tombstones included.
func (s *Store) Held(res wire.ResourceID) (held int) {
	for _, v := range s.resources[res] {
		held += len(v.entries)
	}
	return held
}

// Copy is what is stored under one Resource-ID as a StoreReq for another peer: original signatures, remaining lifetimes,
// tombstones included (RFC 6940 §7.4.1.1, §10.4). It returns nil when nothing is stored there.
func (s *Store) Copy(now time.Time, res wire.ResourceID, replica uint8) (*wire.StoreReq, []wire.Certificate) {
	s.expire(now)
	req := &wire.StoreReq{Resource: res, Replica: replica}
	var certs collector
	for _, v := range s.resources[res] {
		k := wire.StoreKindData{Kind: v.kind.ID, Generation: v.generation}
		for _, e := range v.entries {
			d := e.remaining(now)
			if d.Lifetime == 0 {
				continue // it would be gone before it arrives
			}
			k.Values = append(k.Values, d)
			certs.add(e)
		}
		if k.Values != nil {
			req.Kinds = append(req.Kinds, k)
		}
	}
	if req.Kinds == nil {
		return nil, nil
	}
	return req, certs.certs
}
