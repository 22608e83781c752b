package route

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Opaque stands short opaque IDs for lists of destinations: those by which the answers to requests go back. RFC 6940 §6.1.2:
// opaque IDs "can replace any number of Via List entries". An ID is "12 bits for the [...] index and 3 bits for the generation
// counter" (§6.3.2.2), behind a one bit.
type Opaque struct {
	keep   time.Duration
	slots  []opaqueSlot // at most opaqueSlots
	index  map[string]int
	next   int // slots are "used on a rotating basis"
	octets int
	rand   *rand.Rand
}

type opaqueSlot struct {
	list    string
	counter uint16
	until   time.Time
}

// NewOpaque returns a table in which an ID is good for keep after it was last given out, at least: as long as the answer to a
// request may take.
func NewOpaque(keep time.Duration, r *rand.Rand) *Opaque {
	return &Opaque{keep: keep, index: make(map[string]int), rand: r}
}

// Len counts the lists.
func (o *Opaque) Len() int { return len(o.index) }

// Stand returns the ID of a list, which is copied. It reports false when there is no room: no list is forgotten that an
// answer may need.
func (o *Opaque) Stand(now time.Time, l wire.DestinationList) (wire.Destination, bool) {
	i, known := o.index[string(l)]
	if !known {
		var ok bool
		if i, ok = o.free(now, len(l)); !ok {
			return wire.Destination{}, false
		}
		s := &o.slots[i]
		delete(o.index, s.list)
		o.octets += len(l) - len(s.list)
		s.list = string(l)
		s.counter = (s.counter + 1) % opaqueCounters
		o.index[s.list] = i
		o.next = (i + 1) % opaqueSlots
	}
	s := &o.slots[i]
	s.until = now.Add(o.keep)
	id := 0x8000 | uint16(i)*opaqueCounters | s.counter
	return wire.Destination{Type: wire.DestShortOpaque, Opaque: string(binary.BigEndian.AppendUint16(nil, id))}, true
}

// free finds a slot for so many octets: a new one, or the next in turn if its time is over.
func (o *Opaque) free(now time.Time, octets int) (int, bool) {
	if len(o.slots) < opaqueSlots && o.octets+octets <= maxOpaqueOctets {
		// "When a Node first joins the overlay, the generation counters SHOULD be initialized to random values."
		o.slots = append(o.slots, opaqueSlot{counter: uint16(o.rand.IntN(opaqueCounters))})
		return len(o.slots) - 1, true
	}
	if len(o.slots) == 0 {
		return 0, false
	}
	i := o.next % len(o.slots)
	s := &o.slots[i]
	return i, !s.until.After(now) && o.octets-len(s.list)+octets <= maxOpaqueOctets
}

// Unpack returns the list that d stands for. It reports false when d is not an ID of ours, or stands for something else by
// now: "the peer MUST confirm that the generation counter matches the current generation counter of that index before
// forwarding the message" (RFC 6940 §6.3.2.2).
func (o *Opaque) Unpack(d wire.Destination) (wire.DestinationList, bool) {
	if d.Type != wire.DestShortOpaque || len(d.Opaque) != 2 {
		return nil, false
	}
	id := binary.BigEndian.Uint16([]byte(d.Opaque)) &^ 0x8000
	i := int(id / opaqueCounters)
	if i >= len(o.slots) || o.slots[i].counter != id%opaqueCounters {
		return nil, false
	}
	return wire.DestinationList(o.slots[i].list), true
}
