package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/report"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// What the curves of a report are made of: worlds that are small enough to be played within a minute or two.
const (
	curvePeers     = 150 // of those with churn and failures, at most
	curveUsers     = 150
	curveRun       = 2 * time.Minute
	reportFile     = "index.html"
	scenarioFile   = "scenario.txt"
	resultFile     = "result.json"
	largestInCurve = 10_000 // peers: what is larger is only the run itself
)

var (
	curveSizes    = []int{10, 30, 100, 300, 1000, 3000, 10_000}
	curveChurn    = []float64{0, 1, 2, 4, 8} // peers a minute and hundred peers
	curveFailures = []float64{0.1, 0.2, 0.3, 0.4, 0.5}
)

// curves plays the worlds that the curves of a report need, with the delays and the seed of s.
func curves(ctx context.Context, w io.Writer, s sim.Scenario, r *report.Report) error {
	base := sim.Scenario{Seed: s.Seed, Delay: s.Delay, MinDelay: s.MinDelay, MaxDelay: s.MaxDelay, Update: s.Update, HoldDown: s.HoldDown}
	play := func(label string, s sim.Scenario) (sim.Result, error) {
		fmt.Fprintf(w, "for the report: %s\n", label)
		return playTimed(ctx, w, s, false)
	}
	for _, n := range curveSizes {
		if n > min(s.Peers, largestInCurve) {
			break
		}
		one := base
		one.Peers, one.Users, one.Lookups, one.Run, one.Warm = n, min(n, 500), 1000, 2*time.Second, 500*time.Millisecond
		m, err := play(fmt.Sprintf("hops among %d peers", n), one)
		if err != nil {
			return err
		}
		r.Sizes = append(r.Sizes, m)
	}
	base.Peers, base.Users, base.Lookups, base.Run = min(s.Peers, curvePeers), curveUsers, 20, curveRun
	for _, rate := range curveChurn {
		one := base
		one.Faults = []sim.Fault{{What: sim.FaultChurn, Amount: rate * float64(one.Peers) / 100 / 60, For: one.Run}}
		m, err := play(fmt.Sprintf("churn of %g peers a minute and hundred", rate), one)
		if err != nil {
			return err
		}
		r.Churn = append(r.Churn, report.Sample{X: rate, Result: m})
	}
	for _, share := range curveFailures {
		one := base
		one.Run = 20 * time.Second
		one.Faults = []sim.Fault{{What: sim.FaultKill, Amount: share, Share: true}}
		m, err := play(fmt.Sprintf("%g %% of the peers stop", 100*share), one)
		if err != nil {
			return err
		}
		r.Failures = append(r.Failures, report.Sample{X: share, Result: m})
	}
	return nil
}

// writeReport writes what is to be kept of a run into a directory, which it makes.
func writeReport(dir string, r *report.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var result strings.Builder
	if err := writeJSON(&result, r.Main); err != nil {
		return err
	}
	for name, text := range map[string]string{scenarioFile: r.Scenario.String(), resultFile: result.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(dir, reportFile))
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	err = r.Write(b)
	if e := b.Flush(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
