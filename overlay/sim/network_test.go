package sim

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWallKeepsPacketsIn(t *testing.T) {
	w := New(Config{Seed: 1, Peers: 4})
	a, b, c := w.Host(0), w.Host(1), w.Host(2)
	both, out := w.Raise([]*Host{a}, false), w.Raise([]*Host{b}, true)
	for _, x := range []struct {
		from, to *Host
		blocked  bool
	}{{a, c, true}, {c, a, true}, {b, c, true}, {c, b, false}, {c, w.Host(3), false}} {
		if got := w.blocked(x.from, x.to); got != x.blocked {
			t.Errorf("from %d to %d: blocked is %v", x.from.Index, x.to.Index, got)
		}
	}
	w.Fell(both)
	if w.blocked(a, c) || w.blocked(c, a) || !w.blocked(b, c) {
		t.Error("the wrong wall fell")
	}
	again := w.Raise([]*Host{c}, false)
	if again.bit == out.bit || !w.blocked(a, c) || w.SameSide(b, a) {
		t.Error("two walls are one")
	}
}

func TestLossIsRepairedOrNot(t *testing.T) {
	w := New(Config{Seed: 1, Network: Network{Loss: 0.3}})
	gone, late := 0, time.Duration(0)
	for range 10_000 {
		if _, lost := w.lost(); lost {
			gone++
		}
	}
	w.SetNetwork(Network{Loss: 0.3, Resend: 100 * time.Millisecond})
	for range 10_000 {
		d, lost := w.lost()
		if late += d; lost {
			t.Fatal("lost, although the link sends again")
		}
	}
	// 0.3·100 ms + 0.3²·200 ms + 0.3³·400 ms and so on.
	if mean := late / 10_000; gone < 2800 || gone > 3200 || mean < 65*time.Millisecond || mean > 85*time.Millisecond {
		t.Errorf("%d of 10000 lost; or late by %v", gone, mean)
	}
}

func TestDelaysAreWhatTheyAreCalled(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if d := LANDelay()(r, 0, 1); d < 100*time.Microsecond || d > 21*time.Millisecond {
			t.Fatalf("LAN: %v", d)
		}
		from, to := r.IntN(50), r.IntN(50)
		least := time.Duration(oneWay[from%Regions][to%Regions] * float64(time.Millisecond))
		if d := WANDelay()(r, from, to); d < least || d > 5*least {
			t.Fatalf("from %d to %d: %v", from, to, d)
		}
	}
	for i := range Regions {
		for j := range Regions {
			if oneWay[i][j] != oneWay[j][i] {
				t.Errorf("from %d to %d it is not as far as back", i, j)
			}
		}
	}
}

func TestPausedHostGoesOnWhereItStopped(t *testing.T) {
	w, records := populated(t, Config{Seed: 2, Peers: 3, MaxDelay: 5 * time.Millisecond}, 6)
	h := w.Host(1)
	before := h.Traffic().Received
	h.Pause()
	w.Run(time.Second)
	for _, r := range records {
		w.Fetch(r, w.Host(0))
	}
	w.Run(time.Second)
	if h.Traffic().Received != before {
		t.Error("it took messages while it stood still")
	}
	h.Resume()
	w.Run(5 * time.Second)
	if h.Traffic().Received == before {
		t.Error("it takes no messages any more")
	}
	if err := w.Check(records); err != nil {
		t.Error(err)
	}
}

// Links that lose, double and overtake messages for good cost time, and no registration.
func TestDatagramsLoseNothing(t *testing.T) {
	m := play(t, mustParse(t, "peers 30\nseed 4\nusers 40\nlookups 20\nrun 30s\naudit 3\nloss 0.02\nduplicate 0.05\nreorder 0.05\nat 5s slow 2 for 10s by 30ms"))
	if m.Stored != 40 || m.Lost != 0 || m.Failed > m.Lookups/50 || m.LatencyP99 < 1000 {
		t.Errorf("%+v", m)
	}
}
