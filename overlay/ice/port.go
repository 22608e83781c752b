package ice

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"
)

type datagram struct {
	b    []byte
	peer netip.AddrPort
}

// port is the socket as one host candidate of one session sees it: the net.PacketConn that the ICE library reads and
// writes.
type port struct {
	mux    *Mux
	owner  *member
	host   netip.AddrPort
	in     chan datagram
	closed chan struct{}
	once   sync.Once

	// The transaction IDs of the latest checks, under mux.mu.
	recent [maxChecks]transaction
	next   int
}

func newPort(m *Mux, x *member, host netip.AddrPort) *port {
	return &port{mux: m, owner: x, host: host, in: make(chan datagram, maxPort), closed: make(chan struct{})}
}

// take gives a request to the port of the sender's address family: which of our addresses it was sent to is unknown.
func (x *member) take(b []byte, from netip.AddrPort) {
	for _, p := range x.ports {
		if p.host.Addr().Is4() == from.Addr().Is4() {
			p.put(datagram{bytes.Clone(b), from})
			return
		}
	}
}

// put takes a datagram, unless too many wait already.
func (p *port) put(d datagram) {
	select {
	case p.in <- d:
	default:
	}
}

// ReadFromAddrPort returns one datagram.
func (p *port) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case <-p.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	case d := <-p.in:
		return copy(b, d.b), d.peer, nil
	}
}

// WriteToAddrPort sends one datagram.
func (p *port) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	to = plain(to)
	select {
	case <-p.closed:
		return 0, net.ErrClosed
	default:
	}
	if len(b) >= minSTUN && binary.BigEndian.Uint16(b) == 1 {
		p.expect(transaction(b[8:minSTUN]), to)
	}
	return p.mux.socket.WriteToUDPAddrPort(b, to)
}

// expect notes that a check waits for its answer.
func (p *port) expect(id transaction, to netip.AddrPort) {
	m := p.mux
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.members[p.owner.ufrag] != p.owner {
		return
	}
	if c, ok := m.checks[p.recent[p.next]]; ok && c.port == p {
		delete(m.checks, p.recent[p.next])
	}
	p.recent[p.next] = id
	p.next = (p.next + 1) % maxChecks
	m.checks[id] = check{p, to}
}

// ReadFrom is ReadFromAddrPort.
func (p *port) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := p.ReadFromAddrPort(b)
	return n, net.UDPAddrFromAddrPort(from), err
}

// WriteTo is WriteToAddrPort.
func (p *port) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not UDP")
	}
	return p.WriteToAddrPort(b, u.AddrPort())
}

// Close ends the port; the socket stays open.
func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// LocalAddr is the address of the host candidate.
func (p *port) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.host) }

// SetDeadline does nothing: the library ends a Read with Close.
func (p *port) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (p *port) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: UDP takes datagrams at once.
func (p *port) SetWriteDeadline(time.Time) error { return nil }
