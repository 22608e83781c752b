package overlay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

// ether is what the links over DTLS of one member run on: each has one side that dialled, on a socket which this is around.
type ether struct {
	loss float64 // of datagrams, in each direction

	mu      sync.Mutex
	rand    *rand.Rand
	sockets []net.Conn
	dialed  []string
	lost    int
	down    bool
}

// etherConn loses datagrams.
type etherConn struct {
	net.Conn
	ether *ether
}

func (c etherConn) Write(b []byte) (int, error) {
	if c.ether.loses() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c etherConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.ether.loses() {
			return n, err
		}
	}
}

func (e *ether) loses() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rand.Float64() >= e.loss {
		return false
	}
	e.lost++
	return true
}

func (e *ether) dial(d *link.DTLS) func(context.Context, string, wire.NodeID) (*link.Association, trust.Identity, error) {
	return func(ctx context.Context, to string, want wire.NodeID) (*link.Association, trust.Identity, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", to)
		if err != nil {
			return nil, trust.Identity{}, err
		}
		e.mu.Lock()
		e.dialed = append(e.dialed, to)
		e.sockets = append(e.sockets, conn)
		if e.down {
			_ = conn.Close()
		}
		e.mu.Unlock()
		return d.Client(ctx, etherConn{conn, e}, want)
	}
}

// cutPackets does to the sockets what the kernel does when a process is killed.
func (m *member) cutPackets() {
	m.cable.cut()
	m.ether.mu.Lock()
	defer m.ether.mu.Unlock()
	m.ether.down = true
	for _, conn := range m.ether.sockets {
		_ = conn.Close()
	}
	_, _ = m.cfg.Packets.Close(), m.cfg.AppPackets.Close()
}

func packets(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// transports is what a member listens on.
type transports struct {
	tls, dtls bool
	loss      float64
}

// bootstrap is where others enter.
func (m *member) bootstrap() string {
	if m.cfg.Listener != nil {
		return m.cfg.Listener.Addr().String()
	}
	return m.cfg.Packets.LocalAddr().String()
}

// memberOver starts a peer that listens on the given transports.
func (w *world) memberOver(t testing.TB, self *trust.Signer, first *member, over transports) *member {
	t.Helper()
	m := &member{t: t, cable: &cable{}, inbound: make(chan AppConn, 16),
		ether: &ether{loss: over.loss, rand: rand.New(rand.NewPCG(1, 2))}}
	c := Config{Overlay: w.overlay, Self: self, Log: zerolog.Nop(), First: first == nil,
		Applications: []wire.ApplicationID{wire.ApplicationSIP}, Accept: func(a AppConn) { m.inbound <- a }}
	if over.tls {
		c.Listener, c.AppListener = cabled{listen(t), m.cable}, cabled{listen(t), m.cable}
	}
	if over.dtls {
		c.Packets, c.AppPackets = packets(t), packets(t)
	}
	if first != nil {
		c.Bootstrap = []string{first.bootstrap()}
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Peer = p
	p.dialTCP, p.dialDTLS = m.cable.dial, m.ether.dial(p.dtls)
	m.run()
	return m
}

// ringOver starts one peer for each of the transports, one after the other.
func (w *world) ringOver(t testing.TB, over ...transports) []*member {
	t.Helper()
	var ring []*member
	for _, o := range over {
		var first *member
		if len(ring) > 0 {
			first = ring[0]
		}
		m := w.memberOver(t, w.signer(newKey(t)), first, o)
		m.join()
		ring = append(ring, m)
	}
	return ring
}

// transports counts the links of a member by what carries them.
func (m *member) transports() map[string]int {
	n := make(map[string]int)
	for _, l := range m.Links() {
		n[l.Transport]++
	}
	return n
}

// Conformance: A-01 B-39 B-40 B-41 G-07
func TestRingOverDTLS(t *testing.T) {
	for _, n := range []int{3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			ring := w.ringOver(t, slices.Repeat([]transports{{dtls: true}}, n)...)
			settle(t, ring)
			for i, home := range ring {
				user := fmt.Sprintf("user%d@example.org", i)
				w.register(t, home, user)
				for _, m := range ring {
					if err := finds(t, m, home, user, patience); err != nil {
						t.Errorf("%d peers: %v", n, err)
					}
				}
			}
			for _, m := range ring {
				if got := m.transports(); got["tls"] > 0 || got["dtls"] < 2 {
					t.Errorf("%s has links %v", m.NodeID().Short(), got)
				}
			}
			ring[1].stop()
			if err := finds(t, ring[2], ring[0], "user0@example.org", patience); err != nil {
				t.Errorf("after a Leave: %v", err)
			}
			for _, m := range slices.Backward(ring) {
				m.stop()
			}
		})
	}
}

// A peer that listens for TLS only and one that listens for DTLS only link with each other: who dials needs no socket of that
// kind. Where both are offered TLS is taken (RFC 6940 §6.5.1.6).
//
// Conformance: A-01 A-32
func TestRingOfTLSAndDTLS(t *testing.T) {
	w := newWorld(t)
	ring := w.ringOver(t, transports{tls: true, dtls: true}, transports{dtls: true}, transports{tls: true}, transports{tls: true, dtls: true})
	settle(t, ring)
	w.everyoneFindsEveryone(t, ring)
	for i, m := range ring {
		for _, l := range m.Links() {
			other := slices.IndexFunc(ring, func(o *member) bool { return o.NodeID() == l.Peer })
			if i != 1 && other != 1 && (i+other)%3 == 0 && l.Transport != "tls" {
				t.Errorf("%d and %d, which have both, link over %s", i, other, l.Transport)
			}
		}
	}
	if n := ring[1].transports()["dtls"]; n == 0 {
		t.Error("the peer that listens for DTLS only has no link over DTLS")
	}
	if n := ring[2].transports()["tls"]; n == 0 {
		t.Error("the peer that listens for TLS only has no link over TLS")
	}
	dialed := ring[2].ether.addresses()
	for _, m := range ring {
		if m.cfg.Listener != nil && m.cfg.Packets != nil && slices.Contains(dialed, m.cfg.Packets.LocalAddr().String()) {
			t.Error("DTLS was tried where there is TLS")
		}
	}
}

func (e *ether) addresses() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.dialed)
}

// One datagram in twenty is lost on every link, in each direction: no Store that was acknowledged is lost.
//
// Conformance: A-14 A-15
func TestDTLSRingThatLosesDatagrams(t *testing.T) {
	t.Parallel() // it waits for timers
	const records = 6
	w := newWorld(t)
	ring := w.ringOver(t, slices.Repeat([]transports{{dtls: true, loss: 0.05}}, 4)...)
	settle(t, ring)
	for i := range records {
		w.register(t, ring[i%len(ring)], fmt.Sprintf("user%d@example.org", i))
	}
	replicated(t, ring, records)
	for i := range records {
		for _, m := range ring {
			if err := finds(t, m, ring[i%len(ring)], fmt.Sprintf("user%d@example.org", i), patience); err != nil {
				t.Error(err)
			}
		}
	}
	lost := 0
	for _, m := range ring {
		m.ether.mu.Lock()
		lost += m.ether.lost
		m.ether.mu.Unlock()
	}
	if lost == 0 {
		t.Error("nothing was lost")
	}
}

// The process of a peer is killed. A link over UDP does not end by that: its neighbours find out by what is not acknowledged,
// or by an ICMP error, and what was homed on the others is found again.
func TestKilledPeerOverDTLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ring := w.ringOver(t, slices.Repeat([]transports{{dtls: true}}, 5)...)
	settle(t, ring)
	for i, home := range ring {
		w.register(t, home, fmt.Sprintf("user%d@example.org", i))
	}
	replicated(t, ring, len(ring))
	victim := ring[2]
	alive := slices.Delete(slices.Clone(ring), 2, 3)
	victim.cutPackets()
	for i, home := range ring {
		if home == victim {
			continue
		}
		for _, m := range alive {
			var err error
			eventually(t, func() bool {
				err = finds(t, m, home, fmt.Sprintf("user%d@example.org", i), 5*time.Second)
				return err == nil
			}, func() string { return fmt.Sprintf("%s: %v", m.NodeID().Short(), err) })
		}
	}
	settle(t, alive)
}

// A link that may not carry much more is replaced by the side that has dialled, and messages take the new one.
func TestLinkIsReplaced(t *testing.T) {
	w := newWorld(t)
	ring := w.ringOver(t, transports{dtls: true}, transports{dtls: true})
	settle(t, ring)
	before := len(ring[0].Links())
	to := target{wire.LinkDTLSUDPSRNoICE, ring[0].bootstrap()}
	f, err := ring[1].connect(t.Context(), []target{to}, ring[0].NodeID())
	if err != nil {
		t.Fatal(err)
	}
	options := make(chan link.Options, 1)
	made := f.link
	f.link = func(o link.Options) link.Link {
		options <- o
		return made(o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { ring[1].carry(ctx, f, 0) })
	(<-options).Replace()
	for _, m := range ring {
		eventually(t, func() bool { return len(m.Links()) == before+2 },
			func() string { return fmt.Sprintf("%d links before, now %+v", before, m.Links()) })
	}
	if n := ring[1].Stats().Events[eventLinkReplaced]; n != 1 {
		t.Errorf("%d replaced", n)
	}
	cancel() // the old one ends
	wg.Wait()
	w.register(t, ring[1], "alice@example.org")
	if err := finds(t, ring[0], ring[1], "alice@example.org", patience); err != nil {
		t.Error(err)
	}
}

// Conformance: A-32 A-34
func TestRFC6940_6_5_1_6_TLSIsPreferred(t *testing.T) {
	ln, udp := listen(t), packets(t)
	defer func() { _, _ = ln.Close(), udp.Close() }()
	list, err := candidates(ln, "192.0.2.1:6084", udp, "[::ffff:192.0.2.1]:6084")
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	slices.Reverse(list)
	both := []wire.LinkType{wire.LinkDTLSUDPSRNoICE, wire.LinkTLSTCPFHNoICE}
	for _, c := range []struct {
		types []wire.LinkType
		want  []target
	}{
		{both, []target{{wire.LinkTLSTCPFHNoICE, "192.0.2.1:6084"}, {wire.LinkDTLSUDPSRNoICE, "192.0.2.1:6084"}}},
		{both[:1], []target{{wire.LinkDTLSUDPSRNoICE, "192.0.2.1:6084"}}},
		{both[1:], []target{{wire.LinkTLSTCPFHNoICE, "192.0.2.1:6084"}}},
	} {
		if got := targets(list, c.types); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.types, got, c.want)
		}
	}
}
