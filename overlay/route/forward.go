package route

import (
	"bytes"
	"encoding/binary"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Offsets in the forwarding header (RFC 6940 §6.3.2).
const (
	offTTL    = 11
	offLength = 16
	offVia    = 32
	offDest   = 34
)

// Hop is one step of a message through a node.
type Hop struct {
	// Previous is the node that a request came from; zero for a response: "There is no requirement to use either of the
	// mechanisms described above (Via List or state retention) when processing a response message" (RFC 6940 §6.1.2).
	Previous     wire.NodeID
	Destinations wire.DestinationList // with which it leaves
	// Instead, when it is set, is an opaque ID that takes the place of the Via List and of Previous.
	Instead wire.Destination
}

// Append returns the octets of a message as they leave this node: one TTL less, the previous hop "append[ed] to the Via
// List" (RFC 6940 §6.1.2), our own entries gone from the Destination List, everything behind the header untouched. h and
// n are what ParseHeader made of raw, which is the function's from now on: when no list changes, raw itself is patched
// and returned. h.TTL must not be 0.
func (p Hop) Append(raw []byte, h *wire.Header, n int) []byte {
	grow := 0
	if !p.Previous.IsZero() {
		grow = 2 + p.Previous.Len()
	}
	shrink := len(h.Destinations) - len(p.Destinations)
	if grow == 0 && shrink == 0 && bytes.Equal(h.Destinations, p.Destinations) {
		raw[offTTL]--
		return raw
	}
	out := make([]byte, 0, len(raw)+grow-shrink)
	out = append(out, raw[:wire.HeaderFixedLen]...)
	switch {
	case p.Instead.Type != 0:
		out = p.Instead.AppendTo(out)
	case grow > 0:
		out = wire.ToNode(p.Previous).AppendTo(append(out, h.Via...))
	default:
		out = append(out, h.Via...)
	}
	via := len(out) - wire.HeaderFixedLen
	out = append(out, p.Destinations...)
	out = append(out, h.Options...)
	out = append(out, raw[n:]...)
	out[offTTL]--
	binary.BigEndian.PutUint32(out[offLength:], uint32(len(out)))
	binary.BigEndian.PutUint16(out[offVia:], uint16(via))
	binary.BigEndian.PutUint16(out[offDest:], uint16(len(p.Destinations)))
	return out
}

// Shortcut takes a loop out of the way that a request has come: when it has been at self before, what its Via List says since
// then is forgotten, and ok is true. The answer, whose Destination List may not name a node twice (RFC 6940 §13.6.5), goes back
// from self as it would have then; the previous hop is not to be appended. raw is not changed.
func Shortcut(raw []byte, h *wire.Header, n int, self wire.NodeID) (shorter []byte, header wire.Header, size int, ok bool) {
	for rest := h.Via; len(rest) > 0; rest = rest.Rest() {
		if d, _ := rest.First(); d.Type != wire.DestNode || d.Node != self {
			continue
		}
		header = *h
		header.Via = h.Via[:len(h.Via)-len(rest)]
		header.Length -= uint32(len(rest))
		shorter = header.AppendTo(make([]byte, 0, len(raw)))
		size = len(shorter)
		return append(shorter, raw[n:]...), header, size, true
	}
	return nil, wire.Header{}, 0, false
}

// ReturnPath is the Destination List of the answer to a request with header h that came from previous: "the
// concatenation of the Node-ID of the node from which the request was received with the Via List in the original
// request" in reverse (RFC 6940 §6.1.2, §6.2.2).
func ReturnPath(h *wire.Header, previous wire.NodeID) wire.DestinationList {
	first := wire.NewDestinationList(wire.ToNode(previous))
	return append(first, h.Via.Reversed()...)
}

// Readdress returns a sealed message with another Destination List. The signature does not cover the header (RFC 6940
// §6.3.4), so an answer can be repeated to a copy of the request that took another way. raw is not changed.
func Readdress(raw []byte, l wire.DestinationList) []byte {
	h, n, err := wire.ParseHeader(raw)
	if err != nil {
		return raw
	}
	h.Destinations = l
	h.Length = uint32(wire.HeaderFixedLen + len(h.Via) + len(l) + len(h.Options) + len(raw) - n)
	return append(h.AppendTo(make([]byte, 0, h.Length)), raw[n:]...)
}
