package flow

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// owner of a Receipt.
type owner chan error

func (o owner) SendFailed(err error) { o <- err }

func newReceipt() (*Receipt, owner) {
	o := make(owner, 2)
	return &Receipt{Owner: o}, o
}

func (o owner) failed(t testing.TB) error {
	t.Helper()
	select {
	case err := <-o:
		return err
	case <-time.After(patience):
		t.Fatal("no failure was reported")
		return nil
	}
}

func TestOneDialForManyMessages(t *testing.T) {
	a, _ := newTable(t, Config{}, UDP, TCP, TLS)
	b, in := newTable(t, Config{Certificate: a.cfg.Certificate}, TCP, TLS)
	for i, tr := range []string{TCP, TLS} {
		to := location.Hop{Transport: tr, Remote: addr(b, i), Host: "gw.example.org"}
		for n := range 50 {
			check(t, a.Send(to, []byte(request(plainVia, fmt.Sprint(n))), nil))
		}
		var from location.Hop
		for n := range 50 {
			got := in.next(t)
			if string(got.m.Body) != fmt.Sprint(n) || n > 0 && got.from != from {
				t.Fatalf("message %d from %+v is %q", n, got.from, got.m.Body)
			}
			from = got.from
		}
		if !b.Alive(from) || from.Flow == 0 {
			t.Fatalf("flow %+v", from)
		}
	}
	if s := a.Stats(); s.Opened["dialled"] != 2 {
		t.Fatalf("%+v", s)
	}
}

// Feature: NAT-05
func TestRequestsGoBackOverTheFlowTheyCameOn(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP, TLS)
	for i, c := range []net.Conn{dialTCP(t, addr(tb, 0)), dialTLS(t, tb, addr(tb, 1))} {
		write(t, c, request(plainVia, ""))
		from := in.next(t).from
		check(t, tb.Send(from, []byte(request(plainVia, "back")), nil))
		if m := readOne(t, c); string(m.Body) != "back" {
			t.Fatalf("body %q", m.Body)
		}
		if i == 1 {
			continue // see TestRFC5923_AnUnprovenConnectionIsNoWayToItsAddress
		}
		// A Contact with the address of that connection means the same connection.
		from.Flow = 0
		check(t, tb.Send(from, []byte(request(plainVia, "again")), nil))
		if m := readOne(t, c); string(m.Body) != "again" {
			t.Fatalf("%d: body %q", i, m.Body)
		}
	}
}

func TestRFC3261_18_2_2_ResponseOverANewConnectionWhenTheOldOneIsGone(t *testing.T) {
	closed := make(chan location.Hop, 1)
	tb, in := newTable(t, Config{Closed: func(h location.Hop) { closed <- h }}, TCP)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer func() { _ = ln.Close() }()
	c := dialTCP(t, addr(tb, 0))
	write(t, c, request("SIP/2.0/TCP "+ln.Addr().String()+";branch=z9hG4bKx", ""))
	a := in.next(t)
	check(t, c.Close())
	if h := <-closed; h != a.from || tb.Alive(a.from) {
		t.Fatalf("closed %+v, alive %v", h, tb.Alive(a.from))
	}
	via, err := a.m.TopVia()
	check(t, err)
	check(t, tb.Send(tb.ResponseHop(a.from, via), message.NewResponse(a.m, 200, "", "t").AppendTo(nil), nil))
	again, err := ln.Accept()
	check(t, err)
	defer func() { _ = again.Close() }()
	if m := readOne(t, again); m.StatusCode != 200 {
		t.Fatal(m.StatusCode)
	}
}

func TestEveryWaiterIsToldOfAFailedDial(t *testing.T) {
	tb, _ := newTable(t, Config{}, TCP)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	to := location.Hop{Transport: TCP, Remote: addrPort(ln.Addr())}
	check(t, ln.Close())
	var owners []owner
	for range 5 {
		r, o := newReceipt()
		check(t, tb.Send(to, []byte(request(plainVia, "")), r))
		owners = append(owners, o)
	}
	for _, o := range owners {
		if o.failed(t) == nil {
			t.Fatal("no error")
		}
	}
	if n := tb.Stats().Dropped["dial_failed"]; n == 0 {
		t.Fatal("not counted")
	}
}

// Feature: TRN-02
func TestRFC5922_7_CertificateMustHoldTheNameOfTheDestination(t *testing.T) {
	a, _ := newTable(t, Config{}, TLS)
	b, in := newTable(t, Config{Certificate: a.cfg.Certificate}, TLS)
	r, o := newReceipt()
	check(t, a.Send(location.Hop{Transport: TLS, Remote: addr(b, 0), Host: "other.example.org"}, []byte(request(plainVia, "")), r))
	var name x509.HostnameError
	if err := o.failed(t); !errors.As(err, &name) {
		t.Fatal(err)
	}
	// Without a name the address is checked.
	check(t, a.Send(location.Hop{Transport: TLS, Remote: addr(b, 0)}, []byte(request(plainVia, "")), nil))
	in.next(t)
	// An authority that is not among the roots.
	c, _ := newTable(t, Config{}, TLS)
	r, o = newReceipt()
	check(t, c.Send(location.Hop{Transport: TLS, Remote: addr(b, 0), Host: "gw.example.org"}, []byte(request(plainVia, "")), r))
	var unknown *tls.CertificateVerificationError
	if err := o.failed(t); !errors.As(err, &unknown) {
		t.Fatal(err)
	}
}

func TestReceiptIsToldWhenTheConnectionEnds(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP)
	c := dialTCP(t, addr(tb, 0))
	write(t, c, request(plainVia, ""))
	to := in.next(t).from
	kept, o := newReceipt()
	released, silent := newReceipt()
	check(t, tb.Send(to, []byte(request(plainVia, "")), kept))
	check(t, tb.Send(to, []byte(request(plainVia, "")), released))
	released.Release()
	check(t, c.Close())
	if o.failed(t) == nil {
		t.Fatal("no error")
	}
	if len(silent) != 0 {
		t.Fatal("told after Release")
	}
}

// Feature: TRN-01
func TestCaps(t *testing.T) {
	tb, in := newTable(t, Config{MaxPerAddress: 2, MaxConnections: 3}, TCP)
	for range 2 {
		write(t, dialTCP(t, addr(tb, 0)), request(plainVia, ""))
		in.next(t)
	}
	third := dialTCP(t, addr(tb, 0))
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Fatal("third connection of one address was kept")
	}
	if s := tb.Stats(); s.Dropped["address_full"] != 1 || s.Connections["accepted"] != 2 {
		t.Fatalf("%+v", s)
	}
	p, q := net.Pipe()
	defer func() { _ = q.Close() }()
	check(t, tb.AddNode(NodeConn{Conn: p, GR: "g1"}))
	p2, q2 := net.Pipe()
	defer func() { _ = q2.Close() }()
	if err := tb.AddNode(NodeConn{Conn: p2, GR: "g2"}); !errors.Is(err, ErrQueue) {
		t.Fatal(err)
	}
}

func TestRefusedConnectionsTakeNoPlaceForAHandshake(t *testing.T) {
	tb, in := newTable(t, Config{MaxPerAddress: 1}, TLS)
	c := dialTLS(t, tb, addr(tb, 0))
	for range maxHandshakes + 10 {
		r := dialTCP(t, addr(tb, 0))
		_, _ = r.Read(make([]byte, 1))
		check(t, r.Close())
	}
	check(t, c.Close())
	condition(t, "the place of the first connection", func() bool { return tb.Stats().Connections["accepted"] == 0 })
	write(t, dialTLS(t, tb, addr(tb, 0)), request(plainVia, ""))
	in.next(t)
}

func TestReceiptTellsOnce(t *testing.T) {
	r, o := newReceipt()
	r.fail(ErrClosed)
	r.fail(ErrQueue)
	if err := o.failed(t); !errors.Is(err, ErrClosed) || len(o) != 0 {
		t.Fatal(err, len(o))
	}
}

func TestStreamCarriesMoreThanItsQueueHolds(t *testing.T) {
	tb, in := newTable(t, Config{}, TCP)
	c := dialTCP(t, addr(tb, 0))
	write(t, c, request(plainVia, ""))
	to := in.next(t).from
	r := message.NewReader(c)
	body := strings.Repeat("x", 50000)
	for range 3 * streamQueueSize / len(body) {
		check(t, tb.Send(to, []byte(request(plainVia, body)), nil))
		_, _, err := r.Next()
		check(t, err)
	}
	// Messages queued together leave together, and whole.
	for n := range 200 {
		check(t, tb.Send(to, []byte(request(plainVia, fmt.Sprint(n))), nil))
	}
	for n := range 200 {
		m, _, err := r.Next()
		check(t, err)
		if string(m.Body) != fmt.Sprint(n) {
			t.Fatalf("%q, want %d", m.Body, n)
		}
	}
}

func TestSilentTLSClientDoesNotBlockOthers(t *testing.T) {
	tb, in := newTable(t, Config{}, TLS)
	for range 20 {
		dialTCP(t, addr(tb, 0))
	}
	write(t, dialTLS(t, tb, addr(tb, 0)), request(plainVia, ""))
	in.next(t)
}

// pipeTable is a table without sockets under virtual time.
func pipeTable(cfg Config) (*Table, inbox) {
	tb, err := New(cfg)
	if err != nil {
		panic(err)
	}
	in := make(inbox, 16)
	tb.Serve(in)
	return tb, in
}

// acceptPipe has the table accept one end of a pipe as a TCP connection.
func acceptPipe(t *testing.T, tb *Table) net.Conn {
	p, q := net.Pipe()
	(&listener{t: tb, transport: TCP}).start(p)
	t.Cleanup(func() { _ = q.Close() })
	return q
}

// ended measures how long a connection is kept.
func ended(c net.Conn) time.Duration {
	start := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(start)
}

// Feature: TRN-01
func TestSlowLorisIsDroppedAfter30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, in := pipeTable(Config{})
		defer tb.Close()
		c := acceptPipe(t, tb)
		_, _ = io.WriteString(c, request(plainVia, "")) // now an hour of idleness is allowed
		<-in
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, b := range []byte("OPTIONS sip:example.org SIP/2.0\r\n" + strings.Repeat("Subject: x\r\n", 50)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
		if d := ended(c); d < messageDeadline-time.Second || d > messageDeadline+time.Second {
			t.Errorf("closed after %v", d)
		}
		wg.Wait()
	})
}

func TestIdleTimersByClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, in := pipeTable(Config{})
		defer tb.Close()
		if d := ended(acceptPipe(t, tb)); d != firstMessage {
			t.Errorf("a silent connection was closed after %v", d)
		}
		c := acceptPipe(t, tb)
		_, _ = io.WriteString(c, request(plainVia, ""))
		<-in
		if d := ended(c); d != acceptedIdle {
			t.Errorf("a phone's connection was closed after %v", d)
		}
	})
}

// Conformance: H-22
func TestOverlayConnectionIsKeptAliveAndFoundDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, _ := pipeTable(Config{})
		defer tb.Close()
		p, q := net.Pipe()
		check(t, tb.AddNode(NodeConn{Conn: p, GR: "g1"}))
		start := time.Now()
		ping := make([]byte, 4)
		for i := 1; i <= 3; i++ {
			if _, err := io.ReadFull(q, ping); err != nil || string(ping) != "\r\n\r\n" {
				t.Fatalf("%q, %v", ping, err)
			}
			if d := time.Since(start); d != time.Duration(i)*pingInterval {
				t.Fatalf("ping %d after %v", i, d)
			}
			_, _ = io.WriteString(q, "\r\n")
		}
		_, _ = io.ReadFull(q, ping)
		if d := ended(q); d != pongWait {
			t.Errorf("dead after %v", d)
		}
	})
}

func TestOverlayConnectionEnds180SecondsAfterItsLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, _ := pipeTable(Config{})
		defer tb.Close()
		p, q := net.Pipe()
		check(t, tb.AddNode(NodeConn{Conn: p, GR: "g1"}))
		start := time.Now()
		time.Sleep(10 * time.Second)
		check(t, tb.Send(location.Hop{Transport: TLS, Node: "g1"}, []byte("x"), nil))
		b := make([]byte, 16)
		for {
			n, err := q.Read(b)
			if err != nil {
				break
			}
			if string(b[:n]) == "\r\n\r\n" {
				_, _ = io.WriteString(q, "\r\n")
			}
		}
		if d := time.Since(start); d != nodeIdle+10*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestStuckWriterIsClosedAfter10Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb, _ := pipeTable(Config{})
		defer tb.Close()
		p, q := net.Pipe()
		defer func() { _ = q.Close() }()
		check(t, tb.AddNode(NodeConn{Conn: p, GR: "g1"}))
		to := location.Hop{Transport: TLS, Node: "g1"}
		start := time.Now()
		r, o := newReceipt()
		check(t, tb.Send(to, []byte("never read"), r))
		synctest.Wait() // the writer has taken it
		for range streamQueue {
			check(t, tb.Send(to, []byte("waits"), nil))
		}
		if err := tb.Send(to, []byte("one too many"), nil); !errors.Is(err, ErrQueue) {
			t.Errorf("full queue: %v", err)
		}
		if <-o == nil || time.Since(start) != writeStuck {
			t.Errorf("told after %v", time.Since(start))
		}
	})
}

// Conformance: H-21
func TestNodeDialIsSharedAndPooled(t *testing.T) {
	release, dials := make(chan struct{}), 0
	var far net.Conn
	cfg := Config{Domain: "dht.example.org", DialNode: func(ctx context.Context, gr string) (NodeConn, error) {
		dials++
		<-release
		if gr == "nobody" {
			return NodeConn{}, errors.New("not found")
		}
		p, q := net.Pipe()
		far = q
		return NodeConn{Conn: p, GR: "own-" + gr}, nil
	}}
	tb, in := newTable(t, cfg)
	to := location.Hop{Transport: TLS, Node: "g1"}
	for range 3 {
		check(t, tb.Send(to, []byte(request(plainVia, "")), nil))
	}
	release <- struct{}{}
	condition(t, "connection", func() bool { return tb.Stats().Connections["node"] == 1 })
	r := message.NewReader(far)
	for range 3 {
		_, _, err := r.Next()
		check(t, err)
	}
	write(t, far, request(plainVia, ""))
	from := in.next(t).from
	if from.Node != "own-g1" || from.Transport != TLS || from.Flow == 0 {
		t.Fatalf("%+v", from)
	}
	for _, h := range []location.Hop{from, to, {Transport: TLS, Node: "own-g1"}} {
		check(t, tb.Send(h, []byte(request(plainVia, "")), nil))
		_, _, err := r.Next()
		check(t, err)
	}
	if dials != 1 {
		t.Fatalf("%d dials", dials)
	}
	if v := tb.Via(to, "z9hG4bKx"); v != "SIP/2.0/TLS dht.example.org;branch=z9hG4bKx" {
		t.Fatal(v)
	}
	if a := tb.Address(to); a.Host != "" {
		t.Fatalf("%+v", a)
	}
	rc, o := newReceipt()
	check(t, tb.Send(location.Hop{Transport: TLS, Node: "nobody"}, []byte("x"), rc))
	release <- struct{}{}
	if o.failed(t) == nil {
		t.Fatal("no error")
	}
	check(t, far.Close())
}

func TestDialQueueIsBounded(t *testing.T) {
	block := make(chan struct{})
	tb, _ := newTable(t, Config{DialNode: func(context.Context, string) (NodeConn, error) {
		<-block
		return NodeConn{}, errors.New("no")
	}})
	to := location.Hop{Transport: TLS, Node: "g1"}
	for range dialQueue {
		check(t, tb.Send(to, nil, nil))
	}
	if err := tb.Send(to, nil, nil); !errors.Is(err, ErrQueue) {
		t.Fatal(err)
	}
	close(block)
}

func TestFlowNumbersOfTwoProcessesDiffer(t *testing.T) {
	a, _ := newTable(t, Config{})
	b, _ := newTable(t, Config{})
	if x, y := a.next.Load(), b.next.Load(); x == y || x < 1<<62 || y < 1<<62 {
		t.Fatalf("%d and %d", x, y)
	}
}

func TestIPv6IsBracketedEverywhere(t *testing.T) {
	tb, err := New(Config{Listen: []Listen{{Transport: UDP, Addr: netip.MustParseAddrPort("[::1]:0")}, {Transport: TCP, Addr: netip.MustParseAddrPort("[::1]:0")}}})
	check(t, err)
	defer tb.Close()
	in := make(inbox, 4)
	tb.Serve(in)
	c := dialUDP(t, addr(tb, 0))
	write(t, c, request("SIP/2.0/UDP [::1]:9;rport;branch=z9hG4bKx", ""))
	a := in.next(t)
	if v := a.m.Get(message.Via); !strings.Contains(v, ";received=::1") {
		t.Error(v)
	}
	via, err := a.m.TopVia()
	check(t, err)
	check(t, tb.Send(tb.ResponseHop(a.from, via), message.NewResponse(a.m, 200, "", "t").AppendTo(nil), nil))
	readDatagram(t, c)
	want := fmt.Sprintf("SIP/2.0/UDP [::1]:%d;branch=z9hG4bKx;rport", addr(tb, 0).Port())
	if v := tb.Via(a.from, "z9hG4bKx"); v != want {
		t.Errorf("%s, want %s", v, want)
	}
	s := dialTCP(t, addr(tb, 1))
	write(t, s, request("SIP/2.0/TCP [::1]:9;branch=z9hG4bKx", ""))
	if v := in.next(t).m.Get(message.Via); strings.Contains(v, "received") {
		t.Error(v)
	}
}

// Feature: NAT-06
func TestAdvertisedAddress(t *testing.T) {
	tb, err := New(Config{Listen: []Listen{{Transport: TCP, Addr: loopback, AdvertiseHost: "gw.example.org", AdvertisePort: 5070}}})
	check(t, err)
	defer tb.Close()
	if v := tb.Via(location.Hop{Transport: TCP, Remote: loopback}, "z9hG4bKx"); v != "SIP/2.0/TCP gw.example.org:5070;branch=z9hG4bKx" {
		t.Error(v)
	}
	for _, h := range []location.Hop{{Transport: UDP, Remote: loopback}, {Transport: TCP, Remote: loopback}, {Transport: TLS, Node: "g1"}, {}} {
		if err := tb.Send(h, nil, nil); !errors.Is(err, ErrNoRoute) {
			t.Error(h, err)
		}
	}
	udp, _ := newTable(t, Config{}, UDP)
	if a := udp.Address(location.Hop{Transport: TLS, Remote: loopback}); a.Transport != TLS || a.Host != "127.0.0.1" {
		t.Errorf("%+v", a)
	}
}

func TestGarbageFrom2000SourcesLeavesNothing(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	probe := dialUDP(t, addr(tb, 0))
	round := func(from, to int) uint64 {
		for i := from; i < to; i++ {
			c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 1, byte(i>>8), byte(i))}, net.UDPAddrFromAddrPort(addr(tb, 0)))
			check(t, err)
			write(t, c, "garbage in, nothing out\r\n\r\n")
			check(t, c.Close())
			if i%32 == 0 {
				write(t, probe, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
				in.next(t)
			}
		}
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapObjects
	}
	before := round(0, 200)
	if after := round(200, 2200); after > before+1000 {
		t.Fatalf("%d objects, then %d", before, after)
	}
	if n := tb.Stats().Dropped["malformed"]; n == 0 {
		t.Fatal("nothing was counted")
	}
}

func TestUDPFanOutUsesOneSocket(t *testing.T) {
	tb, _ := newTable(t, Config{}, UDP)
	var peers []*net.UDPConn
	for range 100 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		check(t, err)
		defer func() { _ = c.Close() }()
		check(t, c.SetDeadline(time.Now().Add(patience)))
		peers = append(peers, c)
		check(t, tb.Send(location.Hop{Transport: UDP, Remote: addrPort(c.LocalAddr())}, []byte("hello"), nil))
	}
	b := make([]byte, 16)
	for _, c := range peers {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil || string(b[:n]) != "hello" || from != addr(tb, 0) {
			t.Fatalf("%q from %v, %v", b[:n], from, err)
		}
	}
}

func TestDatagramOf64kBInAndOut(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	check(t, c.SetReadBuffer(1<<20))
	body := strings.Repeat("v", 64000)
	write(t, c, request("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx", body))
	a := in.next(t)
	if len(a.m.Body) != len(body) {
		t.Fatal(len(a.m.Body))
	}
	res := message.NewResponse(a.m, 200, "", "t")
	res.Body = a.m.Body
	via, err := a.m.TopVia()
	check(t, err)
	check(t, tb.Send(tb.ResponseHop(a.from, via), res.AppendTo(nil), nil))
	if m := readDatagram(t, c); len(m.Body) != len(body) {
		t.Fatal(len(m.Body))
	}
	if n := tb.Stats().Oversize; n != 0 {
		t.Fatal("a response counts as oversize")
	}
	r, _ := newReceipt()
	check(t, tb.Send(a.from, []byte(request(plainVia, strings.Repeat("x", 1400))), r))
	if m := readDatagram(t, c); len(m.Body) != 1400 || tb.Stats().Oversize != 1 {
		t.Fatal(len(m.Body), tb.Stats().Oversize)
	}
}

func TestUDPWriteErrorHoldsUpNobody(t *testing.T) {
	tb, _ := newTable(t, Config{}, UDP)
	u := tb.sockets.Load().udp[0]
	c := dialUDP(t, addr(tb, 0))
	to := addrPort(c.LocalAddr())
	r, o := newReceipt()
	u.cork()
	check(t, u.send(datagram{b: []byte("one"), to: to}))
	check(t, u.send(datagram{b: make([]byte, 70000), to: to, receipt: r}))
	check(t, u.send(datagram{b: []byte("two"), to: to}))
	u.uncork()
	b := make([]byte, 16)
	for _, want := range []string{"one", "two"} {
		if n, err := c.Read(b); err != nil || string(b[:n]) != want {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	if o.failed(t) == nil {
		t.Fatal("no error")
	}
}
