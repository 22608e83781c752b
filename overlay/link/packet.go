package link

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Socket is what a PacketServer needs of a *net.UDPConn, or of something that shares one.
type Socket interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	// SetReadDeadline interrupts reading when t has passed, and allows it again when t is zero.
	SetReadDeadline(t time.Time) error
	LocalAddr() net.Addr
	Close() error
}

// PacketServer accepts DTLS associations on one UDP socket, without ICE (RFC 6940 §6.6.6), and answers STUN Binding
// requests there. The first octet of a datagram tells STUN from DTLS (RFC 7983 §7).
type PacketServer struct {
	DTLS   *DTLS
	Socket Socket
	// Accept takes each association whose handshake succeeded, on a goroutine of its own; the association is Accept's.
	// Serve waits for it, so it must end when ctx does.
	Accept func(*Association, trust.Identity)
	// Refused is told of the others, from several goroutines. from is nil when there was no datagram.
	Refused func(why Refusal, from net.Addr, err error)

	gate     gate
	doorman  doorman
	unproven atomic.Int32
	wg       sync.WaitGroup

	mu    sync.Mutex
	peers map[netip.AddrPort]*place
}

// place holds the associations of one remote address: there are two while a peer that has lost its state makes another.
// RFC 6347 §4.2.8: "The server MUST NOT destroy the existing association until the client has demonstrated reachability
// either by completing a cookie exchange or by completing a complete handshake". Here, until it has shown a certificate.
type place struct{ open, next *entry }

type entry struct {
	*flow
	done bool // its handshake has succeeded
}

// Serve runs until ctx ends or the socket is closed by somebody else. When ctx ends no more handshakes begin, and the
// socket is closed when every call of Accept has ended: associations can be closed in order until then. Serve returns
// when all has ended.
func (s *PacketServer) Serve(ctx context.Context) {
	_, _ = rand.Read(s.doorman.secret[:])
	s.peers = make(map[netip.AddrPort]*place)
	reportRefusals(s.Socket)
	stop := context.AfterFunc(ctx, func() { _ = s.Socket.SetReadDeadline(time.Unix(1, 0)) })
	defer s.wg.Wait()
	defer s.hangUp()
	defer stop()
	closing := false
	b := make([]byte, maxRecord)
	for {
		n, from, err := s.Socket.ReadFromUDPAddrPort(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil && !closing && ctx.Err() != nil:
			closing = true
			_ = s.Socket.SetReadDeadline(time.Time{})
			go func() {
				s.wg.Wait()
				_ = s.Socket.Close()
			}()
		case errors.Is(err, syscall.ECONNREFUSED):
			s.refused()
		case err != nil:
			s.Refused(AcceptFailed, nil, err)
			_ = pause(ctx, minAcceptDelay)
		default:
			s.datagram(ctx, b[:n], from)
		}
	}
}

func (s *PacketServer) datagram(ctx context.Context, b []byte, from netip.AddrPort) {
	switch {
	case len(b) == 0:
	case b[0] <= 3:
		if answer := bindingAnswer(b, from); answer != nil {
			_, _ = s.Socket.WriteToUDPAddrPort(answer, from)
		}
	case b[0] >= 20 && b[0] <= 63:
		s.take(ctx, b, from)
	}
}

// refused ends the associations with peers where nobody listens any more. RFC 6940 §6.6.3.1 retransmits "until there has
// been a hard ICMP error". It has the same weight as on the socket of an association that we dialled: the kernel
// believes one that quotes a datagram of this socket.
func (s *PacketServer) refused() {
	for _, from := range refusals(s.Socket) {
		s.mu.Lock()
		p := s.peers[from]
		s.mu.Unlock()
		if p == nil {
			continue
		}
		for _, e := range [2]*entry{p.open, p.next} {
			if e != nil {
				e.refuse()
			}
		}
	}
}

// hangUp ends all flows.
func (s *PacketServer) hangUp() {
	var all []*entry
	s.mu.Lock()
	for _, p := range s.peers {
		all = append(all, p.open, p.next)
	}
	s.mu.Unlock()
	for _, e := range all {
		if e != nil {
			_ = e.Close()
		}
	}
}

// take passes a DTLS datagram to the association of its sender, or makes one.
func (s *PacketServer) take(ctx context.Context, b []byte, from netip.AddrPort) {
	greeting := isHello(b)
	s.mu.Lock()
	p := s.peers[from]
	fresh := greeting && (p == nil && len(s.peers) < maxAddresses || p != nil && p.next == nil && p.open.done)
	if p != nil && !fresh {
		p.deliver(b)
	}
	s.mu.Unlock()
	if fresh && ctx.Err() == nil {
		s.greet(ctx, b, from)
	}
}

// deliver passes a datagram on. While two associations share the address, one whose records are protected may be for
// either; the other one cannot decipher it and ignores it.
func (p *place) deliver(b []byte) {
	r, _, ok := cutRecord(b)
	if !ok {
		return
	}
	if p.next == nil || r.epoch > 0 {
		p.open.put(b)
	}
	if p.next != nil {
		p.next.put(b)
	}
}

// greet begins a handshake, unless there are too many.
func (s *PacketServer) greet(ctx context.Context, b []byte, from netip.AddrPort) {
	now, address := time.Now(), from.Addr()
	if s.unproven.Load() >= maxUnproven && !s.doorman.passes(now, address) {
		if answer := s.doorman.answer(now, b, from); answer != nil {
			_, _ = s.Socket.WriteToUDPAddrPort(answer, from)
		}
		return
	}
	if !s.gate.enter(address.String()) {
		s.Refused(TooManyHalfOpen, net.UDPAddrFromAddrPort(from), nil)
		return
	}
	e := s.add(from)
	e.put(b)
	s.wg.Go(func() { s.shake(ctx, e, address.String()) })
}

func (s *PacketServer) add(from netip.AddrPort) *entry {
	e := &entry{}
	e.flow = newFlow(s, from, func() { s.remove(from, e) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[from]; p != nil {
		p.next = e
	} else {
		s.peers[from] = &place{open: e}
	}
	return e
}

func (s *PacketServer) remove(from netip.AddrPort, e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch p := s.peers[from]; {
	case p == nil:
	case p.next == e:
		p.next = nil
	case p.open == e && p.next != nil:
		p.open, p.next = p.next, nil
	case p.open == e:
		delete(s.peers, from)
	}
}

// shake does one handshake.
func (s *PacketServer) shake(ctx context.Context, e *entry, address string) {
	s.unproven.Add(1)
	prove := sync.OnceFunc(func() { s.unproven.Add(-1) })
	// Closing the flow of a client that is slow to return the cookie makes the handshake fail.
	impatient := time.AfterFunc(helloTimeout, func() { _ = e.Close() })
	g := newGuard(e.flow)
	g.proven = func() {
		impatient.Stop()
		prove()
	}
	a, peer, err := s.DTLS.server(ctx, g, wire.NodeID{})
	impatient.Stop()
	prove()
	s.gate.leave(address)
	if err != nil {
		s.Refused(HandshakeFailed, e.RemoteAddr(), err)
		return
	}
	s.succeed(e)
	s.Accept(a, peer)
}

// succeed notes that the handshake of e is done: an older association with the same address is over.
func (s *PacketServer) succeed(e *entry) {
	s.mu.Lock()
	var old *entry
	if p := s.peers[e.remote]; p != nil && p.next == e {
		old = p.open
	}
	e.done = true
	s.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}
