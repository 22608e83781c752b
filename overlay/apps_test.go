package overlay

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// answers lets a's node answer every AppAttach as sender would, or not at all.
func answers(a *driven, sender wire.NodeID) {
	a.node.do = func(id node.OpID, op node.Op) {
		a.node.leaves(id, op)
		if _, ok := op.(node.OpAppAttach); ok {
			a.node.out.Done = append(a.node.out.Done, node.Done{Op: id,
				Answer: trust.Assume(&wire.Message{Body: &wire.AppAttachAns{}}, trust.Identity{Node: sender})})
		}
	}
}

type attached struct {
	conn AppConn
	err  error
}

func attach(a *driven, dest ...wire.Destination) <-chan attached {
	out := make(chan attached, 1)
	go func() {
		c, err := a.AppAttach(context.Background(), wire.NewDestinationList(dest...), wire.ApplicationSIP)
		out <- attached{c, err}
	}()
	return out
}

// callee is a driven peer that keeps the application connections that it opened.
func callee(w *world, m *memory) (*driven, chan AppConn) {
	conns := make(chan AppConn, 4)
	return w.drive(m, func(c *Config) { c.Accept = func(c AppConn) { conns <- c } }), conns
}

func dialApp(t *testing.T, from, to *driven) {
	t.Helper()
	from.effect(node.Effects{Apps: []node.AppDial{{Peer: to.NodeID(), Application: wire.ApplicationSIP,
		Candidates: []wire.IceCandidate{at(t, to.appAddress())}}}})
}

// Conformance: A-35 A-41 H-19
func TestRFC6940_6_5_2_AppAttach(t *testing.T) {
	for _, c := range []struct {
		name  string
		dest  func(b *driven) wire.Destination
		early bool // the connection comes before the answer
	}{
		{"to a node", func(b *driven) wire.Destination { return wire.ToNode(b.NodeID()) }, false},
		{"to a node, connection first", func(b *driven) wire.Destination { return wire.ToNode(b.NodeID()) }, true},
		{"to a resource", func(*driven) wire.Destination { return wire.ToResource("0123456789abcdef") }, false},
		{"to a resource, connection first", func(*driven) wire.Destination { return wire.ToResource("0123456789abcdef") }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, m := newWorld(t), newMemory()
				a := w.drive(m, nil)
				b, conns := callee(w, m)
				if !c.early {
					answers(a, b.NodeID())
				}
				result := attach(a, c.dest(b))
				did := a.next("do")
				dialApp(t, b, a)
				theirs := <-conns
				synctest.Wait()
				if c.early {
					a.effect(node.Effects{Done: []node.Done{{Op: node.OpID(did.id),
						Answer: trust.Assume(&wire.Message{Body: &wire.AppAttachAns{}}, trust.Identity{Node: b.NodeID()})}}})
				}
				ours := <-result
				if ours.err != nil {
					t.Fatal(ours.err)
				}
				if ours.conn.Peer.Node != b.NodeID() || theirs.Peer.Node != a.NodeID() || theirs.Application != wire.ApplicationSIP {
					t.Errorf("caller sees %s, callee sees %s, %d", ours.conn.Peer.Node, theirs.Peer.Node, theirs.Application)
				}
				carries(t, ours.conn, theirs)
				carries(t, theirs, ours.conn)
				_, _ = ours.conn.Close(), theirs.Close()
			})
		})
	}
}

// carries checks that what is written to one comes out of the other.
func carries(t *testing.T, from, to net.Conn) {
	t.Helper()
	const text = "OPTIONS sip:bob@example.org SIP/2.0\r\n\r\n"
	failed := make(chan error, 1)
	go func() {
		_, err := io.WriteString(from, text)
		failed <- err
	}()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(bufio.NewReaderSize(to, 2*MaxAppDatagram), got); err != nil || string(got) != text {
		t.Errorf("read %q, %v", got, err)
	}
	if err := <-failed; err != nil {
		t.Errorf("write: %v", err)
	}
}

// closes waits until the other side has closed c.
func closes(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection ended with %v", err)
	}
	_ = c.Close()
}

func TestAppConnectionNobodyAskedForIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a := w.drive(m, nil)
		b, conns := callee(w, m)
		dialApp(t, b, a)
		closes(t, <-conns)
		if n := a.Stats().AppConns["unmatched"]; n != 1 {
			t.Errorf("%d unmatched connections counted", n)
		}
	})
}

// RFC 7904 §5.1: the certificate must be of the node that the destination list ends in.
//
// Conformance: H-19
func TestRFC7904_5_1_ConnectionOfAThirdNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		third, conns := callee(w, m)
		answers(a, b.NodeID())
		result := attach(a, wire.ToNode(b.NodeID()))
		a.next("do")
		dialApp(t, third, a)
		closes(t, <-conns)
		if r := <-result; !errors.Is(r.err, ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", r.err)
		}
	})
}

// Conformance: H-19
func TestRFC7904_5_1_AnswerOfAThirdNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b, third := w.drive(m, nil), w.drive(m, nil), w.drive(m, nil)
		answers(a, third.NodeID())
		if r := <-attach(a, wire.ToNode(b.NodeID())); !errors.Is(r.err, ErrUntrusted) {
			t.Errorf("got %v, want ErrUntrusted", r.err)
		}
	})
}

func TestAppAttachWaitsTenSecondsForTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		answers(a, b.NodeID())
		start := time.Now()
		r := <-attach(a, wire.ToNode(b.NodeID()))
		if d := time.Since(start); !errors.Is(r.err, ErrTimeout) || d != appWait {
			t.Errorf("got %v after %v, want ErrTimeout after %v", r.err, d, appWait)
		}
		if len(a.apps.wait) != 0 || len(a.apps.parked) != 0 {
			t.Errorf("left behind: %+v", a.apps.wait)
		}
	})
}

func TestParkedConnectionsAreClosedWithTheLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a := w.drive(m, nil)
		b, conns := callee(w, m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := a.AppAttach(ctx, wire.NewDestinationList(wire.ToResource("0123456789abcdef")), wire.ApplicationSIP)
			done <- err
		}()
		a.next("do")
		dialApp(t, b, a)
		conn := <-conns
		synctest.Wait()
		if len(a.apps.parked) != 1 {
			t.Errorf("%d connections parked, want 1", len(a.apps.parked))
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		closes(t, conn)
	})
}

// Both ask at the same time: two connections, each to the side that asked for it.
func TestAppAttachGlare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, toA := callee(w, m)
		b, toB := callee(w, m)
		answers(a, b.NodeID())
		answers(b, a.NodeID())
		fromA, fromB := attach(a, wire.ToNode(b.NodeID())), attach(b, wire.ToNode(a.NodeID()))
		a.next("do")
		b.next("do")
		dialApp(t, a, b)
		dialApp(t, b, a)
		left, right := <-fromA, <-fromB
		if left.err != nil || right.err != nil {
			t.Fatal(left.err, right.err)
		}
		acceptedA, acceptedB := <-toA, <-toB
		carries(t, left.conn, acceptedB)
		carries(t, right.conn, acceptedA)
		for _, c := range []net.Conn{left.conn, right.conn, acceptedA, acceptedB} {
			_ = c.Close()
		}
	})
}

func TestAppDialOfTheWrongNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a, b := w.drive(m, nil), w.drive(m, nil)
		third, conns := callee(w, m)
		candidates := []wire.IceCandidate{at(t, a.appAddress())}
		third.effect(node.Effects{Apps: []node.AppDial{{Peer: b.NodeID(), Candidates: candidates}}})
		synctest.Wait()
		if len(conns) != 0 || third.Stats().AppConns["dial_failed"] != 1 {
			t.Errorf("%d connections, counters %v", len(conns), third.Stats().AppConns)
		}
	})
}

// TestAppDialsOfOneNodeLeaveRoomForOthers: a node says itself where its connections lead. When they lead nowhere, each takes its time.
func TestAppDialsOfOneNodeLeaveRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, m := newWorld(t), newMemory()
		a := w.drive(m, nil)
		third, conns := callee(w, m)
		nowhere := node.AppDial{Peer: w.drive(m, nil).NodeID(), Candidates: []wire.IceCandidate{at(t, "192.0.2.99:1")}}
		flood := slices.Repeat([]node.AppDial{nowhere}, 2*maxDials)
		third.effect(node.Effects{Apps: flood})
		synctest.Wait()
		dialApp(t, third, a)
		if c := <-conns; c.Peer.Node != a.NodeID() {
			t.Errorf("connected with %s", c.Peer.Node)
		} else {
			_ = c.Close()
		}
		if n := third.Stats().AppConns["overload"]; n != 2*maxDials-maxAppDialsOf {
			t.Errorf("%d attempts were too many", n)
		}
		time.Sleep(dialTimeout)
		third.effect(node.Effects{Apps: []node.AppDial{nowhere}})
		synctest.Wait()
		if n := third.Stats().AppConns["overload"]; n != 2*maxDials-maxAppDialsOf {
			t.Error("what has ended is still counted")
		}
	})
}

func TestAppTableIsBounded(t *testing.T) {
	var table appTable
	for i := range maxAppConns {
		if table.expect(wire.NodeID{}) == nil {
			t.Fatalf("request %d refused", i)
		}
	}
	if table.expect(wire.NodeID{}) != nil {
		t.Error("one more was taken")
	}
	ours, theirs := net.Pipe()
	for i := range maxParked {
		if !table.inbound(AppConn{Conn: ours}) {
			// An identity without Node-IDs matches nobody.
			t.Fatalf("connection %d refused", i)
		}
	}
	if table.inbound(AppConn{Conn: ours}) {
		t.Error("one more was parked")
	}
	table.close()
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("parked connection after close: %v", err)
	}
}
