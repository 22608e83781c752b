package overlay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

// guest is the other end of a link with a peer, in the hands of a test.
type guest struct {
	t    testing.TB
	peer *Peer
	self *trust.Signer
	conn *link.Conn
	got  chan *wire.Message
}

// guest links self with p.
func (m *memory) guest(t testing.TB, p *Peer, self *trust.Signer) *guest {
	t.Helper()
	raw, err := m.dial(t.Context(), "tcp", p.cfg.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tc, id, err := link.NewTLS(self, p.verifier).Client(t.Context(), raw, p.NodeID())
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, peer: p, self: self, got: make(chan *wire.Message, 64)}
	g.conn = link.New(tc, id, link.Options{MaxMessage: func() int { return p.cfg.Overlay.MaxMessageSize }, Receive: g.receive})
	ended := make(chan struct{})
	go func() { _ = g.conn.Run(); close(ended) }()
	t.Cleanup(func() { g.conn.Close(); <-ended })
	return g
}

func (g *guest) receive(raw []byte) {
	m, err := g.peer.cfg.Overlay.Schema().Parse(raw)
	if err != nil {
		g.t.Error(err)
		return
	}
	g.got <- m
}

// send sends a message to the peer, signed by the guest or by somebody else.
func (g *guest) send(by *trust.Signer, tx wire.TransactionID, body wire.Body) {
	g.t.Helper()
	o := g.peer.cfg.Overlay
	raw, err := by.Seal(&wire.Message{Body: body, Header: wire.Header{Overlay: o.ID(), ConfigSequence: o.Sequence,
		Version: wire.Version, TTL: o.InitialTTL, Fragment: wire.Unfragmented, Transaction: tx,
		Destinations: wire.NewDestinationList(wire.ToNode(g.peer.NodeID()))}})
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.conn.Send(raw); err != nil {
		g.t.Fatal(err)
	}
}

// next waits for a message with a code.
func (g *guest) next(code wire.MessageCode) *wire.Message {
	g.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m := <-g.got:
			if m.Body.Code() == code {
				return m
			}
		case <-timeout:
			g.t.Fatalf("no %v", code)
		}
	}
}

// TestRFC6940_6_5_1_13_LinkOfAnotherNodeDoesNotCompleteAnAttach answers a peer's Attach as one node and connects as another:
// "The nodes MUST verify that the certificate presented in the handshake matches the identity of the other peer as found in
// the Attach message."
//
// Conformance: A-06
func TestRFC6940_6_5_1_13_LinkOfAnotherNodeDoesNotCompleteAnAttach(t *testing.T) {
	for name, failed := range map[string]uint64{"the one that answered": 0, "another": 1} {
		synctest.Test(t, func(t *testing.T) {
			w, m := newWorld(t), newMemory()
			a := w.alone(m)
			teacher, taught := w.signer(newKey(t)), w.signer(newKey(t))
			// The teacher is a neighbour that names another one, to which the peer sends an Attach through it.
			g := m.guest(t, a, teacher)
			id := taught.Identity().Node
			g.send(teacher, 1, &wire.UpdateReq{Uptime: 1, Type: wire.ChordNeighbors, Predecessors: []wire.NodeID{id}})
			req := g.next(wire.CodeAttachReq)
			g.send(taught, req.Header.Transaction, &wire.AttachAns{Attach: wire.Attach{Ufrag: "abcd",
				Password: "0123456789012345678901", Role: wire.RoleActive,
				Candidates: []wire.IceCandidate{at(t, "192.0.2.50:6084")}}})
			synctest.Wait()
			who := taught
			if failed > 0 {
				who = w.signer(newKey(t))
			}
			m.guest(t, a, who)
			time.Sleep(10500 * time.Millisecond)
			if n := a.Stats().Events[string(node.EventAttachFailed)]; n != failed {
				t.Errorf("%s connects: %d failed Attaches, want %d", name, n, failed)
			}
			for _, l := range a.Status().Links {
				if l.Peer == id && failed > 0 {
					t.Errorf("%s connects: its link counts as one of the node that answered", name)
				}
			}
		})
	}
}

// alone is a peer with a node, the first of its overlay, in a network without a kernel.
func (w *world) alone(m *memory) *Peer {
	w.t.Helper()
	p, err := newPeer(Config{Overlay: w.overlay, Self: w.signer(newKey(w.t)), Log: zerolog.Nop(), First: true,
		Listener: m.listen(), AppListener: m.listen()}, func(n node.Config) machine { return node.New(n) })
	if err != nil {
		w.t.Fatal(err)
	}
	p.dialTCP, p.dialDTLS = m.dial, nil
	w.run(p)
	return p
}

// run runs p until the end of the test.
func (w *world) run(p *Peer) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-p.Joined():
	case <-time.After(patience):
		w.t.Fatal("not joined")
	}
}
