package gateway

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/resolve"
)

// silentServer is a name server that takes questions and answers none. It remembers for which names.
type silentServer struct {
	mu    sync.Mutex
	asked map[string]int
}

func (s *silentServer) ServeDNS(_ dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[q.Question[0].Name]++
}

func startSilentServer(t testing.TB) (s *silentServer, at string) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s = &silentServer{asked: map[string]int{}}
	srv := &dns.Server{PacketConn: pc, Handler: s}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	return s, pc.LocalAddr().String()
}

// One of two contacts is behind a proxy whose name nobody resolves. The living phone rings all the same, other calls go on as before, and no
// question was asked for their sake.
//
// Feature: PRX-20
func TestPRX20_ABlackHoledNameDelaysNobody(t *testing.T) {
	s, phones := besideABlackHole(t)
	delaysNobody(t, phones[0], phones[1], phones[2], phones[3])
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) == 0 {
		t.Error("no name was looked up")
	}
	for name, n := range s.asked {
		if !strings.HasSuffix(name, "edge.hole.test.") {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
}

// besideABlackHole is a gateway with four phones; the second one's user has a contact, too, to which only a name leads that nobody resolves.
func besideABlackHole(t testing.TB) (s *silentServer, phones []*phone) {
	t.Helper()
	s, at := startSilentServer(t)
	g := ringOf(t, 1, 4, func(_ int, o *Options) {
		o.Config.SIP.Listen = List{"udp://127.0.0.1:0"}
		o.DNS = resolve.Config{Servers: []string{at}}
	})[0]
	for i := range 4 {
		phones = append(phones, newPhone(t, userName(i), g))
		phones[i].register(300)
	}
	bind(t, g, "1002@"+testDomain, location.Binding{Contact: "sip:1002@192.0.2.1", Path: []string{"<sip:edge.hole.test;lr>"},
		Hop: location.Hop{Transport: "UDP", Remote: g.udpAddr().AddrPort()}})
	return s, phones
}

// BenchmarkSetup is the time from INVITE to 180 of calls that go on alone, and beside a hundred calls a second to the user with the name that
// nobody resolves, whose living phone is measured too.
func BenchmarkSetup(b *testing.B) {
	_, phones := besideABlackHole(b)
	b.Run("alone", func(b *testing.B) { benchmarkSetup(b, phones[2], phones[3]) })
	b.Run("beside a black hole", func(b *testing.B) {
		stop, done := make(chan struct{}), sync.WaitGroup{}
		var rings []time.Duration
		done.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for {
				rings = append(rings, setup(phones[0], phones[1]))
				select {
				case <-stop:
					return
				case <-pace.C:
				}
			}
		})
		benchmarkSetup(b, phones[2], phones[3])
		close(stop)
		done.Wait()
		slices.Sort(rings)
		b.ReportMetric(float64(rings[len(rings)*99/100].Microseconds()), "ring-p99-us")
	})
}

func benchmarkSetup(b *testing.B, caller, callee *phone) {
	var all []time.Duration
	for b.Loop() {
		all = append(all, setup(caller, callee))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
}
