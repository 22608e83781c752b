package store

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// place is where a Record stands.
type place struct {
	resource wire.ResourceID
	kind     wire.KindID
}

// changes is what has been stored and removed since TakeChanges was last called, each place once.
type changes struct {
	list []place
	seen map[place]bool // nil: nobody wants to know
}

// Track has the store note its changes from now on, for TakeChanges.
func (s *Store) Track() { s.changes.seen = make(map[place]bool) }

// note notes that what stands there has changed.
func (s *Store) note(res wire.ResourceID, kind wire.KindID) {
	p := place{res, kind}
	if s.changes.seen == nil || s.changes.seen[p] {
		return
	}
	s.changes.seen[p] = true
	s.changes.list = append(s.changes.list, p)
}

// TakeChanges returns what stands where something has changed since the last call; nil when nothing has, or without Track.
func (s *Store) TakeChanges() []Record {
	if len(s.changes.list) == 0 {
		return nil
	}
	out := make([]Record, len(s.changes.list))
	for i, p := range s.changes.list {
		out[i] = s.record(p)
	}
	s.changes.list = nil
	clear(s.changes.seen)
	return out
}

// Records is everything that is stored, changed or not, in an order that does not depend on chance.
func (s *Store) Records() []Record {
	var out []Record
	for _, res := range s.Resources() {
		for _, v := range s.resources[res] {
			out = append(out, s.record(place{res, v.kind.ID}))
		}
	}
	return out
}

func (s *Store) record(p place) Record {
	r := Record{Resource: p.resource, Kind: p.kind}
	v := s.lookup(p.resource, p.kind)
	if v == nil {
		return r
	}
	var certs collector
	r.Generation = v.generation
	for _, e := range v.entries {
		r.Values, r.Expires = append(r.Values, e.data), append(r.Expires, e.expires)
		certs.add(e)
	}
	r.Certificates = certs.certs
	return r
}

// Restore puts back what a Record kept and returns how many values that were. signers says for each value who signed it, by
// its certificate as it stands today: values of which that can not be said any more are left out, and so are those that have
// expired or that the configuration no longer allows (RFC 6940 §7.1, §7.3). With a value its storage time is back, so
// that older ones are refused as before the restart, for as long as it lives (§7.4.1.1). It is meant for an empty store; of
// two values at one position the newer one stays.
func (s *Store) Restore(now time.Time, r Record, signers []trust.ValueSigner) int {
	restored := 0
	if k, ok := s.known(r.Kind); ok {
		restored = s.restore(now, k, &r, signers)
	}
	if restored < len(r.Values) {
		s.note(r.Resource, r.Kind) // what was kept is no longer what is stored
	}
	return restored
}

func (s *Store) restore(now time.Time, k config.Kind, r *Record, signers []trust.ValueSigner) int {
	b := newBucket(&wire.Message{Security: wire.SecurityBlock{Certificates: r.Certificates}}, trust.Identity{})
	st := s.newStaged(r.Resource, k)
	restored := 0
	for i := range min(len(r.Values), len(r.Expires), len(signers)) {
		d, signer := &r.Values[i], signers[i]
		if !r.Expires[i].After(now) || d.Value.Index == lastIndex || checkSigned(k, d, signer) != nil ||
			checkAccess(s.overlay, k, r.Resource, d, signer.Identity) != nil {
			continue
		}
		e := newEntry(now, d, signer.Identity, b.needed(d, signer.Identity))
		// The whole lifetime from now stays the upper bound: the clock may have been set back.
		if r.Expires[i].Before(e.expires) {
			e.expires = r.Expires[i]
		}
		if st.put(e) == nil {
			restored++
		}
	}
	if st.checkCount() != nil || s.checkQuota([]*staged{st}) != nil {
		return 0
	}
	if v := s.install(st); v != nil {
		v.generation = max(v.generation, r.Generation, 1)
	}
	return restored
}
