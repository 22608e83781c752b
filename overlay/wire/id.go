package wire

import (
	"encoding/hex"
	"fmt"
)

// NodeID is a Node-ID: 16 to 20 octets, fixed per overlay (RFC 6940 §3, §6.3.1.1). It is comparable and may be
// a map key; the zero value is no node.
type NodeID struct {
	n uint8
	b [MaxNodeIDLen]byte
}

// NodeIDFromBytes copies b, which must be 16 to 20 octets long.
func NodeIDFromBytes(b []byte) (NodeID, error) {
	var id NodeID
	if len(b) < MinNodeIDLen || len(b) > MaxNodeIDLen {
		return id, fmt.Errorf("wire: Node-ID of %d octets, want %d to %d", len(b), MinNodeIDLen, MaxNodeIDLen)
	}
	id.n = uint8(copy(id.b[:], b))
	return id, nil
}

// nodeIDFrom copies p. It refuses other lengths and zero: "a value of 0 is not used in the wire protocol" (RFC 6940
// §3).
func nodeIDFrom(p []byte) (id NodeID, ok bool) {
	if len(p) < MinNodeIDLen || len(p) > MaxNodeIDLen {
		return id, false
	}
	copy(id.b[:], p)
	if id.b == [MaxNodeIDLen]byte{} {
		return id, false
	}
	id.n = uint8(len(p))
	return id, true
}

// ParseNodeID reads the hexadecimal form.
func ParseNodeID(s string) (NodeID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return NodeID{}, fmt.Errorf("wire: Node-ID %q: %w", s, err)
	}
	return NodeIDFromBytes(b)
}

// Wildcard is the Node-ID of all ones, "any directly connected node", n octets long (RFC 6940 §3).
func Wildcard(n int) NodeID {
	id := NodeID{n: uint8(n)}
	for i := range n {
		id.b[i] = 0xff
	}
	return id
}

// Len is the length in octets, 0 for the zero value.
func (id NodeID) Len() int { return int(id.n) }

// AppendTo appends the raw octets: a NodeId carries no length prefix (RFC 6940 §6.3.1.1).
func (id NodeID) AppendTo(b []byte) []byte { return append(b, id.b[:id.n]...) }

// Bytes returns a copy of the octets.
func (id NodeID) Bytes() []byte { return id.AppendTo(nil) }

// Array16 returns the first 16 octets, all that CHORD-RELOAD uses (RFC 6940 §10.1).
func (id NodeID) Array16() [16]byte { return [16]byte(id.b[:16]) }

// IsZero reports whether id is no node.
func (id NodeID) IsZero() bool { return id.n == 0 }

// IsWildcard reports whether every bit is one (RFC 6940 §3).
func (id NodeID) IsWildcard() bool { return id.n != 0 && id == Wildcard(int(id.n)) }

// Compare orders Node-IDs as unsigned big-endian numbers (RFC 6940 §6.5.1.2 compares them so).
func (id NodeID) Compare(o NodeID) int {
	for i := range id.b {
		if id.b[i] != o.b[i] {
			if id.b[i] < o.b[i] {
				return -1
			}
			return 1
		}
	}
	return int(id.n) - int(o.n)
}

// String is the whole identifier in hexadecimal.
func (id NodeID) String() string { return hex.EncodeToString(id.b[:id.n]) }

// Short is the first 8 hexadecimal characters, for logs.
func (id NodeID) Short() string { return hex.EncodeToString(id.b[:min(4, id.n)]) }

// ResourceID is a Resource-ID: 1 to 254 raw octets held in a string, so that it is comparable (RFC 6940 §6.3.1.1).
type ResourceID string

// String is the identifier in hexadecimal.
func (r ResourceID) String() string { return hex.EncodeToString([]byte(r)) }

// Short is the first 8 hexadecimal characters, for logs.
func (r ResourceID) Short() string { return hex.EncodeToString([]byte(r[:min(4, len(r))])) }

// The scalar identifiers of RFC 6940 §6.3.2, §6.3.3 and §7.
type (
	// OverlayID is the low 32 bits of SHA-1 of the overlay name (RFC 6940 §6.3.2).
	OverlayID uint32
	// TransactionID is 64 random bits; the response repeats the request's (RFC 6940 §6.3.2).
	TransactionID uint64
	// KindID names a Kind (RFC 6940 §7.4.5, §14.6).
	KindID uint32
	// MessageCode is a method code: odd for requests, request + 1 for the response (RFC 6940 §6.3.3, §14.8).
	MessageCode uint16
	// ErrorCode is the error_code of an ErrorResponse (RFC 6940 §6.3.3.1, §14.9).
	ErrorCode uint16
	// ApplicationID is a port-like number of an application, 5060 for SIP (RFC 6940 §14.5).
	ApplicationID uint16
)
