package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// TestRFC6940_10_5_JoinSequence follows the messages of a node that joins a ring of three, with one record that becomes
// its own.
//
// Conformance: A-39 C-24 E-07 E-11 G-01 G-02
func TestRFC6940_10_5_JoinSequence(t *testing.T) {
	var steps []string
	tracing := false
	w := ring(t, 3, func(c *sim.Config) {
		c.MaxDelay, c.Crypto = 0, -1
		c.Trace = func(s sim.Step) {
			if line := fmt.Sprintf("%d>%d %v", s.From, s.Host, s.Code); tracing && s.Input == "receive" && s.ToHost &&
				(s.Code != wire.CodeAttachAns || !slices.Contains(steps, line)) { // those of other neighbours take the same link
				steps = append(steps, line)
			}
		}
	})
	// The new node is placed right before host 0, and a record right before the new node.
	id := w.Host(0).ID.Array16()
	id[15]--
	jn := w.AddHostAt(id)
	r := recordFor(w, w.Host(1), jn)
	store(t, w, r)
	tracing = true
	jn.Start(false)
	if err := w.Settle(time.Second); err != nil {
		t.Fatal(err)
	}
	w.Run(200 * time.Millisecond)
	// What counts is the order of the messages between JN (3) and its admitting peer (0).
	var got []string
	for _, s := range steps {
		if strings.HasPrefix(s, "3>0") || strings.HasPrefix(s, "0>3") {
			got = append(got, s)
		}
	}
	want := []string{
		"0>3 attach_ans", "0>3 update_req", "3>0 update_ans",
		"3>0 join_req", "0>3 join_ans", "0>3 store_req", "3>0 store_ans",
		"0>3 update_req", "3>0 update_ans",
	}
	if diff := cmp.Diff(want, withoutFollowing(got, want)); diff != "" {
		t.Errorf("%s\nall: %v", diff, steps)
	}
	if !jn.Node.Holds(r.Resource) || !jn.Node.Responsible(wire.ToResource(r.Resource)) {
		t.Error("the record was not handed over")
	}
	if err := w.Check([]*sim.Record{r}); err != nil {
		t.Error(err)
	}
}

// withoutFollowing cuts got to the length of want.
func withoutFollowing(got, want []string) []string { return got[:min(len(got), len(want))] }

// recordFor names a user whose Resource-ID a host that has not started will own: it lies between its predecessor and it.
func recordFor(w *sim.World, home, future *sim.Host) *sim.Record {
	for i := 0; ; i++ {
		r := w.NewRecord(fmt.Sprintf("user%d", i), home)
		hosts := owner(w, r.Resource)
		if id, _ := wire.NodeIDFromBytes([]byte(r.Resource)); hosts[0] == w.Host(0) && id.Compare(future.ID) < 0 {
			return r
		}
	}
}

func TestJoinTakesWellUnderASecond(t *testing.T) {
	w := ring(t, 8)
	h := w.AddHost()
	h.Start(false)
	if err := w.Settle(250 * time.Millisecond); err != nil {
		t.Error(err)
	}
}

// Conformance: C-24 E-05 E-15
func TestManyJoinAtOnce(t *testing.T) {
	w := sim.New(sim.Config{Seed: 3, Peers: 24, MaxDelay: 10 * time.Millisecond})
	w.Start(0)
	if err := w.Settle(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	w.Run(5 * time.Second)
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// Conformance: E-31 G-08
func TestRFC6940_6_4_2_1_OrdinaryNodeNeverAssumesToBeFirst(t *testing.T) {
	w := sim.New(sim.Config{Seed: 1, Peers: 1})
	h := w.Host(0)
	h.Start(false)
	w.Run(5 * time.Minute)
	if h.Node.State() == node.Joined || h.Node.Responsible(wire.ToResource(wire.ResourceIDOf("x"))) {
		t.Error("a node that reached nobody owns the overlay")
	}
	r := w.NewRecord("user", h)
	if d := do(t, w, h, r.OpFetch()); !errors.Is(d.Err, node.ErrNotJoined) {
		t.Errorf("fetch before joining: %v", d.Err)
	}
}

// Conformance: E-02
func TestFirstNodeOwnsEverything(t *testing.T) {
	w := ring(t, 1)
	r := w.NewRecord("user", w.Host(0))
	if ans := store(t, w, r); len(ans.Kinds) != 1 || ans.Kinds[0].Generation != 1 || len(ans.Kinds[0].Replicas) != 0 {
		t.Errorf("%+v", ans)
	}
	if got := fetch(t, w, r, w.Host(0)); len(got) != 1 || got[0].Signer.User != r.User {
		t.Errorf("%+v", got)
	}
}

func TestNodeStartsAgainWithItsNodeID(t *testing.T) {
	for _, how := range []sim.Death{sim.Crash, sim.Silent} {
		w := ring(t, 5)
		var records []*sim.Record
		for i := range 10 {
			r := w.NewRecord(fmt.Sprintf("user%d", i), w.Host(i%5))
			records = append(records, r)
			w.Store(r)
		}
		w.Run(4 * time.Second)
		w.Kill(2, how)
		w.Run(time.Second)
		w.Host(2).Start(false)
		if err := w.Settle(30 * time.Second); err != nil {
			t.Fatal(how, err)
		}
		w.Run(20 * time.Second)
		if err := w.Check(records); err != nil {
			t.Error(how, err)
		}
	}
}

// TestTwoThatLostEachOtherFindEachOther cuts the only link of a ring of two: both serve what they hold, and meet again.
//
// Conformance: E-23
func TestTwoThatLostEachOtherFindEachOther(t *testing.T) {
	w := ring(t, 2)
	r := w.NewRecord("user", w.Host(1))
	store(t, w, r)
	w.Run(time.Second)
	w.Cut(0, 1)
	w.Run(100 * time.Millisecond)
	for _, h := range w.Living() {
		if got := fetch(t, w, r, h); len(got) != 1 {
			t.Errorf("host %d alone has %d values", h.Index, len(got))
		}
	}
	w.Run(time.Minute)
	if err := w.Check([]*sim.Record{r}); err != nil {
		t.Error(err)
	}
}

// TestRFC6940_6_5_1_2_CrossingAttaches cuts a link in a ring where both sides go for each other again at once.
//
// Conformance: A-36
func TestRFC6940_6_5_1_2_CrossingAttaches(t *testing.T) {
	inProgress := 0
	w := ring(t, 4, func(c *sim.Config) {
		c.MaxDelay = 0
		c.Trace = func(s sim.Step) {
			if s.Response == wire.ErrorInProgress {
				inProgress++
			}
		}
	})
	hosts := byID(w)
	inProgress = 0
	w.Cut(hosts[0].Index, hosts[1].Index)
	w.Run(time.Second)
	if inProgress == 0 {
		t.Error("no Attach was answered with Error_In_Progress: did they cross?")
	}
	between := 0
	for _, l := range hosts[0].Status().Links {
		if l.Peer == hosts[1].ID {
			between++
		}
	}
	if between != 1 {
		t.Errorf("%d links between the two", between)
	}
	if err := w.Check(nil); err != nil {
		t.Error(err)
	}
}

// RFC 6940 §6.5.1.2: a peer that "has already sent an Attach request to and received the response from the originating peer [...]
// SHOULD generate an Error_In_Progress error". Here a client names a neighbour, answers the Attach that it gets for it, and sends
// another one in the neighbour's name before there is a link.
//
// Conformance: A-37
func TestRFC6940_6_5_1_2_AnAttachAfterTheAnswerIsInProgress(t *testing.T) {
	w := ring(t, 3)
	h := w.Host(0)
	c := w.NewClient(h)
	near := h.ID.Array16()
	near[15]++
	neighbor, err := wire.NodeIDFromBytes(near[:])
	if err != nil {
		t.Fatal(err)
	}
	attach := wire.Attach{Ufrag: "abcd", Password: "abcdefghijklmnopqrstuv", Candidates: c.Candidates()}
	asked := func() *wire.Message {
		for _, m := range c.Got {
			if last, _ := m.Header.Destinations.Last(); m.Body.Code() == wire.CodeAttachReq && last == wire.ToNode(neighbor) {
				return m
			}
		}
		return nil
	}
	c.Call(c.Message(&wire.UpdateReq{Type: wire.ChordNeighbors, Successors: []wire.NodeID{neighbor}}, toHost(h)))
	if !w.RunUntil(10*time.Second, 10*time.Millisecond, func() bool { return asked() != nil }) {
		t.Fatal("the neighbour is not attached to")
	}
	c.SignAs(neighbor)
	theirs := c.Message(&wire.AttachReq{Attach: attach}, toHost(h))
	theirs.Header.Via = wire.NewDestinationList(wire.ToNode(neighbor))
	theirs.Body.(*wire.AttachReq).Role = wire.RolePassive
	ans := c.Message(&wire.AttachAns{Attach: attach}, toHost(h))
	ans.Header.Transaction = asked().Header.Transaction
	ans.Body.(*wire.AttachAns).Role = wire.RoleActive
	c.Send(c.Seal(ans, nil))
	w.Run(100 * time.Millisecond)
	if got := code(c.Call(theirs)); got != wire.ErrorInProgress {
		t.Errorf("answered with %v", got)
	}
}
