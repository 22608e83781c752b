package sim

import "github.com/p2psip/p2psip-gateway/overlay/wire"

// Traffic is what a host had to do with messages since the start of the world.
type Traffic struct {
	Sent, Received int
	Octets         int // sent
}

// Traffic is the host's.
func (h *Host) Traffic() Traffic { return h.traffic }

// unanswered notes that a copy of a message met a dead host, or a wall.
func (w *World) unanswered(tx wire.TransactionID) {
	if l := w.lookups[tx]; l != nil {
		l.timeouts++
	}
}
