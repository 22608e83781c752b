package wire

import (
	"encoding/binary"
	"strings"
)

// cursor reads the presentation language of RFC 6940 §6.3.1. The first error sticks: later reads return zero
// values, so that a parser looks at err once, at its end. Names are literals of the form "Struct.field"; they cost
// nothing until there is an error. What it returns aliases b.
type cursor struct {
	b        []byte
	off, end int // next octet; end of the innermost open vector
	idLen    int // octets of a NodeId
	model    func(KindID) (DataModel, bool)
	err      *SyntaxError
}

func newCursor(b []byte) cursor { return cursor{b: b, end: len(b)} }

func (c *cursor) fail(name string, err error) {
	if c.err == nil {
		s, f, _ := strings.Cut(name, ".")
		c.err = &SyntaxError{Struct: s, Field: f, Offset: c.off, Err: err}
	}
}

// done ends the parsing of the structure called name: nothing may be left.
func (c *cursor) done(name string) error {
	if c.off != c.end {
		c.fail(name, ErrTrailing)
	}
	if c.err != nil {
		return c.err
	}
	return nil
}

// more reports whether a list goes on.
func (c *cursor) more() bool { return c.err == nil && c.off < c.end }

// take reads n octets. Their capacity is their length: appending to them copies.
func (c *cursor) take(n uint32, name string) []byte {
	if uint64(n) > uint64(c.end-c.off) {
		c.fail(name, ErrTruncated)
	}
	if c.err != nil {
		return nil
	}
	from := c.off
	c.off += int(n)
	return c.b[from:c.off:c.off]
}

func (c *cursor) rest(name string) []byte { return c.take(uint32(c.end-c.off), name) }

func (c *cursor) u8(name string) uint8 {
	if p := c.take(1, name); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) u16(name string) uint16 {
	if p := c.take(2, name); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) u32(name string) uint32 {
	if p := c.take(4, name); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) u64(name string) uint64 {
	if p := c.take(8, name); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// boolean reads a Boolean: "either a 1 or a 0" (RFC 6940 §6.3.1.1).
func (c *cursor) boolean(name string) bool {
	at := c.off
	v := c.u8(name)
	if v > 1 {
		c.off = at
		c.fail(name, ErrBoolean)
	}
	return v == 1
}

// length reads a length of width octets.
func (c *cursor) length(width int, name string) uint32 {
	var n uint32
	for _, o := range c.take(uint32(width), name) {
		n = n<<8 | uint32(o)
	}
	return n
}

// vec reads a vector with a length of width octets: opaque name<0..2^(8*width)-1>.
func (c *cursor) vec(width int, name string) []byte { return c.take(c.length(width, name), name) }

func (c *cursor) str(width int, name string) string { return string(c.vec(width, name)) }

// open enters a vector with a length of width octets; shut leaves it with what open returned and refuses what is left.
func (c *cursor) open(width int, name string) (outer int) {
	return c.narrow(c.length(width, name), name)
}

// narrow makes the next n octets all that there is to read.
func (c *cursor) narrow(n uint32, name string) (outer int) {
	outer = c.end
	if uint64(n) > uint64(c.end-c.off) {
		c.fail(name, ErrTruncated)
	}
	if c.err == nil {
		c.end = c.off + int(n)
	}
	return outer
}

func (c *cursor) shut(outer int, name string) {
	if c.off != c.end {
		c.fail(name, ErrTrailing)
	}
	c.end = outer
}

// nodeID reads a NodeId: node-id-length octets without a length (RFC 6940 §6.3.1.1).
func (c *cursor) nodeID(name string) NodeID {
	at := c.off
	id, ok := nodeIDFrom(c.take(uint32(c.idLen), name))
	if !ok && c.err == nil {
		c.off = at
		c.fail(name, ErrNodeID)
	}
	return id
}

// nodeIDs reads NodeId name<0..2^16-1>.
func (c *cursor) nodeIDs(name string) []NodeID {
	var ids []NodeID
	outer := c.open(2, name)
	if n := (c.end - c.off) / c.idLen; n > 0 && c.err == nil {
		ids = make([]NodeID, 0, n)
	}
	for c.more() {
		ids = append(ids, c.nodeID(name))
	}
	c.shut(outer, name)
	return ids
}

// resource reads a ResourceId of at least one octet.
func (c *cursor) resource(name string) ResourceID {
	at := c.off
	p := c.vec(1, name)
	if c.err == nil && (len(p) == 0 || len(p) > MaxResourceIDLen) {
		c.off = at
		c.fail(name, ErrResource)
	}
	return ResourceID(p)
}
