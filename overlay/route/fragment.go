package route

import (
	"encoding/binary"
	"errors"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const offFragment = 12 // in the forwarding header (RFC 6940 §6.3.2)

// ErrUncuttable means that a message cannot be cut for a path: header and lists leave too little room, or what is to be cut
// is too short. RFC 6940 §6.7: "RELOAD fragmentation is not performed, and IP-layer fragmentation is allowed to occur".
var ErrUncuttable = errors.New("route: message cannot be fragmented for this path")

// Fragment cuts raw, a whole message or a fragment of one, for a link that carries pmtu octets of RELOAD message at a time
// (RFC 6940 §6.7). What fits is returned as it is, raw itself and alone. The others are new octets; raw is not changed. The
// error is ErrUncuttable or a *wire.SyntaxError.
func Fragment(raw []byte, pmtu int) ([][]byte, error) {
	h, n, err := wire.ParseHeader(raw)
	if err != nil {
		return nil, err
	}
	if len(raw) <= pmtu {
		return [][]byte{raw}, nil
	}
	body := raw[n:]
	base := int(h.Fragment & wire.FragmentOffset)
	// RFC 6940 §6.7: fragments "no larger than the Path MTU (PMTU) of the next overlay link minus 32 bytes. This is to allow
	// the Via List to grow before further fragmentation is required."
	room := pmtu - viaRoom - n
	if room < MinFragmentBody || base+len(body) > int(wire.FragmentOffset) {
		return nil, ErrUncuttable
	}
	count := (len(body) + room - 1) / room
	// RFC 6940 §6.7: each fragment "MUST contain at least 256 bytes of the message body".
	if len(body)/count < MinFragmentBody {
		return nil, ErrUncuttable
	}
	parts := make([][]byte, count)
	for i := range parts {
		// RFC 6940 §6.7: "it SHOULD be split into equal-sized fragments": here, equal but for one octet.
		from, to := len(body)*i/count, len(body)*(i+1)/count
		field := wire.FragmentHigh | uint32(base+from)
		if i == count-1 {
			field |= h.Fragment & wire.FragmentLast
		}
		parts[i] = withBody(raw[:n], body[from:to], field)
	}
	return parts, nil
}

// withBody puts a body behind a header. RFC 6940 §6.7: "Each fragment MUST contain a full copy of the Via List, Destination
// List, and ForwardingOptions", and "The length field MUST contain the size of the message after fragmentation".
func withBody(header, body []byte, field uint32) []byte {
	b := make([]byte, 0, len(header)+len(body))
	b = append(append(b, header...), body...)
	binary.BigEndian.PutUint32(b[offFragment:], field)
	binary.BigEndian.PutUint32(b[offLength:], uint32(len(b)))
	return b
}
