package overlay

import (
	"context"
	"crypto/tls"
	"net"
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
		Accept: func(conn *tls.Conn, peer trust.Identity) {
			if p.apps.inbound(conn, peer) {
				p.count.app("accepted")
				return
			}
			p.count.app("unmatched")
			_ = conn.Close()
		},
		Refused: p.refused,
	}
	s.Serve(ctx)
}

// appTable says which AppAttach request an inbound connection belongs to. Nothing on the wire tells; the connection's
// Node-ID does (RFC 6940 §6.5.1.13). Of two requests to one node the older one gets the first connection.
//
// The connection can be faster than the answer that names the node. So while a request is out whose node is not known
// yet, a connection that nobody waits for is kept; it is closed when the last such request is decided.
type appTable struct {
	mu     sync.Mutex
	wait   []*appWaiter
	parked []appArrival
}

// appWaiter is one AppAttach request of ours.
type appWaiter struct {
	node    wire.NodeID // who will connect; zero: the answer will tell
	arrival chan appArrival
}

type appArrival struct {
	conn net.Conn
	peer trust.Identity
}

// expect registers a request before it is sent. It returns nil when there are too many.
func (t *appTable) expect(node wire.NodeID) *appWaiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.wait) >= maxAppConns {
		return nil
	}
	w := &appWaiter{node: node, arrival: make(chan appArrival, 1)}
	t.wait = append(t.wait, w)
	return w
}

// inbound takes a connection and reports whether somebody waits, or may be waiting, for it.
func (t *appTable) inbound(conn net.Conn, peer trust.Identity) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.wait {
		if slices.Contains(peer.Nodes, w.node) {
			t.hand(w, appArrival{conn, peer})
			return true
		}
	}
	if !t.open() || len(t.parked) >= maxParked {
		return false
	}
	t.parked = append(t.parked, appArrival{conn, peer})
	return true
}

// answered says that node answered w's request.
func (t *appTable) answered(w *appWaiter, node wire.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.node = node
	i := slices.IndexFunc(t.parked, func(a appArrival) bool { return slices.Contains(a.peer.Nodes, node) })
	if i >= 0 && slices.Contains(t.wait, w) {
		a := t.parked[i]
		t.parked = slices.Delete(t.parked, i, i+1)
		t.hand(w, a)
	}
	t.sweep()
}

// forget ends w's request; a connection that came for it and was not taken is closed.
func (t *appTable) forget(w *appWaiter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(w)
	select {
	case a := <-w.arrival:
		_ = a.conn.Close()
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

func (t *appTable) hand(w *appWaiter, a appArrival) {
	a.peer.Node = w.node
	t.remove(w)
	w.arrival <- a // has room: w was in the list, so nothing was handed to it before
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
	for _, a := range t.parked {
		_ = a.conn.Close()
	}
	t.parked = nil
}

// await waits for the connection that answers w's request.
func (p *Peer) await(ctx context.Context, w *appWaiter) (appArrival, error) {
	timer := time.NewTimer(appWait)
	defer timer.Stop()
	select {
	case a := <-w.arrival:
		return a, nil
	case <-timer.C:
		return appArrival{}, ErrTimeout
	case <-ctx.Done():
		return appArrival{}, contextError(ctx)
	case <-p.stopped:
		return appArrival{}, ErrClosed
	}
}
