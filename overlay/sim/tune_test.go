package sim

import (
	"slices"
	"testing"
	"time"
)

// TestSelfTuningMixedWorlds plays worlds with every kind of network, work and fault as self-tuning overlays, and asks for all
// invariants when each has had time to heal.
//
// Conformance: J-01 J-02
func TestSelfTuningMixedWorlds(t *testing.T) {
	seeds := uint64(40)
	if raceEnabled {
		seeds = 8
	}
	for seed := range seeds {
		s := Mixed(1+seed, maxMixedPeers)
		s.SelfTuning = true
		if m, err := s.Play(Options{Strict: true}); err != nil || m.Tuning == nil {
			t.Errorf("%v, %+v\nrepeat: p2psip-gateway sim --strict --file FILE with\n\n%s", err, m.Tuning, s)
		}
	}
}

// stationary is a world in which peers join and go, half of them in order, for so long that its ages and its history are
// those of the churn. Each peer stays for life on the average, and then lookups are measured.
func stationary(t *testing.T, seed uint64, peers int, life time.Duration) Result {
	t.Helper()
	run := 2 * life
	s := Scenario{Seed: seed, Peers: peers, SelfTuning: true, Users: peers / 2, Lookups: 0.2, Run: run,
		Faults: []Fault{{What: FaultChurn, Amount: float64(peers) / life.Seconds(), For: run, Orderly: 0.5}}}
	m, err := s.Play(Options{Strict: true})
	if err != nil {
		t.Errorf("%v\n%s", err, s)
	}
	if m.Failed > 0 || m.Lost > 0 {
		t.Errorf("%d of %d lookups failed and %d registrations were lost\n%s", m.Failed, m.Lookups, m.Lost, s)
	}
	t.Logf("%d peers, %d at the end, life %v: %+v, %.0f octets a second", peers, m.PeersAtEnd, life, *m.Tuning, m.BytesPerPeerSecond)
	return m
}

// within reports whether got is want, up to a factor either way.
func within(got, want, factor float64) bool { return got >= want/factor && got <= want*factor }

// TestRFC7363_6_EstimatesUnderChurn compares what the peers go by with what the scenario does, for churns that are a factor of six
// apart. RFC 7363 has a size within 15 %, U within 17 % and L within 22 %, of which the 75th percentile is above the truth by its
// nature; and L by 1/ln 2, since the median age of peers that stay for 1/U is ln 2 of it. In small rings a history has few
// failures.
//
// Conformance: J-07 J-09 J-11 J-12 J-13
func TestRFC7363_6_EstimatesUnderChurn(t *testing.T) {
	const peers = 40
	var intervals []float64
	for _, life := range []time.Duration{10 * time.Minute, time.Hour} {
		var u, interval []float64 // of three worlds: few peers fail in each
		for seed := range uint64(3) {
			m := stationary(t, 1+seed, peers, life)
			got, n := m.Tuning, float64(m.PeersAtEnd)
			if !within(got.Size, n, 1.6) {
				t.Errorf("%.0f peers, there are %v", got.Size, n)
			}
			if want := float64(peers) / life.Seconds(); !within(got.JoinsPerSecond, want, 4) {
				t.Errorf("L %.4f, it is %.4f", got.JoinsPerSecond, want)
			}
			u, interval = append(u, got.FailsPerSecond), append(interval, got.IntervalSeconds)
		}
		slices.Sort(u)
		slices.Sort(interval)
		if want := 1 / life.Seconds(); !within(u[1], want, 3) {
			t.Errorf("U %.6f, it is %.6f", u, want)
		}
		intervals = append(intervals, interval[1])
	}
	if intervals[0] > 30 || intervals[1] < 2*intervals[0] {
		t.Errorf("intervals of %v s: the first churn is six times the second", intervals)
	}
}

// TestRFC7363_6_EstimatesOfSizes: rings of 20 to 500 in which nothing happens.
//
// Conformance: J-07 J-08
func TestRFC7363_6_EstimatesOfSizes(t *testing.T) {
	for n, lists := range map[int][2]float64{20: {5, 5}, 100: {7, 7}, 500: {9, 10}} {
		if raceEnabled && n > 100 {
			continue
		}
		w := New(Config{Seed: 2, Peers: n, Crypto: -1, Links: -1, Overlay: Scenario{SelfTuning: true}.overlay()})
		w.Born()
		w.Run(2 * time.Minute)
		got := w.tuning()
		t.Logf("%d peers: %+v", n, *got)
		if !within(got.Size, float64(n), 1.3) || got.Lists < lists[0] || got.Lists > lists[1] {
			t.Errorf("%d peers: %+v", n, *got)
		}
	}
}
