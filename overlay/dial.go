package overlay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
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

// dial opens a link: this side is the TLS client (RFC 6940 §6.5.1.13; §11.4 for bootstrap nodes).
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
			l.node.DialFailed(now, d.Dial, err)
		}
	}
	ok := l.spawn(p.dials, func(opened func()) {
		conn, peer, err := p.open(ctx, d)
		opened()
		if err != nil {
			p.post(ctx, failed(err))
		} else if !p.carry(ctx, conn, peer, d.Dial) {
			p.post(ctx, failed(ErrOverload))
		}
	})
	if !ok {
		l.again = append(l.again, failed(ErrOverload))
	}
}

func (p *Peer) open(ctx context.Context, d node.Dial) (*tls.Conn, trust.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	list, err := p.resolve(ctx, d)
	if err != nil {
		return nil, trust.Identity{}, err
	}
	conn, peer, err := p.connect(ctx, list, d.Peer)
	if err == nil && p.isSelf(peer) {
		_ = conn.Close()
		return nil, trust.Identity{}, errSelf
	}
	return conn, peer, err
}

// connect tries addresses in turn and gives each an equal share of the time that ctx leaves. Unless want is zero, the
// certificate must hold it.
func (p *Peer) connect(ctx context.Context, list []string, want wire.NodeID) (*tls.Conn, trust.Identity, error) {
	var errs []error
	for i, address := range list {
		conn, peer, err := p.try(ctx, address, want, len(list)-i)
		if err == nil {
			return conn, peer, nil
		}
		errs = append(errs, fmt.Errorf("overlay: %s: %w", address, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, trust.Identity{}, errors.Join(errs...)
}

func (p *Peer) try(ctx context.Context, address string, want wire.NodeID, left int) (*tls.Conn, trust.Identity, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	conn, err := p.dialTCP(ctx, "tcp", address)
	if err != nil {
		return nil, trust.Identity{}, err
	}
	return p.tls.Client(ctx, conn, want)
}

// dialApp opens the application connection that another node asked for. RFC 6940 §6.5.2 has no rule of its own for
// who is the TLS server: that of §6.5.1.13 holds, "the node that sent the Attach request MUST be the TLS server", and
// this node answered.
func (l *loop) dialApp(a node.AppDial) {
	p, ctx := l.p, l.sockets
	ok := l.spawn(p.appDials, func(opened func()) {
		conn, peer, err := p.openApp(ctx, a)
		opened()
		if err != nil {
			p.count.app("dial_failed")
			p.cfg.Log.Debug().Str("component", "overlay").Str("peer_id", a.Peer.Short()).Err(err).Msg("application dial failed")
			return
		}
		p.accept(AppConn{Conn: conn, Peer: peer, Application: a.Application})
	})
	if !ok {
		p.count.app("overload")
	}
}

func (p *Peer) openApp(ctx context.Context, a node.AppDial) (*tls.Conn, trust.Identity, error) {
	list := addresses(a.Candidates)
	if len(list) == 0 {
		return nil, trust.Identity{}, errNoAddress
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return p.connect(ctx, list[:min(len(list), maxAddress)], a.Peer)
}

func (p *Peer) accept(c AppConn) {
	if p.cfg.Accept == nil {
		p.count.app("unmatched")
		_ = c.Close()
		return
	}
	p.count.app("dialed")
	p.cfg.Accept(c)
}
