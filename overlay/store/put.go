package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Put carries out a StoreReq: all of it or nothing (RFC 6940 §7.4.1.1). Whether this peer is responsible, and whether the
// sender of a replica is plausible, is the node's question, asked before. original is false for replicas and hand-over
// (replica_number above 0): then the sender need not be the owner of the data. The store keeps those certificates of the
// message's bucket that its values need. A non-nil *wire.Error is the answer owed; RefusalReason labels it. The StoreAns
// has empty replica lists.
func (s *Store) Put(now time.Time, v trust.Verified, original bool) (*wire.StoreAns, *wire.Error) {
	if original {
		return s.put(now, v, asOriginal)
	}
	return s.put(now, v, asReplica)
}

// TakeBack is Put for copies that the owner of their Resource-ID gets: from a node that has been the owner, as it says (RFC 6940
// §6.4.2.3). Their generation counters count only where nothing stands yet.
func (s *Store) TakeBack(now time.Time, v trust.Verified) (*wire.StoreAns, *wire.Error) {
	return s.put(now, v, asReturned)
}

// role is what the values of a StoreReq are to this peer.
type role uint8

const (
	asOriginal role = iota // new, from their owner
	asReplica              // a copy that this peer is to hold
	asReturned             // a copy for this peer as the owner of the Resource-ID
)

func (s *Store) put(now time.Time, v trust.Verified, as role) (*wire.StoreAns, *wire.Error) {
	original := as == asOriginal
	req, ok := v.Message().Body.(*wire.StoreReq)
	if !ok {
		return nil, errNotAStore.answer()
	}
	s.expire(now)
	kinds, e := s.kinds(req)
	if e != nil {
		return nil, e
	}
	if r := s.authorize(req, kinds, v, original); r != nil {
		return nil, r.answer()
	}
	if e := s.checkCounters(req, original); e != nil {
		return nil, e
	}
	batch, r := s.stage(now, req, kinds, v)
	if r == nil {
		r = s.checkQuota(batch)
	}
	if r != nil {
		return nil, r.answer()
	}
	return s.commit(req, batch, as), nil
}

// kinds looks up the Kinds of req.
func (s *Store) kinds(req *wire.StoreReq) ([]config.Kind, *wire.Error) {
	var unknown []wire.KindID
	kinds := make([]config.Kind, len(req.Kinds))
	for i, k := range req.Kinds {
		// RFC 6940 §7.4.1.1: "The same Kind-ID MUST NOT be used twice in a given store request."
		for _, earlier := range req.Kinds[:i] {
			if earlier.Kind == k.Kind {
				return nil, errKindTwice.answer()
			}
		}
		var ok bool
		if kinds[i], ok = s.known(k.Kind); !ok {
			unknown = append(unknown, k.Kind)
		}
	}
	// RFC 6940 §7.4.1.1: "Implementations MUST reject requests corresponding to unknown Kinds."
	if unknown != nil {
		return nil, wire.NewUnknownKind(unknown)
	}
	return kinds, nil
}

// authorize checks who signed the values and, for an original store, the request.
func (s *Store) authorize(req *wire.StoreReq, kinds []config.Kind, v trust.Verified, original bool) *refusal {
	signers := v.Values()
	for i := range req.Kinds {
		for j := range req.Kinds[i].Values {
			d := &req.Kinds[i].Values[j]
			if len(signers) == 0 {
				return errUnsigned
			}
			signer := signers[0]
			signers = signers[1:]
			if r := checkSigned(kinds[i], d, signer); r != nil {
				return r
			}
			// RFC 6940 §7.4.1.1: "Each element is signed by a credential which is authorized to write this Kind at this
			// Resource-ID. If this check fails, the request MUST be rejected with an Error_Forbidden error."
			if r := checkAccess(s.overlay, kinds[i], req.Resource, d, signer.Identity); r != nil {
				return r
			}
			// RFC 6940 §7.4.1.1: "For original (non-replica) stores, the StoreReq is signed by a credential which is authorized
			// to write this Kind at this Resource-ID."
			if original {
				if r := checkAccess(s.overlay, kinds[i], req.Resource, d, v.Sender()); r != nil {
					return r
				}
			}
		}
	}
	return nil
}

// checkSigned checks the form of one value, and that its signature was found good.
func checkSigned(k config.Kind, d *wire.StoredData, signer trust.ValueSigner) *refusal {
	if d.Value.Model != k.Model {
		return errModel
	}
	// RFC 6940 §7.4.1.1: "If the data is signed with identity_type set to "none" and/or SignatureAndHashAlgorithm values set to
	// {0, 0} [...], the StoreReq MUST be rejected with an Error_forbidden error."
	if sig := &d.Signature; sig.Identity.Type == wire.IdentityNone || sig.Hash == 0 && sig.Algorithm == 0 {
		return errUnsigned
	}
	// RFC 6940 §7.4.1.1: "The signatures over each individual data element, if any, are valid."
	if signer.Err != nil {
		return errSignature
	}
	return nil
}

// checkCounters checks the generation counters of req.
func (s *Store) checkCounters(req *wire.StoreReq, original bool) *wire.Error {
	wrong := false
	current := &wire.StoreAns{Kinds: make([]wire.StoreKindResponse, len(req.Kinds))}
	for i, k := range req.Kinds {
		// RFC 6940 §7.4.1.1: "Replica Stores MUST NOT use a generation counter of 0."
		if !original && k.Generation == 0 {
			return errReplicaZero.answer()
		}
		current.Kinds[i].Kind = k.Kind
		if v := s.lookup(req.Resource, k.Kind); v != nil {
			current.Kinds[i].Generation = v.generation
		}
		// RFC 6940 §7.4.1.1: "For original (non-replica) stores, the peer MUST check that if the generation counter is nonzero, it
		// equals the current value of the generation counter for this Kind." A counter that is too high has no code of its own.
		wrong = wrong || original && k.Generation != 0 && k.Generation != current.Kinds[i].Generation
	}
	if wrong {
		return wire.NewGenerationTooLow(current)
	}
	return nil
}

// staged is what one Kind will hold if the request succeeds.
type staged struct {
	old      *values // nil when nothing was stored
	kind     config.Kind
	resource wire.ResourceID
	entries  []*entry
	removed  []*entry // of old
	changed  bool
}

func (s *Store) newStaged(res wire.ResourceID, k config.Kind) *staged {
	st := &staged{old: s.lookup(res, k.ID), kind: k, resource: res}
	if st.old != nil {
		st.entries = slices.Clone(st.old.entries)
	}
	return st
}

// stage works out what the resource will hold, without touching it. RFC 6940 §7.4.1.1: "These operations MUST be atomic. If any
// operation fails, the state MUST be rolled back to what it was before the request was received."
func (s *Store) stage(now time.Time, req *wire.StoreReq, kinds []config.Kind, v trust.Verified) ([]*staged, *refusal) {
	bucket := newBucket(v.Message(), v.Sender())
	signers := v.Values()
	batch := make([]*staged, 0, len(kinds))
	for i, k := range req.Kinds {
		st := s.newStaged(req.Resource, kinds[i])
		for j := range k.Values {
			d := &k.Values[j]
			id := signers[0].Identity
			signers = signers[1:]
			if r := st.put(newEntry(now, d, id, bucket.needed(d, id))); r != nil {
				return nil, r
			}
		}
		if r := st.checkCount(); r != nil {
			return nil, r
		}
		batch = append(batch, st)
	}
	return batch, nil
}

// put places one value.
func (st *staged) put(e *entry) *refusal {
	e.chosen = st.kind.Access == config.NodeIDMatch
	// RFC 6940 §7.4.1.1: "The size and number of the stored values are consistent with the limits specified in the overlay
	// configuration."
	if len(e.data.Value.Data) > st.kind.MaxSize {
		return errTooLarge
	}
	if st.kind.Model == wire.Array && e.data.Value.Index == lastIndex {
		if r, done := st.append(e); done {
			return r
		}
	}
	i, found := slices.BinarySearchFunc(st.entries, e, at)
	if !found {
		st.entries = slices.Insert(st.entries, i, e)
		st.changed = true
		return nil
	}
	old := st.entries[i]
	// A replica refreshed or handed over again is the same value: nothing to do, and nothing refused.
	if old.same(e) {
		return nil
	}
	// RFC 6940 §7.4.1.1: "The storage time values are greater than that of any values which would be replaced by this Store."
	if e.data.StorageTime <= old.data.StorageTime {
		return errTooOld
	}
	if old.due >= 0 {
		st.removed = append(st.removed, old)
	}
	st.entries[i] = e
	st.changed = true
	return nil
}

// append gives e its index. RFC 6940 §7.4.1.1: "A store at index 0xffffffff places the new value at the end of the array,
// regardless of the length of the array." done means that there is nothing left to do: the index is not signed, so the same
// value appended again is a replay, which would make the array grow.
func (st *staged) append(e *entry) (r *refusal, done bool) {
	if slices.ContainsFunc(st.entries, e.same) {
		return nil, true
	}
	e.data.Value.Index = 0
	if n := len(st.entries); n > 0 {
		e.data.Value.Index = st.entries[n-1].data.Value.Index + 1
	}
	if e.data.Value.Index == lastIndex {
		return errTooMany, true
	}
	return nil, false
}

// checkCount holds max-count: for existing values, and as many tombstones again.
func (st *staged) checkCount() *refusal {
	if !st.changed || st.kind.Model == wire.SingleValue {
		return nil
	}
	exist := 0
	for _, e := range st.entries {
		if e.data.Value.Exists {
			exist++
		}
	}
	if exist > st.kind.MaxCount || len(st.entries)-exist > st.kind.MaxCount {
		return errTooMany
	}
	return nil
}

// checkQuota holds this peer's own limits. What does not grow is never refused.
func (s *Store) checkQuota(batch []*staged) *refusal {
	octets := 0
	growth, chosen := make(map[wire.NodeID]int), make(map[wire.NodeID]int)
	for _, st := range batch {
		for _, e := range st.removed {
			octets -= e.octets
			growth[e.signer.Node]--
			if e.chosen {
				chosen[e.signer.Node]--
			}
		}
		for _, e := range st.entries {
			if e.due < 0 {
				octets += e.octets
				growth[e.signer.Node]++
				if e.chosen {
					chosen[e.signer.Node]++
				}
			}
		}
	}
	if octets > 0 && s.octets+octets > s.maxOctets {
		return errFull
	}
	for signer, n := range growth {
		if n > 0 && s.signers[signer]+n > s.maxPerSigner {
			return errSignerQuota
		}
	}
	for signer, n := range chosen {
		if n > 0 && s.chosen[signer]+n > s.maxChosen {
			return errSignerQuota
		}
	}
	return nil
}

// commit makes the batch what is stored.
func (s *Store) commit(req *wire.StoreReq, batch []*staged, as role) *wire.StoreAns {
	ans := &wire.StoreAns{Kinds: make([]wire.StoreKindResponse, len(batch))}
	for i, st := range batch {
		v := s.install(st)
		ans.Kinds[i].Kind = st.kind.ID
		if v == nil {
			continue
		}
		before := v.generation
		switch {
		case len(req.Kinds[i].Values) == 0: // nothing came that anybody has signed
		case as == asReplica || as == asReturned && st.old == nil:
			// RFC 6940 §7.4.1.1: "For replica Stores, the peer MUST set the generation counter to match the generation counter in
			// the message".
			//
			// Deviation: not where it comes from anywhere and there is a counter: nothing says whose it is, and who stores on the
			// condition that nobody else did relies on it.
			v.generation = req.Kinds[i].Generation
		case st.changed:
			// RFC 6940 §7.4.1.1: "if the store succeeds and the data is changed, then the peer MUST increase the generation counter
			// by at least 1".
			v.generation = max(1, v.generation+1) // never 0, which stands for "do not check"
		}
		if st.changed || v.generation != before {
			s.note(v.resource, v.kind.ID)
		}
		ans.Kinds[i].Generation = v.generation
	}
	return ans
}

// install puts what was staged in place and returns it; nil when there is nothing.
func (s *Store) install(st *staged) *values {
	if !st.changed {
		return st.old
	}
	v := st.old
	if v == nil {
		v = &values{resource: st.resource, kind: what(st.kind)}
		kinds := append(s.resources[st.resource], v)
		slices.SortFunc(kinds, func(a, b *values) int { return cmp.Compare(a.kind.ID, b.kind.ID) })
		s.resources[st.resource] = kinds
	}
	for _, e := range st.removed {
		s.remove(e)
	}
	v.entries, v.kind = st.entries, what(st.kind)
	for _, e := range v.entries {
		if e.due < 0 {
			s.add(v, e)
		}
	}
	return v
}
