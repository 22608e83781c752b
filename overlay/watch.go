package overlay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// watched is a connection, overlay link or application's, whose certificates are looked at as long as it stands. A handshake
// proves them once; they end, are put on the bad-node list, or lose their root while the connection goes on.
type watched struct {
	chain   []*x509.Certificate // of the other side, its own first
	own     *trust.Signer       // that the other side was shown; nil when it is not ours to replace
	since   time.Time           // when it was made
	tried   time.Time           // when it was last to be replaced
	close   func()
	replace func() // has another one made in its place; nil: the other side does, which has dialled, or it has happened
}

// watchlist is a leaf: nothing is called with mu held.
type watchlist struct {
	mu    sync.Mutex
	last  uint64
	conns map[uint64]watched
	wake  chan struct{} // holds one token when there is something new to look at
}

func newWatchlist() watchlist {
	return watchlist{conns: make(map[uint64]watched), wake: make(chan struct{}, 1)}
}

// next is the name of a connection that is about to be put on the list.
func (w *watchlist) next() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	return w.last
}

func (w *watchlist) put(id uint64, c watched) {
	c.since = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[id] = c
	if c.chain[0].NotAfter.Sub(c.since) < 2*certificateCheck {
		w.look() // it may end before the next look
	}
}

func (w *watchlist) forget(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, id)
}

func (w *watchlist) change(id uint64, f func(*watched)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.conns[id]; ok {
		f(&c)
		w.conns[id] = c
	}
}

func (w *watchlist) all() map[uint64]watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.conns)
}

func (w *watchlist) look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// certificates are those that the other side of a connection has shown.
func certificates(c net.Conn) []*x509.Certificate {
	switch c := c.(type) {
	case *tls.Conn:
		return c.ConnectionState().PeerCertificates
	case interface{ PeerCertificates() []*x509.Certificate }: // DTLS
		return c.PeerCertificates()
	}
	return nil
}

// watchedConn is an application's connection on the watchlist.
type watchedConn struct {
	net.Conn
	gone func()
}

func (c watchedConn) Close() error {
	c.gone()
	return c.Conn.Close()
}

// watch puts an application's connection on the watchlist, until it is closed.
func (p *Peer) watch(c AppConn) AppConn {
	chain := certificates(c.Conn)
	if chain == nil {
		return c
	}
	under := c.Conn
	id := p.watched.next()
	p.watched.put(id, watched{chain: chain, close: func() { _ = under.Close() }})
	c.Conn = watchedConn{under, func() { p.watched.forget(id) }}
	return c
}

// watchLink puts a link on the watchlist.
func (p *Peer) watchLink(ctx context.Context, f fresh, c link.Link) uint64 {
	id, w := p.watched.next(), watched{chain: f.chain, close: c.Close}
	switch {
	case f.client:
		w.own, w.replace = f.own, f.renew
	case f.dialed != (target{}):
		f.replaced = func() { p.watched.change(id, func(w *watched) { w.replace = nil }) }
		w.own = f.own
		w.replace = func() { p.post(ctx, func(_ time.Time, l *loop) { l.replace(f) }) }
	}
	p.watched.put(id, w)
	return id
}

// watchCertificates closes each connection within certificateCheck of when its certificate is good no more, and has those
// replaced in time that this side has dialled.
func (p *Peer) watchCertificates(ctx context.Context) {
	timer := time.NewTimer(certificateCheck)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.watched.wake:
		case <-timer.C:
		}
		timer.Reset(p.checkCertificates(time.Now()))
	}
}

// checkCertificates looks at every connection once and says when to look again: when the next certificate ends.
func (p *Peer) checkCertificates(now time.Time) time.Duration {
	next := certificateCheck
	for id, c := range p.watched.all() {
		who, err := p.verifier.VerifyLink(now, c.chain)
		if err != nil {
			p.distrust(id, c, err)
			continue
		}
		// A certificate is good to the end of its last second.
		next = min(next, who.Cert.NotAfter.Sub(now)+time.Second)
		at, ok := p.replaceAt(c)
		switch {
		case !ok:
		case now.Before(at):
			next = min(next, at.Sub(now))
		default:
			p.watched.change(id, func(w *watched) { w.tried = now })
			c.replace()
		}
	}
	return max(next, minCertificateCheck)
}

// distrust closes a connection.
func (p *Peer) distrust(id uint64, c watched, err error) {
	reason := refusalReason(err)
	p.count.event(eventUntrusted)
	p.count.reason(eventUntrusted, reason)
	p.cfg.Log.Info().Str("component", "link").Str("reason", reason).Err(err).Msg("connection closed: its certificate is good no more")
	c.close()
	p.watched.forget(id)
}

// replaceAt is when a link that this side has dialled is to be made anew: at once when this side shows another certificate by
// now, and when five sixths of the lifetime of the other side's are over, by when it should have a new one. As long as it has
// not, another link is made each time that half of the time that was left is over.
func (p *Peer) replaceAt(c watched) (time.Time, bool) {
	if c.replace == nil {
		return time.Time{}, false
	}
	if c.own != p.signer.Load() {
		return c.tried.Add(certificateCheck), true // long ago when it was not tried
	}
	cert, last := c.chain[0], c.since
	if c.tried.After(last) {
		last = c.tried
	}
	at := last.Add(max(minReplace, cert.NotAfter.Sub(last)/2))
	if late := cert.NotAfter.Add(-cert.NotAfter.Sub(cert.NotBefore) / 6); late.After(at) {
		at = late
	}
	return at, true
}
