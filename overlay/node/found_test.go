package node_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A node that has found no way in and waits tries an address at once that was found meanwhile; many are bounded.
func TestFoundAddressesAreTriedAtOnce(t *testing.T) {
	o, now := config.New("example.org"), time.Unix(1_000_000, 0)
	o.NoICE = true
	self, err := wire.NodeIDFromBytes(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	n := node.New(node.Config{Overlay: o, Self: self, Rand: rand.New(rand.NewPCG(1, 1))})
	n.Tick(now)
	if e := n.Take(); len(e.Dial) > 0 {
		t.Fatalf("%+v", e.Dial)
	}
	found := func(address string) []node.Dial {
		id := n.Do(now, node.OpFound{Addresses: []string{address}})
		e := n.Take()
		if len(e.Done) != 1 || e.Done[0].Op != id || e.Done[0].Err != nil {
			t.Errorf("%+v", e.Done)
		}
		return e.Dial
	}
	if d := found("192.0.2.1:6084"); len(d) != 1 || d[0].Address != "192.0.2.1:6084" {
		t.Fatalf("%+v", d)
	}
	if d := found("192.0.2.1:6084"); len(d) > 0 {
		t.Errorf("known, and dialled again: %+v", d)
	}
	for i := range 500 {
		found(fmt.Sprintf("192.0.2.2:%d", i+1))
	}
	dials := 0
	for range 2000 {
		if now = n.Deadline(); now.IsZero() {
			break
		}
		n.Tick(now)
		for _, d := range n.Take().Dial {
			dials++
			n.DialFailed(now, d.Dial, node.ErrLinkDown)
		}
		if dials > 1000 {
			break
		}
	}
	if s := n.Status(now); s.Load.Over() != "" {
		t.Errorf("too many %s", s.Load.Over())
	}
}

// RFC 6940 §11.1: expiration is the "time in the future at which this overlay configuration is no longer valid".
//
// Conformance: F-25
func TestRFC6940_11_1_AnExpiredDocumentBlocksJoining(t *testing.T) {
	o, now := config.New("example.org"), time.Unix(1_000_000, 0)
	o.NoICE, o.Expiration = true, now.Add(time.Minute)
	self, err := wire.NodeIDFromBytes(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	dialled := func(at time.Time) int {
		n := node.New(node.Config{Overlay: o, Self: self, First: true, Bootstrap: []string{"192.0.2.1:6084"}, Rand: rand.New(rand.NewPCG(1, 1))})
		n.Tick(at)
		return len(n.Take().Dial)
	}
	if dialled(now) != 1 || dialled(o.Expiration) != 0 {
		t.Error("joins by a document that has expired, or not by a good one")
	}
}
