package proxy

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/keyed"
)

// tokenPrefix marks a user part of our Record-Route values that holds a token.
const tokenPrefix = "rr."

// token is what this gateway has to remember of a dialog, kept in the user part of its own Record-Route value (RFC 5626
// §5.2): the ways to both sides. Requests of the dialog bring it back in their Route. It is bound to the Call-ID by an
// HMAC, so it cannot be made up and is of no use in another dialog: who presents it belongs to the dialog.
type token struct {
	caller uint32       // hash of the From tag of the request that opened the dialog
	near   location.Hop // where that request came from
	far    location.Hop // where it was sent to
	trunk  bool         // one of them is a trunk: requests of the dialog may go to its address
	// A Hop without Remote and Node means: follow Route and Request-URI as they stand, and send from Local when that is
	// over UDP.
}

// toward returns the way to the other side, seen from the sender of a request with this From tag.
func (t token) toward(fromTag string) location.Hop {
	if t.caller == tagHash(fromTag) {
		return t.far
	}
	return t.near
}

// tagHash tells the two sides of a dialog apart; it protects nothing.
func tagHash(tag string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(tag))
	return h.Sum32()
}

// sealer writes and reads tokens.
type sealer struct{ code *keyed.Code }

func newSealer(secret []byte) sealer { return sealer{keyed.New(secret)} }

// seal returns the user part for t in the dialogs of callID.
func (s sealer) seal(t token, callID string) string {
	b := make([]byte, 0, 96)
	b = binary.BigEndian.AppendUint32(b, t.caller)
	b = appendHop(b, t.near)
	b = appendHop(b, t.far)
	if t.trunk {
		b = append(b, tokenTrunk)
	}
	mac := s.code.Of(b, callID)
	b = append(b, mac[:tokenMAC]...)
	// These octets need no escape in a user part (RFC 3261 §25.1, unreserved).
	return string(base64.RawURLEncoding.AppendEncode(append(make([]byte, 0, 192), tokenPrefix...), b))
}

// open reads a user part. found is false when it is none of ours; ok is false when it is not genuine or of another
// dialog.
func (s sealer) open(user, callID string) (t token, found, ok bool) {
	text, found := strings.CutPrefix(user, tokenPrefix)
	if !found {
		return token{}, false, false
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 4+tokenMAC {
		return token{}, true, false
	}
	body := b[:len(b)-tokenMAC]
	// RFC 5626 §5.3.1: "verify the HMAC is correct by recomputing the HMAC and checking that it matches".
	if mac := s.code.Of(body, callID); !hmac.Equal(b[len(body):], mac[:tokenMAC]) {
		return token{}, true, false
	}
	t.caller = binary.BigEndian.Uint32(body)
	rest := body[4:]
	for _, h := range []*location.Hop{&t.near, &t.far} {
		if *h, rest, ok = cutHop(rest); !ok {
			return token{}, true, false
		}
	}
	t.trunk = len(rest) == 1 && rest[0] == tokenTrunk
	return t, true, len(rest) == 0 || t.trunk
}

// tokenTrunk ends the token of a dialog over a trunk.
const tokenTrunk byte = 1

// The first octet of a hop: what it is.
const (
	hopNone byte = iota
	hopNode
	hopUDP
	hopTCP
	hopTLS
	hopWS
	hopWSS
)

// hopTransports are the transports of a hop that is no gateway, by what it is.
var hopTransports = [...]string{hopUDP: "UDP", hopTCP: "TCP", hopTLS: "TLS", hopWS: "WS", hopWSS: "WSS"}

func appendHop(b []byte, h location.Hop) []byte {
	if h.Node != "" {
		if len(h.Node) > maxTokenNode {
			return append(b, hopNone) // Record-Route of the other gateway leads there
		}
		b = append(b, hopNode, byte(len(h.Node)))
		return append(b, h.Node...)
	}
	kind := byte(max(slices.Index(hopTransports[:], h.Transport), 0))
	if kind == hopNone {
		return append(b, hopNone)
	}
	b = append(b, kind)
	if kind != hopUDP {
		// Never the number of another connection, not even of a later process: see location.Hop.
		b = binary.BigEndian.AppendUint64(b, h.Flow)
	}
	return appendAddr(appendAddr(b, h.Remote), h.Local)
}

func cutHop(b []byte) (h location.Hop, rest []byte, ok bool) {
	if len(b) == 0 {
		return h, nil, false
	}
	kind, b := b[0], b[1:]
	switch kind {
	case hopNone:
		return h, b, true
	case hopNode:
		if len(b) == 0 || len(b)-1 < int(b[0]) {
			return h, nil, false
		}
		n := 1 + int(b[0])
		h.Node = string(b[1:n])
		return h, b[n:], true
	case hopUDP:
		h.Transport = "UDP"
	case hopTCP, hopTLS, hopWS, hopWSS:
		h.Transport = hopTransports[kind]
		if len(b) < 8 {
			return h, nil, false
		}
		h.Flow, b = binary.BigEndian.Uint64(b), b[8:]
	default:
		return h, nil, false
	}
	if h.Remote, b, ok = cutAddr(b); !ok {
		return h, nil, false
	}
	h.Local, b, ok = cutAddr(b)
	return h, b, ok
}

// appendAddr writes an address as its length, its octets and the port; one that is not valid as a zero.
func appendAddr(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().WithZone("")
	b, _ = ip.AppendBinary(append(b, byte(ip.BitLen()/8))) // never fails
	if !ip.IsValid() {
		return b
	}
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func cutAddr(b []byte) (a netip.AddrPort, rest []byte, ok bool) {
	if len(b) == 0 {
		return a, nil, false
	}
	n := int(b[0])
	if b = b[1:]; n == 0 {
		return a, b, true
	}
	if len(b) < n+2 {
		return a, nil, false
	}
	ip, ok := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[n:])), b[n+2:], ok
}
