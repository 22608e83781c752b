package media

import (
	"net"
	"net/netip"
	"sync"
)

// portable reads each port with a goroutine of its own. It is for systems without epoll, and for a single processor, which a reader that
// sleeps in the kernel would hold until the runtime's monitor looks.
type portable struct {
	shard   *shard
	readers sync.WaitGroup
	over    chan struct{}
}

func newPortable(s *shard) (engine, error) {
	return &portable{shard: s, over: make(chan struct{})}, nil
}

func (e *portable) open(p *port, at netip.AddrPort) error {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	p.sock = portableSocket{c}
	e.readers.Go(func() { e.read(p, c) })
	return nil
}

func (e *portable) read(p *port, c *net.UDPConn) {
	b := make([]byte, maxPacket+1)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		e.shard.mu.Lock()
		switch {
		case p.sock == nil:
			e.shard.mu.Unlock()
			return
		case err != nil: // what ICMP said of a packet that was sent
		case n > maxPacket:
			e.shard.drop(p, dropTooBig)
		default:
			e.shard.packet(p, b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
		e.shard.mu.Unlock()
	}
}

func (e *portable) run() {
	<-e.over
	e.readers.Wait()
}

func (e *portable) stop() { close(e.over) }

type portableSocket struct{ conn *net.UDPConn }

func (s portableSocket) send(b []byte, to netip.AddrPort) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

func (s portableSocket) close() { _ = s.conn.Close() }
