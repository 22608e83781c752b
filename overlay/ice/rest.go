package ice

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Rest is a view of a Mux's socket: what is of no session. It has those methods of a *net.UDPConn that an acceptor of
// associations needs.
type Rest struct {
	mux    *Mux
	in     chan datagram
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	expired chan struct{} // closed while the read deadline has passed
	dropped uint64
}

func newRest(m *Mux) *Rest {
	return &Rest{mux: m, in: make(chan datagram, maxRest), closed: make(chan struct{}), expired: make(chan struct{})}
}

func (r *Rest) put(d datagram) {
	select {
	case r.in <- d:
	default:
		r.mu.Lock()
		r.dropped++
		r.mu.Unlock()
	}
}

// Dropped counts the datagrams that were dropped because nobody read them.
func (r *Rest) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// ReadFromUDPAddrPort returns one datagram. The error is net.ErrClosed or os.ErrDeadlineExceeded.
func (r *Rest) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	r.mu.Lock()
	expired := r.expired
	r.mu.Unlock()
	select {
	case <-expired:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	case <-r.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	default:
	}
	select {
	case d := <-r.in:
		return copy(b, d.b), d.peer, nil
	case <-expired:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	case <-r.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToUDPAddrPort sends one datagram through the socket.
func (r *Rest) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	select {
	case <-r.closed:
		return 0, net.ErrClosed
	default:
		return r.mux.socket.WriteToUDPAddrPort(b, to)
	}
}

// SetReadDeadline interrupts reading when t has passed, and allows it when t is zero. Times to come are not supported.
func (r *Rest) SetReadDeadline(t time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.expired:
		if t.IsZero() {
			r.expired = make(chan struct{})
		}
	default:
		if !t.IsZero() {
			close(r.expired)
		}
	}
	return nil
}

// LocalAddr is the address of the socket.
func (r *Rest) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(r.mux.local) }

// Close ends the view. The socket stays open until the Mux is closed.
func (r *Rest) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}
