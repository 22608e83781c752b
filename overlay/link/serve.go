package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Refusal is why an inbound connection came to nothing: a closed set.
type Refusal string

// The refusals.
const (
	AcceptFailed    Refusal = "accept"    // the listener had an error; it is tried again
	TooManyHalfOpen Refusal = "half_open" // too many handshakes, in total or from one address
	HandshakeFailed Refusal = "handshake"
)

// Server accepts TLS connections on one listener.
type Server struct {
	TLS      *TLS
	Listener net.Listener
	// Accept takes each connection whose handshake succeeded, on a goroutine of its own; the connection is Accept's.
	// Serve waits for it.
	Accept func(*tls.Conn, trust.Identity)
	// Refused is told of the others, from several goroutines. from is nil when there was no connection.
	Refused func(why Refusal, from net.Addr, err error)

	mu       sync.Mutex
	halfOpen map[string]int // by IP address
	total    int
	wg       sync.WaitGroup
}

// Serve runs until ctx ends or the listener is closed by somebody else. It closes the listener and returns when every
// handshake and every call of Accept has ended.
func (s *Server) Serve(ctx context.Context) {
	s.halfOpen = make(map[string]int)
	stop := context.AfterFunc(ctx, func() { _ = s.Listener.Close() })
	defer s.wg.Wait()
	defer stop()
	delay := minAcceptDelay
	for {
		conn, err := s.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// For example EMFILE: the process is out of descriptors now and may have some in a moment. A listener
			// that gives up would make the node unreachable for good.
			s.Refused(AcceptFailed, nil, err)
			if !pause(ctx, delay) {
				_ = s.Listener.Close()
				return
			}
			delay = min(2*delay, maxAcceptDelay)
			continue
		}
		delay = minAcceptDelay
		s.admit(ctx, conn)
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) admit(ctx context.Context, conn net.Conn) {
	address := addressOf(conn)
	if !s.enter(address) {
		s.Refused(TooManyHalfOpen, conn.RemoteAddr(), nil)
		_ = conn.Close()
		return
	}
	s.wg.Go(func() {
		tc, peer, err := s.TLS.Server(ctx, conn)
		s.leave(address)
		if err != nil {
			s.Refused(HandshakeFailed, conn.RemoteAddr(), err)
			return
		}
		s.Accept(tc, peer)
	})
}

func addressOf(conn net.Conn) string {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.IP.String()
	}
	return conn.RemoteAddr().String()
}

func (s *Server) enter(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= maxHalfOpen || s.halfOpen[address] >= maxHalfOpenAddress {
		return false
	}
	s.total++
	s.halfOpen[address]++
	return true
}

func (s *Server) leave(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.halfOpen[address]--; s.halfOpen[address] == 0 {
		delete(s.halfOpen, address)
	}
}
