package store

import (
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Find answers a FindReq over the Resource-IDs for which within reports true (RFC 6940 §7.4.4). The closest Resource-ID is the
// first at or after the one asked for, going up around the ring, so that the walk of §7.4.4 ends. Whether this peer is responsible
// is the node's question, asked before.
func (s *Store) Find(now time.Time, req *wire.FindReq, within func(wire.ResourceID) bool) (*wire.FindAns, *wire.Error) {
	s.expire(now)
	ans := &wire.FindAns{Results: make([]wire.FindKindData, len(req.Kinds))}
	at := make(map[wire.KindID]int, len(req.Kinds))
	for i, k := range req.Kinds {
		// RFC 6940 §7.4.4.1: "Each value MUST appear only once. Otherwise, the request MUST be rejected with an error."
		if _, twice := at[k]; twice {
			return nil, errKindTwice.answer()
		}
		at[k] = i
		ans.Results[i].Kind = k
	}
	for res, kinds := range s.resources {
		for _, v := range kinds {
			i, wanted := at[v.kind.ID]
			if !wanted || !closer(req.Resource, res, ans.Results[i].Closest) || !v.exist() || !within(res) {
				continue
			}
			ans.Results[i].Closest = res
		}
	}
	for i := range ans.Results {
		// RFC 6940 §7.4.4.2: the Resource-ID "is 0 if no Resource-ID is known", and "if a Kind-ID is not known".
		if ans.Results[i].Closest == "" {
			ans.Results[i].Closest = wire.ResourceID(strings.Repeat("\x00", len(req.Resource)))
		}
	}
	return ans, nil
}

// closer reports whether a is nearer than b to from, going up; "" is no Resource-ID.
func closer(from, a, b wire.ResourceID) bool {
	if b == "" || (a >= from) != (b >= from) {
		return b == "" || a >= from
	}
	return a < b
}

// exist reports whether any value exists.
func (v *values) exist() bool {
	return slices.ContainsFunc(v.entries, func(e *entry) bool { return e.data.Value.Exists })
}
