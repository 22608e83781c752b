package overlay

import (
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// spawn runs f on a goroutine, if it gets one of the tokens. f gives it back with opened as soon as the connection is
// up or has failed. Links and application connections have tokens of their own: requests of others must not keep this
// node out of the ring.
func (l *loop) spawn(tokens chan struct{}, f func(opened func())) bool {
	select {
	case tokens <- struct{}{}:
	default:
		return false
	}
	l.p.running.Go(func() { f(func() { <-tokens }) })
	return true
}

// dial opens a link: this side is the TLS or DTLS client (RFC 6940 §6.5.1.13; §11.4 for bootstrap nodes).
func (l *loop) dial(d node.Dial) {
	p, ctx := l.p, l.sockets
	failed := func(err error) input {
		return func(now time.Time, l *loop) {
			l.p.count.event(eventDialFailed)
			if reason := refusalReason(err); reason != "" {
				l.p.count.reason(eventDialFailed, reason)
			}
			l.p.cfg.Log.Debug().Str("component", "overlay").Str("peer_id", d.Peer.Short()).Str("address", d.Address).Err(err).
				Msg("dial failed")
			l.node.DialFailed(now, d.Dial, &dialError{err})
		}
	}
	ok := l.spawn(p.dials, func(opened func()) {
		f, err := p.open(ctx, d)
		opened()
		if err != nil {
			p.post(ctx, failed(err))
		} else if !p.carry(ctx, f, d.Dial) {
			p.post(ctx, failed(ErrOverload))
		}
	})
	if !ok {
		l.again = append(l.again, failed(ErrOverload))
	}
}

func (p *Peer) open(ctx context.Context, d node.Dial) (fresh, error) {
	if d.Session != 0 {
		return p.answer(ctx, d.Session, d.Offer, d.Peer)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	list, err := p.resolve(ctx, d)
	if err != nil {
		return fresh{}, err
	}
	f, err := p.connect(ctx, list, d.Peer)
	if err == nil && p.isSelf(f.peer) {
		f.close()
		return fresh{}, node.ErrSelf
	}
	return f, err
}

// dialApp opens the application connection that another node asked for. RFC 6940 §6.5.2 has no rule of its own for
// who is the TLS server: that of §6.5.1.13 holds, "the node that sent the Attach request MUST be the TLS server", and
// this node answered.
func (l *loop) dialApp(a node.AppDial) {
	p, ctx := l.p, l.sockets
	if l.appDials[a.Peer] >= maxAppDialsOf {
		p.count.app("overload")
		return
	}
	ok := l.spawn(p.appDials, func(opened func()) {
		conn, err := p.openApp(ctx, a)
		opened()
		p.aside.put(func(_ time.Time, l *loop) { l.appDialed(a.Peer) })
		if err != nil {
			p.count.app("dial_failed")
			p.cfg.Log.Debug().Str("component", "overlay").Str("peer_id", a.Peer.Short()).Err(err).Msg("application dial failed")
			return
		}
		p.accept(conn)
	})
	if !ok {
		p.count.app("overload")
		return
	}
	l.appDials[a.Peer]++
}

// appDialed notes that an attempt to connect to a node has ended.
func (l *loop) appDialed(id wire.NodeID) {
	if l.appDials[id]--; l.appDials[id] == 0 {
		delete(l.appDials, id)
	}
}

// openApp connects to what a's node listens on, TLS before DTLS by the priorities of the candidates.
func (p *Peer) openApp(ctx context.Context, a node.AppDial) (AppConn, error) {
	if a.Session != 0 {
		f, err := p.answer(ctx, a.Session, a.Offer, a.Peer)
		return AppConn{f.conn, f.peer, a.Application, true}, err
	}
	list := targets(a.Candidates, p.linkTypes())
	if len(list) == 0 {
		return AppConn{}, errNoAddress
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return inTurn(ctx, list, func(ctx context.Context, t target) (AppConn, error) {
		if t.link == wire.LinkDTLSUDPSRNoICE {
			c, peer, err := p.dialDTLS(ctx, t.address, a.Peer)
			return AppConn{c, peer, a.Application, true}, err
		}
		c, peer, err := p.connectTLS(ctx, t.address, a.Peer)
		return AppConn{c, peer, a.Application, false}, err
	})
}

func (p *Peer) accept(c AppConn) {
	if p.cfg.Accept == nil {
		p.count.app("unmatched")
		_ = c.Close()
		return
	}
	p.count.app("dialed")
	p.cfg.Accept(p.watch(c))
}
