package sim

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

const (
	maxMixedPeers = 24
	shrinkTries   = 150
)

// TestMixedWorlds plays worlds with every kind of network, work and fault, two at a time, and asks for all invariants when each
// has had time to heal. -seeds says how many, -fresh begins anywhere, and -seed N plays one. A world that fails is made small.
//
// Conformance: C-13 D-52 E-05
func TestMixedWorlds(t *testing.T) {
	seeds := 60
	if raceEnabled {
		seeds = 10
	}
	if *seedsFlag != 0 {
		seeds = *seedsFlag
	}
	first := firstSeed()
	if *seedFlag != 0 {
		first, seeds = *seedFlag, 1
	}
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	begin := time.Now()
	workers := runtime.GOMAXPROCS(0)
	events := make([]int, workers)
	var wait sync.WaitGroup
	for k := range workers {
		wait.Go(func() {
			for i := k; i < seeds; i += workers {
				events[k] += oneMixed(t, first+uint64(i))
			}
		})
	}
	wait.Wait()
	sum := 0
	for _, n := range events {
		sum += n
	}
	t.Logf("%d worlds from seed %d on, %d events in %v", seeds, first, sum, time.Since(begin).Round(time.Millisecond))
}

func oneMixed(t *testing.T, seed uint64) (events int) {
	t.Helper()
	s := Mixed(seed, maxMixedPeers)
	m, err := s.Play(Options{Strict: true})
	if err == nil {
		return m.Events
	}
	small := Shrink(s, func(s Scenario) bool {
		_, err := s.Play(Options{Strict: true})
		return err != nil
	}, shrinkTries)
	_, smallErr := small.Play(Options{Strict: true})
	t.Errorf("%v\nrepeat: go test ./overlay/sim -run TestMixedWorlds -v -seed %d\nor, smaller, p2psip-gateway sim --strict --file FILE with\n\n%s\n%v",
		err, seed, small, smallErr)
	return m.Events
}

// The shrinker against failures of which the cause is known.
func TestShrinkLeavesTheCause(t *testing.T) {
	s := mustParse(t, small)
	kills := func(s Scenario) bool { // of two peers or more among at least five
		for _, f := range s.Faults {
			if f.What == FaultPause && f.Amount >= 2 && s.Peers >= 5 {
				return true
			}
		}
		return false
	}
	got := Shrink(s, kills, 1000)
	want := mustParse(t, fmt.Sprintf("peers 5\nseed %d\ndelay 10ms 10ms\nhold-down 2s\nusers 1\nrun 1s\nat 1s pause 2 for 1s", s.Seed))
	if strings.ReplaceAll(got.String(), "for 1s", "") != strings.ReplaceAll(want.String(), "for 1s", "") && len(got.Faults) != 1 || got.Peers != 5 || got.Users != 1 {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if again := Shrink(s, kills, 3); !kills(again) {
		t.Errorf("after three tries it does not fail any more:\n%s", again)
	}
}

// A world of which the owner and both replicas of something die at once has lost something, and its smallest form still has.
func TestStrictSeesWhatIsLost(t *testing.T) {
	s := mustParse(t, "peers 12\nseed 1\nusers 40\nlookups 5\nrun 20s\nhold-down 2s\nat 1s kill 60%\nat 10s join 2 over 1s")
	fails := func(s Scenario) bool {
		_, err := s.Play(Options{Strict: true})
		return err != nil && strings.Contains(err.Error(), "lost")
	}
	if !fails(s) {
		t.Fatal("nothing was found")
	}
	if got := Shrink(s, fails, 60); !fails(got) || len(got.Faults) != 1 || got.Peers > 6 {
		t.Errorf("shrunk to\n%s", got)
	}
}

// A host is stranded only while it has not been in the ring and nobody is left at the addresses that it knows.
func TestStrandedHosts(t *testing.T) {
	w := New(Config{Seed: 4, Peers: 3})
	w.Start(time.Second)
	w.Run(10 * time.Second)
	h := w.AddHost()
	h.Start(false)
	if w.stranded(h) {
		t.Error("stranded, though all of its bootstrap nodes are up")
	}
	w.Run(10 * time.Second)
	for _, o := range w.Hosts()[:3] {
		w.Kill(o.Index, Crash)
	}
	w.Run(time.Second)
	if w.stranded(h) {
		t.Error("stranded, though it has been in the ring")
	}
	late := w.AddHost()
	late.start(false, []string{w.Host(0).address(), late.address()})
	late.input("start", func() { late.Node.Tick(late.now()) })
	w.Run(10 * time.Second)
	if !w.stranded(late) {
		t.Error("not stranded, though nobody is where it looks")
	}
	w.Host(0).start(false, []string{h.address()})
	w.Host(0).input("start", func() { w.Host(0).Node.Tick(w.Host(0).now()) })
	w.Run(40 * time.Second)
	if w.stranded(late) || late.Node.State() != node.Joined {
		t.Errorf("stranded, though a bootstrap node is up again: %s", late.Node.State())
	}
}
