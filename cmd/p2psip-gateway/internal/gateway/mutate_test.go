package gateway

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// mutateFor is how long mutated messages are sent; make soak-mutate has it ten minutes.
var mutateFor = flag.Duration("mutate", 3*time.Second, "how long to send mutated messages over each transport")

const (
	mutatePace    = 2 * time.Millisecond // between two messages of one transport
	mutateSettled = 45 * time.Second     // after which the memory of finished transactions (32 s) has come to its level
	mutateGrowth  = 24 << 20             // octets by which the process may differ from then on: the garbage collector's latitude
)

// mutant spoils a message in up to three ways.
func mutant(r *rand.Rand, b []byte, others [][]byte) []byte {
	b = append([]byte{}, b...)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b) + 1)
		switch r.IntN(7) {
		case 0:
			b = b[:at]
		case 1:
			b = append(b[:at:at], append([]byte(strings.Repeat(string(rune(r.IntN(256))), r.IntN(5000))), b[at:]...)...)
		case 2:
			other := others[r.IntN(len(others))]
			b = append(b[:at:at], other[r.IntN(len(other)):]...)
		case 3:
			for range 1 + r.IntN(8) {
				if len(b) > 0 {
					b[r.IntN(len(b))] = byte(r.IntN(256))
				}
			}
		case 4:
			word := []string{"\r\n", "\r\n\r\n", ";", ",", "<", ">", "\"", "\x00", ":", "sip:", "9999999999999999999", "%", "[", "SIP/2.0", " ", "\t"}
			b = append(b[:at:at], append([]byte(word[r.IntN(len(word))]), b[at:]...)...)
		case 5:
			lines := strings.SplitAfter(string(b), "\r\n")
			i, k := r.IntN(len(lines)), r.IntN(len(lines))
			lines[i], lines[k] = lines[k], lines[i]
			b = []byte(strings.Join(lines, ""))
		default:
			lines := strings.SplitAfter(string(b), "\r\n")
			b = []byte(strings.Join(lines, "") + lines[r.IntN(len(lines))])
		}
		b = b[:min(len(b), 60000)]
	}
	return b
}

// attack sends mutants over one transport until the time is up. A connection that is closed for it is opened anew.
func attack(seed uint64, transport string, at netip.AddrPort, seeds [][]byte, until time.Time) (sent int, err error) {
	r := rand.New(rand.NewPCG(seed, 4475))
	tick := time.NewTicker(mutatePace)
	defer tick.Stop()
	for time.Now().Before(until) {
		l, err := dialWire(transport, at.String())
		if err != nil {
			return sent, err
		}
		drained := make(chan struct{})
		go func() { // answers, so that no queue fills
			defer close(drained)
			for {
				_ = l.SetReadDeadline(until.Add(time.Second))
				if _, err := l.next(); err != nil && (message.AsParseError(err) == nil || message.AsParseError(err).Fatal) {
					return
				}
			}
		}()
		for n := 0; n < 100 && time.Now().Before(until); n++ {
			<-tick.C
			if _, err := l.Write(mutant(r, seeds[r.IntN(len(seeds))], seeds)); err != nil {
				break
			}
			sent++
		}
		_ = l.Close()
		<-drained
	}
	return sent, nil
}

func rss(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// Mutated messages come over each transport at once. The gateway does not fall, does not grow, and phones register and call meanwhile.
//
// Feature: SEC-07
func TestMutatedMessagesOverEachTransport(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(tortureDir, "*.dat"))
	if err != nil {
		t.Fatal(err)
	}
	var seeds [][]byte
	for _, path := range names {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, b, []byte(strings.ReplaceAll(string(b), "example.com", testDomain)))
	}
	g := ringOver(t, 1, 2, everyTransport, "tls://127.0.0.1:0")[0]
	alice, bob := newPhone(t, "1001", g), newPhone(t, "1002", g)
	begun, until := time.Now(), time.Now().Add(*mutateFor)
	var wg sync.WaitGroup
	for i, l := range g.flows.Listeners() {
		if l.Local.Addr().Is6() {
			continue
		}
		wg.Go(func() {
			sent, err := attack(uint64(i), l.Transport, l.Local, seeds, until)
			if err != nil || sent == 0 {
				t.Errorf("%s: %d sent, %v", l.Transport, sent, err)
			}
			t.Logf("%s: %d messages", l.Transport, sent)
		})
	}
	settled := 0
	for time.Now().Before(until) {
		for _, p := range []*phone{alice, bob} {
			if res := p.register(300); res.StatusCode != 200 {
				t.Fatalf("REGISTER among mutants: %d", res.StatusCode)
			}
		}
		alice.call(bob)
		time.Sleep(50 * time.Millisecond) // the pace of the phones
		if settled == 0 && time.Since(begun) > mutateSettled {
			settled = rss(t)
			t.Logf("settled at %d MB, %d goroutines", settled>>20, runtime.NumGoroutine())
		}
	}
	wg.Wait()
	now := rss(t)
	t.Logf("%d MB and %d goroutines at the end", now>>20, runtime.NumGoroutine())
	if settled > 0 && now > settled+mutateGrowth {
		t.Errorf("%d MB when settled, %d MB at the end", settled>>20, now>>20)
	}
	for _, transport := range []string{"UDP", "TCP", "TLS", "WS", "WSS"} {
		if g.flows.Stats().Received[transport] == 0 {
			t.Errorf("nothing arrived over %s", transport)
		}
	}
	eventually(t, "the connections to be gone", func() error {
		if n := g.flows.Stats().Connections["accepted"]; n != 0 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
}
