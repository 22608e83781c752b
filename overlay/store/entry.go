package store

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// entry is one stored value. What it holds is never modified, only replaced, so answers may share it.
type entry struct {
	data    wire.StoredData
	expires time.Time
	signer  trust.Identity // without its certificate, of which certs has the octets
	certs   []*certificate
	octets  int
	chosen  bool    // its signer has chosen the Resource-ID (RFC 7374 §5), of which there are as many as names of services
	values  *values // where it stands
	due     int     // position in the queue, -1 when it is in none
}

// values is what is stored under one Resource-ID as one Kind.
type values struct {
	resource   wire.ResourceID
	kind       kindOf
	generation uint64   // at least 1 (RFC 6940 §7.4.1.1)
	entries    []*entry // by index or key
}

// kindOf is what has to be known of a Kind without its configuration.
type kindOf struct {
	ID    wire.KindID
	Model wire.DataModel
}

func what(k config.Kind) kindOf { return kindOf{k.ID, k.Model} }

// newEntry copies d, which belongs to a message, out of it.
func newEntry(now time.Time, d *wire.StoredData, signer trust.Identity, certs []*certificate) *entry {
	e := &entry{data: *d, signer: signer, certs: certs, due: -1}
	e.signer.Cert = nil
	e.data.Value.Data = bytes.Clone(d.Value.Data)
	e.data.Signature.Value = bytes.Clone(d.Signature.Value)
	if e.data.Value.Model != wire.Array {
		e.data.Value.Index = 0
	}
	if e.data.Value.Model != wire.Dictionary {
		e.data.Value.Key = ""
	}
	// RFC 6940 §7: the lifetime is "in seconds, starting from the time the peer receives the StoreReq".
	e.expires = now.Add(time.Duration(d.Lifetime) * time.Second)
	// RFC 6940 §7.1: such signatures "are not considered valid after the signing certificate expires"; purging is done by
	// "setting the upper bound on data storage to the lifetime of the signing certificate".
	if c := signer.Cert; c != nil && c.NotAfter.Before(e.expires) {
		e.expires = c.NotAfter
	}
	e.octets = entryOverhead + len(d.Value.Data) + len(d.Value.Key) + len(d.Signature.Value)
	for _, c := range certs {
		e.octets += len(c.Data) // counted for each value that needs it: simple, and never too little
	}
	return e
}

// at orders the values of one Kind by position. A single value has one position.
func at(a, b *entry) int {
	return cmp.Or(cmp.Compare(a.data.Value.Index, b.data.Value.Index), strings.Compare(a.data.Value.Key, b.data.Value.Key))
}

func (v *values) find(pos wire.StoredValue) *entry {
	if v == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(v.entries, &entry{data: wire.StoredData{Value: pos}}, at)
	if !ok {
		return nil
	}
	return v.entries[i]
}

// same reports whether e is the very value d again, whatever its lifetime and, for arrays, its index: neither is signed.
func (e *entry) same(d *entry) bool {
	a, b := &e.data, &d.data
	return a.StorageTime == b.StorageTime && a.Value.Exists == b.Value.Exists && bytes.Equal(a.Value.Data, b.Value.Data) &&
		a.Value.Key == b.Value.Key && a.Signature.Identity == b.Signature.Identity && bytes.Equal(a.Signature.Value, b.Signature.Value)
}

// remaining is the value with the lifetime that is left (RFC 6940 §7.4.1.1). Part of a second is not counted, so that a
// value does not grow older by being handed on.
func (e *entry) remaining(now time.Time) wire.StoredData {
	d := e.data
	d.Lifetime = uint32(max(0, e.expires.Sub(now)) / time.Second)
	return d
}

// queue orders entries by expiry; it is a heap.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].expires.Before(q[j].expires) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].due, q[j].due = i, j
}

func (q *queue) Push(x any) {
	e := x.(*entry)
	e.due = len(*q)
	*q = append(*q, e)
}

func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	e.due = -1
	return e
}

// add takes e, which stands among the values of v, into the books.
func (s *Store) add(v *values, e *entry) {
	e.values = v
	s.retain(e)
	heap.Push(&s.due, e)
	s.octets += e.octets
	s.count[v.kind.ID]++
	s.signers[e.signer.Node]++
	if e.chosen {
		s.chosen[e.signer.Node]++
	}
}

// remove takes e out of the books, not out of its values.
func (s *Store) remove(e *entry) {
	heap.Remove(&s.due, e.due)
	s.release(e)
	s.octets -= e.octets
	decrement(s.count, e.values.kind.ID)
	decrement(s.signers, e.signer.Node)
	if e.chosen {
		decrement(s.chosen, e.signer.Node)
	}
}

func decrement[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] == 0 {
		delete(m, k)
	}
}

// expire removes what has outlived its lifetime, tombstones like any other value (RFC 6940 §7.4.1.3).
func (s *Store) expire(now time.Time) {
	for len(s.due) > 0 && !s.due[0].expires.After(now) {
		e := s.due[0]
		s.remove(e)
		s.expired++
		v := e.values
		s.note(v.resource, v.kind.ID)
		v.entries = slices.DeleteFunc(v.entries, func(x *entry) bool { return x == e })
		if len(v.entries) == 0 {
			s.forget(v)
		}
	}
}

// forget takes v, which is empty, out of its resource.
func (s *Store) forget(v *values) {
	kinds := slices.DeleteFunc(s.resources[v.resource], func(x *values) bool { return x == v })
	if len(kinds) == 0 {
		delete(s.resources, v.resource)
		return
	}
	s.resources[v.resource] = kinds
}
