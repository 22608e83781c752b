package overlay

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// benchKeys runs a benchmark on rings of nodes with each kind of key: of one peer, which is sender and storing peer at once, and of
// three, of which each stores what the others replicate, or have stored.
func benchKeys(b *testing.B, f func(b *testing.B, w *world, ring []*member)) {
	for _, kind := range []trust.KeyType{trust.P256, trust.RSA2048} {
		for _, peers := range []int{1, 3} {
			b.Run(fmt.Sprintf("%s/%d", kind, peers), func(b *testing.B) {
				w := newWorld(b)
				var ring []*member
				for range peers {
					key, err := trust.GenerateKey(kind)
					if err != nil {
						b.Fatal(err)
					}
					var first *member
					if len(ring) > 0 {
						first = ring[0]
					}
					m := w.memberAs(b, w.signer(key), first)
					m.join()
					ring = append(ring, m)
				}
				settle(b, ring)
				f(b, w, ring)
			})
		}
	}
}

// rate runs f many times at once and reports how often in a second, and what CPU all peers together took for one.
func rate(b *testing.B, f func(n int64) error) {
	b.Helper()
	const workers = 8 // at once, on each processor
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	var n atomic.Int64
	b.SetParallelism(workers)
	b.ReportAllocs()
	start, begin := time.Now(), used()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := f(n.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "operations/s")
	b.ReportMetric(float64((used()-begin).Microseconds())/float64(b.N), "cpu-µs/operation")
}

func BenchmarkStore(b *testing.B) {
	benchKeys(b, func(b *testing.B, w *world, ring []*member) {
		const users = 64
		free := make(chan *trust.Signer, users)
		for i := range users {
			free <- w.user(ring[0].cfg.Self, fmt.Sprintf("user%d@example.org", i))
		}
		value, begin := record(ring[0].NodeID()), time.Now()
		rate(b, func(n int64) error {
			s := <-free
			defer func() { free <- s }()
			// RFC 6940 §7.4.1.1: each is newer than the one of this user before it.
			at := begin.Add(time.Duration(n) * time.Millisecond)
			_, err := ring[0].Store(b.Context(), s, wire.ResourceIDOf(s.Identity().User), wire.KindSIPRegistration, value, at, time.Hour)
			return err
		})
	})
}

func BenchmarkFetch(b *testing.B) {
	benchKeys(b, func(b *testing.B, w *world, ring []*member) {
		w.register(b, ring[0], "alice@example.org")
		from := ring[len(ring)-1]
		rate(b, func(int64) error { return finds(b, from, ring[0], "alice@example.org", patience) })
	})
}
