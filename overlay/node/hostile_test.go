package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
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
