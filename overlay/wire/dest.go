package wire

import (
	"encoding/hex"
	"iter"
	"strconv"
)

// DestinationType is the type octet of a Destination (RFC 6940 §6.3.2.2).
type DestinationType uint8

// The destination types (RFC 6940 §6.3.2.2). ShortOpaque has no type octet on the wire: its two octets start with a
// one bit.
const (
	DestNode        DestinationType = 1
	DestResource    DestinationType = 2
	DestOpaque      DestinationType = 3
	DestShortOpaque DestinationType = 0x80
)

// Destination is one entry of a Via List or Destination List (RFC 6940 §6.3.2.2). Exactly the field that Type
// names is set. It is comparable. An unknown type keeps its octets in Opaque.
//
//	type u8 · length u8 · node_id | resource_id v8 | opaque_id v8
//	opaque_id u16, top bit one
type Destination struct {
	Type     DestinationType
	Node     NodeID
	Resource ResourceID
	Opaque   string
}

// ToNode is the destination of one node.
func ToNode(id NodeID) Destination { return Destination{Type: DestNode, Node: id} }

// ToResource is the destination of whoever is responsible for r.
func ToResource(r ResourceID) Destination { return Destination{Type: DestResource, Resource: r} }

// String is "node:00112233...", "resource:...", "opaque:..." or "type9:...", in hexadecimal.
func (d Destination) String() string {
	switch d.Type {
	case DestNode:
		return "node:" + d.Node.String()
	case DestResource:
		return "resource:" + d.Resource.String()
	case DestOpaque, DestShortOpaque:
		return "opaque:" + hex.EncodeToString([]byte(d.Opaque))
	}
	return "type" + strconv.Itoa(int(d.Type)) + ":" + hex.EncodeToString([]byte(d.Opaque))
}

// AppendTo appends the encoded entry.
func (d Destination) AppendTo(b []byte) []byte {
	if d.Type == DestShortOpaque {
		return append(b, d.Opaque...)
	}
	b = append(b, byte(d.Type))
	b, at := begin(b, 1)
	switch d.Type {
	case DestNode:
		b = d.Node.AppendTo(b)
	case DestResource:
		b = appendVec(b, 1, d.Resource, "Destination.resource_id")
	case DestOpaque:
		b = appendVec(b, 1, d.Opaque, "Destination.opaque_id")
	default:
		b = append(b, d.Opaque...)
	}
	return finish(b, at, 1, "Destination.length")
}

// span returns the type and the value of the first entry of p, without its type and length, and the size of the
// entry; size is 0 when p is too short.
func span(p []byte) (t DestinationType, value []byte, size int) {
	switch {
	case len(p) < 2:
		return 0, nil, 0
	case p[0]&0x80 != 0:
		// RFC 6940 §6.3.2.2: "If the destination structure is a 16-bit integer, then the first bit MUST be set to 1".
		return DestShortOpaque, p[:2], 2
	case len(p) < 2+int(p[1]):
		return 0, nil, 0
	}
	size = 2 + int(p[1])
	return DestinationType(p[0]), p[2:size], size
}

// check says what is wrong with the value of a destination, without copying anything.
func (t DestinationType) check(value []byte) error {
	switch t {
	case 0:
		return ErrSelector
	case DestNode:
		if _, ok := nodeIDFrom(value); !ok {
			return ErrNodeID
		}
	case DestResource:
		if len(value) < 2 || int(value[0]) != len(value)-1 {
			return ErrDestination
		}
	case DestOpaque:
		if len(value) < 1 || int(value[0]) != len(value)-1 {
			return ErrDestination
		}
	}
	// RFC 6940 §6.3.2.2: the length "allows an implementation which does not understand a given DestinationType to skip
	// over it".
	return nil
}

// destination makes a Destination of a checked value.
func (t DestinationType) destination(value []byte) Destination {
	d := Destination{Type: t}
	switch t {
	case DestNode:
		d.Node, _ = nodeIDFrom(value)
	case DestResource:
		d.Resource = ResourceID(value[1:])
	case DestOpaque:
		d.Opaque = string(value[1:])
	default:
		d.Opaque = string(value)
	}
	return d
}

// destination reads one Destination. A resource is refused unless resourceOK.
func (c *cursor) destination(name string, resourceOK bool) (DestinationType, []byte) {
	if c.err != nil {
		return 0, nil
	}
	t, value, size := span(c.b[c.off:c.end])
	switch {
	case size == 0:
		c.fail(name, ErrTruncated)
	case t == DestResource && !resourceOK:
		c.fail(name, ErrResourcePlace)
	case t == DestNode && c.idLen != 0 && len(value) != c.idLen:
		c.fail(name, ErrNodeID)
	}
	if err := t.check(value); err != nil {
		c.fail(name, err)
	}
	if c.err == nil {
		c.off += size
	}
	return t, value
}

// viaList reads the n octets of a Via List.
func (c *cursor) viaList(n uint16, name string) DestinationList {
	from, outer := c.off, c.narrow(uint32(n), name)
	for c.more() {
		// RFC 6940 §6.3.2.2: a resource "MUST NOT appear in a Via List".
		c.destination(name, false)
	}
	return c.list(from, outer)
}

// destinationList reads the n octets of a Destination List.
func (c *cursor) destinationList(n uint16, name string) DestinationList {
	from, outer := c.off, c.narrow(uint32(n), name)
	for c.more() {
		at := c.off
		// RFC 6940 §6.3.2.2: a resource "MUST appear only in the final location of a Destination List".
		if t, _ := c.destination(name, true); t == DestResource && c.more() {
			c.off = at
			c.fail(name, ErrResourcePlace)
		}
	}
	return c.list(from, outer)
}

func (c *cursor) list(from, outer int) []byte {
	if c.err != nil {
		return nil
	}
	c.end = outer
	return c.b[from:c.off:c.off]
}

// DestinationList is a Via List or Destination List in its encoded form, without a length prefix: what a
// forwarding peer copies without looking at it. ParseHeader has checked the lists that it returns; they alias
// the received octets and must not be modified. A nil list is empty.
type DestinationList []byte

// ParseDestinationList checks an encoded Destination List. The list aliases b. The error is a *SyntaxError.
func ParseDestinationList(b []byte) (DestinationList, error) {
	if len(b) > 0xffff {
		return nil, &SyntaxError{Struct: "DestinationList", Err: ErrSize}
	}
	c := newCursor(b)
	l := c.destinationList(uint16(len(b)), "DestinationList")
	return l, c.done("DestinationList")
}

// NewDestinationList encodes a list.
func NewDestinationList(d ...Destination) DestinationList { return DestinationList(nil).Append(d...) }

// Append returns a new list with d behind l. It never writes to the octets of l.
func (l DestinationList) Append(d ...Destination) DestinationList {
	r := make(DestinationList, len(l), len(l)+len(d)*(2+MaxNodeIDLen))
	copy(r, l)
	for _, e := range d {
		r = e.AppendTo(r)
	}
	return r
}

// First returns the first entry.
func (l DestinationList) First() (d Destination, ok bool) {
	t, value, size := span(l)
	if size == 0 || t.check(value) != nil {
		return d, false
	}
	return t.destination(value), true
}

// Last returns the last entry.
func (l DestinationList) Last() (d Destination, ok bool) {
	last := l
	for rest := l.Rest(); len(rest) > 0; rest = rest.Rest() {
		last = rest
	}
	return last.First()
}

// Rest is the list without its first entry; it aliases l.
func (l DestinationList) Rest() DestinationList {
	_, _, size := span(l)
	if size == 0 {
		return nil
	}
	return l[size:]
}

// Len counts the entries.
func (l DestinationList) Len() int {
	n := 0
	for ; len(l) > 0; l = l.Rest() {
		n++
	}
	return n
}

// All iterates over the entries.
func (l DestinationList) All() iter.Seq[Destination] {
	return func(yield func(Destination) bool) {
		for ; len(l) > 0; l = l.Rest() {
			if d, ok := l.First(); !ok || !yield(d) {
				return
			}
		}
	}
}

// Reversed returns a new list in opposite order: how a Via List becomes a Destination List (RFC 6940 §6.2.2).
func (l DestinationList) Reversed() DestinationList {
	r := make(DestinationList, len(l))
	end := len(r)
	for len(l) > 0 {
		rest := l.Rest()
		entry := l[:len(l)-len(rest)]
		end -= len(entry)
		copy(r[end:], entry)
		l = rest
	}
	return r[end:]
}
