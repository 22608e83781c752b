package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/pion/dtls/v2"
)

// dtls is a new node's DTLS.
func (w *world) dtls() *DTLS {
	d, err := NewDTLS(w.signer(time.Now()), trust.NewVerifier(w.overlay), true)
	if err != nil {
		w.t.Fatal(err)
	}
	d.flight = 100 * time.Millisecond
	return d
}

func (d *DTLS) node() wire.NodeID { return nodeOf(d.certificate.Load()) }

// knot is one side of an association that came about.
type knot struct {
	*Association
	peer trust.Identity
}

// packets runs a PacketServer on loopback until the test ends.
type packets struct {
	*PacketServer
	address  string
	accepted chan knot
	refusals chan refused
	stop     func()
}

func servePackets(t testing.TB, d *DTLS) *packets {
	t.Helper()
	return servePacketsAt(t, d, "127.0.0.1:0")
}

func servePacketsAt(t testing.TB, d *DTLS, address string) *packets {
	t.Helper()
	bound, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	socket := bound.(*net.UDPConn)
	p := &packets{address: socket.LocalAddr().String(), accepted: make(chan knot, 1024), refusals: make(chan refused, 1024)}
	p.PacketServer = &PacketServer{DTLS: d, Socket: socket,
		Accept:  func(a *Association, peer trust.Identity) { p.accepted <- knot{a, peer} },
		Refused: func(why Refusal, _ net.Addr, err error) { p.refusals <- refused{why, err} }}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Serve(ctx) }()
	p.stop = func() {
		cancel()
		receive(t, done, "end of Serve")
	}
	t.Cleanup(p.stop)
	return p
}

// dialed makes an association with a server and returns both sides.
func dialed(t testing.TB, client *DTLS, p *packets) (c, s knot) {
	t.Helper()
	return dialedAt(t, client, p, p.address)
}

func dialedAt(t testing.TB, client *DTLS, p *packets, address string) (c, s knot) {
	t.Helper()
	a, peer, err := client.Dial(t.Context(), address, wire.NodeID{})
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	c, s = knot{a, peer}, receive(t, p.accepted, "association")
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c, s
}

// echo sends one record each way.
func echo(t testing.TB, c, s knot) {
	t.Helper()
	b := make([]byte, maxRecord)
	for _, x := range []struct {
		from, to *Association
	}{{c.Association, s.Association}, {s.Association, c.Association}} {
		if _, err := x.from.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = x.to.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := x.to.Read(b); err != nil || string(b[:n]) != "hello" {
			t.Fatalf("read %q, %v", b[:n], err)
		}
		_ = x.to.SetReadDeadline(time.Time{})
	}
}

// Conformance: A-03 A-04
func TestRFC6940_6_5_1_13_BothSidesOfDTLSKnowEachOther(t *testing.T) {
	w := newWorldWith(t, trust.RSA2048)
	for _, c := range []struct {
		client, server trust.KeyType
	}{{trust.P256, trust.P256}, {trust.RSA2048, trust.P256}, {trust.P256, trust.RSA2048}, {trust.RSA2048, trust.RSA2048}} {
		t.Run(fmt.Sprintf("%v to %v", c.client, c.server), func(t *testing.T) {
			left, err := w.dtlsWith(c.client)
			if err != nil {
				t.Fatal(err)
			}
			right, err := w.dtlsWith(c.server)
			if err != nil {
				t.Fatal(err)
			}
			a, b := dialed(t, left, servePackets(t, right))
			if a.peer.Node != right.node() || b.peer.Node != left.node() {
				t.Errorf("client sees %s, server sees %s; want %s and %s", a.peer.Node, b.peer.Node, right.node(), left.node())
			}
			if a.Suite() != "ChaCha20-Poly1305" || b.Suite() != a.Suite() {
				t.Errorf("suites %s and %s", a.Suite(), b.Suite())
			}
			echo(t, a, b)
		})
	}
}

// newWorldWith is newWorld with an authority that has another key.
func newWorldWith(t testing.TB, key trust.KeyType) *world {
	t.Helper()
	ca, err := trust.NewAuthority(overlayName, key, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &config.Overlay{InstanceName: overlayName, NodeIDLength: 16, RootCerts: []*x509.Certificate{ca.Certificate()}}
	return &world{t, ca, o}
}

func (w *world) dtlsWith(key trust.KeyType) (*DTLS, error) {
	w.t.Helper()
	k, err := trust.GenerateKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := w.ca.IssueNode(time.Now(), "gw@example.org", k.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := trust.NewSigner(overlayName, k, cert)
	if err != nil {
		w.t.Fatal(err)
	}
	return NewDTLS(s, trust.NewVerifier(w.overlay), true)
}

func TestRSAKeyUnderAnECDSARootIsRefusedAtOnce(t *testing.T) {
	if _, err := newWorld(t).dtlsWith(trust.RSA2048); !errors.Is(err, ErrMixedRSA) {
		t.Errorf("got %v, want ErrMixedRSA", err)
	}
}

// Conformance: A-07
func TestRFC6940_13_2_DTLSRefusesCertificates(t *testing.T) {
	home, abroad := newWorld(t), newWorld(t)
	good, banned := home.dtls(), home.dtls()
	strict := *home.overlay
	strict.BadNodes = []wire.NodeID{banned.node()}
	good.verifier = trust.NewVerifier(&strict)
	stranger := abroad.dtls()
	stranger.verifier = home.dtls().verifier
	for _, c := range []struct {
		name string
		bad  *DTLS
		want trust.Reason
	}{{"wrong CA", stranger, trust.WrongCA}, {"bad node", banned, trust.BadNode}} {
		t.Run(c.name+" of a client", func(t *testing.T) {
			p := servePackets(t, good)
			a, _, err := c.bad.Dial(t.Context(), p.address, wire.NodeID{})
			if err == nil {
				_, err = a.Read(make([]byte, maxRecord))
				_ = a.Close()
			}
			if err == nil {
				t.Error("the client was let in")
			}
			wantReason(t, receive(t, p.refusals, "refusal").err, c.want)
		})
		t.Run(c.name+" of a server", func(t *testing.T) {
			p := servePackets(t, c.bad)
			_, _, err := good.Dial(t.Context(), p.address, wire.NodeID{})
			wantReason(t, err, c.want)
			if r := receive(t, p.refusals, "refusal"); r.why != HandshakeFailed {
				t.Errorf("server: %v", r)
			}
		})
	}
}

// Conformance: A-05
func TestRFC6940_6_5_1_13_DTLSServerRequiresClientCertificate(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	none := w.dtls()
	none.certificate.Store(&tls.Certificate{})
	if a, _, err := none.Dial(t.Context(), p.address, wire.NodeID{}); err == nil {
		_ = a.Close()
		t.Error("a client without a certificate was let in")
	}
	if r := receive(t, p.refusals, "refusal"); r.why != HandshakeFailed {
		t.Errorf("server: %v", r)
	}
}

// udpPair is two UDP sockets connected to each other.
func udpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	first, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	second, err := net.DialUDP("udp", nil, first.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = first.Close(), second.Close() })
	return newUDPEnd(first, second.LocalAddr()), second
}

// udpEnd is a socket that talks to one address.
type udpEnd struct {
	*net.UDPConn
	to net.Addr
}

func newUDPEnd(c *net.UDPConn, to net.Addr) net.Conn { return udpEnd{c, to} }

func (u udpEnd) Write(b []byte) (int, error) { return u.WriteTo(b, u.to) }
func (u udpEnd) RemoteAddr() net.Addr        { return u.to }

func TestRFC6940_6_5_1_13_DTLSClientInsistsOnBeingAsked(t *testing.T) {
	w := newWorld(t)
	lax := w.dtls()
	a, b := udpPair(t)
	done := make(chan error, 1)
	go func() {
		h := handshake{verifier: lax.verifier}
		c := lax.config(&h)
		c.Certificates = []tls.Certificate{*lax.certificate.Load()}
		c.ClientAuth = dtls.NoClientCert
		s, err := lax.associate(context.Background(), newGuard(a), c, dtls.ServerWithContext)
		if err == nil {
			_ = s.Close()
		}
		done <- err
	}()
	if _, _, err := w.dtls().Client(t.Context(), b, wire.NodeID{}); !errors.Is(err, ErrNotAsked) {
		t.Errorf("got %v, want ErrNotAsked", err)
	}
	<-done
}

// Conformance: A-06
func TestRFC6940_6_5_1_13_DTLSCertificateMatchesTheAttach(t *testing.T) {
	w := newWorld(t)
	server := w.dtls()
	p := servePackets(t, server)
	a, peer, err := w.dtls().Dial(t.Context(), p.address, server.node())
	if err != nil || peer.Node != server.node() {
		t.Fatalf("the right node: %v, %v", peer.Node, err)
	}
	s := receive(t, p.accepted, "association")
	_, _ = a.Close(), s.Close()
	if _, _, err := w.dtls().Dial(t.Context(), p.address, w.dtls().node()); !errors.Is(err, ErrWrongNode) {
		t.Errorf("another node: %v", err)
	}
	receive(t, p.refusals, "refusal")
}

func TestGCMIsAFallback(t *testing.T) {
	w := newWorld(t)
	server, client := w.dtls(), w.dtls()
	p := servePackets(t, server)
	under, err := net.Dial("udp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	h := handshake{verifier: client.verifier}
	c := client.config(&h)
	c.Certificates = []tls.Certificate{*client.certificate.Load()}
	conn, err := dtls.ClientWithContext(t.Context(), under, c) // without our suites
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s := receive(t, p.accepted, "association")
	defer func() { _ = s.Close() }()
	if s.Suite() != "AES-GCM" || s.budget != gcmRecords {
		t.Errorf("%s with a budget of %d", s.Suite(), s.budget)
	}
}

func TestGCMCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t)
	server, client := w.dtls(), w.dtls()
	server.gcm = false
	p := servePackets(t, server)
	under, err := net.Dial("udp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = under.Close() }()
	h := handshake{verifier: client.verifier}
	if conn, err := dtls.ClientWithContext(t.Context(), under, client.config(&h)); err == nil {
		_ = conn.Close()
		t.Error("a client with AES-GCM alone was let in")
	}
	receive(t, p.refusals, "refusal")
}

func TestNoCBCAndNoCCM(t *testing.T) {
	for _, gcm := range []bool{true, false} {
		d := newWorld(t).dtls()
		d.gcm = gcm
		for _, id := range d.config(&handshake{}).CipherSuites {
			if name := dtls.CipherSuiteName(id); !bytes.Contains([]byte(name), []byte("GCM")) {
				t.Errorf("offered: %s", name)
			}
		}
	}
}

// Conformance: A-24
func TestRFC6940_6_4_2_1_ReplayedRecordsAreDropped(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	tap := &tapConn{}
	var err error
	if tap.Conn, err = net.Dial("udp", p.address); err != nil {
		t.Fatal(err)
	}
	a, _, err := w.dtls().Client(t.Context(), tap, wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	s := receive(t, p.accepted, "association")
	defer func() { _ = s.Close() }()
	b := make([]byte, maxRecord)
	if _, err := a.Write([]byte("once")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := tap.Conn.Write(*tap.last.Load()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Write([]byte("then")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"once", "then"} {
		_ = s.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := s.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("read %q, %v; want %q", b[:n], err, want)
		}
	}
}

// tapConn keeps the last datagram that was sent.
type tapConn struct {
	net.Conn
	last atomic.Pointer[[]byte]
}

func (c *tapConn) Write(b []byte) (int, error) {
	d := bytes.Clone(b)
	c.last.Store(&d)
	return c.Conn.Write(b)
}

// Two of us and a path that loses and reorders: a handshake with long certificates comes through.
func TestDTLSHandshakeOverALossyPath(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	for first := range 5 {
		r := newRelay(t, p.address, first)
		c, s := dialedAt(t, w.dtls(), p, r.address)
		_, _ = c.Close(), s.Close()
	}
}

func TestCloseReachesThePeer(t *testing.T) {
	w := newWorld(t)
	client, p := w.dtls(), servePackets(t, w.dtls())
	for range 50 {
		c, s := dialed(t, client, p)
		_ = c.Close()
		_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := s.Read(make([]byte, maxRecord)); !errors.Is(err, io.EOF) {
			t.Fatalf("read: %v, want EOF", err)
		}
	}
}

// The library's reader closes the connection while the library's Close is about to send the alert.
func TestGuardKeepsTheConnectionForTheClosureAlert(t *testing.T) {
	alert := []byte{recordAlert, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 18}
	for _, sent := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			end, _ := datagramPipe()
			g := newGuard(end)
			g.closing.Store(true)
			start := time.Now()
			go func() { _ = g.Close() }()
			synctest.Wait()
			select {
			case <-end.closed:
				t.Error("closed before the alert")
			default:
			}
			want := partTimeout
			if sent {
				want = 0
				_, _ = g.Write(alert)
			}
			if <-end.closed; time.Since(start) != want {
				t.Errorf("closed after %v, want %v", time.Since(start), want)
			}
		})
	}
}

func TestDTLSHandshakeEndsWithContext(t *testing.T) {
	w := newWorld(t)
	a, b := udpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { _, _, err := w.dtls().Server(ctx, a, wire.NodeID{}); done <- err }()
	go func() {
		_, _, err := w.dtls().Client(ctx, struct{ net.Conn }{deaf{b}}, wire.NodeID{})
		done <- err
	}()
	cancel()
	for range 2 {
		if err := receive(t, done, "end of a handshake"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
}

// deaf sends nothing.
type deaf struct{ net.Conn }

func (deaf) Write(b []byte) (int, error) { return len(b), nil }
