package ice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

// Server is a TURN server and what to say to it. Credential makes User and Password for the servers of the overlay.
type Server struct {
	Address        netip.AddrPort
	User, Password string
}

// quiet keeps the libraries from writing to standard error: what matters of it is returned as an error.
func quiet() logging.LoggerFactory {
	return &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
}

// relay is an allocation at a TURN server (RFC 5766 §2.2): the net.PacketConn of a relayed candidate.
type relay struct {
	net.PacketConn // the allocation; a datagram written to it is sent by the TURN server
	server         netip.AddrPort
	socket         *net.UDPConn
	client         *turn.Client
	out            chan datagram
	done           chan struct{}
	once           sync.Once
	wg             sync.WaitGroup
}

// connected is a socket that hears the TURN server only: the kernel drops what others send.
type connected struct{ *net.UDPConn }

func (c connected) WriteTo(b []byte, _ net.Addr) (int, error) { return c.Write(b) }

// allocate gets a relayed address from a TURN server.
func allocate(ctx context.Context, s Server) (*relay, error) {
	fail := func(err error) (*relay, error) { return nil, fmt.Errorf("ice: TURN server %s: %w", s.Address, err) }
	conn, err := new(net.Dialer).DialContext(ctx, "udp", s.Address.String())
	if err != nil {
		return fail(err)
	}
	r := &relay{server: s.Address, socket: conn.(*net.UDPConn), out: make(chan datagram, maxOut), done: make(chan struct{})}
	r.client, err = turn.NewClient(&turn.ClientConfig{TURNServerAddr: s.Address.String(), Username: s.User,
		Password: s.Password, Conn: connected{r.socket}, LoggerFactory: quiet()})
	if err != nil {
		_ = r.socket.Close()
		return fail(err)
	}
	r.wg.Go(r.read)
	if r.PacketConn, err = r.client.AllocateWithContext(ctx); err != nil {
		_ = r.Close()
		return fail(err)
	}
	r.wg.Go(r.write)
	return r, nil
}

// read feeds the client. The library's own reader ends for good at the first malformed datagram.
func (r *relay) read() {
	b := make([]byte, datagramSize)
	from := net.UDPAddrFromAddrPort(r.server)
	for {
		n, err := r.socket.Read(b)
		switch {
		case err == nil:
			_, _ = r.client.HandleInbound(b[:n], from) // malformed: ignored
		case !errors.Is(err, syscall.ECONNREFUSED): // for a moment there is no TURN server
			return
		}
	}
}

// WriteTo sends b to a peer, and does not wait: the library asks for a permission first and waits for it, in the one
// goroutine that does all checks of a session.
func (r *relay) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not UDP")
	}
	select {
	case <-r.done:
		return 0, net.ErrClosed
	default:
	}
	select {
	case r.out <- datagram{append([]byte(nil), b...), u.AddrPort()}:
	default: // lost, as datagrams are
	}
	return len(b), nil
}

func (r *relay) write() {
	for {
		select {
		case <-r.done:
			return
		case d := <-r.out:
			_, _ = r.PacketConn.WriteTo(d.b, net.UDPAddrFromAddrPort(plain(d.peer))) // refused: the check fails
		}
	}
}

// Close gives the allocation back and waits for the goroutines.
func (r *relay) Close() error {
	r.once.Do(func() {
		close(r.done)
		if r.PacketConn != nil {
			_ = r.PacketConn.Close() // RFC 5766 §7.1: a Refresh with lifetime 0
		}
		r.client.Close()
		_ = r.socket.Close()
	})
	r.wg.Wait()
	return nil
}
