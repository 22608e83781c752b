package node_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// came is the message of a transaction that came to a client, or nil.
func came(c *sim.Client, tx wire.TransactionID) *wire.Message {
	i := slices.IndexFunc(c.Got, func(m *wire.Message) bool { return m.Header.Transaction == tx })
	if i < 0 {
		return nil
	}
	return c.Got[i]
}

// TestRFC6940_6_1_3_OpaqueIDStandsForALongViaList sends a request whose Via List is long over two hosts: the first puts an
// opaque ID in its place, the second adds to that, and the answer finds its way back over both. The Via List also holds an
// opaque ID of somebody else, which is handed on as it is.
//
// Conformance: C-17 C-18
func TestRFC6940_6_1_3_OpaqueIDStandsForALongViaList(t *testing.T) {
	w := ring(t, 2)
	from, to := w.NewClient(w.Host(0)), w.NewClient(w.Host(1))
	foreign := wire.Destination{Type: wire.DestShortOpaque, Opaque: "\xff\xff"}
	for _, entries := range []int{1, 6, 9} {
		m := from.Message(&wire.PingReq{}, toHost(w.Host(0)), toHost(w.Host(1)), toHost(to.Host))
		via := []wire.Destination{foreign}
		for i := range byte(entries) {
			via = append(via, wire.ToNode(nodeID(100+i)))
		}
		m.Header.Via = wire.NewDestinationList(via...)
		from.Send(from.Seal(m, nil))
		w.Run(100 * time.Millisecond)
		req := came(to, m.Header.Transaction)
		if req == nil {
			t.Fatalf("%d entries: no request", entries)
		}
		list := req.Header.Via
		compressed := list.Len() == 2
		if first, _ := list.First(); compressed != (entries == 9) || compressed && first.Type != wire.DestShortOpaque {
			t.Errorf("%d entries: via %x", entries, list)
		}
		answer := func(via wire.DestinationList) *wire.Message {
			from.Got = nil
			a := to.Message(&wire.PingAns{}, toHost(w.Host(1)))
			a.Header.Transaction = m.Header.Transaction
			a.Header.Destinations = append(a.Header.Destinations, via.Reversed()...)
			to.Send(to.Seal(a, nil))
			w.Run(100 * time.Millisecond)
			return came(from, m.Header.Transaction)
		}
		want := append(wire.NewDestinationList(toHost(from.Host)), m.Header.Via.Reversed()...)
		if ans := answer(list); ans == nil || !bytes.Equal(ans.Header.Destinations, want) {
			t.Errorf("%d entries: the answer came with %+v, want %x", entries, ans, want)
		}
		if !compressed {
			continue
		}
		stale := slices.Clone(list)
		stale[1] ^= 1 // the counter
		dropped := w.Counts["dropped:opaque_id"]
		if ans := answer(stale); ans != nil || w.Counts["dropped:opaque_id"] != dropped+1 {
			t.Errorf("an ID with another counter was not dropped in silence: %+v %v", ans, w.Counts)
		}
	}
}
