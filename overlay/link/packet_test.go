package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ask sends a datagram and returns the answer.
func ask(t testing.TB, conn net.Conn, b []byte) []byte {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answer := make([]byte, maxRecord)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return answer[:n]
}

// silent is one that must not be answered, checked by what follows: a Binding request, which is.
func silent(t testing.TB, conn net.Conn, b []byte) {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, conn, binding()); got[0] != 1 {
		t.Errorf("%x was answered with %x", b, got)
	}
}

func binding(attributes ...byte) []byte {
	b := append(binary.BigEndian.AppendUint16(nil, stunBinding), 0, byte(len(attributes)), 0x21, 0x12, 0xa4, 0x42)
	return append(append(b, "transaction1"...), attributes...)
}

func dialUDP(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Conformance: A-31
func TestRFC6940_6_5_1_4_BindingRequestsAreAnswered(t *testing.T) {
	conn := dialUDP(t, servePackets(t, newWorld(t).dtls()).address)
	from := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	ip := from.Addr().As4()
	want := append([]byte{1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42}, "transaction1"...)
	want = append(want, 0, 0x20, 0, 8, 0, 1, byte(from.Port()>>8)^0x21, byte(from.Port())^0x12,
		ip[0]^0x21, ip[1]^0x12, ip[2]^0xa4, ip[3]^0x42)
	for _, request := range [][]byte{binding(), binding(0x80, 0x22, 0, 3, 'a', 'b', 'c', 0)} {
		if got := ask(t, conn, request); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
	}
	for _, b := range [][]byte{
		binding(0x00, 0x06, 0, 1, 'u', 0, 0, 0), // USERNAME: a connectivity check
		binding(1, 2, 3),                        // half an attribute
		binding()[:19],
		append([]byte{0, 0x11}, binding()[2:]...), // an indication
		append([]byte{1, 1}, binding()[2:]...),    // a response
		{0x40, 1, 2, 3}, {},
		[]byte("INVITE sip:bob@example.org SIP/2.0\r\n\r\n"),
		{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 11}, // a handshake message that is no ClientHello
		{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 11},
	} {
		silent(t, conn, b)
	}
}

func TestRFC8489_14_2_MappedIPv6Address(t *testing.T) {
	from := netip.MustParseAddrPort("[2001:db8::1]:1000")
	b := bindingAnswer(binding(), from)
	if len(b) != 20+4+20 || b[25] != 2 {
		t.Fatalf("%x", b)
	}
	for i, x := range from.Addr().AsSlice() {
		if b[28+i]^binding()[4+i] != x {
			t.Errorf("octet %d of the address is %x", i, b[28+i])
		}
	}
	four := netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 1000)
	if b := bindingAnswer(binding(), four); len(b) != 32 || b[25] != 1 {
		t.Errorf("an IPv4 address on an IPv6 socket: %x", b)
	}
}

// firstFlight is the ClientHello that a client sends first.
func firstFlight(t testing.TB, d *DTLS) []byte {
	t.Helper()
	a, b := udpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = d.Client(t.Context(), b, wire.NodeID{})
	}()
	buf := make([]byte, maxRecord)
	n, err := a.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
	receive(t, done, "end of the handshake")
	return buf[:n]
}

// Strangers whose addresses may be forged cannot keep others out: when many have not returned the cookie, the server
// keeps no state for new ones, and still lets in those that return one.
func TestRFC6347_4_2_1_NoStateForUnprovenAddresses(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	greeting := firstFlight(t, w.dtls())
	for range maxHalfOpenAddress { // as many as one address may have
		if got := ask(t, dialUDP(t, p.address), greeting); got[0] != recordHandshake || got[recordHeader] != helloVerify {
			t.Fatalf("%x is no HelloVerifyRequest", got)
		}
	}
	p.unproven.Add(maxUnproven) // the others came from elsewhere
	for range 100 {
		if got := ask(t, dialUDP(t, p.address), greeting); got[0] != recordHandshake || got[recordHeader] != helloVerify {
			t.Fatalf("%x is no HelloVerifyRequest", got)
		}
	}
	p.mu.Lock()
	n := len(p.peers)
	p.mu.Unlock()
	if n > maxHalfOpenAddress {
		t.Errorf("there is state for %d addresses", n)
	}
	for range maxHalfOpenAddress { // they give up
		if r := receive(t, p.refusals, "refusal"); r.why != HandshakeFailed {
			t.Errorf("refused: %+v", r)
		}
	}
	client := w.dtls()
	c, s := dialed(t, client, p)
	if s.peer.Node != client.node() {
		t.Errorf("accepted %s", s.peer.Node)
	}
	echo(t, c, s)
	p.unproven.Add(-maxUnproven)
}

func TestCookiesAreForOneAddressAndOneHello(t *testing.T) {
	var d doorman
	now := time.Unix(1e9, 0)
	b := firstFlight(t, newWorld(t).dtls())
	from := netip.MustParseAddrPort("192.0.2.1:1000")
	verify := d.answer(now, b, from)
	cookie := verify[len(verify)-cookieLen:]
	h, ok := parseHello(b)
	if !ok || len(h.cookie) != 0 {
		t.Fatalf("%+v", h)
	}
	at := bytes.Index(b, h.random) + 32 + 1 // behind the empty session ID
	with := append(append(append(bytes.Clone(b[:at]), cookieLen), cookie...), b[at+1:]...)
	for i, k := range []int{12, 16, 24} { // lengths of record, message and fragment, low octets
		if with[k] += cookieLen; with[k] < cookieLen {
			t.Fatalf("length %d carries over", i)
		}
	}
	if r := d.answer(now, with, netip.MustParseAddrPort("192.0.2.1:1001")); r[0] != recordHandshake || d.passes(now, from.Addr()) {
		t.Error("a cookie of another port was taken")
	}
	other := bytes.Clone(with)
	other[at-10] ^= 1
	if r := d.answer(now, other, from); r[0] != recordHandshake || d.passes(now, from.Addr()) {
		t.Error("a cookie of another ClientHello was taken")
	}
	if r := d.answer(now, with, from); r[0] != recordAlert || !d.passes(now, from.Addr()) || d.passes(now.Add(provenTime), from.Addr()) {
		t.Errorf("the right cookie: %x", r)
	}
	for n := range with {
		if isHello(with[:n]) {
			_ = d.answer(now, with[:n], from)
		}
	}
}

func FuzzHello(f *testing.F) {
	f.Add(firstFlight(f, newWorld(f).dtls()))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d doorman
		g := guard{}
		_ = g.admit(b)
		_ = bindingAnswer(b, netip.AddrPort{})
		if isHello(b) && len(d.answer(time.Now(), b, netip.MustParseAddrPort("192.0.2.1:1"))) > len(b)+cookieLen {
			t.Error("the answer amplifies")
		}
	})
}

// RFC 6347 §4.2.8: a peer that has lost its state makes a new association from the same address.
func TestRFC6347_4_2_8_NewAssociationFromTheSameAddress(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	client := w.dtls()
	first := dialUDP(t, p.address)
	local := first.LocalAddr().(*net.UDPAddr)
	c1, _, err := client.Client(t.Context(), first, wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	s1 := receive(t, p.accepted, "association")
	echo(t, knot{c1, s1.peer}, s1)
	// A ClientHello alone, which anybody could have sent, does not hurt it.
	_ = first.SetReadDeadline(time.Time{})
	if _, err := first.Write(firstFlight(t, client)); err != nil {
		t.Fatal(err)
	}
	echo(t, knot{c1, s1.peer}, s1)
	if r := receive(t, p.refusals, "end of the forged handshake"); r.why != HandshakeFailed {
		t.Errorf("%+v", r)
	}
	_ = first.Close() // the process is gone
	second, err := net.DialUDP("udp", local, p.Socket.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	c2, peer, err := client.Client(t.Context(), second, wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	s2 := receive(t, p.accepted, "second association")
	echo(t, knot{c2, peer}, s2)
	if _, err := s1.Read(make([]byte, maxRecord)); !errors.Is(err, io.EOF) {
		t.Errorf("the old association: %v, want EOF", err)
	}
	_, _, _, _ = c1.Close(), c2.Close(), s1.Close(), s2.Close()
}

// Forged records in clear text do not end an association.
func TestForgedRecordsDoNotEndAnAssociation(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	under := dialUDP(t, p.address)
	c, peer, err := w.dtls().Client(t.Context(), under, wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	s := receive(t, p.accepted, "association")
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	clear := func(kind byte, body ...byte) []byte {
		return append([]byte{kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 9, 9, 0, byte(len(body))}, body...)
	}
	for _, forged := range [][]byte{clear(recordData, 'x'), clear(recordAlert, 2, 40), clear(recordAlert, 1, 0), clear(99, 1),
		append(clear(20, 1), clear(recordAlert, 2, 40)...)} {
		if _, err := under.Write(forged); err != nil { // to the server
			t.Fatal(err)
		}
		if _, err := p.Socket.WriteToUDPAddrPort(forged, under.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil { // to the client
			t.Fatal(err)
		}
		echo(t, knot{c, peer}, s)
	}
}

func TestGuardBoundsHandshakes(t *testing.T) {
	var g guard
	fragment := append([]byte{recordHandshake, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12}, make([]byte, 12)...)
	fragment[recordHeader] = 11
	n := 0
	for g.admit(fragment) {
		n++
	}
	if n != maxHandshakeDatagrams {
		t.Errorf("%d datagrams, want %d", n, maxHandshakeDatagrams)
	}
	g = guard{}
	many := append([]byte{recordHandshake, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 240}, make([]byte, 240)...)
	for n = 0; g.admit(many); n++ {
	}
	if n != maxHandshakeFragments/20 {
		t.Errorf("%d datagrams of 20 fragments, want %d", n, maxHandshakeFragments/20)
	}
}

func TestPacketServerBoundsHandshakesPerAddress(t *testing.T) {
	w := newWorld(t)
	p := servePackets(t, w.dtls())
	greeting := firstFlight(t, w.dtls())
	for range maxHalfOpenAddress {
		ask(t, dialUDP(t, p.address), greeting)
	}
	if _, err := dialUDP(t, p.address).Write(greeting); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, p.refusals, "refusal"); r.why != TooManyHalfOpen {
		t.Errorf("%+v", r)
	}
	start := time.Now()
	for range maxHalfOpenAddress {
		if r := receive(t, p.refusals, "refusal"); r.why != HandshakeFailed || time.Since(start) > HandshakeTimeout {
			t.Errorf("%+v after %v", r, time.Since(start))
		}
	}
}

// When the context ends, links have the time to close in order.
func TestPacketServerEndsInOrder(t *testing.T) {
	w := newWorld(t)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := PacketServer{DTLS: w.dtls(), Socket: socket, Refused: func(Refusal, net.Addr, error) {},
		Accept: func(a *Association, peer trust.Identity) {
			c := NewDatagram(a, peer, 0, Options{MaxMessage: size(testMax), Receive: func([]byte) {}})
			for i := range uint64(5) {
				_ = c.Send(reload(i, 100))
			}
			defer context.AfterFunc(ctx, c.Close)()
			_ = c.Run()
		}}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx) }()
	a, peer, err := w.dtls().Dial(t.Context(), socket.LocalAddr().String(), wire.NodeID{})
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	link := runDatagram(a, peer, testMax, nil)
	for i := range uint64(5) {
		if got := transaction(t, receive(t, link.got, "message")); got != i {
			t.Errorf("message %d, want %d", got, i)
		}
		once.Do(cancel) // four messages are still in the queue, and wait for ACKs
	}
	if err := receive(t, link.done, "end of the link"); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a closure alert", err)
	}
	receive(t, done, "end of Serve")
}
