package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// TestAttachOfAnotherDoesNotUnseatThePeerThatPassesItOn has a client ask for a link with the owner of the place right after
// a peer, as that peer did when it joined. Its successor gets the request from the peer, which has not started again,
// and passes it on to a peer in between that only the successor knows.
func TestAttachOfAnotherDoesNotUnseatThePeerThatPassesItOn(t *testing.T) {
	w := ring(t, 8)
	w.Run(5 * time.Second)
	hosts := byID(w)
	id := hosts[1].ID.Array16()
	id[15]--
	between, client := w.NewClientAt(id, hosts[1]), w.NewClient(hosts[0])
	if got := code(between.Call(between.Message(&wire.UpdateReq{Type: wire.ChordPeerReady}, toHost(hosts[1])))); got != wire.CodeUpdateAns {
		t.Fatal(got)
	}
	w.Run(100 * time.Millisecond)
	lost := w.Counts["neighbor_lost"]
	after := chord.PointOf(hosts[0].ID).Add(chord.Power(0)).Resource()
	a := wire.Attach{Ufrag: "abcd", Password: "0123456789012345678901", Role: wire.RolePassive,
		Candidates: hosts[3].Candidates()}
	client.Call(client.Message(&wire.AttachReq{Attach: a}, wire.ToResource(after)))
	if n := w.Counts["neighbor_lost"] - lost; n != 0 {
		t.Errorf("%d peers lost a neighbour", n)
	}
	if s := hosts[1].Status(); len(s.Predecessors) < 2 || s.Predecessors[1] != hosts[0].ID {
		t.Errorf("predecessors of the successor: %v", s.Predecessors)
	}
}

// TestAnOldUpdateThatAnotherShowsIsNothingNew has a member show a peer's neighbour an Update that the peer has sent to it before: with
// an uptime that says, by now, that the peer has started again.
func TestAnOldUpdateThatAnotherShowsIsNothingNew(t *testing.T) {
	w := ring(t, 6)
	w.Run(time.Minute)
	hosts := byID(w)
	client := w.NewClient(hosts[0])
	client.SignAs(hosts[1].ID)
	lost := w.Counts["neighbor_lost"]
	got := code(client.Call(client.Message(&wire.UpdateReq{Uptime: 1, Type: wire.ChordNeighbors}, toHost(hosts[0]))))
	if n := w.Counts["neighbor_lost"] - lost; n != 0 || got != wire.ErrorForbidden {
		t.Errorf("%v, %d peers lost a neighbour", got, n)
	}
}

// TestAddressesThatLeadNowhereDoNotKeepOthersOut has a member ask for links at an address where nobody answers. Each keeps us waiting.
func TestAddressesThatLeadNowhereDoNotKeepOthersOut(t *testing.T) {
	w := ring(t, 3)
	w.Kill(2, sim.Silent)
	nowhere := wire.Attach{Ufrag: "abcd", Password: "0123456789012345678901", Role: wire.RolePassive, Candidates: w.Host(2).Candidates()}
	client, other := w.NewClient(w.Host(0)), w.NewClient(w.Host(0))
	ask := func(c *sim.Client) any {
		return code(c.Call(c.Message(&wire.AttachReq{Attach: nowhere}, toHost(w.Host(0)))))
	}
	refused := 0
	for range 70 {
		if ask(client) == wire.ErrorForbidden {
			refused++
		}
	}
	if got := ask(other); got != wire.CodeAttachAns || refused < 60 {
		t.Errorf("another is answered with %v, after %d refusals", got, refused)
	}
}

// TestErrorsThatCostNothingAreFew has a member send what is refused before its signature is looked at: each error costs us one.
func TestErrorsThatCostNothingAreFew(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	before := len(client.Got)
	for range 1000 {
		m := client.Message(&wire.PingReq{}, wire.ToResource("0123456789abcdef"))
		m.Header.TTL++ // more than may be
		client.Send(client.Seal(m, nil))
	}
	w.Run(time.Second)
	if got := len(client.Got) - before; got == 0 || got > 300 {
		t.Errorf("%d errors for 1000 messages that nobody has verified", got)
	}
}

// TestOnePlaceInTheQueueOfThoseWhoJoin has a member ask again and again to be let in, while another one takes its time.
func TestOnePlaceInTheQueueOfThoseWhoJoin(t *testing.T) {
	w := ring(t, 1)
	for i := range 20 { // some of them are to be handed over, which a client does not acknowledge
		store(t, w, w.NewRecord(fmt.Sprintf("user%d", i), w.Host(0)))
	}
	slow, greedy, third := w.NewClient(w.Host(0)), w.NewClient(w.Host(0)), w.NewClient(w.Host(0))
	join := func(c *sim.Client) { c.Send(c.Seal(c.Message(&wire.JoinReq{Joining: c.ID}, toHost(w.Host(0))), nil)) }
	join(slow)
	w.Run(100 * time.Millisecond)
	for range 20 {
		join(greedy)
	}
	w.Run(100 * time.Millisecond)
	join(third)
	w.Run(100 * time.Millisecond)
	if n := w.Host(0).Status().Load.Admissions; n != 2 {
		t.Errorf("%d wait, want 2", n)
	}
}

// TestFindsAreFew: each looks at all that is stored, so that a node answers only so many.
func TestFindsAreFew(t *testing.T) {
	w := ring(t, 1)
	client := w.NewClient(w.Host(0))
	find := func() any {
		return code(client.Call(client.Message(&wire.FindReq{Resource: "0123456789abcdef", Kinds: []wire.KindID{wire.KindSIPRegistration}}, toHost(w.Host(0)))))
	}
	if got := find(); got != wire.CodeFindAns {
		t.Fatal(got)
	}
	w.Host(0).Node.SpendFinds()
	if got := find(); got != "silence" || w.Counts["dropped:overload"] != 1 {
		t.Errorf("%v, %v", got, w.Counts)
	}
}
