package location

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"
)

// The journal's form of a set (what keeps them is in pieces.go): a version octet, then each binding's fields in order, strings with a length in front, numbers as
// varints. Connections do not outlive the process, so Hop.Flow is kept only to know that there was one. Older versions are still
// read: version 1 ends with Path, version 2 with Since.
const (
	codecVersion        = 3
	codecVersionDevices = 2
	codecVersionOld     = 1
)

var errCorrupt = errors.New("record is damaged")

func appendSet(b []byte, set []Binding) []byte {
	b = append(b, codecVersion)
	b = binary.AppendUvarint(b, uint64(len(set)))
	for i := range set {
		b = appendBinding(b, &set[i])
	}
	return b
}

func appendBinding(b []byte, v *Binding) []byte {
	for _, s := range [...]string{v.Contact, v.Params, v.CallID, v.UserAgent, v.Hop.Transport, v.Hop.Host, v.Hop.Node} {
		b = appendString(b, s)
	}
	b = appendAddr(appendAddr(b, v.Hop.Remote), v.Hop.Local)
	for _, n := range [...]uint64{uint64(v.Q), uint64(v.CSeq), v.Hop.Flow, unix(v.Expires), unix(v.Registered), unix(v.Updated),
		uint64(len(v.Path))} {
		b = binary.AppendUvarint(b, n)
	}
	for _, p := range v.Path {
		b = appendString(b, p)
	}
	b = appendString(b, v.Instance)
	b = binary.AppendUvarint(b, uint64(v.RegID))
	b = binary.AppendUvarint(b, unix(v.Since))
	bulk := uint64(0)
	if v.Bulk {
		bulk = 1
	}
	return binary.AppendUvarint(b, bulk)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	var buf [64]byte
	text := buf[:0]
	if a.IsValid() {
		text = a.AppendTo(text)
	}
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func parseSet(b []byte) ([]Binding, error) {
	if len(b) == 0 || b[0] < codecVersionOld || b[0] > codecVersion {
		return nil, errCorrupt
	}
	r := reader{b: b[1:], version: b[0]}
	n := r.number()
	if n > uint64(len(b)) {
		return nil, errCorrupt
	}
	set := make([]Binding, n)
	for i := range set {
		r.binding(&set[i])
	}
	if r.bad || len(r.b) != 0 {
		return nil, errCorrupt
	}
	return set, nil
}

// reader takes fields from the front of b; after the first that does not fit, all are zero.
type reader struct {
	b       []byte
	version byte
	bad     bool
}

func (r *reader) binding(v *Binding) {
	v.Contact, v.Params, v.CallID, v.UserAgent = r.string(), r.string(), r.string(), r.string()
	v.Hop.Transport, v.Hop.Host, v.Hop.Node = r.string(), r.string(), r.string()
	v.Hop.Remote, v.Hop.Local = r.addr(), r.addr()
	v.Q, v.CSeq, v.Hop.Flow = int(r.number()), uint32(r.number()), r.number()
	v.Expires, v.Registered, v.Updated = fromUnix(r.number()), fromUnix(r.number()), fromUnix(r.number())
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad = true
		return
	}
	for range n {
		v.Path = append(v.Path, r.string())
	}
	if r.version == codecVersionOld {
		return
	}
	v.Instance, v.RegID, v.Since = r.string(), uint32(r.number()), fromUnix(r.number())
	if r.version > codecVersionDevices {
		v.Bulk = r.number() == 1
	}
}

func (r *reader) number() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) string() string {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) addr() netip.AddrPort {
	s := r.string()
	if s == "" {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		r.bad = true
	}
	return a
}

// unix is a time as milliseconds, 0 for the zero time.
func unix(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli())
}

func fromUnix(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}
