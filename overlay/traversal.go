package overlay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/ice"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// traversal is what a peer of an overlay with ICE has besides (RFC 6940 §6.5.1.3). Its mutex is a leaf.
type traversal struct {
	links, apps *ice.Mux // the sockets of links and of connections for applications
	rest        *ice.Rest
	// server and client are the two sides of a DTLS handshake over a pair.
	server, client shaker
	loopback       bool
	turn           TURN
	offered        atomic.Bool   // our TURN server is in the overlay
	found          chan struct{} // holds one token when TURN servers are to be looked for
	sought         chan struct{} // closed when they were looked for once
	gathers        chan struct{} // holds one token for each session of a link that gathers
	appGathers     chan struct{} // the same for connections for applications
	awaits         chan struct{} // holds one token for each session that waits for the other side

	mu       sync.Mutex
	sessions map[node.SessionID]*ice.Session
	views    ice.Views                    // all peers that tell us our address
	open     ice.Views                    // those of them that answer everybody
	linked   map[netip.AddrPort]int       // links with each of them
	relays   []netip.AddrPort             // TURN servers found in the overlay
	dead     map[netip.AddrPort]time.Time // until when those that gave nothing are left alone
	served   *ice.TURN
}

func newTraversal(c *Config) *traversal {
	return &traversal{
		turn: c.TURN, found: make(chan struct{}, 1), sought: make(chan struct{}), gathers: make(chan struct{}, maxGathers), appGathers: make(chan struct{}, maxGathers), awaits: make(chan struct{}, maxDials),
		sessions: make(map[node.SessionID]*ice.Session), linked: make(map[netip.AddrPort]int),
		dead:     make(map[netip.AddrPort]time.Time),
		loopback: addressOf(c.Packets).Addr().IsLoopback(),
	}
}

func addressOf(c *net.UDPConn) netip.AddrPort { return plain(c.LocalAddr().(*net.UDPAddr).AddrPort()) }

// start begins to read the sockets.
func (t *traversal) start(c *Config) {
	t.links, t.apps = ice.NewMux(c.Packets), ice.NewMux(c.AppPackets)
	t.rest = t.links.Rest()
}

// close ends the sessions that nobody has used, and closes the sockets.
func (t *traversal) close() {
	t.mu.Lock()
	left := t.sessions
	t.sessions = nil
	t.mu.Unlock()
	for _, s := range left {
		s.Close()
	}
	_ = t.links.Close()
	_ = t.apps.Close()
}

func (t *traversal) keep(id node.SessionID, s *ice.Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions[id] = s
}

// take returns a session that keep has got, once.
func (t *traversal) take(id node.SessionID) *ice.Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sessions[id]
	delete(t.sessions, id)
	return s
}

// gather finds candidates for a session (RFC 6940 §6.5.1.5).
func (p *Peer) gather(ctx context.Context, g node.Gather) (*ice.Session, error) {
	t := p.ice
	c := ice.Config{Mux: t.links, Controlling: g.Controlling, Loopback: t.loopback}
	if g.App {
		c.Mux = t.apps
	}
	p.firstTURN(ctx)
	c.STUN, c.TURN = t.servers(g.App, p.self)
	s, err := ice.Gather(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	t.gathered(s, g.App)
	p.cfg.Log.Debug().Str("component", "ice").Bool("app", g.App).Int("candidates", len(s.Parameters().Candidates)).
		AnErr("missed", s.Missed()).Msg("candidates gathered")
	return s, nil
}

// servers are the STUN and TURN servers for a session (RFC 6940 §6.5.1.4, §9). The peers behind NATs that we are linked with
// answer the socket of links only.
func (t *traversal) servers(app bool, self wire.NodeID) (stun []netip.AddrPort, turn []ice.Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stun = t.views.Servers()
	if app {
		stun = t.open.Servers()
	}
	turn = slices.Clone(t.turn.Servers)
	for _, at := range t.relays {
		user, password := t.turn.Secrets[0].Credential(self.String(), time.Now())
		turn = append(turn, ice.Server{Address: at, User: user, Password: password})
	}
	if len(stun) == 0 && len(turn) > 0 {
		stun = []netip.AddrPort{turn[0].Address} // a TURN server is a STUN server (RFC 5766 §2)
	}
	return stun, turn
}

// gathered learns from what the servers have said, or have not.
func (t *traversal) gathered(s *ice.Session, app bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range s.Views() {
		if app || t.linked[v.Server] == 0 {
			continue
		}
		t.views.Learn(v.Server, v.Mapped)
	}
	t.relays = slices.DeleteFunc(t.relays, func(at netip.AddrPort) bool {
		if s.Refused(at) {
			t.buried(at, time.Now())
		}
		return s.Refused(at)
	})
}

// buried has a TURN server that gave nothing left alone for a while, as its entry in the overlay outlives it, and another one
// looked for.
func (t *traversal) buried(at netip.AddrPort, now time.Time) {
	maps.DeleteFunc(t.dead, func(_ netip.AddrPort, until time.Time) bool { return until.Before(now) })
	if len(t.dead) < maxDead {
		t.dead[at] = now.Add(turnAvoid)
	}
	select {
	case t.found <- struct{}{}:
	default:
	}
}

// learn notes that the peer of a new link may tell us our address. RFC 6940 §6.5.1.4: "RELOAD also learns STUN servers as it
// connects to other peers." It returns what to call when the link is gone.
func (t *traversal) learn(f fresh) (lose func()) {
	server, mapped, open := f.view()
	if !server.IsValid() {
		return func() {}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.linked[server]++
	t.views.Learn(server, mapped)
	if open {
		t.open.Learn(server, mapped)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.linked[server]--; t.linked[server] == 0 {
			// RFC 6940 §6.5.1.4: "If the connection to that host is lost, it MUST be removed from the list of STUN servers".
			delete(t.linked, server)
			t.views.Lose(server)
			t.open.Lose(server)
		}
	}
}

// view is at which address the peer answers STUN requests, as which address it sees us, if that is known, and whether it
// answers everybody. No address: it does not, or that is not known.
func (f fresh) view() (server, mapped netip.AddrPort, open bool) {
	switch {
	case f.session != nil:
		pair := f.session.Pair()
		if pair.Local.Type == endRelay || pair.Remote.Type == endRelay {
			return server, mapped, false
		}
		return pair.Remote.Address, pair.Local.Address, pair.Remote.Type == endHost
	case f.dialed.link == wire.LinkDTLSUDPSRNoICE: // a bootstrap node
		server, _ = netip.ParseAddrPort(f.dialed.address)
		return server, mapped, true
	}
	return server, mapped, false
}

// Types of ice.End.
const (
	endHost  = "host"
	endRelay = "relay"
)

// gather carries out a Gather effect, on a goroutine of its own: it may take seconds.
func (l *loop) gather(g node.Gather) {
	p, ctx := l.p, l.sockets
	gathered := func(o node.Offer, err error) input {
		return func(now time.Time, l *loop) { l.node.Gathered(now, g.Session, o, err) }
	}
	tokens := p.ice.gathers
	if g.App {
		tokens = p.ice.appGathers
	}
	ok := l.spawn(tokens, func(opened func()) {
		s, err := p.gather(ctx, g)
		opened()
		if err != nil {
			p.count.session(sessionNoCandidates)
			p.post(ctx, gathered(node.Offer{}, err))
			return
		}
		p.ice.keep(g.Session, s)
		p.post(ctx, gathered(node.Offer(s.Parameters()), nil))
	})
	if !ok {
		p.count.session(sessionOverload)
		l.again = append(l.again, gathered(node.Offer{}, ErrOverload))
	}
}

// release carries out a Release effect. Closing a session waits for its goroutines.
func (l *loop) release(id node.SessionID) {
	if s := l.p.ice.take(id); s != nil {
		l.p.count.session(sessionUnused)
		l.p.running.Go(s.Close)
	}
}

// await carries out an Await effect. RFC 6940 §6.5.1.13: "The node that sent the Attach request MUST be the TLS server."
func (l *loop) await(a node.Await) {
	p, ctx := l.p, l.sockets
	failed := func(err error) input {
		return func(now time.Time, l *loop) { l.node.AwaitFailed(now, a.Session, err) }
	}
	ok := l.spawn(p.ice.awaits, func(opened func()) {
		f, err := p.meet(ctx, meeting{p.ice.take(a.Session), a.Answer, a.Peer, p.ice.server})
		opened()
		if err != nil || !p.carry(ctx, f, 0) {
			p.post(ctx, failed(errors.Join(err, ErrOverload)))
		}
	})
	if !ok {
		l.release(a.Session)
		l.again = append(l.again, failed(ErrOverload))
	}
}

// meeting is one use of a session whose other side is known.
type meeting struct {
	session *ice.Session
	remote  node.Offer
	peer    wire.NodeID
	shake   shaker
}

// shaker does one side of a DTLS handshake.
type shaker = func(context.Context, net.Conn, wire.NodeID) (*link.Association, trust.Identity, error)

// meet does the connectivity checks and then the DTLS handshake over the pair that they have found (RFC 6940 §6.5.1.10,
// §6.5.1.13).
func (p *Peer) meet(ctx context.Context, m meeting) (fresh, error) {
	if m.session == nil {
		return fresh{}, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	conn, pair, err := m.session.Connect(ctx, ice.Parameters(m.remote))
	if err != nil {
		p.count.session(sessionNoPair)
		return fresh{}, fmt.Errorf("overlay: %w", err)
	}
	own := p.signer.Load()
	a, peer, err := m.shake(ctx, conn, m.peer)
	if err != nil {
		p.count.session(sessionHandshake)
		return fresh{}, err
	}
	p.count.session(sessionConnected)
	p.count.pair(pair)
	f := freshICE(a, peer, m.session)
	f.own = own
	return f, nil
}

// answer goes on when this side has answered an Attach: it is the DTLS client.
func (p *Peer) answer(ctx context.Context, id node.SessionID, remote node.Offer, peer wire.NodeID) (fresh, error) {
	f, err := p.meet(ctx, meeting{p.ice.take(id), remote, peer, p.ice.client})
	f.client = true
	return f, err
}

func freshICE(a *link.Association, peer trust.Identity, s *ice.Session) fresh {
	rtt := s.RTT()
	// RFC 6940 §6.6.3.1: "The RTT of a successful STUN transaction from the ICE stage is used as the initial measurement".
	return fresh{peer: peer, remote: net.UDPAddrFromAddrPort(s.Pair().Remote.Address), chain: certificates(a), session: s, conn: a,
		close: func() { _ = a.Close() },
		link:  func(o link.Options) link.Link { return link.NewDatagram(a, peer, rtt, o) }}
}

// attachApp is AppAttach in an overlay with ICE.
func (p *Peer) attachApp(ctx context.Context, op node.OpAppAttach, target wire.NodeID) (AppConn, error) {
	select {
	case <-p.joined:
	default:
		return AppConn{}, ErrNotJoined
	}
	s, err := p.gather(ctx, node.Gather{App: true, Controlling: true})
	if err != nil {
		p.count.session(sessionNoCandidates)
		return AppConn{}, err
	}
	op.Offer = node.Offer(s.Parameters())
	done, err := p.do(ctx, op)
	if err != nil {
		s.Close()
		p.count.session(sessionUnused)
		return AppConn{}, err
	}
	from := done.Answer.Sender().Node
	ans, ok := done.Answer.Message().Body.(*wire.AppAttachAns)
	if !ok || !target.IsZero() && from != target {
		s.Close()
		return AppConn{}, ErrUntrusted
	}
	f, err := p.meet(ctx, meeting{s, node.Offer{Ufrag: ans.Ufrag, Password: ans.Password, Candidates: ans.Candidates}, from, p.ice.server})
	if err != nil {
		return AppConn{}, fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return p.watch(AppConn{f.conn, f.peer, op.Application, true}), nil
}
