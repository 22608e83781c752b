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

	gate gate
	wg   sync.WaitGroup
}

// Serve runs until ctx ends or the listener is closed by somebody else. It closes the listener and returns when every
// handshake and every call of Accept has ended.
func (s *Server) Serve(ctx context.Context) {
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
	if !s.gate.enter(address) {
		s.Refused(TooManyHalfOpen, conn.RemoteAddr(), nil)
		_ = conn.Close()
		return
	}
	s.wg.Go(func() {
		tc, peer, err := s.TLS.Server(ctx, conn)
		s.gate.leave(address)
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

// gate bounds the handshakes under way, in total and per IP address. The zero value is ready.
type gate struct {
	mu       sync.Mutex
	halfOpen map[string]int
	total    int
}

func (g *gate) enter(address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= maxHalfOpen || g.halfOpen[address] >= maxHalfOpenAddress {
		return false
	}
	if g.halfOpen == nil {
		g.halfOpen = make(map[string]int)
	}
	g.total++
	g.halfOpen[address]++
	return true
}

func (g *gate) leave(address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.halfOpen[address]--; g.halfOpen[address] == 0 {
		delete(g.halfOpen, address)
	}
}
