package flow

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// lockedBuffer is a log that goroutines write while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A listener that a reload takes away leaves neither a goroutine nor lines in the log.
//
// Feature: CFG-05
func TestAListenerThatIsGoneHasNoReader(t *testing.T) {
	var log lockedBuffer
	udp, tcp := listenAt(t, UDP), listenAt(t, TCP)
	tb, in := newTable(t, Config{Listen: []Listen{udp, tcp}, Log: zerolog.New(&log)})
	write(t, dialUDP(t, udp.Addr), request(plainVia, ""))
	in.next(t)
	check(t, tb.Listen([]Listen{tcp}))
	condition(t, "the end of the reader", func() bool {
		b := make([]byte, 1<<20)
		return !strings.Contains(string(b[:runtime.Stack(b, true)]), "(*udpSocket).read(")
	})
	if log.String() != "" {
		t.Error(log.String())
	}
}

// RFC 5626 §4.4.1: a keep-alive that comes in two pieces is no message that takes too long.
func TestRFC5626_4_4_1_APingInTwoPiecesIsNoSlowMessage(t *testing.T) {
	for _, pieces := range [][]string{{"\r", "\n\r\n"}, {"\r\n\r", "\n"}, {"\r", "\n"}} {
		synctest.Test(t, func(t *testing.T) {
			tb, in := pipeTable(Config{})
			defer tb.Close()
			c := acceptPipe(t, tb)
			_, _ = io.WriteString(c, request(plainVia, ""))
			<-in
			for _, p := range pieces {
				go func() { _, _ = io.WriteString(c, p) }()
				synctest.Wait()
			}
			if d := ended(c); d < acceptedIdle {
				t.Errorf("%q: closed after %v", pieces, d)
			}
		})
	}
}

// What is sent while a connection opens stays in front of what is sent when it has just been opened.
func TestMessagesKeepTheirOrderWhileAConnectionOpens(t *testing.T) {
	a, _ := newTable(t, Config{}, TCP)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer func() { _ = l.Close() }()
	to := location.Hop{Transport: TCP, Remote: addrPort(l.Addr())}
	for range 300 {
		var sender sync.WaitGroup
		sent := 0
		sender.Go(func() {
			for end := time.Now().Add(2 * time.Millisecond); time.Now().Before(end); {
				if a.Send(to, []byte(request(plainVia, fmt.Sprint(sent))), nil) == nil {
					sent++
				}
			}
		})
		c, err := l.Accept()
		check(t, err)
		sender.Wait()
		r := message.NewReader(c)
		for n := range sent {
			m, _, err := r.Next()
			check(t, err)
			if string(m.Body) != fmt.Sprint(n) {
				t.Fatalf("message %s came as number %d", m.Body, n)
			}
		}
		check(t, c.Close())
		condition(t, "the end of the connection", func() bool { return a.Stats().Connections["dialled"] == 0 })
	}
}

// RFC 5923 §9.1, RFC 3261 §26.3.1: a request for an address over TLS goes to who proves to be there, and not over a connection that somebody opened
// from there without a certificate. What came over that is answered over it.
func TestRFC5923_AnUnprovenConnectionIsNoWayToItsAddress(t *testing.T) {
	tb, in := newTable(t, Config{}, TLS)
	c := dialTLS(t, tb, addr(tb, 0))
	write(t, c, request(plainVia, ""))
	from := in.next(t).from
	check(t, tb.Send(from, []byte(request(plainVia, "answer")), nil))
	receipt, owner := newReceipt()
	check(t, tb.Send(location.Hop{Transport: TLS, Remote: from.Remote}, []byte(request(plainVia, "secret")), receipt))
	_ = owner.failed(t) // nobody listens there
	check(t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	got, _ := io.ReadAll(c)
	if !strings.Contains(string(got), "answer") || strings.Contains(string(got), "secret") {
		t.Errorf("%s", got)
	}
}

// Silent clients of one address take places for handshakes, and leave some to others.
func TestSilentTLSClientsLeavePlacesToOtherAddresses(t *testing.T) {
	tb, in := newTable(t, Config{}, TLS)
	for range 2 * maxHandshakes {
		dialTCP(t, addr(tb, 0))
	}
	condition(t, "all to be taken or refused", func() bool {
		s := tb.Stats()
		return s.Opened["accepted"]+s.Dropped["handshakes_full"] == 2*maxHandshakes
	})
	d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}, Config: &tls.Config{RootCAs: tb.cfg.Roots, ServerName: "gw.example.org"}}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr(tb, 0).String())
	check(t, err)
	defer func() { _ = c.Close() }()
	write(t, c, request(plainVia, ""))
	in.next(t)
}

// Connections that open slowly to one address keep none from being opened to others, nor any to gateways.
func TestDialsToOneAddressLeaveRoomForOthers(t *testing.T) {
	hold := make(chan struct{})
	tb, _ := newTable(t, Config{DialNode: func(ctx context.Context, _ string) (NodeConn, error) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return NodeConn{}, ErrClosed
	}}, TCP)
	send := func(h location.Hop) error { return tb.Send(h, []byte(request(plainVia, "")), nil) }
	slow := netip.MustParseAddr("192.0.2.1")
	tb.mu.Lock()
	for n := range maxDials / 2 {
		tb.dials[streamKey{transport: TCP, remote: netip.AddrPortFrom(slow, uint16(1000+n))}] = &dial{}
	}
	tb.mu.Unlock()
	if err := send(location.Hop{Transport: TCP, Remote: netip.AddrPortFrom(slow, 999)}); !errors.Is(err, ErrQueue) {
		t.Errorf("one more to the slow address: %v", err)
	}
	check(t, send(location.Hop{Transport: TCP, Remote: addr(tb, 0)}))
	tb.mu.Lock()
	for n := range maxDials {
		tb.dials[streamKey{transport: TCP, remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 5060)}] = &dial{}
	}
	tb.mu.Unlock()
	if err := send(location.Hop{Transport: TCP, Remote: netip.MustParseAddrPort("127.0.0.9:1")}); !errors.Is(err, ErrQueue) {
		t.Errorf("all are taken: %v", err)
	}
	check(t, send(location.Hop{Node: "g1"}))
	close(hold)
}

// However many connections come in, some may still be opened, and some taken from other gateways.
func TestAcceptedConnectionsLeaveRoom(t *testing.T) {
	tb, in := newTable(t, Config{MaxConnections: 2 * 16}, TCP)
	for range 2*16 - 2 {
		write(t, dialTCP(t, addr(tb, 0)), request(plainVia, ""))
		in.next(t)
	}
	if _, err := dialTCP(t, addr(tb, 0)).Read(make([]byte, 1)); err == nil {
		t.Error("one more was accepted")
	}
	for n := range 2 {
		p, q := net.Pipe()
		defer func() { _ = q.Close() }()
		check(t, tb.AddNode(NodeConn{Conn: p, GR: fmt.Sprint("g", n)}))
	}
}
