package wire

import "net/netip"

// TurnServer is the value of a TURN-SERVICE (RFC 6940 §9): where a peer offers TURN.
//
//	iteration u8 · server_address
type TurnServer struct {
	Iteration  uint8          // d, from 1 to the overlay's turn-density
	Address    netip.AddrPort // not valid when its type is unknown
	RawAddress []byte         // the whole IpAddressPort of an unknown address type, for re-encoding
}

// ParseTurnServer reads one value; it aliases b. The error is a *SyntaxError.
func ParseTurnServer(b []byte) (TurnServer, error) {
	c := newCursor(b)
	t := TurnServer{Iteration: c.u8("TurnServer.iteration")}
	t.Address, t.RawAddress = c.address("TurnServer.server_address")
	return t, c.done("TurnServer")
}

// AppendTo appends the encoded value.
func (t TurnServer) AppendTo(b []byte) []byte {
	return appendAddress(append(b, t.Iteration), t.Address, t.RawAddress)
}

// TurnResource is where node stores its TURN-SERVICE for the value d. RFC 6940 §9: "the peer forms a Resource Name by
// concatenating its Node-ID and the value d. This Resource Name is hashed to form a Resource-ID." How wide d is the
// text does not say: one octet, as TurnServer.iteration.
func TurnResource(node NodeID, d uint8) ResourceID {
	return ResourceIDOf(string(append(node.Bytes(), d)))
}
