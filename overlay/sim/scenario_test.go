package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// small is a scenario in which everything happens.
const small = `
peers 24
seed 7
join 3s              # by the protocol
delay wan
loss 0.01
resend 200ms
skew 2s
hold-down 2s
users 30
refresh 20s
roam 2m
lookups 15
run 80s
at 5s kill 1 back 10s
at 10s crash 1 back 10s
at 15s every 5s until 25s pause 2 for 2s
at 20s slow 2 for 10s by 20ms
at 30s join 5 over 3s
at 40s leave 2 over 1s back 5s
at 50s partition 25% for 15s
at 66s churn 0.1 for 10s orderly 0.5
at 66s sessions for 10s back 2s by 1m
`

func mustParse(t *testing.T, text string) Scenario {
	t.Helper()
	s, err := ParseScenario(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScenarioTextIsReadBack(t *testing.T) {
	all := append(Scenarios(), mustParse(t, small), mustParse(t, "delay 1ms 30ms\nreorder 0.1\nat 1s partition 5 for 2s oneway"))
	for _, s := range all {
		s = s.fill()
		s.Name = ""
		if got := mustParse(t, s.String()); cmp.Diff(s, got) != "" {
			t.Errorf("%s\n%s", s, cmp.Diff(s, got))
		}
	}
}

func TestScenarioThatMakesNoSenseIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"peers many":                          "line 1: peers: ",
		"\npeers 5\npiers 5":                  "line 3: piers: there is no such statement",
		"users -1":                            "users: -1 is not between",
		"loss 1":                              "loss: 1 is above 0.9",
		"run -5s":                             "run: must not be negative",
		"lookups NaN":                         "lookups: must not be negative",
		"delay 50ms 10ms":                     "delay: the least, 50ms, is above the most, 10ms",
		"delay far":                           "delay: time: invalid duration",
		"at 5s":                               "at: needs a value",
		"at 5s kill":                          "at: needs a value",
		"at 5s explode 5":                     `there is no "explode"; there are kill, crash`,
		"at 5s kill 120%":                     "a share is from 0% to 100%",
		"at 5s kill 5 softly":                 `at: there is no "softly"`,
		"at 5s kill 5 back":                   "at: back: needs a value",
		"at 5s pause 5":                       "for how long? say: for 1m",
		"at 5s slow 5 for 5s":                 "by how much? say: by 200ms",
		"at 5s every 5s kill 5":               "every needs until",
		"at 5s every 5s until 1s kill 5":      "until a later time",
		"at 5s churn 100000 for 1h":           "more than 10000 peers per second",
		"at 9000h kill 1":                     "too much, or too long",
		"at 5s every 1ns until 24h join 10\n": "at least 100ms",
	} {
		if _, err := ParseScenario(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func play(t *testing.T, s Scenario) Result {
	t.Helper()
	m, err := s.Play(Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, s)
	}
	return m
}

func TestSameSeedSameTraceOfAScenario(t *testing.T) {
	s := mustParse(t, small)
	a, b := play(t, s), play(t, s)
	if d := cmp.Diff(a, b, cmp.AllowUnexported(Result{})); d != "" {
		t.Errorf("two runs of one seed differ: %s", d)
	}
	s.Seed++
	if other := play(t, s); other.TraceHash == a.TraceHash {
		t.Error("another seed gave the same trace")
	}
	if a.Lookups < 500 || a.HealSeconds < 0 || a.Stored != 30 || a.BytesPerPeerSecond == 0 {
		t.Errorf("%+v", a)
	}
}

func TestBornRingIsTheRingThatJoiningMakes(t *testing.T) {
	for _, peers := range []int{1, 2, 3, 6, 7, 8, 50} {
		w := New(Config{Seed: 3, Peers: peers})
		w.Born()
		if err := w.Check(nil); err != nil {
			t.Errorf("%d peers: %v", peers, err)
		}
		w.Run(time.Minute)
		if err := w.Check(nil); err != nil {
			t.Errorf("%d peers, after a minute: %v", peers, err)
		}
	}
}

func TestMeasuresAreWhatHappened(t *testing.T) {
	calm := play(t, mustParse(t, "peers 100\nseed 1\nusers 50\nlookups 100\nrun 5s\naudit 2\ndelay 10ms 10ms"))
	if calm.Failed != 0 || calm.Lost != 0 || calm.Stored != 50 || calm.TimeoutsMean != 0 || calm.HealSeconds != 0 {
		t.Errorf("calm: %+v", calm)
	}
	if calm.HopsMean < 0.5 || calm.HopsMean > 5 || calm.LatencyMean < 2*10*calm.HopsMean*0.99 || calm.LatencyMean > 2*10*calm.HopsMean*1.01 {
		t.Errorf("%v hops of 10 ms there and back took %v ms", calm.HopsMean, calm.LatencyMean)
	}
	torn := play(t, mustParse(t, "peers 50\nseed 1\nusers 100\nlookups 100\nrun 15s\nat 0s kill 60%\n"))
	if torn.PeersAtEnd != 20 || torn.Lost == 0 || torn.FailedWhy[NoCopyLeft] == 0 || torn.TimeoutsMean == 0 || torn.HealSeconds < 1 {
		t.Errorf("torn: %+v", torn)
	}
	apart := play(t, mustParse(t, "peers 20\nseed 1\nusers 30\nrun 10s\nloss 0.9\nheal 5s\nat 0s crash 1"))
	if apart.HealSeconds != -1 {
		t.Errorf("healed in %v over links that lose nearly everything", apart.HealSeconds)
	}
}
