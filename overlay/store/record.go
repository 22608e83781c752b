package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Record is what is stored under one Resource-ID as one Kind, as it is kept across restarts. A Record without values says
// that nothing is stored there any more. It shares octets with the store and must not be modified.
type Record struct {
	Resource     wire.ResourceID
	Kind         wire.KindID
	Generation   uint64
	Values       []wire.StoredData // as they were received, with their whole lifetime; tombstones too
	Expires      []time.Time       // of each value; kept in whole milliseconds
	Certificates []wire.Certificate
}

// StoreReq is the record as the body that would store it.
func (r *Record) StoreReq() *wire.StoreReq {
	k := wire.StoreKindData{Kind: r.Kind, Generation: r.Generation, Values: r.Values}
	return &wire.StoreReq{Resource: r.Resource, Replica: 1, Kinds: []wire.StoreKindData{k}}
}

// Key names the record among all.
func (r *Record) Key() string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(r.Kind))) + string(r.Resource)
}

// recordVersion is the first octet of a kept record. What follows is, in order: the fields of Record, numbers as varints,
// strings with their length in front.
const recordVersion = 1

var errRecord = errors.New("store: record is damaged")

// AppendTo appends the record as ParseRecord reads it.
func (r *Record) AppendTo(b []byte) []byte {
	b = appendString(append(b, recordVersion), string(r.Resource))
	b = binary.AppendUvarint(b, uint64(r.Kind))
	b = binary.AppendUvarint(b, r.Generation)
	b = binary.AppendUvarint(b, uint64(len(r.Certificates)))
	for _, c := range r.Certificates {
		b = appendString(append(b, c.Type), c.Data)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Values)))
	for i := range r.Values {
		b = appendKept(b, &r.Values[i], r.Expires[i])
	}
	return b
}

func appendKept(b []byte, d *wire.StoredData, expires time.Time) []byte {
	exists := byte(0)
	if d.Value.Exists {
		exists = 1
	}
	sig := &d.Signature
	b = append(b, byte(d.Value.Model), exists, sig.Hash, sig.Algorithm, sig.Identity.Type, sig.Identity.Hash)
	for _, n := range []uint64{uint64(max(0, expires.UnixMilli())), d.StorageTime, uint64(d.Lifetime), uint64(d.Value.Index)} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendString(appendString(b, d.Value.Key), d.Value.Data)
	return appendString(appendString(b, sig.Identity.CertHash), sig.Value)
}

func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// ParseRecord reads a record that AppendTo wrote. It keeps none of the octets of b. It checks the form, and nothing of what
// the values say.
func ParseRecord(b []byte) (Record, error) {
	if len(b) == 0 || b[0] != recordVersion {
		return Record{}, errRecord
	}
	p := reader{b: b[1:]}
	r := Record{Resource: wire.ResourceID(p.octets()), Kind: wire.KindID(p.number(1<<32 - 1)), Generation: p.number(1<<64 - 1)}
	for range p.count() {
		r.Certificates = append(r.Certificates, wire.Certificate{Type: p.octet(), Data: bytes.Clone(p.octets())})
	}
	for range p.count() {
		d, expires := p.kept()
		r.Values, r.Expires = append(r.Values, d), append(r.Expires, expires)
	}
	if p.bad || len(p.b) > 0 {
		return Record{}, errRecord
	}
	return r, nil
}

// reader takes a record apart; after a mistake it gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (p *reader) kept() (d wire.StoredData, expires time.Time) {
	d.Value.Model = wire.DataModel(p.octet())
	d.Value.Exists = p.octet() == 1
	sig := &d.Signature
	sig.Hash, sig.Algorithm = p.octet(), p.octet()
	sig.Identity.Type, sig.Identity.Hash = p.octet(), p.octet()
	expires = time.UnixMilli(int64(p.number(1<<63 - 1)))
	d.StorageTime, d.Lifetime, d.Value.Index = p.number(1<<64-1), uint32(p.number(1<<32-1)), uint32(p.number(1<<32-1))
	d.Value.Key, d.Value.Data = string(p.octets()), bytes.Clone(p.octets())
	sig.Identity.CertHash, sig.Value = string(p.octets()), bytes.Clone(p.octets())
	return d, expires
}

func (p *reader) fail() {
	p.b, p.bad = nil, true
}

func (p *reader) octet() byte {
	if len(p.b) == 0 {
		p.fail()
		return 0
	}
	c := p.b[0]
	p.b = p.b[1:]
	return c
}

func (p *reader) number(limit uint64) uint64 {
	n, used := binary.Uvarint(p.b)
	if used <= 0 || n > limit {
		p.fail()
		return 0
	}
	p.b = p.b[used:]
	return n
}

// count is the number of things that follow, of which each takes at least one octet.
func (p *reader) count() uint64 { return p.number(uint64(len(p.b))) }

func (p *reader) octets() []byte {
	n := p.count()
	if n > uint64(len(p.b)) {
		p.fail()
		return nil
	}
	s := p.b[:n]
	p.b = p.b[n:]
	return s
}
