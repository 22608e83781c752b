package transaction

import (
	"sync"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// octets is memory for the wire form of a message that is sent to a hop. Over UDP it may be used again as soon as it is sent (flow.Table.Send), and once
// nothing repeats it; else it is nil, and the memory new.
type octets struct{ b []byte }

var spareOctets = sync.Pool{New: func() any { return new(octets) }}

func newOctets(to location.Hop) *octets {
	if to.Transport != flow.UDP || to.Node != "" {
		return nil
	}
	return spareOctets.Get().(*octets)
}

// of is the wire form of m.
func (w *octets) of(m *message.Message) []byte {
	if w == nil {
		return m.AppendTo(nil)
	}
	w.b = m.AppendTo(w.b[:0])
	return w.b
}

// free is for when nobody has the octets any more.
func (w *octets) free() {
	if w != nil && cap(w.b) <= maxWire {
		spareOctets.Put(w)
	}
}
