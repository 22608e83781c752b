package node_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// transit is a peer, a link of it, and a Store that comes over the link and is for somebody else.
func transit(t testing.TB) (*sim.World, *node.Node, node.LinkID, []byte) {
	w := ring(t, 8)
	client := w.NewClient(w.Host(0))
	r := homed(w, client.Host, w.Host(1))
	m := client.Message(storeReq(r, 0, 0, w.Next(r)), wire.ToResource(r.Resource))
	return w, w.Host(0).Node, client.Link(), client.Seal(m, r)
}

// maxForwardAllocs is what one forwarded request may allocate: the octets that leave, the list of effects, and the
// Resource-ID of the destination.
const maxForwardAllocs = 4

// Conformance: B-32
func TestForwardingAllocatesLittle(t *testing.T) {
	w, n, link, raw := transit(t)
	forwarded := 0
	allocs := testing.AllocsPerRun(100, func() {
		n.Receive(w.Now(), link, raw)
		forwarded += len(n.Take().Forward)
	})
	if allocs > maxForwardAllocs || forwarded != 101 {
		t.Errorf("%v allocations, limit %d; %d of 101 forwarded", allocs, maxForwardAllocs, forwarded)
	}
}

func BenchmarkForwardOneMessage(b *testing.B) {
	w, n, link, raw := transit(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	now := w.Now()
	for b.Loop() {
		now = now.Add(time.Millisecond) // what a link may carry
		n.Receive(now, link, raw)
		if len(n.Take().Forward) != 1 {
			b.Fatal("not forwarded")
		}
	}
}

// A message that was sent on over a link which has died goes on over another one, the same octets.
func TestUnacknowledgedMessageIsRerouted(t *testing.T) {
	w, n, link, raw := transit(t)
	n.Receive(w.Now(), link, raw)
	sent := n.Take().Forward
	if len(sent) != 1 {
		t.Fatalf("%d forwarded", len(sent))
	}
	var peer wire.NodeID
	for _, l := range n.Status(w.Now()).Links {
		if l.ID == sent[0].Link {
			peer = l.Peer
		}
	}
	lost := map[node.LinkID]bool{}
	for _, l := range n.Status(w.Now()).Links {
		if l.Peer == peer {
			lost[l.ID] = true
			n.LinkDown(w.Now(), l.ID, errors.New("refused"))
			_ = n.Take()
		}
	}
	n.Reroute(w.Now(), sent[0].Raw)
	again := n.Take().Forward
	if len(again) != 1 || lost[again[0].Link] || !bytes.Equal(again[0].Raw, sent[0].Raw) {
		t.Errorf("%+v", again)
	}
	n.Reroute(w.Now(), []byte("not RELOAD"))
	if f := n.Take().Forward; len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

// An answer of a node that should not have given it, for a neighbour is closer: the neighbour is asked whether it still lives.
func TestNeighbourThatContradictsAnAnswerIsAsked(t *testing.T) {
	w := ring(t, 4)
	hosts := byID(w) // the second is responsible, the third is farther away
	client := w.NewClient(hosts[0])
	r := homed(w, client.Host, hosts[1])
	n, now := hosts[0].Node, w.Now().Add(2*time.Second)
	n.Do(now, node.OpFetch{Resource: r.Resource, Specifier: wire.Specifier{Kind: wire.KindSIPRegistration, Model: wire.Dictionary}})
	asked := n.Take().Seal
	if len(asked) != 1 {
		t.Fatalf("%d messages", len(asked))
	}
	n.Sealed(now, asked[0].Job, client.Seal(asked[0].Message, nil), nil)
	_ = n.Take()
	m := client.Message(&wire.FetchAns{}, toHost(hosts[0]))
	m.Header.Transaction = asked[0].Message.Header.Transaction
	n.Receive(now, client.Link(), client.Seal(m, nil))
	check := n.Take().Verify
	if len(check) != 1 {
		t.Fatalf("%d answers to be checked", len(check))
	}
	n.Verified(now, check[0].Job, trust.Assume(m, trust.Identity{Node: hosts[2].ID, Nodes: []wire.NodeID{hosts[2].ID}}), nil)
	pings := n.Take().Seal
	if len(pings) != 1 || pings[0].Message.Body.Code() != wire.CodePingReq {
		t.Fatalf("%+v", pings)
	}
	if last, _ := pings[0].Message.Header.Destinations.Last(); last != toHost(hosts[1]) {
		t.Errorf("%v was asked", last)
	}
}
