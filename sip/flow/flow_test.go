package flow

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

type arrival struct {
	m    *message.Message
	from location.Hop
}

// inbox is a Receiver for tests.
type inbox chan arrival

func (in inbox) Deliver(m *message.Message, from location.Hop) { in <- arrival{m, from} }

func (in inbox) next(t testing.TB) arrival {
	t.Helper()
	select {
	case a := <-in:
		return a
	case <-time.After(patience):
		t.Fatal("no message arrived")
		return arrival{}
	}
}

func (in inbox) none(t testing.TB) {
	t.Helper()
	select {
	case a := <-in:
		t.Fatalf("unexpected message %s %s", a.m.Method, a.m.Reason)
	default:
	}
}

// authority is a CA and one certificate of it, for "gw.example.org" and the loopback addresses.
type authority struct {
	roots *x509.CertPool
	cert  tls.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"gw.example.org"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	check(t, err)
	leaf, err := x509.ParseCertificate(der)
	check(t, err)
	a := &authority{roots: x509.NewCertPool(), cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}}
	a.roots.AddCert(leaf)
	return a
}

func (a *authority) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &a.cert, nil }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// newTable serves a table with one socket for each transport named, in order.
func newTable(t testing.TB, cfg Config, transports ...string) (*Table, inbox) {
	t.Helper()
	ca := newAuthority(t)
	if cfg.Certificate == nil {
		cfg.Certificate = ca.get
	}
	if cfg.Roots == nil {
		cfg.Roots = ca.roots
	}
	for _, tr := range transports {
		cfg.Listen = append(cfg.Listen, Listen{Transport: tr, Addr: loopback})
	}
	tb, err := New(cfg)
	check(t, err)
	t.Cleanup(tb.Close)
	in := make(inbox, 4096)
	tb.Serve(in)
	return tb, in
}

func addr(tb *Table, i int) netip.AddrPort { return tb.Listeners()[i].Local }

func dialTCP(t testing.TB, a netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", a.String())
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func dialTLS(t testing.TB, tb *Table, a netip.AddrPort) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", a.String(), &tls.Config{RootCAs: tb.cfg.Roots, ServerName: "gw.example.org", MinVersion: tls.VersionTLS12})
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func dialUDP(t testing.TB, a netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(a))
	check(t, err)
	t.Cleanup(func() { _ = c.Close() })
	check(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

func write(t testing.TB, c io.Writer, s string) {
	t.Helper()
	_, err := io.WriteString(c, s)
	check(t, err)
}

// readOne reads one message from a stream.
func readOne(t testing.TB, c io.Reader) *message.Message {
	t.Helper()
	m, _, err := message.NewReader(c).Next()
	check(t, err)
	return m
}

func readDatagram(t testing.TB, c *net.UDPConn) *message.Message {
	t.Helper()
	b := make([]byte, maxDatagram)
	n, err := c.Read(b)
	check(t, err)
	m, err := message.Parse(b[:n])
	check(t, err)
	return m
}

// request is an OPTIONS with a Via and a body, and more header lines.
func request(via, body string, more ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "OPTIONS sip:example.org SIP/2.0\r\nVia: %s\r\nFrom: <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\n"+
		"Call-ID: c1\r\nCSeq: 7 OPTIONS\r\nMax-Forwards: 70\r\n", via)
	for _, l := range more {
		b.WriteString(l + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

const plainVia = "SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKx"

// condition waits until f holds.
func condition(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
	}
}

// Feature: TRN-01
func TestRFC3261_18_3_StreamSplitAtEveryOctet(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP, TLS)
	whole := request(plainVia, "\r\n\r\n", "Subject: one\r\n two")
	for name, c := range map[string]net.Conn{TCP: dialTCP(t, addr(tb, 0)), TLS: dialTLS(t, tb, addr(tb, 1))} {
		for cut := range len(whole) {
			write(t, c, whole[:cut])
			write(t, c, whole[cut:])
			a := in.next(t)
			if string(a.m.Body) != "\r\n\r\n" || a.m.Get(message.Subject) != "one two" || a.from.Transport != name {
				t.Fatalf("%s cut at %d: body %q, subject %q", name, cut, a.m.Body, a.m.Get(message.Subject))
			}
		}
	}
}

func TestRFC3261_18_3_StreamOctetByOctet(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP)
	c := dialTCP(t, addr(tb, 0))
	check(t, c.(*net.TCPConn).SetNoDelay(true))
	for _, b := range []byte("\r\n\r\n" + request(plainVia, "\r\n\r\n\r\n")) {
		write(t, c, string(b))
	}
	if a := in.next(t); string(a.m.Body) != "\r\n\r\n\r\n" {
		t.Fatalf("body %q", a.m.Body)
	}
}

// Feature: PRX-28
func TestRFC5626_4_4_1_EachFormOfPingIsAnsweredWithOneCRLF(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP, TLS)
	for _, c := range []net.Conn{dialTCP(t, addr(tb, 0)), dialTLS(t, tb, addr(tb, 1))} {
		for _, parts := range [][]string{{"\r\n\r\n"}, {"\r\n", "\r\n"}, {"\r", "\n\r", "\n"}, {"\r\n\r\n" + request(plainVia, "")}} {
			for _, p := range parts {
				write(t, c, p)
			}
			pong := make([]byte, 2)
			if _, err := io.ReadFull(c, pong); err != nil || string(pong) != "\r\n" {
				t.Fatalf("after %q: %q, %v", parts, pong, err)
			}
		}
		in.next(t)
		for range 2 * maxPings {
			write(t, c, "\r\n\r\n")
			_, err := io.ReadFull(c, make([]byte, 2))
			check(t, err)
		}
		write(t, c, "\r\n\r\n\r\n\r\n")
		pongs := make([]byte, 4)
		if _, err := io.ReadFull(c, pongs); err != nil || string(pongs) != "\r\n\r\n" {
			t.Fatalf("two pings: %q, %v", pongs, err)
		}
	}
}

// Feature: PRX-28
func TestUDPKeepAliveIsDroppedSilently(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	for _, s := range []string{"\r\n\r\n", "\x00\x00\x00\x00", "", "jaK", "\r\n", "\x00\x00\x00\x00\x00\x00\x00\x00"} {
		write(t, c, s)
	}
	write(t, c, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
	in.next(t)
	in.none(t)
	if s := tb.Stats(); s.Dropped["keep_alive"] != 6 || s.Dropped["malformed"] != 0 || s.Sent[UDP] != 0 {
		t.Fatalf("%+v", s)
	}
}

// Feature: PRX-15
func TestRFC3261_18_2_1_ReceivedAndRport(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	port := addrPort(c.LocalAddr()).Port()
	for _, v := range []struct{ via, want string }{
		{"SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx", "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx"},
		{"SIP/2.0/UDP pc.example.org;branch=z9hG4bKx", "SIP/2.0/UDP pc.example.org;branch=z9hG4bKx;received=127.0.0.1"},
		{"SIP/2.0/UDP 192.0.2.1:9;branch=z9hG4bKx", "SIP/2.0/UDP 192.0.2.1:9;branch=z9hG4bKx;received=127.0.0.1"},
		{"SIP/2.0/UDP [2001:db8::1]:9;branch=z9hG4bKx", "SIP/2.0/UDP [2001:db8::1]:9;branch=z9hG4bKx;received=127.0.0.1"},
		{"SIP/2.0/UDP [::ffff:127.0.0.1]:9;branch=z9hG4bKx", "SIP/2.0/UDP [::ffff:127.0.0.1]:9;branch=z9hG4bKx"},
		{"SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx", fmt.Sprintf("SIP/2.0/UDP 127.0.0.1;rport=%d;branch=z9hG4bKx;received=127.0.0.1", port)},
		{"SIP/2.0/UDP 127.0.0.1;received=192.0.2.9;branch=z9hG4bKx", "SIP/2.0/UDP 127.0.0.1;received=127.0.0.1;branch=z9hG4bKx"},
		{"SIP/2.0/UDP a.example ;branch=z9hG4bKx, SIP/2.0/TCP b.example;branch=z9hG4bKy",
			"SIP/2.0/UDP a.example;branch=z9hG4bKx;received=127.0.0.1, SIP/2.0/TCP b.example;branch=z9hG4bKy"},
	} {
		write(t, c, request(v.via, ""))
		a := in.next(t)
		if got := a.m.Get(message.Via); got != v.want {
			t.Errorf("Via %q became %q, want %q", v.via, got, v.want)
		}
		if a.from != (location.Hop{Transport: UDP, Remote: addrPort(c.LocalAddr()), Local: addr(tb, 0)}) {
			t.Errorf("from %+v", a.from)
		}
	}
}

func TestRFC3261_18_2_2_ResponseHop(t *testing.T) {
	tb, _ := newTable(t, Config{}, UDP)
	from := location.Hop{Transport: UDP, Remote: netip.MustParseAddrPort("192.0.2.1:40000")}
	stream := location.Hop{Transport: TCP, Remote: netip.MustParseAddrPort("192.0.2.1:40000"), Flow: 5}
	secure := location.Hop{Transport: TLS, Remote: netip.MustParseAddrPort("192.0.2.1:40000"), Flow: 5}
	for _, c := range []struct {
		from      location.Hop
		via, want string
	}{
		{from, "SIP/2.0/UDP h.example:5070;branch=1", "192.0.2.1:5070"},
		{from, "SIP/2.0/UDP h.example;branch=1", "192.0.2.1:5060"},
		{from, "SIP/2.0/UDP h.example:5070;rport=40000;branch=1", "192.0.2.1:40000"},
		{from, "SIP/2.0/UDP h.example:5070;maddr=192.0.2.1;rport=40000;branch=1", "192.0.2.1:5070"},
		{from, "SIP/2.0/UDP h.example:5070;maddr=192.0.2.7;rport=40000;branch=1", "192.0.2.1:40000"}, // somebody else
		{from, "SIP/2.0/UDP h.example:5070;maddr=192.0.2.7;branch=1", "192.0.2.1:5070"},
		{from, "SIP/2.0/UDP h.example:5070;maddr=224.0.1.75;branch=1", "192.0.2.1:5070"},
		{stream, "SIP/2.0/TCP h.example:5070;branch=1", "192.0.2.1:5070"},
		{stream, "SIP/2.0/TCP h.example;branch=1", "192.0.2.1:5060"},
		{secure, "SIP/2.0/TLS h.example;branch=1", "192.0.2.1:5061"},
	} {
		v, err := message.ParseVia(c.via)
		check(t, err)
		got := tb.ResponseHop(c.from, v)
		if got.Remote.String() != c.want || got.Flow != c.from.Flow {
			t.Errorf("%s: %+v, want %s", c.via, got, c.want)
		}
		if c.from == secure && got.Host != "h.example" {
			t.Errorf("TLS certificate is checked for %q", got.Host)
		}
	}
}

func TestMalformedRequestsAreAnswered(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP, TCP)
	bad := func(old, new string) string {
		return strings.Replace(request("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx", ""), old, new, 1)
	}
	for _, c := range []struct {
		text   string
		status int
	}{
		{bad("Call-ID: c1", "Call-ID: c1\r\nCall-ID: c2"), 400},
		{bad("SIP/2.0\r\n", "SIP/7.0\r\n"), 505},
		{bad("sip:example.org ", "sip:example.org?Route=x "), 400},
	} {
		u, s := dialUDP(t, addr(tb, 0)), dialTCP(t, addr(tb, 1))
		write(t, u, c.text)
		write(t, s, c.text)
		for _, m := range []*message.Message{readDatagram(t, u), readOne(t, s)} {
			if m.StatusCode != c.status || message.Tag(m.Get(message.To)) == "" {
				t.Errorf("%d %s, To %s; want %d", m.StatusCode, m.Reason, m.Get(message.To), c.status)
			}
		}
	}
	in.none(t)
}

func TestRFC3261_17_1_1_3_MalformedACKAndResponseAreNotAnswered(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	write(t, c, strings.ReplaceAll(strings.Replace(request(plainVia, ""), "Call-ID: c1\r\n", "", 1), "OPTIONS", "ACK"))
	write(t, c, strings.Replace(request(plainVia, ""), "OPTIONS sip:example.org SIP/2.0", "SIP/2.0 4294967301 big", 1))
	write(t, c, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
	in.next(t)
	if s := tb.Stats(); s.Dropped["malformed"] != 2 || s.Sent[UDP] != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestStreamIsClosedBehindTheRefusalOfAFramingError(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP)
	c := dialTCP(t, addr(tb, 0))
	write(t, c, strings.Replace(request(plainVia, ""), "Content-Length: 0\r\n", "", 1)+request(plainVia, ""))
	all, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(all, []byte("SIP/2.0 400 ")) {
		t.Fatalf("%q, %v", all, err)
	}
	in.none(t)
}

func TestRefusalsAreLimitedInRate(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	bad := strings.Replace(request("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx", ""), "CSeq: 7", "CSeq: x", 1)
	for range 10 * refusalRate {
		write(t, c, bad)
		write(t, c, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
		in.next(t)
	}
	if s := tb.Stats(); s.Dropped["refusal_rate"] == 0 || s.Dropped["bad_request"] != 10*refusalRate {
		t.Fatalf("%+v", s)
	}
}
