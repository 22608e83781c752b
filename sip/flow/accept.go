package flow

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
)

// listener accepts TCP or TLS connections, or those that become WebSockets.
type listener struct {
	t         *Table
	l         net.Listener
	as        Listen
	transport string
	address   sip.Address
	access    access
	fixed     bool // the address is as configured, whichever of this host a peer uses
	tls       *tls.Config
}

func openListener(t *Table, l Listen) (*listener, error) {
	ln, err := net.ListenTCP(network("tcp", l.Addr.Addr()), net.TCPAddrFromAddrPort(l.Addr))
	if err != nil {
		return nil, err
	}
	r := &listener{t: t, l: ln, transport: l.Transport, address: advertised(l, addrPort(ln.Addr()))}
	r.access = access{l.Allow, l.Deny}
	r.fixed = l.AdvertiseHost != "" || !r.address.Local.Addr().IsUnspecified()
	if secured(l.Transport) {
		// No ALPN: some carriers break off at a protocol name that they do not know.
		r.tls = t.policy(&tls.Config{GetCertificate: t.cfg.Certificate, ClientAuth: l.Clients, ClientCAs: t.cfg.ClientRoots})
		r.tls.VerifyConnection = func(s tls.ConnectionState) error { return t.revoked(s.VerifiedChains, nil) }
	}
	return r, nil
}

// accept survives every error but the end of the listener: running out of descriptors passes.
func (l *listener) accept() {
	wait := acceptPause
	for {
		c, err := l.l.Accept()
		if errors.Is(err, net.ErrClosed) || l.t.ctx.Err() != nil {
			return
		}
		if err != nil {
			if wait == acceptPause {
				l.t.cfg.Log.Error().Err(err).Str("transport", l.transport).Msg("sip: accepting a connection")
			}
			l.t.counters.drop(refuseError)
			if !l.t.pause(wait) {
				return
			}
			wait = min(2*wait, acceptPauseMax)
			continue
		}
		wait = acceptPause
		l.start(c)
	}
}

// start enters the connection before its handshake, so that the limits count it, and reads it in a goroutine of its own.
func (l *listener) start(c net.Conn) {
	if !l.access.permits(l.t, addrPort(c.RemoteAddr()).Addr()) {
		_ = c.Close()
		return
	}
	l.t.mark(c)
	s := &stream{conn: c, class: accepted, hop: location.Hop{Transport: l.transport}, address: l.address}
	if local := addrPort(c.LocalAddr()).Addr(); !l.fixed && local.IsValid() {
		s.address.Host = local.String()
	}
	s.draining = webSocket(l.transport) // nothing may be sent before it is one
	if l.tls != nil {
		if s.shaking = block(addrPort(c.RemoteAddr()).Addr()); !l.t.shakes.begin(s.shaking) {
			l.t.counters.drop(refuseHandshakes)
			_ = c.Close()
			return
		}
		s.conn = tls.Server(c, l.tls)
	}
	if err := l.t.add(s); err != nil {
		if l.tls != nil {
			l.t.shakes.end(s.shaking)
		}
		_ = c.Close()
		return
	}
	go func() {
		if l.tls != nil && !l.handshake(s) {
			l.t.wg.Done()
			return
		}
		if webSocket(l.transport) {
			s.serveWebSocket()
			return
		}
		s.read()
	}()
}

// handshake runs with a limit of its own: a silent client costs one of the places for handshakes for ten seconds.
func (l *listener) handshake(s *stream) bool {
	defer l.t.shakes.end(s.shaking)
	err := s.conn.SetDeadline(time.Now().Add(handshakeLimit))
	if err == nil {
		tc := s.conn.(*tls.Conn)
		if err = tc.HandshakeContext(l.t.ctx); err == nil {
			l.t.authenticated(s, tc.ConnectionState())
		}
	}
	if err == nil {
		err = s.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		l.t.counters.drop(refuseHandshake)
		s.close(err)
		return false
	}
	return true
}

// handshakes counts those that run, by address.
type handshakes struct {
	mu  sync.Mutex
	all int
	by  map[netip.Addr]int
}

// begin takes a place; it reports whether there is one. An address may have as many as are left for others: one alone half of them.
func (h *handshakes) begin(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[a] >= maxHandshakes-h.all {
		return false
	}
	h.all++
	h.by[a]++
	return true
}

func (h *handshakes) end(a netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all--
	if h.by[a]--; h.by[a] == 0 {
		delete(h.by, a)
	}
}

// authenticated keeps the certificate of a client that was asked for one and verified.
func (t *Table) authenticated(s *stream, state tls.ConnectionState) {
	if len(state.VerifiedChains) > 0 {
		t.mu.Lock()
		s.peer = state.PeerCertificates[0]
		t.mu.Unlock()
	}
}

// pause waits, and reports false when the table closes.
func (t *Table) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}
