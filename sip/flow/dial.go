package flow

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
)

// dial is a connection that is being opened, and who waits for it.
type dial struct {
	waiting []outgoing
}

type outgoing struct {
	b       []byte
	receipt *Receipt
}

// keyOf is where a connection to a hop is looked for.
func keyOf(to location.Hop) streamKey {
	if to.Node != "" {
		return streamKey{node: to.Node}
	}
	k := streamKey{transport: to.Transport, remote: to.Remote}
	if a, err := netip.ParseAddr(to.Host); to.Transport == TLS && (err != nil || a != to.Remote.Addr()) {
		k.host = to.Host
	}
	return k
}

// sendStream finds the connection for a hop, or queues the message for one that is being opened, opening it when needed.
func (t *Table) sendStream(to location.Hop, o outgoing) error {
	key := keyOf(to)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range [2]*stream{t.byFlow[to.Flow], t.byKey[key]} {
		// The message keeps its place behind those sent before it: the queue of the connection is filled under the lock.
		if s == nil {
			continue
		}
		err := s.send(o.b, o.receipt)
		if err == nil {
			s.touch()
			t.counters.sent[transportIndex(s.hop.Transport)].Add(1)
		}
		if !errors.Is(err, ErrClosed) {
			return err
		}
	}
	if d := t.dials[key]; d != nil {
		if len(d.waiting) >= dialQueue {
			t.counters.drop(dropDialQueue)
			return ErrQueue
		}
		d.waiting = append(d.waiting, o)
		return nil
	}
	switch {
	case t.closed, webSocket(key.transport):
		return ErrClosed // RFC 7118: a WebSocket is opened by its client, and only by that
	case key.node != "" && t.cfg.DialNode == nil, key.node == "" && (!to.Remote.IsValid() || to.Remote.Port() == 0):
		return ErrNoRoute
	case !t.mayDial(key):
		t.counters.drop(dropDials)
		return ErrQueue
	}
	t.dials[key] = &dial{waiting: []outgoing{o}}
	t.wg.Go(func() { t.dial(key) })
	return nil
}

// mayDial reports whether one more connection may be opened: to an address as many as there are left for others, and to gateways whatever is
// being opened to phones and trunks. The caller holds mu.
func (t *Table) mayDial(key streamKey) bool {
	all, there := 0, 0
	for k := range t.dials {
		if (k.node == "") != (key.node == "") {
			continue
		}
		all++
		if key.node == "" && block(k.remote.Addr()) == block(key.remote.Addr()) {
			there++
		}
	}
	return there < maxDials-all
}

// dial opens the connection for key and sends what waits for it, or fails each of those.
func (t *Table) dial(key streamKey) {
	s, err := t.open(key)
	t.mu.Lock()
	if err == nil {
		// Under one lock with what waits: nobody else finds the connection before.
		if err = t.enter(s); err != nil {
			_ = s.conn.Close()
		}
	}
	waiting := t.dials[key].waiting
	delete(t.dials, key)
	failed := make([]error, len(waiting))
	for i, o := range waiting {
		if failed[i] = err; err == nil {
			failed[i] = s.send(o.b, o.receipt)
		}
		if failed[i] == nil {
			t.counters.sent[transportIndex(s.hop.Transport)].Add(1)
		}
	}
	t.mu.Unlock()
	if err != nil {
		t.counters.drop(dropDialFailed)
		t.cfg.Log.Debug().Err(err).Stringer("remote", key.remote).Str("node", key.node).Msg("sip: opening a connection")
	}
	for i, o := range waiting {
		if failed[i] != nil {
			o.receipt.fail(failed[i])
		}
	}
	if err == nil {
		s.read()
	}
}

func (t *Table) open(key streamKey) (*stream, error) {
	if key.node != "" {
		return t.openNode(key.node)
	}
	ctx, cancel := context.WithTimeout(t.ctx, connectTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network("tcp", key.remote.Addr()), key.remote.String())
	if err != nil {
		return nil, err
	}
	t.mark(c)
	s := &stream{conn: c, class: dialled, hop: location.Hop{Transport: key.transport, Host: key.host}}
	s.address = t.listenAddress(key.transport, key.remote.Addr())
	if key.transport == TLS {
		return s, t.secure(s, key)
	}
	return s, nil
}

// secure runs the client's handshake: the certificate must hold the name that the destination was found under (RFC 3261 §26.3.1,
// RFC 5922 §7), or the address when it was found under none.
func (t *Table) secure(s *stream, key streamKey) error {
	name := key.host
	if name == "" {
		name = key.remote.Addr().String()
	}
	tc := t.dialled(s.conn, name)
	ctx, cancel := context.WithTimeout(t.ctx, handshakeLimit)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = s.conn.Close()
		return err
	}
	s.conn, s.peer = tc, tc.ConnectionState().PeerCertificates[0]
	if name == location.AnyHost {
		s.peer = nil
	}
	return nil
}

func (t *Table) openNode(gr string) (*stream, error) {
	ctx, cancel := context.WithTimeout(t.ctx, nodeTimeout)
	defer cancel()
	c, err := t.cfg.DialNode(ctx, gr)
	if err != nil {
		return nil, err
	}
	return nodeStream(c, gr), nil
}

// nodeStream is a connection to a gateway. Its GRUU may have been dialled under another name than the one it has for itself.
func nodeStream(c NodeConn, dialled ...string) *stream {
	transport := TLS
	if c.Datagram {
		transport = DTLS
	}
	s := &stream{conn: c.Conn, class: node, packets: c.Datagram, hop: location.Hop{Transport: transport, Node: c.GR},
		address: sip.Address{Transport: transport, Local: addrPort(c.LocalAddr())}}
	for _, gr := range append(dialled, c.GR) {
		s.keys = append(s.keys, streamKey{node: gr})
	}
	return s
}

// AddNode takes over a connection that another gateway of the overlay opened. Requests may be sent over it as over one of
// ours (RFC 7904 §5.1). The connection is closed when the table refuses it.
func (t *Table) AddNode(c NodeConn) error {
	s := nodeStream(c)
	if err := t.add(s); err != nil {
		_ = c.Close()
		return err
	}
	go s.read()
	return nil
}
