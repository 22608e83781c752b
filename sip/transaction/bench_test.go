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
func (nowhere) Recycle(m *message.Message)       { m.Reset() }

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

// BenchmarkMemoryOfFinishedTransactions tells what is kept of an OPTIONS that was answered, and of a call with its BYE, for their 32 seconds.
func BenchmarkMemoryOfFinishedTransactions(b *testing.B) {
	for _, methods := range [][]string{{"OPTIONS"}, {"INVITE", "BYE"}} {
		b.Run(methods[0], func(b *testing.B) {
			n := 0
			var pages, heap int64
			for b.Loop() {
				n += 20000
				p, h := finish(b, 20000, methods)
				pages, heap = pages+p, heap+h
			}
			b.ReportMetric(float64(pages)/float64(n), "octets/op")
			b.ReportMetric(float64(heap)/float64(n), "heap-octets/op")
		})
	}
}

// finish has n times a request of each method forwarded and answered, and returns what is kept of them all.
func finish(t testing.TB, n int, methods []string) (pages, heap int64) {
	var l *Layer
	out := &last{}
	l = New(Config{}, out)
	l.Serve(proxying(&l))
	defer l.Close()
	before := inUse()
	for i := range n {
		for _, method := range methods {
			a := ask{method: method, branch: fmt.Sprint("z9hG4bK", method, i), call: fmt.Sprint("call", i)}
			if method == "BYE" {
				a.toTag = "b"
			}
			l.Deliver(parse(a), udpHop)
			l.Deliver(answer(out.request, 200), udpHop)
		}
	}
	if kept := l.Stats().Kept; kept != int64(2*n*len(methods)) {
		t.Fatalf("%d are kept", kept)
	}
	return l.Stats().Octets, inUse() - before
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// last is a Transport that keeps the last request.
type last struct {
	nowhere
	request *message.Message
}

func (l *last) Send(_ location.Hop, b []byte, receipt *flow.Receipt) error {
	if receipt == nil {
		return nil
	}
	m, err := message.Parse(b)
	l.request = m
	return err
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
