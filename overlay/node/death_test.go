package node_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// population stores a record from each of n homes.
func population(t *testing.T, w *sim.World, n int) []*sim.Record {
	t.Helper()
	var records []*sim.Record
	for i := range n {
		r := w.NewRecord(fmt.Sprintf("user%d", i), w.Host(i%len(w.Hosts())))
		w.Store(r)
		records = append(records, r)
	}
	w.Run(3 * time.Second)
	if err := w.Check(records); err != nil {
		t.Fatal(err)
	}
	return records
}

// TestEveryRecordIsFoundSoonAfterAnyPeerIsKilled kills each peer of a ring of five in turn, at once or unseen.
//
// Conformance: E-22
func TestEveryRecordIsFoundSoonAfterAnyPeerIsKilled(t *testing.T) {
	for victim := range 5 {
		w := ring(t, 5)
		records := population(t, w, 20)
		w.Kill(victim, sim.Crash)
		w.Run(100 * time.Millisecond)
		for _, r := range records {
			for _, h := range w.Living() {
				begun := w.Now()
				if got := fetch(t, w, r, h); len(got) != 1 {
					t.Errorf("after the death of %d, host %d finds %d values of %s", victim, h.Index, len(got), r.User)
				}
				if took := w.Now().Sub(begun); took > time.Second {
					t.Errorf("a fetch took %v", took)
				}
			}
		}
	}
}

// Conformance: E-22 E-32
func TestUnseenDeathIsNoticed(t *testing.T) {
	w := ring(t, 5)
	records := population(t, w, 5)
	w.Kill(3, sim.Silent)
	w.Run(12500 * time.Millisecond)
	for _, h := range w.Living() {
		for _, l := range h.Status().Links {
			if l.Peer == w.Host(3).ID {
				t.Errorf("host %d still has a link with the dead one", h.Index)
			}
		}
	}
	w.Run(30 * time.Second)
	if err := w.Check(records); err != nil {
		t.Error(err)
	}
}

// TestRequestUnderWayIsSentAroundADeadHop kills the next hop of a fetch after it has left.
//
// Conformance: A-43
func TestRequestUnderWayIsSentAroundADeadHop(t *testing.T) {
	w := ring(t, 6, func(c *sim.Config) { c.MinDelay, c.MaxDelay = 20*time.Millisecond, 20*time.Millisecond })
	r := w.NewRecord("user", w.Host(0))
	store(t, w, r)
	w.Run(3 * time.Second)
	path := owner(w, r.Resource)
	from := path[len(path)-1] // its successor is the owner
	var done *node.Done
	begun := w.Now()
	from.Do(r.OpFetch(), func(d node.Done) { done = &d })
	w.Run(5 * time.Millisecond) // it is on the wire
	w.Kill(path[0].Index, sim.Crash)
	if !w.RunUntil(2*time.Second, 5*time.Millisecond, func() bool { return done != nil }) {
		t.Fatal("it waited for the reliability timer")
	}
	if len(done.Values) != 1 {
		t.Errorf("%+v", done)
	}
	t.Logf("answered after %v", w.Now().Sub(begun))
}

// TestRFC6940_6_6_5_StalledLinkIsNotRoutedOver stalls the link to a next hop.
//
// Conformance: A-22 A-43
func TestRFC6940_6_6_5_StalledLinkIsNotRoutedOver(t *testing.T) {
	through := 0
	var from, hop *sim.Host
	w := ring(t, 8, func(c *sim.Config) {
		c.Trace = func(s sim.Step) {
			if hop != nil && s.Code == wire.CodeFetchReq && s.Host == hop.Index && s.From == from.Index {
				through++
			}
		}
	})
	r := w.NewRecord("user", w.Host(0))
	store(t, w, r)
	chain := owner(w, r.Resource)
	from, hop = chain[3], chain[0] // everybody knows everybody: the way leads to the owner
	var link node.LinkID
	for _, l := range from.Status().Links {
		if l.Peer == hop.ID {
			link = l.ID // there may be two
			from.Node.LinkStalled(w.Now(), link, true)
		}
	}
	if got := fetch(t, w, r, from); len(got) != 1 || through != 0 {
		t.Errorf("%d values, %d messages over the stalled link", len(got), through)
	}
	from.Node.LinkStalled(w.Now(), link, false)
	if got := fetch(t, w, r, from); len(got) != 1 || through != 1 {
		t.Errorf("%d values, %d messages over the link when it was no longer stalled", len(got), through)
	}
}

// TestRFC6940_10_7_1_HoldDownBeforeNewReplicas kills a successor: old values wait, new ones do not.
//
// Conformance: E-18 E-19
func TestRFC6940_10_7_1_HoldDownBeforeNewReplicas(t *testing.T) {
	w := ring(t, 6)
	old, fresh := w.NewRecord("old", w.Host(0)), w.NewRecord("fresh", w.Host(0))
	for i := 0; owner(w, fresh.Resource)[0] != owner(w, old.Resource)[0] || isIn(w.Host(0), owner(w, old.Resource)[:4]); i++ {
		old, fresh = w.NewRecord(fmt.Sprintf("old%d", i), w.Host(0)), w.NewRecord(fmt.Sprintf("fresh%d", i), w.Host(0))
	}
	store(t, w, old)
	w.Run(time.Second)
	chain := owner(w, old.Resource)
	w.Kill(chain[1].Index, sim.Crash)
	w.Run(time.Second)
	store(t, w, fresh)
	w.Run(27 * time.Second)
	if chain[3].Node.Holds(old.Resource) {
		t.Error("a new replica was made within the hold-down time")
	}
	if !chain[3].Node.Holds(fresh.Resource) {
		t.Error("RFC 6940 §10.4: a new value was not replicated at once")
	}
	w.Run(5 * time.Second)
	if !chain[3].Node.Holds(old.Resource) {
		t.Error("no new replica after the hold-down time")
	}
}

func isIn(h *sim.Host, hosts []*sim.Host) bool {
	for _, o := range hosts {
		if o == h {
			return true
		}
	}
	return false
}

// TestRFC6940_10_7_3_OutOfTheReplicaSetForgets adds peers between a record and its holders.
//
// Conformance: E-18 E-20 E-21
func TestRFC6940_10_7_3_OutOfTheReplicaSetForgets(t *testing.T) {
	w := ring(t, 3)
	r := w.NewRecord("user", w.Host(0))
	store(t, w, r)
	w.Run(time.Second)
	before := owner(w, r.Resource)
	at, _ := chord.PointOfResource(r.Resource)
	for i := range 3 {
		id := [16]byte([]byte(at.Add(chord.Power(i + 1)).Resource()))
		w.AddHostAt(id).Start(false)
		if err := w.Settle(time.Second); err != nil {
			t.Fatal(err)
		}
	}
	w.Run(10 * time.Second)
	for i, h := range owner(w, r.Resource)[:3] {
		if h.Index < 3 || !h.Node.Holds(r.Resource) {
			t.Errorf("replica %d is host %d", i, h.Index)
		}
	}
	w.Run(2 * time.Minute)
	for _, h := range before {
		if h.Node.Holds(r.Resource) {
			t.Errorf("host %d still holds the record", h.Index)
		}
	}
	if got := fetch(t, w, r, before[0]); len(got) != 1 {
		t.Errorf("%d values", len(got))
	}
}

// Conformance: E-29 E-30
func TestRFC6940_10_9_LeaveHandsOverAndTellsTheNeighbors(t *testing.T) {
	w := ring(t, 6)
	records := population(t, w, 20)
	w.Leave(2)
	w.Run(300 * time.Millisecond)
	if w.Host(2).Up || w.Host(2).Node.State() != node.Left {
		t.Fatalf("it is %s", w.Host(2).Node.State())
	}
	if w.Counts["left"] != 1 {
		t.Error("no event")
	}
	w.Run(3 * time.Second)
	if err := w.Check(records); err != nil {
		t.Error(err)
	}
}

func TestLastOneLeaves(t *testing.T) {
	w := ring(t, 1)
	if d := do(t, w, w.Host(0), node.OpLeave{}); d.Err != nil {
		t.Error(d.Err)
	}
	if d := do(t, w, w.Host(0), node.OpPing{}); !errors.Is(d.Err, node.ErrNotJoined) {
		t.Errorf("after leaving: %v", d.Err)
	}
}

// Conformance: D-21
func TestTombstoneOutlivesItsOwner(t *testing.T) {
	w := ring(t, 5)
	r := w.NewRecord("user", w.Host(0))
	for i := 0; owner(w, r.Resource)[0] == w.Host(0); i++ {
		r = w.NewRecord(fmt.Sprintf("user%d", i), w.Host(0))
	}
	old := w.SignVersion(r, 1, uint64(w.Now().UnixMilli()))
	if d := do(t, w, r.Home, r.OpStore(old)); d.Refused != nil || d.Err != nil {
		t.Fatal(d.Refused, d.Err)
	}
	w.Run(time.Second)
	if d := do(t, w, r.Home, r.OpStore(w.Remove(r))); d.Refused != nil || d.Err != nil {
		t.Fatal(d.Refused, d.Err)
	}
	w.Run(time.Second)
	w.Kill(owner(w, r.Resource)[0].Index, sim.Crash)
	w.Run(time.Second)
	if got := fetch(t, w, r, r.Home); len(got) != 0 {
		t.Errorf("a removed value is back: %+v", got)
	}
	// RFC 6940 §7.4.1.3: the tombstone keeps the old value out.
	if d := do(t, w, r.Home, r.OpStore(old)); d.Refused == nil || d.Refused.ErrorCode != wire.ErrorDataTooOld {
		t.Errorf("replay of the removed value: %+v", d)
	}
}
