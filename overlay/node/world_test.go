package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ring is a settled world of n hosts.
func ring(t testing.TB, n int, edit ...func(*sim.Config)) *sim.World {
	t.Helper()
	c := sim.Config{Seed: 7, Peers: n, MaxDelay: 3 * time.Millisecond}
	for _, f := range edit {
		f(&c)
	}
	w := sim.New(c)
	w.Start(0)
	w.Run(time.Millisecond) // until all have begun
	if err := w.Settle(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.Merged(20 * time.Second) // nodes that join all at once may have to try twice
	w.Run(2 * time.Second)
	if err := w.Check(nil); err != nil {
		t.Fatal(err)
	}
	return w
}

// do runs an operation to its end.
func do(t testing.TB, w *sim.World, h *sim.Host, op node.Op) node.Done {
	t.Helper()
	var done *node.Done
	h.Do(op, func(d node.Done) { done = &d })
	if !w.RunUntil(20*time.Second, time.Millisecond, func() bool { return done != nil }) {
		t.Fatalf("%T without an end", op)
	}
	return *done
}

// store stores the next version of a record from its home.
func store(t testing.TB, w *sim.World, r *sim.Record) *wire.StoreAns {
	t.Helper()
	d := do(t, w, r.Home, r.OpStore(w.Next(r)))
	if d.Err != nil || d.Refused != nil {
		t.Fatalf("store: %v %v", d.Err, d.Refused)
	}
	return d.Body.(*wire.StoreAns)
}

// fetch returns the values that exist.
func fetch(t testing.TB, w *sim.World, r *sim.Record, from *sim.Host) []node.Value {
	t.Helper()
	d := do(t, w, from, r.OpFetch())
	if d.Err != nil || d.Refused != nil {
		t.Fatalf("fetch: %v %v", d.Err, d.Refused)
	}
	return slices.DeleteFunc(d.Values, func(v node.Value) bool { return !v.Value.Exists })
}

// byID lists the living hosts in the order of the ring.
func byID(w *sim.World) []*sim.Host {
	hosts := w.Living()
	slices.SortFunc(hosts, func(a, b *sim.Host) int { return a.ID.Compare(b.ID) })
	return hosts
}

// owner is the host that is responsible for r, followed by its successors.
func owner(w *sim.World, r wire.ResourceID) []*sim.Host {
	hosts := byID(w)
	i := slices.IndexFunc(hosts, func(h *sim.Host) bool { return h.Node.Responsible(wire.ToResource(r)) })
	return append(hosts[i:], hosts[:i]...)
}

func code(d *wire.Message) any {
	if d == nil {
		return "silence"
	}
	if e, ok := d.Body.(*wire.Error); ok {
		return e.ErrorCode
	}
	return d.Body.Code()
}
