package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// lookUp has a host look a record up ten times a second, as the program does: at home, and else at its owner. It returns what the last
// lookup found at home, or the one before: now and then one goes to the owner.
func lookUp(w *sim.World, h *sim.Host, r *sim.Record, span time.Duration) (values []node.Value, ok bool) {
	for end := w.Now().Add(span); ; w.Run(100 * time.Millisecond) {
		last := ok
		found, now := h.Node.FetchOwn(w.Now(), r.OpFetch())
		if ok = now; now {
			values = found
		}
		if !w.Now().Before(end) {
			return values, ok || last
		}
		if !ok {
			h.Do(r.OpFetch(), func(node.Done) {})
		}
	}
}

// ringOf makes a ring that has been at rest, and a record of which the owner and the others after it are returned in their order.
func ringOf(t *testing.T, peers int) (*sim.World, *sim.Record, []*sim.Host) {
	w := ring(t, peers, func(c *sim.Config) { c.ReadReplicas = true })
	w.Run(10 * time.Second)
	r := w.NewRecord("alice", w.Host(0))
	store(t, w, r)
	hosts := byID(w)
	for !hosts[0].Node.Responsible(wire.ToResource(r.Resource)) {
		hosts = append(hosts[1:], hosts[0])
	}
	return w, r, hosts
}

// What the owner of a resource holds its two replicas read at home, and nobody else does.
func TestReplicasAreReadAtHome(t *testing.T) {
	for _, peers := range []int{2, 3, 5} {
		w, r, hosts := ringOf(t, peers)
		for i, h := range hosts[1:] {
			got, ok := lookUp(w, h, r, 10*time.Second)
			if want := i < 2; ok != want || ok && (len(got) != 1 || got[0].Signer.User != r.User) {
				t.Errorf("%d peers, %d after the owner: %+v, %v", peers, i+1, got, ok)
			}
			if _, ok := lookUp(w, h, w.NewRecord("nobody", h), time.Second); ok {
				t.Errorf("%d peers, %d after the owner: what is not there was not asked for", peers, i+1)
			}
		}
		keys := r.OpFetch()
		keys.Specifier.Keys = []string{"key"}
		if _, ok := hosts[1].Node.FetchOwn(w.Now(), keys); ok {
			t.Error("one key")
		}
		do(t, w, r.Home, r.OpStore(w.Remove(r)))
		w.Run(100 * time.Millisecond)
		if _, ok := hosts[1].Node.FetchOwn(w.Now(), r.OpFetch()); ok {
			t.Errorf("%d peers: what was removed is there", peers)
		}
	}
}

// A copy is enough: nobody has to have asked before, but for a sign of life.
func TestACopyIsReadAtHomeAtOnce(t *testing.T) {
	w, _, hosts := ringOf(t, 3)
	r, other := homed(w, w.Host(0), hosts[0]), w.NewRecord("alice", w.Host(0)) // which ringOf has stored
	if _, ok := lookUp(w, hosts[1], other, 10*time.Second); !ok {
		t.Fatal("not read at home")
	}
	store(t, w, r)
	hosts[1].Node.FetchOwn(w.Now(), other.OpFetch()) // one lookup may be needed to hear the owner
	if got, ok := hosts[1].Node.FetchOwn(w.Now(), r.OpFetch()); !ok || len(got) != 1 {
		t.Errorf("%+v, %v", got, ok)
	}
}

// The lookup that is to make the owner heard goes there, however often it is tried here first.
func TestOneLookupIsForTheOwner(t *testing.T) {
	w, r, hosts := ringOf(t, 3)
	if _, ok := lookUp(w, hosts[1], r, 10*time.Second); !ok {
		t.Fatal("not read at home")
	}
	for end, ok := w.Now().Add(10*time.Second), true; ok; _, ok = hosts[1].Node.FetchOwn(w.Now(), r.OpFetch()) {
		if w.Now().After(end) {
			t.Fatal("the owner is never asked")
		}
		w.Run(100 * time.Millisecond)
	}
	for range 3 {
		if _, ok := hosts[1].Node.FetchOwn(w.Now(), r.OpFetch()); ok {
			t.Error("read at home")
		}
	}
	do(t, w, hosts[1], r.OpFetch())
	if _, ok := hosts[1].Node.FetchOwn(w.Now(), r.OpFetch()); !ok {
		t.Error("not read at home")
	}
}

// Nothing is read at home any more within seconds of the last word of the owner, long before it is taken for dead.
func TestNothingIsReadAtHomeWhenTheOwnerIsSilent(t *testing.T) {
	w, r, hosts := ringOf(t, 3)
	if _, ok := lookUp(w, hosts[1], r, 10*time.Second); !ok {
		t.Fatal("not read at home")
	}
	w.Kill(hosts[0].Index, sim.Silent)
	for end := w.Now().Add(3 * time.Second); w.Now().Before(end); w.Run(100 * time.Millisecond) {
		hosts[1].Node.FetchOwn(w.Now(), r.OpFetch())
	}
	before, _ := hosts[1].Node.Neighbors()
	if _, ok := hosts[1].Node.FetchOwn(w.Now(), r.OpFetch()); ok || len(before) != 2 {
		t.Errorf("read at home: %v, with %d neighbours", ok, len(before))
	}
}

// A peer that knows that it may have missed a copy asks, until the owner has shown that it has not.
func TestNothingIsReadAtHomeAfterAMissedCopy(t *testing.T) {
	w, r, hosts := ringOf(t, 3)
	replica := hosts[1]
	if _, ok := lookUp(w, replica, r, 10*time.Second); !ok {
		t.Fatal("not read at home")
	}
	c := w.NewClient(replica)
	c.Send(c.Seal(c.Message(storeReq(r, 1, 0, w.SignVersion(r, 9, 9)), toHost(replica)), r))
	w.Run(100 * time.Millisecond)
	if _, ok := replica.Node.FetchOwn(w.Now(), r.OpFetch()); ok {
		t.Error("read at home after a copy that was refused")
	}
	if d := do(t, w, replica, r.OpFetch()); d.From != hosts[0].ID {
		t.Fatalf("asked %s", d.From.Short())
	}
	if _, ok := replica.Node.FetchOwn(w.Now(), r.OpFetch()); !ok {
		t.Error("asks again and again")
	}
}

// Owners are pinged for the sake of lookups where there are any, and then by one side of each link: in an idle ring nobody hears more than without that.
func TestWhatOwnersAreHeardForIsLookups(t *testing.T) {
	messages := func(read, lookups bool) (rate float64) {
		w := ring(t, 3, func(c *sim.Config) { c.ReadReplicas = read })
		r := w.NewRecord("alice", w.Host(0))
		store(t, w, r)
		w.Run(time.Minute)
		begun, before := w.Now(), w.Messages
		for range 100 {
			w.Run(6 * time.Second)
			for _, h := range byID(w) {
				if lookups { // of everybody's
					for at := range byte(16) {
						h.Node.FetchOwn(w.Now(), node.OpFetch{Resource: wire.ResourceID(append([]byte{at << 4}, make([]byte, 15)...)), Specifier: r.OpFetch().Specifier})
					}
				}
			}
		}
		return float64(w.Messages-before) / w.Now().Sub(begun).Seconds()
	}
	before, idle, busy := messages(false, false), messages(true, false), messages(true, true)
	if idle > 1.1*before {
		t.Errorf("%.2f messages a second in an idle ring, %.2f without replicas that are read", idle, before)
	}
	if busy < 2*before || busy > 3.5 { // three links, each every 2 s: 3
		t.Errorf("%.2f messages a second where lookups are made, %.2f in an idle ring", busy, idle)
	}
}

// What was dropped unseen on the link of an owner may have been a copy of anything.
func TestNothingIsReadAtHomeAfterAFlood(t *testing.T) {
	w := ring(t, 3, func(c *sim.Config) { c.ReadReplicas, c.MessageRate = true, slowRate })
	w.Run(10 * time.Second)
	r, hosts := w.NewRecord("alice", w.Host(0)), byID(w)
	store(t, w, r)
	for !hosts[0].Node.Responsible(wire.ToResource(r.Resource)) {
		hosts = append(hosts[1:], hosts[0])
	}
	replica := hosts[1]
	if _, ok := lookUp(w, replica, r, 10*time.Second); !ok {
		t.Fatal("not read at home")
	}
	do(t, w, replica, r.OpFetch())
	for _, l := range replica.Status().Links {
		for range 2*slowRate + 10 {
			if l.Peer == hosts[0].ID {
				replica.Node.Receive(w.Now(), l.ID, []byte("no message"))
			}
		}
	}
	if _, ok := replica.Node.FetchOwn(w.Now(), r.OpFetch()); ok {
		t.Error("read at home")
	}
	w.Run(10 * time.Second)
	if _, ok := lookUp(w, replica, r, 10*time.Second); !ok {
		t.Error("never read at home again")
	}
}

// An owner whose range begins somewhere else again and again has us look through what we hold once a second, not with each word: we may hold 400,000 resources.
func TestOwnersThatMoveDoNotKeepUsBusy(t *testing.T) {
	w, r, hosts := ringOf(t, 3)
	replica, owner := hosts[1], hosts[0]
	if _, ok := lookUp(w, replica, r, 10*time.Second); !ok {
		t.Fatal("not read at home")
	}
	move := func(to wire.NodeID) uint32 {
		replica.Node.HearOwner(owner.ID, &wire.UpdateReq{Predecessors: []wire.NodeID{to}, Successors: []wire.NodeID{hosts[1].ID, hosts[2].ID}})
		return replica.Node.Term(owner.ID)
	}
	term := replica.Node.Term(owner.ID)
	if got := move(hosts[1].ID); got != term || term == 0 {
		t.Errorf("what has not moved is not believed any more: term %d, then %d", term, got)
	}
	if got := move(hosts[2].ID); got == term {
		t.Error("looked through everything twice at once")
	}
}
