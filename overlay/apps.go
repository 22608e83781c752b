package overlay

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// serveApps accepts the connections that answer our AppAttach requests: the node that answered connects to the one
// that asked.
func (p *Peer) serveApps(ctx context.Context) {
	s := link.Server{
		TLS: p.tls, Listener: p.cfg.AppListener,
		Accept:  func(conn *tls.Conn, peer trust.Identity) { p.arrived(AppConn{Conn: conn, Peer: peer}) },
		Refused: p.refused,
	}
	s.Serve(ctx)
}

// serveAppPackets is serveApps over DTLS. All connections are on one socket, which must be there until they have ended.
func (p *Peer) serveAppPackets(ctx context.Context) {
	s := link.PacketServer{
		DTLS: p.dtls, Socket: p.cfg.AppPackets,
		Accept: func(a *link.Association, peer trust.Identity) {
			c := &onSocket{Association: a, ended: make(chan struct{})}
			p.arrived(AppConn{Conn: c, Peer: peer, Datagram: true})
			select {
			case <-c.ended:
			case <-ctx.Done():
				_ = c.Close()
			}
		},
		Refused: p.refused,
	}
	s.Serve(ctx)
}

// onSocket is an association that tells when it was closed.
type onSocket struct {
	*link.Association
	once  sync.Once
	ended chan struct{}
}

// Close ends the association, with a closure alert.
func (c *onSocket) Close() error {
	err := c.Association.Close()
	c.once.Do(func() { close(c.ended) })
	return err
}

// arrived gives a connection to the request that waits for it.
func (p *Peer) arrived(c AppConn) {
	if p.apps.inbound(c) {
		p.count.app("accepted")
		return
	}
	p.count.app("unmatched")
	_ = c.Close()
}

// appTable says which AppAttach request an inbound connection belongs to. Nothing on the wire tells; the connection's
// Node-ID does (RFC 6940 §6.5.1.13). Of two requests to one node the older one gets the first connection.
//
// The connection can be faster than the answer that names the node. So while a request is out whose node is not known
// yet, a connection that nobody waits for is kept; it is closed when the last such request is decided.
type appTable struct {
	mu     sync.Mutex
	wait   []*appWaiter
	parked []AppConn
}

// appWaiter is one AppAttach request of ours.
type appWaiter struct {
	node    wire.NodeID // who will connect; zero: the answer will tell
	arrival chan AppConn
}

// expect registers a request before it is sent. It returns nil when there are too many.
func (t *appTable) expect(node wire.NodeID) *appWaiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wait) >= maxAppConns {
		return nil
	}
	w := &appWaiter{node: node, arrival: make(chan AppConn, 1)}
	t.wait = append(t.wait, w)
	return w
}

// inbound takes a connection and reports whether somebody waits, or may be waiting, for it.
func (t *appTable) inbound(c AppConn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.wait {
		if slices.Contains(c.Peer.Nodes, w.node) {
			t.hand(w, c)
			return true
		}
	}
	if !t.open() || len(t.parked) >= maxParked {
		return false
	}
	t.parked = append(t.parked, c)
	return true
}

// answered says that node answered w's request.
func (t *appTable) answered(w *appWaiter, node wire.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.node = node
	i := slices.IndexFunc(t.parked, func(c AppConn) bool { return slices.Contains(c.Peer.Nodes, node) })
	if i >= 0 && slices.Contains(t.wait, w) {
		c := t.parked[i]
		t.parked = slices.Delete(t.parked, i, i+1)
		t.hand(w, c)
	}
	t.sweep()
}

// forget ends w's request; a connection that came for it and was not taken is closed.
func (t *appTable) forget(w *appWaiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(w)
	select {
	case c := <-w.arrival:
		_ = c.Close()
	default:
	}
	t.sweep()
}

// close closes what is left.
func (t *appTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait = nil
	t.sweep()
}

func (t *appTable) hand(w *appWaiter, c AppConn) {
	c.Peer.Node = w.node
	t.remove(w)
	w.arrival <- c // has room: w was in the list, so nothing was handed to it before
}

func (t *appTable) remove(w *appWaiter) {
	t.wait = slices.DeleteFunc(t.wait, func(o *appWaiter) bool { return o == w })
}

// open reports whether a request is out whose node is not known.
func (t *appTable) open() bool {
	return slices.ContainsFunc(t.wait, func(w *appWaiter) bool { return w.node.IsZero() })
}

func (t *appTable) sweep() {
	if t.open() {
		return
	}
	for _, c := range t.parked {
		_ = c.Close()
	}
	t.parked = nil
}

// await waits for the connection that answers w's request.
func (p *Peer) await(ctx context.Context, w *appWaiter) (AppConn, error) {
	timer := time.NewTimer(appWait)
	defer timer.Stop()
	select {
	case c := <-w.arrival:
		return c, nil
	case <-timer.C:
		return AppConn{}, ErrTimeout
	case <-ctx.Done():
		return AppConn{}, contextError(ctx)
	case <-p.stopped:
		return AppConn{}, ErrClosed
	}
}
