package route

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Verdict is what is to be done with a message.
type Verdict uint8

// The verdicts.
const (
	Drop Verdict = iota
	Deliver
	Forward
)

// Reason is why a message is not passed on: a closed set, used as a metric label.
type Reason string

// The reasons.
const (
	BadOverlay    Reason = "bad_overlay"
	BadVersion    Reason = "bad_version"
	BadTTL        Reason = "bad_ttl"        // above initial-ttl
	TTLExceeded   Reason = "ttl_exceeded"   // no hop left
	Fragmented    Reason = "fragmented"     // the fragment field of no message: its high bit is clear
	NoDestination Reason = "no_destination" // the list is empty, or too long to look at
	Repeated      Reason = "repeated_destination"
	NotAlone      Reason = "resource_not_alone"
	NotConnected  Reason = "not_connected" // a Node-ID in our range that is not linked to us
	OpaqueID      Reason = "opaque_id"     // not one that we made, or not any more
)

// Rules are what a forwarding header is checked against.
type Rules struct {
	Overlay    wire.OverlayID
	InitialTTL uint8
}

// Check looks at the fields of a header that every node examines first (RFC 6940 §6.1). The empty Reason is good news.
func (r Rules) Check(h *wire.Header) Reason {
	switch {
	case h.Overlay != r.Overlay:
		// RFC 6940 §6.3.2: "If the overlay field does not match [...] the message MUST be discarded".
		return BadOverlay
	case h.Version != wire.Version:
		return BadVersion
	case h.TTL > r.InitialTTL:
		// RFC 6940 §6.3.2: "If a message has a TTL greater than the value of the initial-ttl parameter [...], the
		// message MUST be discarded".
		return BadTTL
	case h.Fragment&wire.FragmentHigh == 0:
		// RFC 6940 §6.7: "messages [...] with the high bit clear SHOULD be discarded".
		return Fragmented
	}
	return checkList(h.Destinations)
}

// checkList refuses lists that make messages run in circles. RFC 6940 §13.6.5: a Destination List with duplicate entries
// is answered with Error_Invalid_Message.
func checkList(l wire.DestinationList) Reason {
	n := l.Len()
	switch {
	case n == 0 || n > MaxDestinations:
		return NoDestination
	case n == 1:
		return ""
	}
	if hasDuplicates(l, n) {
		return Repeated
	}
	return ""
}

func hasDuplicates(l wire.DestinationList, n int) bool {
	if n > maxPairwise {
		seen := make(map[wire.Destination]bool, n)
		for d := range l.All() {
			if seen[d] {
				return true
			}
			seen[d] = true
		}
		return false
	}
	for ; len(l) > 0; l = l.Rest() {
		d, _ := l.First()
		for rest := l.Rest(); len(rest) > 0; rest = rest.Rest() {
			if e, _ := rest.First(); e == d {
				return true
			}
		}
	}
	return false
}

// View is what a decision needs to know of the node.
type View interface {
	// Responsible reports whether the position that d names is the node's own (RFC 6940 §10.1).
	Responsible(d wire.Destination) bool
	// Connected reports whether there is a link with id, peer or client.
	Connected(id wire.NodeID) bool
	// Unpack is what an opaque ID of ours stands for.
	Unpack(d wire.Destination) (wire.DestinationList, bool)
}

// Decision is what is to be done with a message that arrived or was made here.
type Decision struct {
	Verdict Verdict
	Reason  Reason           // of Drop
	Next    wire.Destination // of Forward: towards what
	// Destinations is the list to forward with: what is left when entries that name this node are gone.
	Destinations wire.DestinationList
}

// Decide examines the Destination List (RFC 6940 §6.1).
func Decide(self wire.NodeID, l wire.DestinationList, v View) Decision {
	for unpacked := 0; ; {
		d, ok := l.First()
		if !ok {
			return Decision{Reason: NoDestination}
		}
		rest := l.Rest()
		switch {
		case d.Type == wire.DestNode && d.Node.IsWildcard():
			// RFC 6940 §6.1.1: "A message with a wildcard Node-ID as its first entry is never forwarded; it is consumed
			// locally."
			return Decision{Verdict: Deliver}
		case d.Type == wire.DestNode && d.Node == self && len(rest) == 0:
			return Decision{Verdict: Deliver}
		case d.Type == wire.DestNode && d.Node == self:
			// RFC 6940 §6.1.1: "the node removes the entry from the Destination List and repeats the routing process".
			l = rest
			continue
		case d.Type == wire.DestNode && !v.Connected(d.Node) && v.Responsible(d):
			// RFC 6940 §6.1.1: "the node MUST drop the message silently unless the Node-ID corresponds to a node which
			// is directly connected to this node".
			return Decision{Reason: NotConnected}
		case d.Type == wire.DestNode:
			return Decision{Verdict: Forward, Next: d, Destinations: l}
		case d.Type == wire.DestResource && !v.Responsible(d):
			return Decision{Verdict: Forward, Next: d, Destinations: l}
		case d.Type == wire.DestResource && len(rest) != 0:
			// RFC 6940 §6.1.1: "it MUST be the only entry on the Destination List. If there are other entries, the
			// message MUST be silently dropped."
			return Decision{Reason: NotAlone}
		case d.Type == wire.DestResource:
			return Decision{Verdict: Deliver}
		}
		// RFC 6940 §6.1.3: "If the first entry on the Destination List is an opaque ID (e.g., a compressed Via List), the peer
		// MUST replace the entry with the original Via List that it replaced and then re-examine the Destination List".
		list, ok := v.Unpack(d)
		if unpacked++; !ok || unpacked > maxUnpacked || len(list)+len(rest) > maxUnpackedOctets {
			return Decision{Reason: OpaqueID}
		}
		l = slices.Concat(list, rest)
	}
}
