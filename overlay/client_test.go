package overlay

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// reach pings the client from m, by dest, until it answers.
func (m *member) reach(t *testing.T, client wire.NodeID, dest ...wire.Destination) {
	t.Helper()
	var err error
	eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var from wire.NodeID
		_, from, err = m.Ping(ctx, wire.NewDestinationList(dest...))
		return err == nil && from == client
	}, func() string {
		return fmt.Sprintf("%s does not reach the client by %v: %v", m.NodeID().Short(), dest, err)
	})
}

// TestRFC6940_4_2_RealClient: a client of a ring of real peers registers, is found and called, and goes on when the peer that it
// depends on is killed.
//
// Conformance: C-37 C-38
func TestRFC6940_4_2_RealClient(t *testing.T) {
	w := newWorld(t)
	w.overlay.ClientsPermitted = true
	ring := w.ring(t, 4)
	settle(t, ring)
	w.client = true
	client := w.member(t, ring[0])
	w.client = false
	client.join()
	if s := client.Status(); s.State != node.Client {
		t.Fatal(s.State)
	}
	id := client.NodeID()
	w.register(t, client, "alice@example.org")
	w.register(t, ring[1], "bob@example.org")
	for _, m := range append(slices.Clone(ring), client) {
		for user, home := range map[string]*member{"alice@example.org": client, "bob@example.org": ring[1]} {
			if err := finds(t, m, home, user, patience); err != nil {
				t.Error(err)
			}
		}
	}
	eventually(t, func() bool { return len(client.Status().Successors) > 1 }, func() string {
		return fmt.Sprintf("the client has one peer only: %+v", client.Status())
	})
	homes := slices.Clone(client.Status().Successors)
	for _, m := range ring {
		m.reach(t, id, wire.ToNode(id))
		m.reach(t, id, wire.ToNode(homes[1]), wire.ToNode(id))
	}
	for _, way := range [][2]*member{{ring[0], client}, {client, ring[2]}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		ours, err := way[0].AppAttach(ctx, wire.NewDestinationList(wire.ToNode(way[1].NodeID())), wire.ApplicationSIP)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		theirs := <-way[1].inbound
		carries(t, ours, theirs)
		_, _ = ours.Close(), theirs.Close()
	}
	i := slices.IndexFunc(ring, func(m *member) bool { return m.NodeID() == homes[0] })
	ring[i].cable.cut()
	alive := slices.Delete(slices.Clone(ring), i, i+1)
	for _, m := range alive {
		m.reach(t, id, wire.ToNode(id))
	}
	w.register(t, client, "carol@example.org")
	for _, m := range alive {
		if err := finds(t, m, client, "carol@example.org", patience); err != nil {
			t.Error(err)
		}
	}
	if n := len(client.Status().Stored); n > 0 {
		t.Errorf("the client holds values of %d Kinds", n)
	}
}

// Conformance: C-38
func TestRFC6940_11_1_ClientsThatAreNotPermitted(t *testing.T) {
	w := newWorld(t)
	w.overlay.ClientsPermitted = false
	ln := []net.Listener{listen(t), listen(t)}
	defer func() { _, _ = ln[0].Close(), ln[1].Close() }()
	if _, err := New(Config{Overlay: w.overlay, Self: w.signer(newKey(t)), Listener: ln[0], AppListener: ln[1], Client: true}); err == nil {
		t.Error("a client of an overlay without clients")
	}
}
