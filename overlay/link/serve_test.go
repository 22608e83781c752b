package link

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

type refused struct {
	why Refusal
	err error
}

// serve runs a Server on loopback until the test ends.
func serve(t *testing.T, w *world, accept func(*tls.Conn, trust.Identity)) (address string, refusals chan refused) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusals = make(chan refused, 1024)
	s := &Server{TLS: w.tls(), Listener: ln, Accept: accept,
		Refused: func(why Refusal, _ net.Addr, err error) { refusals <- refused{why, err} }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		receive(t, done, "end of Serve")
	})
	return ln.Addr().String(), refusals
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestServeAcceptsAndRefuses(t *testing.T) {
	w := newWorld(t)
	accepted := make(chan trust.Identity, 1)
	address, refusals := serve(t, w, func(c *tls.Conn, id trust.Identity) { _ = c.Close(); accepted <- id })

	if _, err := dial(t, address).Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, refusals, "refusal"); r.why != HandshakeFailed || r.err == nil {
		t.Errorf("clear text: %v", r)
	}
	me := w.tls()
	conn, _, err := me.Client(t.Context(), dial(t, address), wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(conn)
	if id := receive(t, accepted, "connection"); id.Node != me.node() {
		t.Errorf("accepted %s, want %s", id.Node, me.node())
	}
}

func TestServeBoundsHandshakesPerAddress(t *testing.T) {
	w := newWorld(t)
	address, refusals := serve(t, w, func(c *tls.Conn, _ trust.Identity) { _ = c.Close() })
	var silent []net.Conn
	for range maxHalfOpenAddress + 1 {
		silent = append(silent, dial(t, address))
	}
	if r := receive(t, refusals, "refusal"); r.why != TooManyHalfOpen {
		t.Errorf("got %v, want %s", r, TooManyHalfOpen)
	}
	for _, c := range silent { // and their places become free again
		_ = c.Close()
	}
	for range maxHalfOpenAddress {
		if r := receive(t, refusals, "refusal"); r.why != HandshakeFailed {
			t.Errorf("got %v, want %s", r, HandshakeFailed)
		}
	}
	conn, _, err := w.tls().Client(t.Context(), dial(t, address), wire.NodeID{})
	if err != nil {
		t.Errorf("afterwards: %v", err)
	}
	closeAll(conn)
}

// exhausted is a listener of a process that is out of descriptors for the first calls.
type exhausted struct {
	net.Listener
	failures atomic.Int32
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestServeSurvivesDescriptorExhaustion(t *testing.T) {
	w := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	poor := &exhausted{Listener: ln}
	poor.failures.Store(4)
	accepted := make(chan struct{}, 1)
	refusals := make(chan refused, 16)
	s := &Server{TLS: w.tls(), Listener: poor, Accept: func(c *tls.Conn, _ trust.Identity) { _ = c.Close(); close(accepted) },
		Refused: func(why Refusal, _ net.Addr, err error) { refusals <- refused{why, err} }}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(t.Context()) }()
	conn, _, err := w.tls().Client(t.Context(), dial(t, ln.Addr().String()), wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, accepted, "connection")
	closeAll(conn)
	for range 4 {
		if r := receive(t, refusals, "refusal"); r.why != AcceptFailed || !errors.Is(r.err, syscall.EMFILE) {
			t.Errorf("got %v", r)
		}
	}
	_ = ln.Close()
	receive(t, done, "end of Serve")
}

// never fails to accept, at once, for ever.
type never struct{ net.Listener }

func (never) Accept() (net.Conn, error) { return nil, syscall.EMFILE }
func (never) Close() error              { return nil }

func TestServeDoesNotSpinWhileAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		s := &Server{Listener: never{}, Refused: func(Refusal, net.Addr, error) { n.Add(1) }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Serve(ctx)
		if n.Load() > 70 {
			t.Errorf("%d attempts in a minute", n.Load())
		}
	})
}

func TestSilentStrangerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := net.Pipe()
		start := time.Now()
		if _, _, err := w.tls().Server(t.Context(), b); err == nil || time.Since(start) != HandshakeTimeout {
			t.Errorf("dropped after %v with %v, want %v", time.Since(start), err, HandshakeTimeout)
		}
		_ = a.Close()
	})
}
