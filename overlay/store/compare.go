package store

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// endsSoon is the remaining lifetime, in seconds, below which a value is not compared: elsewhere it may be gone.
const endsSoon = 5

// Specifiers ask for everything that is stored under one Resource-ID, of all Kinds of which there is something here.
func (s *Store) Specifiers(res wire.ResourceID) (list []wire.Specifier) {
	for _, v := range s.resources[res] {
		spec := wire.Specifier{Kind: v.kind.ID, Model: v.kind.Model}
		if v.kind.Model == wire.Array {
			spec.Ranges = []wire.ArrayRange{{First: 0, Last: lastIndex}}
		}
		list = append(list, spec)
	}
	return list
}

// Compare holds what is stored under one Resource-ID against what another peer has answered to a StatReq with Specifiers. ours
// reports whether something here is newer, or not there at all, and theirs the reverse. The storage time of a value tells which of two
// is newer (RFC 6940 §7.4.1.1).
func (s *Store) Compare(now time.Time, res wire.ResourceID, ans *wire.StatAns) (ours, theirs bool) {
	s.expire(now)
	there := make(map[position]uint64)
	for i := range ans.Kinds {
		for j := range ans.Kinds[i].Values {
			if m := &ans.Kinds[i].Values[j]; m.Lifetime >= endsSoon {
				there[position{ans.Kinds[i].Kind, m.Index, m.Key}] = m.StorageTime
			}
		}
	}
	for _, v := range s.resources[res] {
		for _, e := range v.entries {
			d := &e.data
			at := position{v.kind.ID, d.Value.Index, d.Value.Key}
			stored, ok := there[at]
			delete(there, at)
			theirs = theirs || ok && stored > d.StorageTime
			if e.remaining(now).Lifetime >= endsSoon {
				ours = ours || !ok || stored < d.StorageTime
			}
		}
	}
	return ours, theirs || len(there) > 0
}

// position is where a value stands under its Resource-ID.
type position struct {
	kind  wire.KindID
	index uint32
	key   string
}
