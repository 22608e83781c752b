package sim

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run the one random world of this seed, and show its events")
	seedsFlag = flag.Int("seeds", 0, "how many random worlds to run, instead of 200, or 20 with the race detector")
	freshFlag = flag.Bool("fresh", false, "begin at a seed that nobody has chosen, instead of 1")
)

const maxWorldPeers = 64

// firstSeed is 1, or anything.
func firstSeed() uint64 {
	if *freshFlag {
		return 1 + rand.Uint64N(1<<40)
	}
	return 1
}

// TestWorldsHoldTheInvariants runs random worlds of up to 64 peers with kills and delays. To look for rare mistakes,
// give it more seeds: go test ./overlay/sim -run Worlds -seeds 5000.
//
// Conformance: C-13 D-52 E-05 E-11 E-12 E-22
func TestWorldsHoldTheInvariants(t *testing.T) {
	seeds := 200
	if raceEnabled {
		seeds = 20
	}
	if *seedsFlag != 0 {
		seeds = *seedsFlag
	}
	first := firstSeed()
	if *seedFlag != 0 {
		oneWorld(t, Config{Seed: *seedFlag, Event: func(at time.Duration, h *Host, e node.Event) {
			t.Log(at, h.Index, h.ID.Short(), e.Type, e.Peer.Short(), e.Text)
		}})
		return
	}
	// Worlds are small and make much garbage: with the usual goal a third of the time goes into collecting it.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	begin := time.Now()
	var wait sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	reports := make([]Report, workers)
	for k := range workers {
		wait.Go(func() {
			for i := k; i < seeds; i += workers {
				r := oneWorld(t, Config{Seed: first + uint64(i)})
				reports[k].Peers += r.Peers
				reports[k].Messages += r.Messages
			}
		})
	}
	wait.Wait()
	peers, messages := 0, 0
	for _, r := range reports {
		peers, messages = peers+r.Peers, messages+r.Messages
	}
	t.Logf("%d worlds from seed %d on, %d peers, %d messages in %v", seeds, first, peers, messages, time.Since(begin).Round(time.Millisecond))
}

func oneWorld(t *testing.T, c Config) Report {
	t.Helper()
	r, err := RunRandom(c, maxWorldPeers)
	if err != nil {
		t.Errorf("%v\n%v\nrepeat: go test ./overlay/sim -run TestWorldsHoldTheInvariants -v -seed %d", err, r.Counts, c.Seed)
	}
	return r
}

func TestSameSeedSameWorld(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, err := RunRandom(Config{Seed: seed}, 24)
		if err != nil {
			t.Fatal(err)
		}
		b, err := RunRandom(Config{Seed: seed}, 24)
		if err != nil {
			t.Fatal(err)
		}
		if a.Hash != b.Hash || a.Messages != b.Messages {
			t.Errorf("seed %d: %x with %d messages, then %x with %d", seed, a.Hash, a.Messages, b.Hash, b.Messages)
		}
		if other, err := RunRandom(Config{Seed: seed + 1000}, 24); err != nil || other.Hash == a.Hash {
			t.Errorf("another seed gave the same world, or %v", err)
		}
	}
}

// TestCheckersSeeWhatIsWrong breaks a ring in ways that the checkers have to find.
func TestCheckersSeeWhatIsWrong(t *testing.T) {
	settled := func() (*World, []*Record) {
		w := New(Config{Seed: 5, Peers: 6})
		w.Start(0)
		if err := w.Settle(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		w.Run(time.Second)
		var records []*Record
		for i := range 6 {
			records = append(records, w.NewRecord(string(rune('a'+i)), w.Host(i)))
			w.Store(records[i])
		}
		w.Run(2 * time.Second)
		if err := w.Check(records); err != nil {
			t.Fatal(err)
		}
		return w, records
	}
	for name, spoil := range map[string]func(*World, []*Record){
		"a death that nobody has noticed":  func(w *World, _ []*Record) { w.Kill(2, Silent) },
		"a host that has not joined":       func(w *World, _ []*Record) { w.AddHost().Start(false) },
		"a record that was never stored":   func(w *World, r []*Record) { r[0].version, r[0].acked = 9, 9 },
		"three deaths, more than replicas": killHolders,
	} {
		w, records := settled()
		spoil(w, records)
		if err := w.Check(records); err == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
}

// killHolders kills the owner of a record and both replicas, and lets the others settle.
func killHolders(w *World, records []*Record) {
	for _, h := range w.Living() {
		if h.Node.Holds(records[0].Resource) {
			w.Kill(h.Index, Crash)
		}
	}
	w.Run(40 * time.Second)
}

// BenchmarkWorldSecond is one second in a settled ring of 32 peers, each fetching ten times.
func BenchmarkWorldSecond(b *testing.B) {
	w := New(Config{Seed: 1, Peers: 32, MaxDelay: 20 * time.Millisecond})
	w.Start(time.Second)
	w.Run(2 * time.Second)
	if err := w.Settle(time.Minute); err != nil {
		b.Fatal(err)
	}
	r := w.NewRecord("user", w.Host(0))
	w.Store(r)
	w.Run(10 * time.Second)
	before := w.Messages
	b.ReportAllocs()
	for b.Loop() {
		for range 10 {
			for _, h := range w.Living() {
				w.Fetch(r, h)
			}
			w.Run(100 * time.Millisecond)
		}
	}
	b.ReportMetric(float64(w.Messages-before)/float64(b.N), "messages/op")
	if err := w.Check([]*Record{r}); err != nil {
		b.Fatal(err)
	}
}
