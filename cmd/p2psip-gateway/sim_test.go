package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/report"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// simulate runs the command and returns what it wrote.
func simulate(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = runSim(t.Context(), stdio{in: strings.NewReader(""), out: &o, err: &e}, args)
	return code, o.String(), e.String()
}

func TestSimPrintsOneJSONObject(t *testing.T) {
	args := []string{"--peers", "30", "--users", "20", "--run", "10s", "--fail", "0.2", "--seed", "7", "--json"}
	code, out, errs := simulate(t, args...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, key := range strings.Fields(`peers seed trace_hash lookups failed hops_mean hops_p99 timeouts_mean stored lost heal_seconds
		bytes_per_peer_second events_per_second`) {
		if _, ok := m[key]; !ok {
			t.Errorf("no %s in %s", key, out)
		}
	}
	if m["peers"] != 30.0 || m["seed"] != 7.0 || m["stored"] != 20.0 || m["lookups"].(float64) < 500 {
		t.Errorf("%s", out)
	}
	_, again, _ := simulate(t, args...)
	var n map[string]any
	if err := json.Unmarshal([]byte(again), &n); err != nil || n["trace_hash"] != m["trace_hash"] {
		t.Errorf("the same seed gave another trace: %s", again)
	}
}

func TestSimDrawsASeedAndTellsIt(t *testing.T) {
	code, out, errs := simulate(t, "--peers", "10", "--users", "5", "--run", "2s", "--delay", "1ms 2ms")
	if code != exitOK || !strings.Contains(errs, "to repeat this run: p2psip-gateway sim --peers 10 --users 5 --run 2s --delay '1ms 2ms' --seed ") ||
		!strings.Contains(out, "5 acknowledged, 0 lost") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
}

func TestSimRefusesBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--peers -1":                       "--peers -1: it must be at least 1",
		"--peers 9000000":                  "--peers: 9000000 is not between 1 and 1000000",
		"--peers x":                        `--peers "x": want a number`,
		"--fail 1":                         "--fail 1: it must be a share from 0 to below 1",
		"--fail NaN":                       "--fail NaN: it must be a share",
		"--churn -1":                       "--churn -1: it must be a number of peers per second",
		"--loss 0.95":                      "--loss 0.95: it must be a share from 0 to 0.9",
		"--partition -5m":                  "--partition -5m0s: it must not be negative",
		"--update 1500ms":                  "counts whole seconds",
		"--delay soon":                     "--delay soon: ",
		"--scenario none":                  `--scenario: there is no scenario "none"; there are hops-1000, `,
		"--file /none/there":               "--file: open /none/there: ",
		"--scenario half --file x":         "one scenario at a time",
		"--users 1 stray":                  `unexpected argument "stray"`,
		"--run 10000h --peers 10 --seed 3": "none may be longer than",
	} {
		if code, out, errs := simulate(t, strings.Fields(args)...); code != exitUsage || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q, want %q", args, code, errs, want)
		}
	}
}

func TestSimPrintsAScenarioThatItCanRead(t *testing.T) {
	code, out, errs := simulate(t, "--scenario", "pairs", "--peers", "50", "--seed", "9", "--loss", "0.01", "--print")
	if code != exitOK || !strings.Contains(out, "peers 50\nseed 9\n") || !strings.Contains(out, "every 30s until 59m0s kill 2 back 15s") ||
		!strings.Contains(out, "loss 0.01\nresend 200ms\n") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestSimReportIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "report")
	r := report.Report{Scenario: sim.Scenario{Seed: 5, Peers: 3, Users: 2, Run: 3e9}, Main: sim.Result{Peers: 3, Seed: 5}}
	if err := writeReport(dir, &r); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{reportFile: "An overlay of 3 peers", scenarioFile: "peers 3\nseed 5\nusers 2\nrun 3s\n",
		resultFile: `{"peers":3,"seed":5,`} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %v, %.200s", name, err, b)
		}
	}
	again, _, _ := simulate(t, "--file", filepath.Join(dir, scenarioFile), "--print")
	if again != exitOK {
		t.Errorf("the kept scenario is not read: exit %d", again)
	}
}
