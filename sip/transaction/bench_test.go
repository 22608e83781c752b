package transaction

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// nowhere is a Transport without network.
type nowhere struct{}

func (nowhere) Send(location.Hop, []byte, *flow.Receipt) error                 { return nil }
func (nowhere) Roomy(to location.Hop, _ int) location.Hop                      { return to }
func (nowhere) ResponseHop(from location.Hop, _ message.ViaValue) location.Hop { return from }
func (nowhere) Via(_ location.Hop, branch string) string {
	return "SIP/2.0/UDP 192.0.2.1:5060;branch=" + branch
}
func (nowhere) Address(location.Hop) sip.Address { return sip.Address{} }
func (nowhere) Alive(location.Hop) bool          { return true }
func (nowhere) Reliable(to location.Hop) bool    { return to.Transport != flow.UDP }

// BenchmarkServerTransaction is one OPTIONS, parsed, answered and finished, in memory.
func BenchmarkServerTransaction(b *testing.B) {
	l := New(Config{MaxTransactions: 1 << 30}, nowhere{})
	l.Serve(&core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 200)) }})
	defer l.Close()
	m := parse(ask{method: "OPTIONS", branch: "z9hG4bKx"})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		r := m.Clone()
		r.Set(message.Via, fmt.Sprintf("SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK%d", i))
		r.Set(message.CallID, fmt.Sprint(i))
		l.Deliver(r, udpHop)
	}
}

// BenchmarkClientTransaction is one OPTIONS sent and answered, in memory.
func BenchmarkClientTransaction(b *testing.B) {
	l := New(Config{MaxTransactions: 1 << 30}, nowhere{})
	l.Serve(&core{})
	defer l.Close()
	req := request("OPTIONS", "c")
	u := &counting{}
	b.ReportAllocs()
	for b.Loop() {
		r := req.Clone()
		l.Send(r, udpHop, "", u)
		l.Deliver(answer(r, 200), udpHop)
		u.final = 0
	}
}

// BenchmarkUDPRoundTrip is OPTIONS over loopback sockets, 32 of them under way.
func BenchmarkUDPRoundTrip(b *testing.B) {
	g := newGateway(b, &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 200)) }})
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(g.addr(flow.UDP)))
	check(b, err)
	defer func() { _ = c.Close() }()
	text := ask{method: "OPTIONS", branch: "z9hG4bK%[1]d", call: "%[1]d"}.String()
	buf := make([]byte, 65535)
	b.ReportAllocs()
	sent, got := 0, 0
	for b.Loop() {
		for sent < got+32 {
			sent++
			_, err := fmt.Fprintf(c, text, sent)
			check(b, err)
		}
		_, err := c.Read(buf)
		check(b, err)
		got++
	}
}

// TestMemoryOfFinishedTransactions holds what one of them may keep for its 32 seconds: the answer of some 300 octets included.
func TestMemoryOfFinishedTransactions(t *testing.T) {
	const n, limit = 20000, 1300
	l := New(Config{}, nowhere{})
	l.Serve(&core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 200)) }})
	defer l.Close()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		l.Deliver(parse(ask{method: "OPTIONS", branch: fmt.Sprint("z9hG4bK", i)}), udpHop)
	}
	each := (heap() - before) / n
	t.Logf("%d octets each", each)
	if l.Stats().Kept != n || each > limit {
		t.Fatalf("%d transactions keep %d octets each", l.Stats().Kept, each)
	}
}

// TestNoGoroutineForATransaction holds the promise of the package.
func TestNoGoroutineForATransaction(t *testing.T) {
	l := New(Config{}, nowhere{})
	l.Serve(&core{})
	defer l.Close()
	before := runtime.NumGoroutine()
	for i := range 1000 {
		l.Deliver(parse(ask{method: "INVITE", branch: fmt.Sprint("z9hG4bK", i)}), udpHop)
		l.Send(request("INVITE", fmt.Sprint(i)), udpHop, "", &counting{})
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, then %d", before, runtime.NumGoroutine())
		}
	}
}
