package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// The owner of a record and both replicas die at the same moment. Whoever looks it up from then on gets it: the new owner does not say
// that there is nothing before the publisher has had the time to store it again, which it is told to.
func TestLookupsWaitForWhatHasLostAllCopies(t *testing.T) {
	var w *sim.World
	var r *sim.Record
	w = ring(t, 16, func(c *sim.Config) {
		c.Event = func(_ time.Duration, h *sim.Host, e node.Event) {
			if r != nil && h == r.Home && e.Type == node.EventUncertain {
				w.After(0, func() { w.Store(r) })
			}
		}
	})
	hosts := bereave(t, w, &r)
	asked, answered := 0, 0
	for range 60 {
		from := hosts[4+asked%8]
		asked++
		from.Do(r.OpFetch(), func(d node.Done) {
			if len(d.Values) == 1 {
				answered++
			} else {
				t.Errorf("at %v: %d values, %v %v", w.Elapsed(), len(d.Values), d.Err, d.Refused)
			}
		})
		w.Run(250 * time.Millisecond)
	}
	w.Run(16 * time.Second)
	if answered != asked {
		t.Errorf("%d of %d lookups were answered", answered, asked)
	}
}

// Nobody stores it again: then the answer is that there is nothing, before the request is too old.
func TestLookupsDoNotWaitForEver(t *testing.T) {
	var r *sim.Record
	w := ring(t, 16)
	hosts := bereave(t, w, &r)
	w.Run(12 * time.Second)
	for range 2 { // when it has waited, and when there is nothing to wait for any more
		d := do(t, w, hosts[4], r.OpFetch())
		if d.Err != nil || d.Refused != nil || len(d.Values) != 0 {
			t.Fatalf("%d values, %v %v", len(d.Values), d.Err, d.Refused)
		}
		w.Run(20 * time.Second)
	}
}

// bereave stores a record and kills all that hold it; its home is another. It returns the hosts in the order of the ring, the dead
// first.
func bereave(t *testing.T, w *sim.World, r **sim.Record) []*sim.Host {
	t.Helper()
	for i := range 100 {
		record := w.NewRecord("user"+string(rune('a'+i)), w.Host(i%16))
		hosts := owner(w, record.Resource)
		if record.Home == hosts[0] || record.Home == hosts[1] || record.Home == hosts[2] {
			continue
		}
		*r = record
		w.Store(record)
		w.Run(3 * time.Second)
		for _, h := range hosts[:3] {
			w.Kill(h.Index, sim.Silent)
		}
		return hosts
	}
	t.Fatal("no record whose home does not hold it")
	return nil
}
