package flow

import (
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// echo answers each request at once, as the stack does with a retransmission.
type echo struct{ t *Table }

func (e *echo) Deliver(m *message.Message, from location.Hop) {
	_ = e.t.Send(from, message.NewResponse(m, 200, "", "x").AppendTo(nil), nil)
}

// BenchmarkUDPRequests takes requests that come 32 at a time, parses and answers them; the CPU time is that of both ends.
func BenchmarkUDPRequests(b *testing.B) {
	tb, err := New(Config{Listen: []Listen{{Transport: UDP, Addr: loopback}}})
	check(b, err)
	b.Cleanup(tb.Close)
	tb.Serve(&echo{tb})
	c := dialUDP(b, addr(tb, 0))
	check(b, c.SetDeadline(time.Time{}))
	p := ipv4.NewPacketConn(c)
	const burst = 32
	out, in := make([]ipv4.Message, burst), make([]ipv4.Message, burst)
	for i := range out {
		out[i].Buffers = [][]byte{[]byte(request("SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx;rport", ""))}
		in[i].Buffers = [][]byte{make([]byte, 2048)}
	}
	cpu := func() time.Duration {
		var r syscall.Rusage
		check(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	before := cpu()
	b.ReportAllocs()
	for b.Loop() {
		n, err := p.WriteBatch(out, 0)
		if err != nil || n != burst {
			b.Fatal(n, err)
		}
		for n > 0 {
			got, err := p.ReadBatch(in[:n], 0)
			check(b, err)
			n -= got
		}
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N)/burst, "cpu-ns/request")
}
