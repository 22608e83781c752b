package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// flow is the connection under one association of a PacketServer: the datagrams of one remote address.
type flow struct {
	server *PacketServer
	socket Socket
	remote netip.AddrPort
	gone   func()       // called once, on Close
	in     chan *[]byte // from datagrams
	closed chan struct{}
	once   sync.Once

	refusing sync.Once
	refusal  chan struct{} // closed when nobody listens at remote

	mu      sync.Mutex
	expired chan struct{} // closed while the read deadline has passed
}

func newFlow(s *PacketServer, remote netip.AddrPort, gone func()) *flow {
	return &flow{server: s, socket: s.Socket, remote: remote, gone: gone, in: make(chan *[]byte, maxFlowQueue),
		closed: make(chan struct{}), refusal: make(chan struct{}), expired: make(chan struct{})}
}

// refuse says that nobody listens at the remote address.
func (f *flow) refuse() { f.refusing.Do(func() { close(f.refusal) }) }

// datagrams holds buffers for datagrams on their way to an association, of all flows.
var datagrams = sync.Pool{New: func() any { return new([]byte) }}

// put takes a copy of a datagram, unless too many wait already.
func (f *flow) put(b []byte) {
	d := datagrams.Get().(*[]byte)
	*d = append((*d)[:0], b...)
	select {
	case f.in <- d:
	default:
		datagrams.Put(d)
	}
}

// Read returns one datagram.
func (f *flow) Read(b []byte) (int, error) {
	f.mu.Lock()
	expired := f.expired
	f.mu.Unlock()
	select {
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	case <-f.closed:
		return 0, net.ErrClosed
	default:
	}
	select {
	case d := <-f.in:
		n := copy(b, *d)
		datagrams.Put(d)
		return n, nil
	case <-expired:
		return 0, os.ErrDeadlineExceeded
	case <-f.closed:
		return 0, net.ErrClosed
	case <-f.refusal:
		return 0, syscall.ECONNREFUSED
	}
}

// Write sends one datagram.
func (f *flow) Write(b []byte) (int, error) {
	select {
	case <-f.closed:
		return 0, net.ErrClosed
	case <-f.refusal:
		return 0, syscall.ECONNREFUSED
	default:
	}
	n, err := f.socket.WriteToUDPAddrPort(b, f.remote)
	if errors.Is(err, syscall.ECONNREFUSED) {
		// The kernel says so of an earlier datagram on this socket, maybe to somebody else.
		f.server.refused()
		n, err = f.socket.WriteToUDPAddrPort(b, f.remote)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return len(b), nil // of others again: this datagram is lost, and is not the only one that ever is
	}
	return n, err
}

// Close ends the flow. The socket stays open.
func (f *flow) Close() error {
	f.once.Do(func() {
		close(f.closed)
		f.gone()
	})
	return nil
}

// LocalAddr is the address of the socket.
func (f *flow) LocalAddr() net.Addr { return f.socket.LocalAddr() }

// RemoteAddr is where the datagrams come from and go to.
func (f *flow) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(f.remote) }

// SetReadDeadline interrupts Read, unless t is zero. The library sets deadlines for nothing else: t has passed.
func (f *flow) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.expired:
		if t.IsZero() {
			f.expired = make(chan struct{})
		}
	default:
		if !t.IsZero() {
			close(f.expired)
		}
	}
	return nil
}

// SetWriteDeadline does nothing: UDP takes datagrams at once.
func (f *flow) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (f *flow) SetDeadline(t time.Time) error { return f.SetReadDeadline(t) }
