package ice

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the program that TestTwoNATs runs inside its network namespaces.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := playRole(role); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, role+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const overlayName = "dht.example.org"

var secret = Secret("0123456789abcdef0123456789abcdef")

func listen(t testing.TB, address string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addressOfSocket(c net.PacketConn) netip.AddrPort {
	return plain(c.LocalAddr().(*net.UDPAddr).AddrPort())
}

func newMux(t testing.TB) *Mux {
	t.Helper()
	m := NewMux(listen(t, "127.0.0.1:0"))
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// turnServer is a TURN server on loopback.
func turnServer(t testing.TB, change func(*TURNConfig)) (*TURN, netip.AddrPort) {
	t.Helper()
	socket := listen(t, "127.0.0.1:0")
	at := addressOfSocket(socket)
	c := TURNConfig{Socket: socket, Relay: at.Addr(), MinPort: 20000, MaxPort: 60000, Realm: overlayName, Secrets: []Secret{secret}, AllowPrivate: true}
	if change != nil {
		change(&c)
	}
	s, err := ServeTURN(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, at
}

func credential(at netip.AddrPort, user string) Server {
	name, password := secret.Credential(user, time.Now())
	return Server{at, name, password}
}

func gather(t testing.TB, c Config) *Session {
	t.Helper()
	c.Loopback = true
	s, err := Gather(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

type half struct {
	conn net.Conn
	pair Pair
	err  error
}

// connectBoth does the checks on both sides.
func connectBoth(ctx context.Context, a, b *Session, forA, forB Parameters) (x, y half) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		y.conn, y.pair, y.err = b.Connect(ctx, forB)
	}()
	x.conn, x.pair, x.err = a.Connect(ctx, forA)
	<-done
	return x, y
}

// join connects two sessions, which must succeed.
func join(t testing.TB, a, b *Session) (x, y half) {
	t.Helper()
	x, y = connectBoth(t.Context(), a, b, b.Parameters(), a.Parameters())
	if x.err != nil || y.err != nil {
		t.Fatalf("%v; %v", x.err, y.err)
	}
	return x, y
}

// record is a DTLS record with application data, or one in clear text when epoch is 0.
func record(epoch byte, text string) []byte {
	return append([]byte{23, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, byte(len(text))}, text...)
}

// say sends text one way and checks that it arrives.
func say(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	if _, err := from.Write(record(1, text)); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, to); got != string(record(1, text)) {
		t.Errorf("got %q, want %q", got, text)
	}
}

func hear(t testing.TB, c net.Conn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, datagramSize)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func chat(t testing.TB, x, y net.Conn) {
	t.Helper()
	for i := range 3 {
		say(t, x, y, fmt.Sprint("ping ", i))
		say(t, y, x, fmt.Sprint("pong ", i))
	}
}
