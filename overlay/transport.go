package overlay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/ice"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// target is where a connection may be opened.
type target struct {
	link    wire.LinkType
	address string // "ip:port"
}

// fresh is a connection with a peer whose certificate was checked, on which no link runs yet.
type fresh struct {
	peer   trust.Identity
	remote net.Addr
	dialed target              // zero when it was accepted
	chain  []*x509.Certificate // that peer was read from
	own    *trust.Signer       // that it was dialled with
	// replaced, when it is set, is told that there is another one in its place.
	replaced func()
	// session and conn are of a connection that ICE has made; client says that this side has answered the Attach.
	session *ice.Session
	conn    *link.Association
	client  bool
	renew   func() // has another one made in the place of a client's
	link    func(link.Options) link.Link
	close   func()
}

func freshTLS(conn *tls.Conn, peer trust.Identity) fresh {
	return fresh{peer: peer, remote: conn.RemoteAddr(), chain: certificates(conn), close: func() { _ = conn.Close() },
		link: func(o link.Options) link.Link { return link.New(conn, peer, o) }}
}

func freshDTLS(a *link.Association, peer trust.Identity) fresh {
	return fresh{peer: peer, remote: a.RemoteAddr(), chain: certificates(a), close: func() { _ = a.Close() },
		// Without ICE there was no STUN transaction that would tell the round trip time (RFC 6940 §6.6.3.1).
		link: func(o link.Options) link.Link { return link.NewDatagram(a, peer, 0, o) }}
}

// openPackets prepares DTLS. A node that only dials may be one whose key the DTLS library of the others cannot check: then
// it has TLS only.
func (p *Peer) openPackets() error {
	d, err := link.NewDTLS(p.cfg.Self, p.verifier, true)
	switch {
	case err == nil:
		p.dtls, p.dialDTLS = d, d.Dial
		if p.ice != nil {
			p.ice.server, p.ice.client = d.Server, d.Client
		}
	case p.cfg.Packets != nil || p.cfg.AppPackets != nil:
		return fmt.Errorf("overlay: %w", err)
	}
	return nil
}

// linkTypes are those that this node can dial, the preferred one first; it need not listen for them. RFC 6940 §6.5.1.6:
// "Lowest priority is assigned to protocols encapsulated over UDP that do not implement well-established congestion control
// algorithms", of which Simple Reliability is "an example".
//
// In an overlay with ICE they are for bootstrap nodes only (RFC 6940 §11.4: "the Joining Node MUST first form the DTLS or TLS
// connection"): the other links there are over DTLS, and a peer that answers one over DTLS tells us our address, too.
func (p *Peer) linkTypes() []wire.LinkType {
	switch {
	case p.dialDTLS == nil:
		return []wire.LinkType{wire.LinkTLSTCPFHNoICE}
	case p.ice != nil:
		return []wire.LinkType{wire.LinkDTLSUDPSRNoICE, wire.LinkTLSTCPFHNoICE}
	}
	return []wire.LinkType{wire.LinkTLSTCPFHNoICE, wire.LinkDTLSUDPSRNoICE}
}

// servePackets accepts overlay links over DTLS, on the same terms as serveLinks.
func (p *Peer) servePackets(ctx context.Context) {
	s := link.PacketServer{
		DTLS: p.dtls, Socket: p.packets(),
		Accept:  func(a *link.Association, peer trust.Identity) { p.carry(ctx, freshDTLS(a, peer), 0) },
		Refused: p.refused,
	}
	s.Serve(ctx)
}

// packets is the socket of links, or, with ICE, what is left of it.
func (p *Peer) packets() link.Socket {
	if p.ice != nil {
		return p.ice.rest
	}
	return p.cfg.Packets
}

// connect opens a connection to one of the targets, which it tries in turn. Unless want is zero, the certificate must hold
// it.
func (p *Peer) connect(ctx context.Context, list []target, want wire.NodeID) (fresh, error) {
	own := p.signer.Load()
	return inTurn(ctx, list, func(ctx context.Context, t target) (fresh, error) {
		if t.link == wire.LinkDTLSUDPSRNoICE {
			a, peer, err := p.dialDTLS(ctx, t.address, want)
			if err != nil {
				return fresh{}, err
			}
			f := freshDTLS(a, peer)
			f.dialed, f.own = t, own
			return f, nil
		}
		conn, peer, err := p.connectTLS(ctx, t.address, want)
		if err != nil {
			return fresh{}, err
		}
		f := freshTLS(conn, peer)
		f.dialed, f.own = t, own
		return f, nil
	})
}

func (p *Peer) connectTLS(ctx context.Context, address string, want wire.NodeID) (*tls.Conn, trust.Identity, error) {
	conn, err := p.dialTCP(ctx, "tcp", address)
	if err != nil {
		return nil, trust.Identity{}, err
	}
	return p.tls.Client(ctx, conn, want)
}

// inTurn tries targets until one works, and gives each an equal share of the time that ctx leaves.
func inTurn[T any](ctx context.Context, list []target, open func(context.Context, target) (T, error)) (T, error) {
	var errs []error
	for i, t := range list {
		got, err := share(ctx, len(list)-i, func(ctx context.Context) (T, error) { return open(ctx, t) })
		if err == nil {
			return got, nil
		}
		errs = append(errs, fmt.Errorf("overlay: %s %s: %w", t.link, t.address, err))
		if ctx.Err() != nil {
			break
		}
	}
	var none T
	return none, errors.Join(errs...)
}

func share[T any](ctx context.Context, left int, f func(context.Context) (T, error)) (T, error) {
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	return f(ctx)
}

// replace makes another link in the place of one that may not carry much more. The side that has dialled does so again; the
// node sends over the newer of two links, and closes the older one when it is idle. When it does not work the old link ends
// with link.ErrWorn, and the neighbour is attached to anew.
func (l *loop) replace(old fresh) {
	p, ctx := l.p, l.sockets
	p.count.event(eventLinkReplaced)
	l.spawn(p.dials, func(opened func()) {
		short, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		f, err := p.connect(short, []target{old.dialed}, old.peer.Node)
		opened()
		if err != nil {
			p.cfg.Log.Info().Str("component", "link").Str("peer_id", old.peer.Node.Short()).Err(err).Msg("link not replaced")
			return
		}
		if old.replaced != nil {
			old.replaced()
		}
		p.carry(ctx, f, 0)
	})
}

// renew is replace for a link with ICE: the side that answered the Attach of the old one asks for another, unless there is
// one already.
func (l *loop) renew(now time.Time, id node.LinkID) {
	old, ok := l.links[id]
	for other, c := range l.links {
		ok = ok && (other <= id || c.Peer().Node != old.Peer().Node)
	}
	if !ok {
		return
	}
	l.p.count.event(eventLinkReplaced)
	l.node.Renew(now, id)
}

// ownTargets is where this node itself is reached: at what it advertises, and at its sockets' own addresses.
func ownTargets(c *Config, advertised []wire.IceCandidate) []target {
	out := targets(advertised, []wire.LinkType{wire.LinkTLSTCPFHNoICE, wire.LinkDTLSUDPSRNoICE})
	if c.Listener != nil {
		out = append(out, target{wire.LinkTLSTCPFHNoICE, c.Listener.Addr().String()})
	}
	if c.Packets != nil {
		out = append(out, target{wire.LinkDTLSUDPSRNoICE, c.Packets.LocalAddr().String()})
	}
	return out
}

// owns reports whether t leads to this node itself. A bootstrap address names no type of link, so the address alone counts.
func (p *Peer) owns(t target) bool {
	return slices.ContainsFunc(p.own, func(own target) bool { return own.address == t.address })
}
