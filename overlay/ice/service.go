package ice

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Entry is one TURN-SERVICE value and where it is stored.
type Entry struct {
	Resource wire.ResourceID
	Server   wire.TurnServer
}

// FindTarget draws a Resource-ID for a Find of TURN-SERVICE. RFC 6940 §9: "Peers MAY find other servers by selecting a
// random Resource-ID and then doing a Find request for the appropriate Kind-ID with that Resource-ID"; without a result
// "the process gets repeated with some other random Resource-ID".
func FindTarget(r *rand.Rand) wire.ResourceID {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], r.Uint64())
	binary.BigEndian.PutUint64(b[8:], r.Uint64())
	return wire.ResourceID(b[:])
}

// Entries are what the peer node stores when it offers TURN at server, which says nothing of the iteration. RFC 6940 §9:
// "If the turn-density is not set to zero, for each value, called d, between 1 and turn-density". The Kind ends at 20.
func Entries(node wire.NodeID, density uint8, server wire.TurnServer) []Entry {
	var list []Entry
	for d := uint8(1); d <= min(density, MaxDensity); d++ {
		server.Iteration = d
		list = append(list, Entry{wire.TurnResource(node, d), server})
	}
	return list
}
