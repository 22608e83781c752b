package link

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func TestRFC6940_6_5_1_13_BothSidesKnowEachOther(t *testing.T) {
	w := newWorld(t)
	left, right := w.tls(), w.tls()
	a, b := loopback(t)
	c, s := shake(t, left, right, a, b)
	if c.err != nil || s.err != nil {
		t.Fatalf("handshake: client %v, server %v", c.err, s.err)
	}
	defer closeAll(c.conn, s.conn)
	if c.peer.Node != right.node() || s.peer.Node != left.node() {
		t.Errorf("client sees %s, server sees %s; want %s and %s", c.peer.Node, s.peer.Node, right.node(), left.node())
	}
	if v := c.conn.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("version %#x, want TLS 1.3 between two of us", v)
	}
}

func closeAll(conns ...*tls.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.NetConn().Close()
		}
	}
}

// refusal runs a handshake that must fail on both sides and returns what each side says. With TLS 1.3 the client
// learns on its first read.
func refusal(t *testing.T, client, server *TLS) (clientSays, serverSays error) {
	t.Helper()
	a, b := loopback(t)
	c, s := shake(t, client, server, a, b)
	defer closeAll(c.conn, s.conn)
	if c.err == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, c.err = c.conn.Read(make([]byte, 1))
	}
	if c.err == nil || s.err == nil {
		t.Fatalf("client says %v, server says %v; want an error on both sides", c.err, s.err)
	}
	return c.err, s.err
}

func wantReason(t *testing.T, err error, want trust.Reason) {
	t.Helper()
	var r *trust.RefusalError
	if !errors.As(err, &r) || r.Reason != want {
		t.Errorf("got %v, want a refusal for %s", err, want)
	}
}

// Conformance: A-03 A-07 B-37 C-39
func TestRFC6940_13_2_RefusesCertificates(t *testing.T) {
	home, abroad := newWorld(t), newWorld(t)
	home.ca.Lifetime = time.Hour
	old := NewTLS(home.signer(time.Now().Add(-3*time.Hour)), trust.NewVerifier(home.overlay))
	banned := home.tls()
	strict := *home.overlay
	strict.BadNodes = []wire.NodeID{banned.node()}
	stranger := &TLS{verifier: home.tls().verifier}
	stranger.certificate.Store(abroad.tls().certificate.Load())
	good := NewTLS(home.signer(time.Now()), trust.NewVerifier(&strict))

	for _, c := range []struct {
		name string
		bad  *TLS
		want trust.Reason
	}{
		{"wrong CA", stranger, trust.WrongCA},
		{"expired", old, trust.Expired},
		{"bad node", banned, trust.BadNode},
	} {
		t.Run(c.name+" of a client", func(t *testing.T) {
			_, err := refusal(t, c.bad, good)
			wantReason(t, err, c.want)
		})
		t.Run(c.name+" of a server", func(t *testing.T) {
			err, _ := refusal(t, good, c.bad)
			wantReason(t, err, c.want)
		})
	}
}

// Conformance: A-03 A-05 C-39
func TestRFC6940_6_5_1_13_ServerRequestsClientCertificate(t *testing.T) {
	w := newWorld(t)
	none := w.tls()
	none.certificate.Store(&tls.Certificate{})
	refusal(t, none, w.tls())
}

// Conformance: A-03
func TestRFC6940_6_5_1_13_ClientInsistsOnBeingAsked(t *testing.T) {
	w := newWorld(t)
	lax := w.tls()
	a, b := loopback(t)
	server := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{*lax.certificate.Load()}})
	defer closeAll(server)
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	_, _, err := w.tls().Client(t.Context(), a, wire.NodeID{})
	if !errors.Is(err, ErrNotAsked) {
		t.Errorf("got %v, want ErrNotAsked", err)
	}
	<-done
}

// Conformance: A-06 C-39
func TestRFC6940_6_5_1_13_CertificateMatchesTheAttach(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		want func(client, server *TLS) wire.NodeID
		err  error
	}{
		{"right", func(_, s *TLS) wire.NodeID { return s.node() }, nil},
		{"other", func(c, _ *TLS) wire.NodeID { return c.node() }, ErrWrongNode},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := w.tls(), w.tls()
			a, b := loopback(t)
			defer func() { _ = b.Close() }()
			done := make(chan *tls.Conn, 1)
			go func() {
				conn, _, _ := server.Server(t.Context(), b)
				done <- conn
			}()
			conn, peer, err := client.Client(t.Context(), a, c.want(client, server))
			if !errors.Is(err, c.err) || err == nil && peer.Node != server.node() {
				t.Errorf("got %v, %v; want error %v", peer.Node, err, c.err)
			}
			closeAll(conn, <-done)
		})
	}
}

func TestTLSVersionsBelow12AreRefused(t *testing.T) {
	w := newWorld(t)
	a, b := loopback(t)
	old := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	defer closeAll(old)
	go func() { _ = old.Handshake() }()
	if _, _, err := w.tls().Server(t.Context(), b); err == nil {
		t.Error("a TLS 1.1 client was let in")
	}
}

func TestTLS12Works(t *testing.T) {
	w := newWorld(t)
	server, me := w.tls(), w.tls()
	a, b := loopback(t)
	client := tls.Client(a, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
		Certificates: []tls.Certificate{*me.certificate.Load()}})
	defer closeAll(client)
	go func() { _ = client.Handshake() }()
	conn, peer, err := server.Server(t.Context(), b)
	defer closeAll(conn)
	if err != nil || peer.Node != me.node() {
		t.Errorf("got %v, %v", peer.Node, err)
	}
}

// A resumed connection would skip the certificate checks of RFC 6940 §13.2.
func TestNoResumption(t *testing.T) {
	w := newWorld(t)
	server, me := w.tls(), w.tls()
	cache := tls.NewLRUClientSessionCache(8)
	for range 2 {
		a, b := loopback(t)
		client := tls.Client(a, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, ServerName: "x",
			Certificates: []tls.Certificate{*me.certificate.Load()}})
		done := make(chan end, 1)
		go func() {
			conn, peer, err := server.Server(t.Context(), b)
			if err == nil {
				_, err = conn.Write([]byte{1})
			}
			done <- end{conn, peer, err}
		}()
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		s := <-done
		if s.err != nil || s.peer.Node != me.node() || client.ConnectionState().DidResume {
			t.Errorf("peer %v, error %v, resumed %v", s.peer.Node, s.err, client.ConnectionState().DidResume)
		}
		closeAll(client, s.conn)
	}
}

// Conformance: A-03
func TestGarbageBeforeTLS(t *testing.T) {
	w := newWorld(t)
	for _, garbage := range []string{
		"REGISTER sip:example.org SIP/2.0\r\n\r\n", "\x80\x00\x00\x00\x00\x00\x00\x0cRELOAD", "\x00\x00\x00\x00\x00\x00",
	} {
		a, b := loopback(t)
		if _, err := a.Write([]byte(garbage)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.tls().Server(t.Context(), b); err == nil {
			t.Errorf("%q: accepted", garbage)
		}
		// RFC 6940 §13.2: there is no clear-text mode; the connection closes.
		_ = a.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, a); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q: the connection stays open", garbage)
		}
		_ = a.Close()
	}
}

func TestHandshakeEndsWithContext(t *testing.T) {
	w := newWorld(t)
	a, b := net.Pipe()
	defer func() { _ = a.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.tls().Server(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestKeyLogIsOffInReleaseBuilds(t *testing.T) {
	t.Setenv("SSLKEYLOGFILE", t.TempDir()+"/keys")
	if keyLog() != nil {
		t.Error("a build without the tag keylog writes TLS secrets")
	}
}
