package link

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const overlayName = "dht.example.org"

// world is one overlay's authority.
type world struct {
	t       testing.TB
	ca      *trust.Authority
	overlay *config.Overlay
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := trust.NewAuthority(overlayName, trust.P256, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &config.Overlay{InstanceName: overlayName, NodeIDLength: 16, RootCerts: []*x509.Certificate{ca.Certificate()}}
	return &world{t, ca, o}
}

// signer issues an identity as of now.
func (w *world) signer(now time.Time) *trust.Signer {
	w.t.Helper()
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := w.ca.IssueNode(now, "gw@example.org", key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := trust.NewSigner(overlayName, key, cert)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// tls is a new node's TLS.
func (w *world) tls() *TLS { return NewTLS(w.signer(time.Now()), trust.NewVerifier(w.overlay)) }

func (x *TLS) node() wire.NodeID { return nodeOf(x.certificate.Load()) }

func nodeOf(c *tls.Certificate) wire.NodeID {
	id, err := trust.ParseIdentity(overlayName, c.Leaf)
	if err != nil {
		panic(err)
	}
	return id.Nodes[0]
}

// end is the outcome of one side's handshake.
type end struct {
	conn *tls.Conn
	peer trust.Identity
	err  error
}

// shake runs both handshakes over a and b.
func shake(t testing.TB, client, server *TLS, a, b net.Conn) (c, s end) {
	t.Helper()
	done := make(chan end)
	go func() {
		var e end
		e.conn, e.peer, e.err = server.Server(t.Context(), b)
		done <- e
	}()
	c.conn, c.peer, c.err = client.Client(t.Context(), a, wire.NodeID{})
	return c, <-done
}

// loopback is a TCP connection.
func loopback(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// running is a Conn whose Run runs, and what it told.
type running struct {
	*Conn
	got     chan []byte
	stalled chan bool
	done    chan error
}

const testMax = 5000

func size(n int) func() int { return func() int { return n } }

func run(c end, receive func([]byte)) *running {
	r := &running{got: make(chan []byte, 4096), stalled: make(chan bool, 16), done: make(chan error, 1)}
	if receive == nil {
		receive = func(raw []byte) { r.got <- raw }
	}
	r.Conn = New(c.conn, c.peer, Options{MaxMessage: size(testMax), Receive: receive, Stalled: func(s bool) { r.stalled <- s }})
	go func() { r.done <- r.Run() }()
	return r
}

// linkTo is a running Conn on one side and a bare TLS connection, for a peer that is played octet by octet, on the other.
func linkTo(t testing.TB, a, b net.Conn, receive func([]byte)) (*running, *tls.Conn) {
	t.Helper()
	w := newWorld(t)
	c, s := shake(t, w.tls(), w.tls(), a, b)
	if c.err != nil || s.err != nil {
		t.Fatalf("handshake: client %v, server %v", c.err, s.err)
	}
	return run(c, receive), s.conn
}

// pair is two running links on one TCP connection.
func pair(t testing.TB, left, right func([]byte)) (*running, *running) {
	t.Helper()
	w := newWorld(t)
	a, b := loopback(t)
	c, s := shake(t, w.tls(), w.tls(), a, b)
	if c.err != nil || s.err != nil {
		t.Fatalf("handshake: client %v, server %v", c.err, s.err)
	}
	return run(c, left), run(s, right)
}

func (r *running) finish(t testing.TB) error {
	t.Helper()
	r.Close()
	return r.wait(t)
}

func (r *running) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-r.done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("Run did not return")
		return nil
	}
}

func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}
