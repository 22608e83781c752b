package overlay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// serveLinks accepts overlay links. Any node with a certificate of the overlay may connect: to enter (RFC 6940
// §11.4), or because this node's AttachReq said so (RFC 6940 §6.5.1.13). Which of the two it is, the node decides by
// the Node-ID.
func (p *Peer) serveLinks(ctx context.Context) {
	s := link.Server{
		TLS: p.tls, Listener: p.cfg.Listener,
		Accept:  func(conn *tls.Conn, peer trust.Identity) { p.carry(ctx, freshTLS(conn, peer), 0) },
		Refused: p.refused,
	}
	s.Serve(ctx)
}

// refused counts and logs an inbound connection that came to nothing: by the reason of our own refusal, when it was one.
func (p *Peer) refused(why link.Refusal, from net.Addr, err error) {
	reason := cmp.Or(refusalReason(err), string(why))
	p.count.refuse(reason)
	e := p.cfg.Log.Debug()
	if why == link.AcceptFailed {
		e = p.cfg.Log.Error() // for example out of file descriptors: needs a human
	}
	if from != nil {
		e = e.Stringer("remote", from)
	}
	e.Str("component", "link").Str("reason", reason).Err(err).Msg("inbound connection refused")
}

// refusalReason is why a certificate was not believed: of a closed set, empty when err is something else.
func refusalReason(err error) string {
	var refusal *trust.RefusalError
	if errors.As(err, &refusal) {
		return string(refusal.Reason)
	}
	return ""
}

// carry runs one link to its end. It reports false when the node was not told of it.
func (p *Peer) carry(ctx context.Context, f fresh, dial node.DialID) bool {
	defer p.links.Add(-1)
	if p.links.Add(1) > maxLinks {
		p.count.refuse(refusedLinks)
		f.close()
		return false
	}
	p.greet(ctx, f)
	id := node.LinkID(p.linkIDs.Add(1))
	p.ends.put(id, f)
	defer p.ends.forget(id)
	if p.ice != nil {
		defer p.ice.learn(f)()
	}
	o := link.Options{
		MaxMessage: func() int { return int(p.maxMessage.Load()) },
		Receive: func(raw []byte) {
			p.post(ctx, func(now time.Time, l *loop) { l.receive(now, id, raw) })
		},
		Stalled: func(stalled bool) {
			p.aside.put(func(now time.Time, l *loop) { l.stalled(now, id, stalled) })
		},
	}
	switch {
	case f.dialed != (target{}):
		o.Replace = func() { p.aside.put(func(_ time.Time, l *loop) { l.replace(f) }) }
	case f.client:
		f.renew = func() { p.aside.put(func(now time.Time, l *loop) { l.renew(now, id) }) }
		o.Replace = f.renew
	}
	c := f.link(o)
	defer p.watched.forget(p.watchLink(ctx, f, c))
	if !p.post(ctx, func(now time.Time, l *loop) { l.linkUp(now, id, c, dial) }) {
		f.close()
		return false
	}
	stop := context.AfterFunc(ctx, c.Close)
	defer stop()
	err := c.Run()
	p.post(ctx, func(now time.Time, l *loop) { l.linkDown(now, id, c, err) })
	return true
}

func (l *loop) linkUp(now time.Time, id node.LinkID, c link.Link, dial node.DialID) {
	l.links[id] = c
	e, _ := l.p.ends.get(id)
	log := l.p.logLink(id, c.Peer().Node).Bool("dialed", dial != 0).Str("transport", e.transport)
	if e.session != nil {
		log = log.Str("pair", e.pairText())
	}
	log.Msg("link up")
	l.node.LinkUp(now, id, c.Peer(), dial)
}

func (l *loop) linkDown(now time.Time, id node.LinkID, c link.Link, err error) {
	l.p.count.event(linkDownEvent(err))
	l.p.logLink(id, c.Peer().Node).Err(err).Msg("link down")
	if _, ok := l.links[id]; !ok {
		return // a Close effect has taken it out
	}
	delete(l.links, id)
	l.node.LinkDown(now, id, err)
	if u, ok := c.(interface{ Unsent() [][]byte }); ok {
		for _, raw := range u.Unsent() {
			l.again = append(l.again, func(now time.Time, l *loop) { l.node.Reroute(now, raw) })
		}
	}
}

func linkDownEvent(err error) string {
	switch {
	case errors.Is(err, link.ErrClosed):
		return eventLinkClosed
	case errors.Is(err, link.ErrDead):
		return eventLinkDead
	case errors.Is(err, wire.ErrFrame), errors.Is(err, wire.ErrFrameSize):
		return eventLinkViolation
	default:
		return eventLinkLost
	}
}

func (l *loop) receive(now time.Time, from node.LinkID, raw []byte) {
	l.p.message("in", from, raw)
	l.node.Receive(now, from, raw)
}

func (l *loop) forward(f node.Forward) {
	c, ok := l.links[f.Link]
	if !ok {
		l.p.count.drop(dropNoLink)
		return
	}
	switch err := c.Send(f.Raw); {
	case err == nil:
		l.p.message("out", f.Link, f.Raw)
	case errors.Is(err, link.ErrFull):
		l.p.count.drop(dropFull)
	case errors.Is(err, link.ErrTooLong):
		l.p.count.drop(dropTooLong)
	default:
		l.p.count.drop(dropNoLink)
	}
}

// isSelf reports whether id is this node, reached at an address that it did not know to be its own.
func (p *Peer) isSelf(id trust.Identity) bool { return slices.Contains(id.Nodes, p.self) }
