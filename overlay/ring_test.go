package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

// cable is a peer's network connection, which a test can cut.
type cable struct {
	mu    sync.Mutex
	conns []*net.TCPConn
	cutAt time.Time
}

func (c *cable) attach(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tcp := conn.(*net.TCPConn)
	if !c.cutAt.IsZero() {
		_ = tcp.Close()
		return nil, net.ErrClosed
	}
	c.conns = append(c.conns, tcp)
	return conn, nil
}

func (c *cable) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return c.attach(conn)
}

// cut does to the sockets what the kernel does when a process is killed.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutAt = time.Now()
	for _, conn := range c.conns {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}

type cabled struct {
	net.Listener
	cable *cable
}

func (l cabled) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.cable.attach(conn)
}

// member is a real peer on loopback.
type member struct {
	*Peer
	t       testing.TB
	cable   *cable
	ether   *ether // nil: TLS only
	inbound chan AppConn
	stop    func()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// member starts a peer; first is the one to join, nil for the first of all.
func (w *world) member(t testing.TB, first *member) *member {
	t.Helper()
	return w.memberAs(t, w.signer(newKey(t)), first)
}

func (w *world) memberAs(t testing.TB, self *trust.Signer, first *member) *member {
	t.Helper()
	return w.memberWith(t, self, first, func(*Config) {})
}

func (w *world) memberWith(t testing.TB, self *trust.Signer, first *member, change func(*Config)) *member {
	t.Helper()
	m := &member{t: t, cable: &cable{}, inbound: make(chan AppConn, 16)}
	c := Config{
		Overlay: w.overlay, Self: self, Log: zerolog.Nop(),
		Listener: cabled{listen(t), m.cable}, AppListener: cabled{listen(t), m.cable},
		Applications: []wire.ApplicationID{wire.ApplicationSIP}, Accept: func(a AppConn) { m.inbound <- a },
		Journal: w.journal, Document: w.document, Changed: w.changed, Client: w.client, Services: w.services,
	}
	if first == nil {
		c.First = true
	} else {
		c.Bootstrap = []string{first.cfg.Listener.Addr().String()}
	}
	change(&c)
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Peer = p
	p.dialTCP = m.cable.dial
	m.run()
	return m
}

// run runs the peer until stop, or the end of the test.
func (m *member) run() {
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("Run: %v", err)
		}
	})
	m.t.Cleanup(m.stop)
}

func (m *member) join() {
	m.t.Helper()
	select {
	case <-m.Joined():
	case <-time.After(patience):
		m.t.Fatalf("%s has not joined: %+v\n%+v", m.NodeID().Short(), m.Status(), m.Stats())
	}
}

// ring starts n peers, one after the other.
func (w *world) ring(t testing.TB, n int) []*member {
	t.Helper()
	var ring []*member
	for i := range n {
		var first *member
		if i > 0 {
			first = ring[0]
		}
		m := w.member(t, first)
		m.join()
		ring = append(ring, m)
	}
	return ring
}

// settle waits until every peer has all others for neighbours, at least three on each side (RFC 6940 §10.7).
func settle(t testing.TB, ring []*member) {
	t.Helper()
	for _, m := range ring {
		want := min(len(ring)-1, 3)
		eventually(t, func() bool {
			s := m.Status()
			return len(s.Successors) >= want && len(s.Predecessors) >= want
		}, func() string {
			return fmt.Sprintf("%s has not got its neighbours: %+v", m.NodeID().Short(), m.Status())
		})
	}
}

// eventually polls: what is waited for is another goroutine's state behind a network.
func eventually(t testing.TB, ok func() bool, failed func() string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal(failed())
		}
	}
}

// record is the SIP-REGISTRATION that routes to id.
func record(id wire.NodeID) wire.StoredValue {
	r := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(id))}
	return wire.StoredValue{Model: wire.Dictionary, Key: string(id.Bytes()), Exists: true, Data: r.AppendTo(nil)}
}

// register stores a record of user at m and returns its Resource-ID.
func (w *world) register(t testing.TB, m *member, user string) wire.ResourceID {
	t.Helper()
	res := wire.ResourceIDOf(user)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	by := w.user(m.cfg.Self, user)
	if _, err := m.Store(ctx, by, res, wire.KindSIPRegistration, record(m.NodeID()), time.Now(), time.Hour); err != nil {
		t.Fatalf("%s: Store of %s: %v", m.NodeID().Short(), user, err)
	}
	return res
}

// replicated waits until so many records have the two replicas that RFC 6940 §10.4 wants. There may be more: a peer is
// late to drop one that it need not have any more.
func replicated(t testing.TB, ring []*member, records int) {
	t.Helper()
	stored := func() (n int) {
		for _, m := range ring {
			n += m.Status().Stored[wire.KindSIPRegistration]
		}
		return n
	}
	eventually(t, func() bool { return stored() >= 3*records },
		func() string { return fmt.Sprintf("%d copies, want %d", stored(), 3*records) })
}

// finds reports whether m fetches exactly the record that home stored for user.
func finds(t testing.TB, m, home *member, user string, within time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	values, err := m.Fetch(ctx, wire.ResourceIDOf(user), wire.KindSIPRegistration)
	if err != nil {
		return err
	}
	if len(values) != 1 || values[0].Signer.User != user || values[0].Signer.Node != home.NodeID() {
		return fmt.Errorf("%s fetched %+v for %s", m.NodeID().Short(), values, user)
	}
	return nil
}

// everyoneFindsEveryone registers a user at each peer, and has all of them look for each.
func (w *world) everyoneFindsEveryone(t *testing.T, ring []*member) {
	t.Helper()
	for i, home := range ring {
		user := fmt.Sprintf("user%d@example.org", i)
		w.register(t, home, user)
		for _, m := range ring {
			if err := finds(t, m, home, user, patience); err != nil {
				t.Errorf("%d peers: %v", len(ring), err)
			}
		}
	}
}

// Conformance: A-01 A-34 A-42 C-24
func TestRingOfRealPeers(t *testing.T) {
	for _, n := range []int{1, 3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			before := runtime.NumGoroutine()
			ring := w.ring(t, n)
			settle(t, ring)
			w.everyoneFindsEveryone(t, ring)
			for _, m := range slices.Backward(ring) {
				m.stop()
				if s := m.Status(); s.State != node.Starting && s.State != node.Joined && s.State != node.Left {
					t.Errorf("state %s", s.State)
				}
			}
			eventually(t, func() bool { return runtime.NumGoroutine() <= before },
				func() string {
					return fmt.Sprintf("%d goroutines, %d before the peers", runtime.NumGoroutine(), before)
				})
		})
	}
}

// Each pair of peers gets the kind of connection that both have, TLS when they have both kinds.
//
// Conformance: A-35 A-41 H-19
func TestAppAttachInBothDirections(t *testing.T) {
	both, tls, dtls := transports{tls: true, dtls: true}, transports{tls: true}, transports{dtls: true}
	for _, c := range []struct {
		name     string
		over     [3]transports
		datagram [3]bool // from 0 to 2, 2 to 0, 1 to 2: what the caller listens on decides
	}{
		{"TLS", [3]transports{tls, tls, tls}, [3]bool{}},
		{"DTLS", [3]transports{dtls, dtls, dtls}, [3]bool{true, true, true}},
		{"mixed", [3]transports{both, dtls, tls}, [3]bool{false, false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ring := w.ringOver(t, c.over[:]...)
			settle(t, ring)
			for i, way := range [][2]*member{{ring[0], ring[2]}, {ring[2], ring[0]}, {ring[1], ring[2]}} {
				attachBetween(t, way[0], way[1], c.datagram[i])
			}
		})
	}
}

func attachBetween(t *testing.T, caller, callee *member, datagram bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ours, err := caller.AppAttach(ctx, wire.NewDestinationList(wire.ToNode(callee.NodeID())), wire.ApplicationSIP)
	if err != nil {
		t.Fatal(err)
	}
	theirs := <-callee.inbound
	if ours.Peer.Node != callee.NodeID() || theirs.Peer.Node != caller.NodeID() || theirs.Application != wire.ApplicationSIP {
		t.Errorf("caller sees %s, want %s; callee sees %s, want %s",
			ours.Peer.Node, callee.NodeID(), theirs.Peer.Node, caller.NodeID())
	}
	if ours.Datagram != datagram || theirs.Datagram != datagram {
		t.Errorf("over datagrams: %v and %v, want %v", ours.Datagram, theirs.Datagram, datagram)
	}
	carries(t, ours, theirs)
	carries(t, theirs, ours)
	_ = ours.Close()
	if n, err := theirs.Read(make([]byte, 2*MaxAppDatagram)); err == nil {
		t.Errorf("%d octets after the other side has closed", n)
	}
	_ = theirs.Close()
}

// A datagram of the greatest length that the application may write arrives; the connections end with the peer.
func TestAppConnectionOverDTLS(t *testing.T) {
	w := newWorld(t)
	ring := w.ringOver(t, transports{dtls: true}, transports{dtls: true})
	settle(t, ring)
	var far []AppConn
	for _, way := range [][2]*member{{ring[0], ring[1]}, {ring[1], ring[0]}} {
		ours, err := way[0].AppAttach(t.Context(), wire.NewDestinationList(wire.ToNode(way[1].NodeID())), wire.ApplicationSIP)
		if err != nil {
			t.Fatal(err)
		}
		theirs := <-way[1].inbound
		text := bytes.Repeat([]byte("x"), MaxAppDatagram)
		if _, err := ours.Write(text); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2*MaxAppDatagram)
		if n, err := theirs.Read(got); err != nil || !bytes.Equal(got[:n], text) {
			t.Errorf("%d octets, %v", n, err)
		}
		far = append(far, ours, theirs)
	}
	ring[0].stop() // it has accepted the first connection on its socket
	if _, err := far[1].Read(make([]byte, 2*MaxAppDatagram)); !errors.Is(err, io.EOF) {
		t.Errorf("the other side ended with %v", err)
	}
	for _, c := range far {
		_ = c.Close()
	}
}

func TestPing(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 2)
	rtt, from, err := ring[0].Ping(t.Context(), wire.NewDestinationList(wire.ToNode(ring[1].NodeID())))
	if err != nil || from != ring[1].NodeID() || rtt <= 0 {
		t.Errorf("got %v from %s, %v", rtt, from, err)
	}
}

// The process of a peer is killed: what was homed on the others is found by all of them within five seconds.
//
// Conformance: E-22
func TestKilledPeer(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 5)
	settle(t, ring)
	for i, home := range ring {
		w.register(t, home, fmt.Sprintf("user%d@example.org", i))
	}
	victim := ring[2]
	alive := slices.Delete(slices.Clone(ring), 2, 3)
	replicated(t, ring, len(ring))

	victim.cable.cut()
	killed := time.Now()
	for i, home := range ring {
		if home == victim {
			continue
		}
		user := fmt.Sprintf("user%d@example.org", i)
		for _, m := range alive {
			for err := finds(t, m, home, user, time.Second); err != nil; err = finds(t, m, home, user, time.Second) {
				if time.Since(killed) > 5*time.Second {
					t.Fatalf("5 s after the kill, %s: %v", m.NodeID().Short(), err)
				}
			}
		}
	}
	settle(t, alive)
}

func TestPeerThatLeavesAndJoinsAgain(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 3)
	settle(t, ring)
	w.register(t, ring[0], "alice@example.org")
	ring[1].stop()
	if err := finds(t, ring[2], ring[0], "alice@example.org", patience); err != nil {
		t.Errorf("after a Leave: %v", err)
	}
	back := w.member(t, ring[2])
	back.join()
	if err := finds(t, back, ring[0], "alice@example.org", patience); err != nil {
		t.Errorf("a new peer: %v", err)
	}
}

// A process is killed and started again: the same Node-ID, at another address.
func TestKilledPeerComesBack(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 3)
	settle(t, ring)
	w.register(t, ring[1], "alice@example.org")
	replicated(t, ring, 1)
	ring[1].cable.cut()
	ring[1].stop() // whatever it still does, nobody hears it
	back := w.memberAs(t, ring[1].cfg.Self, ring[0])
	back.join()
	now := []*member{ring[0], back, ring[2]}
	settle(t, now)
	for _, m := range now {
		if err := finds(t, m, back, "alice@example.org", patience); err != nil {
			t.Error(err)
		}
	}
	w.register(t, back, "bob@example.org")
	if err := finds(t, ring[2], back, "bob@example.org", patience); err != nil {
		t.Error(err)
	}
}

// A peer with a certificate of another authority gets nowhere, and the ring does not mind.
//
// Conformance: A-07
func TestPeerOfAnotherAuthority(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	ring := w.ring(t, 2)
	settle(t, ring)
	stranger := other.member(t, ring[0])
	eventually(t, func() bool {
		return ring[0].Stats().Refused["handshake"] > 0 && stranger.Stats().Events["dial_failed"] > 0
	},
		func() string { return fmt.Sprintf("nobody refused anything: %+v", ring[0].Stats()) })
	select {
	case <-stranger.Joined():
		t.Error("the stranger has joined")
	default:
	}
	w.register(t, ring[0], "alice@example.org")
	if err := finds(t, ring[1], ring[0], "alice@example.org", patience); err != nil {
		t.Error(err)
	}
}

// Values of somebody else's are refused by the storing peer (RFC 6940 §7.3) with Error_Forbidden.
//
// Conformance: D-08 H-09
func TestRFC6940_7_3_StoreForAnotherUser(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 2)
	settle(t, ring)
	for _, m := range ring {
		mallory, alice := w.user(m.cfg.Self, "mallory@example.org"), wire.ResourceIDOf("alice@example.org")
		_, err := m.Store(t.Context(), mallory, alice, wire.KindSIPRegistration, record(m.NodeID()), time.Now(), time.Hour)
		wantRemote(t, err, wire.ErrorForbidden)
	}
}

func wantRemote(t *testing.T, err error, code wire.ErrorCode) {
	t.Helper()
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// benchRing is what the benchmarks of the whole way work with: request and answer signed and checked, TLS, three peers.
func benchRing(b *testing.B) (*world, []*member) {
	w := newWorld(b)
	ring := w.ring(b, 3)
	settle(b, ring)
	return w, ring
}

func BenchmarkAppAttach(b *testing.B) {
	_, ring := benchRing(b)
	to := wire.NewDestinationList(wire.ToNode(ring[1].NodeID()))
	b.ReportAllocs()
	for b.Loop() {
		ours, err := ring[0].AppAttach(b.Context(), to, wire.ApplicationSIP)
		if err != nil {
			b.Fatal(err)
		}
		theirs := <-ring[1].inbound
		_, _ = ours.Close(), theirs.Close()
	}
}

// RFC 6940 §6.5.1.13: "the node that sent the Attach request MUST be the TLS server", so the one that answered connects.
// A joining node dials its bootstrap node, and nobody else: the others come to it.
//
// Conformance: A-04 A-35 A-42
func TestRFC6940_6_5_1_13_WhoAnswersAnAttachConnects(t *testing.T) {
	w := newWorld(t)
	ring := w.ring(t, 4)
	settle(t, ring)
	last := ring[3]
	var dialed []string
	came := 0
	last.cable.mu.Lock()
	defer last.cable.mu.Unlock()
	for _, c := range last.cable.conns {
		if c.LocalAddr().String() == last.cfg.Listener.Addr().String() {
			came++
			continue
		}
		dialed = append(dialed, c.RemoteAddr().String())
	}
	if want := []string{ring[0].cfg.Listener.Addr().String()}; !slices.Equal(dialed, want) || came < 2 {
		t.Errorf("it dialed %v, want %v; %d came to it", dialed, want, came)
	}
}
