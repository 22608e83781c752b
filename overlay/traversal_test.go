package overlay

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/ice"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

var turnSecret = ice.Secret("0123456789abcdef0123456789abcdef")

// newICEWorld is an overlay with ICE and TURN servers.
func newICEWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	kind, _ := config.Registered(wire.KindTURNService)
	kind.MaxCount, kind.MaxSize = 1, 100
	w.overlay.NoICE, w.overlay.TurnDensity = false, 2
	w.overlay.Kinds = append(w.overlay.Kinds, kind)
	return w
}

// iceMember starts a peer with ICE; change may alter its configuration.
func (w *world) iceMember(t testing.TB, first *member, change func(*Config), tamper ...func(*Peer)) *member {
	t.Helper()
	m := &member{t: t, cable: &cable{}, inbound: make(chan AppConn, 16)}
	c := Config{Overlay: w.overlay, Self: w.signer(newKey(t)), Log: zerolog.Nop(), First: first == nil, Packets: packets(t),
		AppPackets: packets(t), Applications: []wire.ApplicationID{wire.ApplicationSIP}, Accept: func(a AppConn) { m.inbound <- a }}
	if first != nil {
		c.Bootstrap = []string{first.bootstrap()}
	}
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Peer = p
	for _, f := range tamper {
		f(p)
	}
	m.run()
	return m
}

func (w *world) iceRing(t testing.TB, n int) []*member {
	t.Helper()
	ring := []*member{w.iceMember(t, nil, nil)}
	ring[0].join()
	for range n - 1 {
		m := w.iceMember(t, ring[0], nil)
		m.join()
		ring = append(ring, m)
	}
	settle(t, ring)
	return ring
}

// linksOf are m's links with other, over transport.
func (m *member) linksOf(other *member, transport string) (list []LinkInfo) {
	for _, l := range m.Links() {
		if l.Peer == other.NodeID() && l.Transport == transport {
			list = append(list, l)
		}
	}
	return list
}

// Every two neighbours have a link that ICE has made, unless one is the bootstrap node that the other has entered at, without
// ICE (RFC 6940 §11.4).
//
// Conformance: A-01 A-02 A-25
func TestRingWithICE(t *testing.T) {
	w := newICEWorld(t)
	ring := w.iceRing(t, 4)
	w.everyoneFindsEveryone(t, ring)
	for _, m := range ring {
		for _, other := range ring {
			if m == other || m == ring[0] || other == ring[0] {
				continue
			}
			eventually(t, func() bool { return len(m.linksOf(other, "dtls-ice")) > 0 },
				func() string {
					return fmt.Sprintf("%s has no link with ICE to %s: %+v\n%+v", m.NodeID().Short(), other.NodeID().Short(), m.Links(), m.Stats())
				})
			l := m.linksOf(other, "dtls-ice")[0]
			if want := addressOf(other.cfg.Packets); l.Pair.Remote.Type != "host" || l.Pair.Remote.Address != want || l.Address != want.String() {
				t.Errorf("pair %s, address %s, want a host candidate at %s", l.Pair, l.Address, want)
			}
		}
		if s := m.Stats(); s.Sessions[sessionConnected] == 0 || s.Pairs[PairKey{"host", "host"}] == 0 || s.Transports["tls"] > 0 {
			t.Errorf("%+v", s)
		}
	}
	for _, m := range slices.Backward(ring) {
		m.stop()
	}
}

// shaky is one side of a handshake over connections that lose datagrams.
func (e *ether) shaky(shake shaker) shaker {
	return func(ctx context.Context, under net.Conn, want wire.NodeID) (*link.Association, trust.Identity, error) {
		return shake(ctx, etherConn{under, e}, want)
	}
}

// One datagram in twenty is lost on every link, in each direction: no Store that was acknowledged is lost.
//
// Conformance: A-14 A-15
func TestRingWithICEThatLosesDatagrams(t *testing.T) {
	t.Parallel() // it waits for timers
	const records = 5
	w := newICEWorld(t)
	var ring []*member
	for i := range 5 {
		var first *member
		if i > 0 {
			first = ring[0]
		}
		e := &ether{loss: 0.05, rand: rand.New(rand.NewPCG(1, uint64(i)))}
		m := w.iceMember(t, first, nil, func(p *Peer) {
			p.ice.server, p.ice.client, p.dialDTLS = e.shaky(p.dtls.Server), e.shaky(p.dtls.Client), e.dial(p.dtls)
		})
		m.ether = e
		m.join()
		ring = append(ring, m)
	}
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
	for _, m := range ring {
		m.ether.mu.Lock()
		if m.ether.lost == 0 {
			t.Error("nothing was lost")
		}
		m.ether.mu.Unlock()
	}
}

// RFC 6940 §6.5.2: AppAttach with ICE, both certificates checked, on a socket of its own.
//
// Conformance: A-25
func TestRFC6940_6_5_2_AppAttachWithICE(t *testing.T) {
	w := newICEWorld(t)
	ring := w.iceRing(t, 3)
	for _, way := range [][2]*member{{ring[0], ring[2]}, {ring[2], ring[0]}, {ring[1], ring[2]}, {ring[1], ring[2]}} {
		caller, callee := way[0], way[1]
		ours, err := caller.AppAttach(t.Context(), wire.NewDestinationList(wire.ToNode(callee.NodeID())), wire.ApplicationSIP)
		if err != nil {
			t.Fatal(err)
		}
		theirs := <-callee.inbound
		if ours.Peer.Node != callee.NodeID() || theirs.Peer.Node != caller.NodeID() || theirs.Application != wire.ApplicationSIP {
			t.Errorf("caller sees %s, want %s; callee sees %s, want %s",
				ours.Peer.Node, callee.NodeID(), theirs.Peer.Node, caller.NodeID())
		}
		if got, want := ours.RemoteAddr().String(), callee.cfg.AppPackets.LocalAddr().String(); got != want {
			t.Errorf("connected with %s, want %s", got, want)
		}
		for _, c := range []AppConn{ours, theirs} {
			if _, ok := c.Conn.(watchedConn); !ok {
				t.Error("nobody looks at the certificate of the connection any more")
			}
		}
		carries(t, ours, theirs)
		carries(t, theirs, ours)
		_, _ = ours.Close(), theirs.Close()
	}
}

// RFC 6940 §6.6.3.1: "The RTT of a successful STUN transaction from the ICE stage is used as the initial measurement".
//
// Conformance: A-17
func TestRFC6940_6_6_3_1_ICESeedsTheRTO(t *testing.T) {
	w := newICEWorld(t)
	ring := w.iceRing(t, 2)
	var sessions [2]*ice.Session
	for i, m := range ring {
		s, err := m.gather(t.Context(), node.Gather{Controlling: i == 0})
		if err != nil {
			t.Fatal(err)
		}
		sessions[i] = s
	}
	var met [2]fresh
	var errs [2]error
	var wg sync.WaitGroup
	for i, shake := range []shaker{ring[0].dtls.Server, ring[1].dtls.Client} {
		wg.Go(func() {
			met[i], errs[i] = ring[i].meet(t.Context(), meeting{sessions[i], node.Offer(sessions[1-i].Parameters()), ring[1-i].NodeID(), shake})
		})
	}
	wg.Wait()
	for i, f := range met {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		if got := f.link(link.Options{}).Stats().RTT; got <= 0 || got != sessions[i].RTT() {
			t.Errorf("RTT before the first message: %v, want that of the checks, %v", got, sessions[i].RTT())
		}
	}
	for _, f := range met {
		f.close()
	}
}

// RFC 6940 §4.2: a client needs links through NATs as a peer does.
func TestRFC6940_4_2_ClientWithICE(t *testing.T) {
	w := newICEWorld(t)
	w.overlay.ClientsPermitted = true
	ring := w.iceRing(t, 3)
	client := w.iceMember(t, ring[0], func(c *Config) { c.Client = true })
	client.join()
	w.register(t, client, "alice@example.org")
	if err := finds(t, ring[1], client, "alice@example.org", patience); err != nil {
		t.Error(err)
	}
	for _, way := range [][2]*member{{client, ring[1]}, {ring[2], client}} {
		way[0].reach(t, way[1].NodeID(), wire.ToNode(way[1].NodeID()))
		to := wire.NewDestinationList(wire.ToNode(way[1].NodeID()))
		ours, err := way[0].AppAttach(t.Context(), to, wire.ApplicationSIP)
		if err != nil {
			t.Fatal(err)
		}
		theirs := <-way[1].inbound
		carries(t, ours, theirs)
		_, _ = ours.Close(), theirs.Close()
	}
}

// RFC 6940 §6.5.1.4: STUN servers are the peers that we are linked with, and no longer when the link is lost.
//
// Conformance: A-30
func TestRFC6940_6_5_1_4_STUNServersArePeers(t *testing.T) {
	w := newICEWorld(t)
	ring := w.iceRing(t, 3)
	mapped := addressOf(ring[1].cfg.Packets)
	servers := func() []netip.AddrPort {
		s, _ := ring[1].ice.servers(false, ring[1].NodeID())
		return s
	}
	var asked []netip.AddrPort
	eventually(t, func() bool { asked = servers(); return len(asked) == 1 }, // one group: all see the same address
		func() string { return fmt.Sprintf("STUN servers %v", asked) })
	all := []netip.AddrPort{addressOf(ring[0].cfg.Packets), addressOf(ring[2].cfg.Packets)}
	if !slices.Contains(all, asked[0]) {
		t.Errorf("STUN server %s, want one of %s", asked[0], all)
	}
	if got, err := ring[1].ice.links.Mapped(t.Context(), asked[0]); err != nil || got != mapped {
		t.Errorf("the peer sees %s, %v, want %s", got, err, mapped)
	}
	gone := slices.Index(all, asked[0]) * 2
	ring[gone].stop()
	eventually(t, func() bool { asked = servers(); return len(asked) == 1 && asked[0] == all[1-gone/2] },
		func() string { return fmt.Sprintf("STUN servers %v, want %s", asked, all[1-gone/2]) })
}

// RFC 6940 §6.5.1.12: there is no restart. A link that may not carry much more is replaced by another one, which another
// Attach makes, and what is stored stays where it is.
//
// Conformance: A-27
func TestRFC6940_6_5_1_12_LinkWithICEIsReplaced(t *testing.T) {
	w := newICEWorld(t)
	ring := w.iceRing(t, 2)
	var before []LinkInfo
	eventually(t, func() bool { before = ring[0].linksOf(ring[1], "dtls-ice"); return len(before) > 0 },
		func() string { return fmt.Sprintf("%+v", ring[0].Links()) })
	neighbors := ring[0].Stats().Events["neighbor_up"]
	ring[0].post(t.Context(), func(now time.Time, l *loop) { l.renew(now, before[0].ID) })
	for i, m := range ring {
		eventually(t, func() bool { return len(m.linksOf(ring[1-i], "dtls-ice")) > len(before) },
			func() string { return fmt.Sprintf("%d links before, now %+v", len(before), m.Links()) })
	}
	w.register(t, ring[1], "alice@example.org")
	if err := finds(t, ring[0], ring[1], "alice@example.org", patience); err != nil {
		t.Error(err)
	}
	for _, m := range ring {
		if s := m.Stats(); s.Events["neighbor_lost"] > 0 || m == ring[0] && s.Events["neighbor_up"] != neighbors {
			t.Errorf("the neighbours have lost each other: %v", s.Events)
		}
	}
}

// The side that has answered an Attach replaces its link.
func TestWhoRenewsALinkWithICE(t *testing.T) {
	w := newICEWorld(t)
	ring := w.iceRing(t, 2)
	for _, client := range []bool{true, false} {
		options := make(chan link.Options, 1)
		ended := make(chan struct{})
		f := fresh{peer: ring[1].cfg.Self.Identity(), chain: []*x509.Certificate{ring[1].cfg.Self.Identity().Cert.X509()}, remote: ring[1].cfg.Packets.LocalAddr(), client: client, close: func() {},
			link: func(o link.Options) link.Link { options <- o; return idleLink{ended} }}
		var wg sync.WaitGroup
		wg.Go(func() { ring[0].carry(t.Context(), f, 0) })
		if o := <-options; (o.Replace != nil) != client {
			t.Errorf("client %v: replaces %v", client, o.Replace != nil)
		}
		close(ended)
		wg.Wait()
	}
}

// idleLink does nothing until it is ended.
type idleLink struct{ ended chan struct{} }

func (l idleLink) Run() error               { <-l.ended; return link.ErrClosed }
func (l idleLink) Peer() (_ trust.Identity) { return trust.Identity{} }
func (l idleLink) Send([]byte) error        { return nil }
func (l idleLink) Close()                   {}
func (l idleLink) Stats() link.Stats        { return link.Stats{} }

// RFC 6940 §9: a peer that runs a TURN server stores where, once for each d from 1 to turn-density; others find it, with
// a credential of their own, and it relays.
//
// Conformance: D-50 D-51
func TestRFC6940_9_TURNServersAreFoundInTheOverlay(t *testing.T) {
	w := newICEWorld(t)
	turn := func(c *Config) { c.TURN = TURN{Secrets: []ice.Secret{turnSecret}, AllowPrivate: true} }
	first := w.iceMember(t, nil, func(c *Config) {
		turn(c)
		c.TURN.Socket, c.TURN.MinPort, c.TURN.MaxPort = packets(t), 20000, 60000
	})
	first.join()
	user := w.iceMember(t, first, turn)
	user.join()
	settle(t, []*member{first, user})
	at := addressOf(first.cfg.TURN.Socket)
	for d := range uint8(2) {
		res := wire.TurnResource(first.NodeID(), d+1)
		eventually(t, func() bool {
			v, err := user.Fetch(t.Context(), res, wire.KindTURNService)
			if err != nil || len(v) != 1 {
				return false
			}
			s, err := wire.ParseTurnServer(v[0].Value.Data)
			return err == nil && s.Iteration == d+1 && s.Address == at
		}, func() string { return fmt.Sprintf("no entry for d=%d", d+1) })
	}
	eventually(t, func() bool {
		_, turn := user.ice.servers(true, user.NodeID())
		return len(turn) == 1 && turn[0].Address == at
	},
		func() string { return fmt.Sprintf("the TURN server was not found: %+v", user.Stats().Requests) })
	s, err := user.gather(t.Context(), node.Gather{App: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !slices.ContainsFunc(s.Parameters().Candidates, func(c wire.IceCandidate) bool { return c.Type == wire.CandidateRelay }) {
		t.Errorf("no relayed candidate: %+v, %v", s.Parameters().Candidates, s.Missed())
	}
	if got := first.Stats().TURN; got.Allocations != 1 || got.Made != 1 {
		t.Errorf("the server has %+v", got)
	}
	first.stop() // it takes its entries with it
	for d := range uint8(2) {
		v, err := user.Fetch(t.Context(), wire.TurnResource(first.NodeID(), d+1), wire.KindTURNService)
		if err != nil || len(v) > 0 {
			t.Errorf("d=%d: %+v, %v", d+1, v, err)
		}
	}
}

// One look asks peer after peer, whatever Resource-ID it begins with.
//
// Conformance: D-51
func TestALookForTURNServersGoesAroundTheRing(t *testing.T) {
	w := newICEWorld(t)
	turn := func(c *Config) { c.TURN = TURN{Secrets: []TURNSecret{turnSecret}, AllowPrivate: true} }
	ring := w.iceRing(t, 4)
	user := w.iceMember(t, ring[0], turn)
	user.join()
	settle(t, append(slices.Clone(ring), user))
	server := ring[2]
	e := ice.Entries(server.NodeID(), 1, wire.TurnServer{Address: netip.MustParseAddrPort("192.0.2.1:3478")})[0]
	v := wire.StoredValue{Model: wire.SingleValue, Exists: true, Data: e.Server.AppendTo(nil)}
	if _, err := server.Store(t.Context(), server.cfg.Self, e.Resource, wire.KindTURNService, v, time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	for range 8 { // from different peers
		user.ice.mu.Lock()
		user.ice.relays = nil
		user.ice.mu.Unlock()
		if !user.findTURN(t.Context(), rand.New(rand.NewPCG(rand.Uint64(), 1))) {
			t.Fatalf("not found: %+v", user.Stats().Requests)
		}
	}
}

// A TURN server that gives nothing is forgotten, and another one is looked for.
func TestTURNServerThatIsGoneIsForgotten(t *testing.T) {
	w := newICEWorld(t)
	m := w.iceMember(t, nil, func(c *Config) { c.TURN = TURN{Secrets: []ice.Secret{turnSecret}, AllowPrivate: true} })
	m.join()
	gone := packets(t)
	m.ice.foundTURN(addressOf(gone))
	_ = gone.Close()
	s, err := m.gather(t.Context(), node.Gather{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, turn := m.ice.servers(false, m.NodeID()); len(turn) != 0 {
		t.Errorf("still there: %+v", turn)
	}
	if m.ice.foundTURN(addressOf(gone)) {
		t.Error("it was taken again at once")
	}
}

// RFC 6940 §9: "if the peer's IP address is in the private address space range [...], then it is also SHOULD NOT be a
// candidate for a TURN server".
//
// Conformance: D-50
func TestRFC6940_9_PrivatePeerOffersNoTURN(t *testing.T) {
	w := newICEWorld(t)
	m := w.iceMember(t, nil, func(c *Config) {
		c.TURN = TURN{Secrets: []ice.Secret{turnSecret}, Socket: packets(t), MinPort: 20000, MaxPort: 60000}
	})
	m.join()
	if m.mayRelay() {
		t.Errorf("%s is to relay", m.ice.turn.address())
	}
	m.ice.turn.Address = netip.MustParseAddrPort("203.0.113.1:3478") // as configured
	if !m.mayRelay() {
		t.Error("a configured address is not believed")
	}
}

// What a peer of an overlay with ICE must be given.
func TestConfigOfAnOverlayWithICE(t *testing.T) {
	w := newICEWorld(t)
	links := packets(t)
	defer func() { _ = links.Close() }()
	_, err := New(Config{Overlay: w.overlay, Self: w.signer(newKey(t)), Packets: links, Log: zerolog.Nop()})
	if err == nil || !strings.Contains(err.Error(), "AppPackets") {
		t.Errorf("got %v", err)
	}
	apps := packets(t)
	defer func() { _ = apps.Close() }()
	p, err := New(Config{Overlay: w.overlay, Self: w.signer(newKey(t)), Packets: links, AppPackets: apps, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	to := wire.NewDestinationList(wire.ToNode(w.signer(newKey(t)).Identity().Node))
	if _, err := p.AppAttach(t.Context(), to, wire.ApplicationSIP); !errors.Is(err, ErrNotJoined) {
		t.Errorf("before Run: %v", err)
	}
}

// A session that is not wanted any more is closed, and one of which nobody knows does no harm.
func TestSessionsAreReleased(t *testing.T) {
	w := newICEWorld(t)
	m := w.iceMember(t, nil, nil)
	m.join()
	const id = 1 << 40
	s, err := m.gather(t.Context(), node.Gather{})
	if err != nil {
		t.Fatal(err)
	}
	m.ice.keep(id, s)
	for range 2 {
		m.post(context.Background(), func(_ time.Time, l *loop) { l.release(id) })
	}
	eventually(t, func() bool { return m.Stats().Sessions[sessionUnused] == 1 }, func() string { return fmt.Sprint(m.Stats().Sessions) })
	if _, err := m.answer(t.Context(), id, node.Offer{}, wire.NodeID{}); err == nil {
		t.Error("a session that is not there was connected")
	}
}

// BenchmarkAppAttachWithICE is a whole one on one host: both sides gather, Attach and its answer, checks, DTLS.
func BenchmarkAppAttachWithICE(b *testing.B) {
	w := newICEWorld(b)
	ring := w.iceRing(b, 3)
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
