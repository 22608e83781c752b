package ice

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		<-tick.C
	}
}

// answer makes the Rest of m a STUN server that sees everyone as mapped.
func answer(t testing.TB, m *Mux, mapped netip.AddrPort) {
	t.Helper()
	r := m.Rest()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, datagramSize)
		for {
			n, from, err := r.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			request := &stun.Message{Raw: bytes.Clone(b[:n])}
			if request.Decode() != nil {
				continue
			}
			response, err := stun.Build(request, stun.BindingSuccess, &stun.XORMappedAddress{IP: mapped.Addr().AsSlice(), Port: int(mapped.Port())})
			if err == nil {
				_, _ = r.WriteToUDPAddrPort(response.Raw, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = r.Close()
		<-done
	})
}

type seenAttributes struct {
	user                    string
	controlling, controlled bool
}

func attributes(t testing.TB, b []byte) seenAttributes {
	t.Helper()
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	user, _ := m.Get(stun.AttrUsername)
	return seenAttributes{string(user), m.Contains(stun.AttrICEControlling), m.Contains(stun.AttrICEControlled)}
}

func send(t testing.TB, from *net.UDPConn, to *Mux, b []byte) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(b, to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

func take(t testing.TB, r *Rest) []byte {
	t.Helper()
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, datagramSize)
		n, _, _ := r.ReadFromUDPAddrPort(b)
		got <- b[:n]
	}()
	select {
	case b := <-got:
		return b
	case <-time.After(30 * time.Second):
		_ = r.Close()
		<-got
		t.Fatal("nothing came")
		return nil
	}
}

func build(t testing.TB, setters ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append([]stun.Setter{stun.TransactionID}, setters...)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// What is of no session goes to Rest, in the order in which it came, and nothing else does.
func TestMuxDivides(t *testing.T) {
	m := newMux(t)
	r := m.Rest()
	s := gather(t, Config{Mux: m})
	out := listen(t, "127.0.0.1:0")
	defer func() { _ = out.Close() }()
	plainRequest := build(t, stun.BindingRequest)
	for _, b := range [][]byte{
		build(t, stun.BindingRequest, stun.NewUsername("nobody:x")),
		build(t, stun.BindingRequest, stun.NewUsername(s.local.Ufrag+":x")),
		build(t, stun.BindingSuccess),
		build(t, stun.NewType(stun.MethodBinding, stun.ClassIndication)),
		append(build(t, stun.BindingRequest)[:3], append([]byte{8}, build(t, stun.BindingRequest)[4:]...)...), // cut off
		{},
	} {
		send(t, out, m, b)
	}
	hello := record(0, "hello")
	for _, b := range [][]byte{plainRequest, hello, record(1, "data"), {64, 1, 2}, {0}, {22}, []byte("INVITE")} {
		send(t, out, m, b)
		if got := take(t, r); !bytes.Equal(got, b) {
			t.Errorf("got %x, want %x", got, b)
		}
	}
	if got := len(s.member.ports[0].in); got != 1 {
		t.Errorf("%d datagrams for the session, want the check", got)
	}
}

// A peer that names the address of another one as its candidate does not get that one's records.
func TestMuxBelievesOnlyWhatAnswersChecks(t *testing.T) {
	m := newMux(t)
	r := m.Rest()
	s := gather(t, Config{Mux: m, Controlling: true})
	victim := listen(t, "127.0.0.1:0")
	defer func() { _ = victim.Close() }()
	at, p := addressOfSocket(victim), s.member.ports[0]
	request := build(t, stun.BindingRequest, stun.NewUsername("x:"+s.local.Ufrag))
	if _, err := p.WriteToAddrPort(request, at); err != nil {
		t.Fatal(err)
	}
	send(t, victim, m, record(1, "before"))
	if got := take(t, r); !bytes.Equal(got, record(1, "before")) {
		t.Errorf("Rest got %x", got)
	}
	check := &stun.Message{Raw: request}
	if err := check.Decode(); err != nil {
		t.Fatal(err)
	}
	other := listen(t, "127.0.0.1:0")
	defer func() { _ = other.Close() }()
	response, err := stun.Build(check, stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv4(203, 0, 113, 1), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	send(t, other, m, response.Raw) // right transaction ID, wrong address
	send(t, other, m, record(1, "other"))
	if got := take(t, r); !bytes.Equal(got, record(1, "other")) {
		t.Errorf("Rest got %x", got)
	}
	send(t, victim, m, response.Raw)
	send(t, victim, m, record(1, "after"))
	b := make([]byte, datagramSize)
	for _, want := range [][]byte{response.Raw, record(1, "after")} {
		n, from, err := p.ReadFromAddrPort(b)
		if err != nil || from != at || !bytes.Equal(b[:n], want) {
			t.Errorf("session got %x from %s, %v", b[:n], from, err)
		}
	}
	if got := m.seenAs(s.member, at).String(); got != "203.0.113.1:9" {
		t.Errorf("seen as %s", got)
	}
	s.Close()
	send(t, victim, m, record(1, "gone"))
	if got := take(t, r); !bytes.Equal(got, record(1, "gone")) {
		t.Errorf("Rest got %x", got)
	}
}

// Two sessions between the same sockets, as when a link is replaced.
func TestMuxTwoSessionsWithOneAddress(t *testing.T) {
	ma, mb := newMux(t), newMux(t)
	x1, y1 := join(t, gather(t, Config{Mux: ma, Controlling: true}), gather(t, Config{Mux: mb}))
	x2, y2 := join(t, gather(t, Config{Mux: ma, Controlling: true}), gather(t, Config{Mux: mb}))
	say(t, x1.conn, y1.conn, "protected")
	if got := hear(t, y2.conn); got != string(record(1, "protected")) {
		t.Errorf("the other session got %q", got)
	}
	if _, err := x2.conn.Write(record(0, "hello")); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, y2.conn); got != string(record(0, "hello")) {
		t.Errorf("the new session got %q", got)
	}
	_ = y2.conn.Close()
	say(t, x1.conn, y1.conn, "alone") // and not "hello", which was for the new one only
	_ = x2.conn.Close()
	_ = x1.conn.Close()
	_ = y1.conn.Close()
	for _, m := range []*Mux{ma, mb} {
		m.mu.Lock()
		if len(m.members)+len(m.checks)+len(m.routes) > 0 {
			t.Errorf("%d members, %d checks, %d routes are left", len(m.members), len(m.checks), len(m.routes))
		}
		m.mu.Unlock()
	}
}

func TestMuxIsBounded(t *testing.T) {
	m := newMux(t)
	s := gather(t, Config{Mux: m})
	sink := listen(t, "127.0.0.1:0")
	defer func() { _ = sink.Close() }()
	for range 3 * maxChecks {
		if _, err := s.member.ports[0].WriteToAddrPort(build(t, stun.BindingRequest), addressOfSocket(sink)); err != nil {
			t.Fatal(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.checks); n != maxChecks {
		t.Errorf("%d checks are remembered, want %d", n, maxChecks)
	}
	from := netip.MustParseAddrPort("192.0.2.1:1")
	for range 3 * maxRoutes {
		m.prove(route{port: newPort(m, &member{}, m.local)}, from)
	}
	if n := len(m.routes[from]); n != maxRoutes {
		t.Errorf("%d routes, want %d", n, maxRoutes)
	}
	delete(m.routes, from)
	r := newRest(m)
	for range maxRest + 3 {
		r.put(datagram{})
	}
	if r.Dropped() != 3 {
		t.Errorf("%d dropped, want 3", r.Dropped())
	}
	p := s.member.ports[0]
	for range 2 * maxPort {
		p.put(datagram{})
	}
}

func TestRestDeadlineAndClose(t *testing.T) {
	m := newMux(t)
	r := m.Rest()
	b := make([]byte, 9)
	_ = r.SetReadDeadline(time.Unix(1, 0))
	_ = r.SetReadDeadline(time.Unix(2, 0))
	if _, _, err := r.ReadFromUDPAddrPort(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	_ = r.SetReadDeadline(time.Time{})
	out := listen(t, "127.0.0.1:0")
	defer func() { _ = out.Close() }()
	send(t, out, m, []byte("x"))
	if got := take(t, r); string(got) != "x" {
		t.Errorf("got %q", got)
	}
	if r.LocalAddr().String() != m.LocalAddr().String() {
		t.Errorf("address %s", r.LocalAddr())
	}
	_ = m.Close()
	if _, _, err := r.ReadFromUDPAddrPort(b); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := r.WriteToUDPAddrPort(b, m.local); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// The wildcard address: candidates are those of the interfaces, and IPv4 works over an IPv6 socket.
func TestMuxOnTheWildcardAddress(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		m := NewMux(listen(t, address))
		s := gather(t, Config{Mux: m, Controlling: true})
		other := newMux(t)
		x, y := join(t, s, gather(t, Config{Mux: other}))
		chat(t, x.conn, y.conn)
		if y.pair.Remote.Address != netip.AddrPortFrom(other.LocalAddr().Addr(), m.LocalAddr().Port()) {
			t.Errorf("%s: pair %s", address, y.pair)
		}
		_ = x.conn.Close()
		_ = m.Close()
	}
}

func FuzzMuxDatagram(f *testing.F) {
	add := func(setters ...stun.Setter) { f.Add(build(f, setters...)) }
	add(stun.BindingRequest, stun.NewUsername("ours:theirs"), ice.UseCandidate())
	add(stun.BindingSuccess, &stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 1), Port: 9})
	f.Add(record(0, "hello"))
	f.Add(record(1, "data"))
	from := netip.MustParseAddrPort("192.0.2.7:7")
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &Mux{members: map[string]*member{}, checks: map[transaction]check{}, queries: map[transaction]*query{},
			routes: map[netip.AddrPort][]route{}}
		m.rest = newRest(m)
		x, err := m.join("ours", []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1")})
		if err != nil {
			t.Fatal(err)
		}
		q := &query{from, make(chan netip.AddrPort, 1)}
		if len(b) >= minSTUN {
			m.queries[transaction(b[8:minSTUN])] = q
			m.checks[transaction(b[8:minSTUN])] = check{x.ports[0], from}
		}
		kept := bytes.Clone(b)
		m.datagram(b, from)
		delete(m.queries, transaction(append(bytes.Clone(b), make([]byte, minSTUN)...)[8:minSTUN]))
		m.datagram(b, from)
		if n := len(m.rest.in) + len(x.ports[0].in) + len(q.answer); n > 2 || !bytes.Equal(b, kept) {
			t.Errorf("%d copies of two datagrams", n)
		}
	})
}
