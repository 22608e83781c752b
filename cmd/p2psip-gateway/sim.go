package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/report"
	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

const simAbout = `Plays an overlay of simulated peers: the program's own RELOAD, Chord and storage code, with virtual time, and with every message
encoded; only cryptography is replaced. The same seed gives the same run, message for message. It begins with a ring that has
settled, or lets the peers join (--join). Users are registered, then peers look users up while things happen; at the end every
registration is looked for.

Times are written as 200ms, 30s, 5m or 1h. Rates are per second, in the whole overlay. Shares are from 0 to 1. What more than one
flag can not say, a file can: docs/ring.md describes it, and --print shows what the flags come to.

  p2psip-gateway sim --peers 10000 --fail 0.5
  p2psip-gateway sim --peers 1000 --churn 0.4 --run 10m --json
  p2psip-gateway sim --scenario partition --seed 7`

// simOptions are the flags of the command.
type simOptions struct {
	name, file, delay string
	out               string
	json, print       bool
	strict            bool
	seed              uint64
	given             sim.Scenario
	fail, churn       float64
	partition         time.Duration
}

// runSim is `p2psip-gateway sim`.
func runSim(ctx context.Context, std stdio, args []string) int {
	var o simOptions
	fs := newFlags(std, "sim", "[flags]", simAbout)
	o.flags(fs)
	if code, ok := parseFlags(std, fs, args); !ok {
		return code
	}
	s, err := o.scenario(fs)
	if err != nil {
		return usageError(std, fs, err)
	}
	if o.print {
		fmt.Fprint(std.out, s)
		return exitOK
	}
	repeat := "p2psip-gateway sim " + strings.Join(withSeed(args, s.Seed), " ")
	if !o.json {
		fmt.Fprintf(std.err, "seed %d; to repeat this run: %s\n", s.Seed, repeat)
	}
	r := report.Report{Command: repeat, Version: version, Scenario: s}
	if r.Main, err = playTimed(ctx, std.err, s, o.strict); err == nil && o.out != "" {
		err = o.report(ctx, std, &r)
	}
	switch {
	case errors.Is(err, sim.ErrStopped):
		fmt.Fprintln(std.err, "p2psip-gateway sim: stopped")
		return exitForced
	case err != nil:
		fmt.Fprintf(std.err, "p2psip-gateway sim: %v\n      repeat: %s\n", err, repeat)
		return exitFatal
	}
	if o.json {
		err = writeJSON(std.out, r.Main)
	} else {
		err = writeTable(std.out, r.Main)
	}
	if err != nil {
		return failed(std, fs, err)
	}
	return exitOK
}

// report plays what else a report needs, and writes it.
func (o *simOptions) report(ctx context.Context, std stdio, r *report.Report) error {
	if err := curves(ctx, std.err, r.Scenario, r); err != nil {
		return err
	}
	if err := writeReport(o.out, r); err != nil {
		return err
	}
	fmt.Fprintf(std.err, "report: %s\n", filepath.Join(o.out, reportFile))
	return nil
}

func (o *simOptions) flags(fs *flag.FlagSet) {
	g := &o.given
	fs.StringVar(&o.name, "scenario", "", "`name` of a scenario that docs/ring.md quotes figures of, to begin with: "+scenarioNames())
	fs.StringVar(&o.file, "file", "", "`file` that holds a scenario, to begin with")
	fs.IntVar(&g.Peers, "peers", 1000, "`number` of peers at the start")
	fs.Uint64Var(&o.seed, "seed", 0, "`number` that decides about everything that is random; one is drawn, and told, when none is given")
	fs.DurationVar(&g.Join, "join", 0, "`time` within which the peers start and join one after the other; 0: they begin as a settled ring")
	fs.IntVar(&g.Users, "users", 1000, "`number` of registrations")
	fs.DurationVar(&g.Refresh, "refresh", 0, "`time` between two publications of a registration; 0: it is published once")
	fs.DurationVar(&g.Roam, "roam", 0, "`time` after which a user moves to another gateway, on the average; 0: never")
	fs.Float64Var(&g.Lookups, "lookups", 100, "lookups per second, in all: a `rate`")
	fs.DurationVar(&g.Run, "run", time.Minute, "`time` that is measured")
	fs.StringVar(&o.delay, "delay", "10ms 50ms", "how long a message is on its way: `D`, \"MIN MAX\", lan or wan")
	fs.Float64Var(&g.Network.Loss, "loss", 0, "`share` of the packets that links lose, and send again 200 ms later")
	fs.DurationVar(&g.Skew, "skew", 0, "`time` by which clocks are wrong, at most")
	fs.DurationVar(&g.Update, "update", 0, "chord-update-interval of the overlay; 0: the program's default")
	fs.DurationVar(&g.HoldDown, "hold-down", 0, "successor replacement hold-down `time`; 0: the program's default")
	fs.BoolVar(&g.Durable, "durable", false, "what a peer stores outlives it")
	fs.BoolVar(&g.SelfTuning, "self-tuning", false, "the overlay is a self-tuning one (RFC 7363)")
	fs.Float64Var(&o.churn, "churn", 0, "`rate`: peers per second that join, and that stop without a word, all the time")
	fs.Float64Var(&o.fail, "fail", 0, "`share` of the peers that stop at once, without a word, after a tenth of the run")
	fs.DurationVar(&o.partition, "partition", 0, "`time` for which half of the peers are cut off from the others, after a tenth of the run")
	fs.StringVar(&o.out, "out", "", "`directory` for a report with plots, which is made; smaller worlds are played for its curves")
	fs.BoolVar(&o.json, "json", false, "print one JSON object, and nothing else on standard output")
	fs.BoolVar(&o.strict, "strict", false, "when the ring is whole again, ask for every invariant that the tests ask for, and fail with what does not hold")
	fs.BoolVar(&o.print, "print", false, "print the scenario, for a file, and do not play it")
}

func scenarioNames() string {
	var names []string
	for _, s := range sim.Scenarios() {
		names = append(names, s.Name)
	}
	return strings.Join(names, ", ")
}

// scenario is what the flags ask for: a named scenario or a file, changed by the flags that were given.
func (o *simOptions) scenario(fs *flag.FlagSet) (s sim.Scenario, err error) {
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.name != "" && o.file != "" {
		return s, errors.New("--scenario and --file: one scenario at a time")
	}
	based := true
	switch {
	case o.name != "":
		if s, err = sim.NamedScenario(o.name); err != nil {
			return s, fmt.Errorf("--scenario: %w", err)
		}
	case o.file != "":
		text, err := os.ReadFile(o.file)
		if err != nil {
			return s, fmt.Errorf("--file: %w", err)
		}
		if s, err = sim.ParseScenario(string(text)); err != nil {
			return s, fmt.Errorf("--file %s: %w", o.file, err)
		}
	default:
		based = false
	}
	o.override(&s, func(name string) bool { return set[name] || !based })
	if s.Seed == 0 || set["seed"] {
		s.Seed = o.seed
	}
	if s.Seed == 0 {
		s.Seed = 1 + uint64(rand.Uint32())
	}
	if o.delay != "" && (set["delay"] || !based) {
		if err := s.ParseDelay(o.delay); err != nil {
			return s, fmt.Errorf("--delay %s: %w", o.delay, err)
		}
	}
	if err := o.check(); err != nil {
		return s, err
	}
	o.faults(&s)
	if err := s.Check(); err != nil {
		return s, fmt.Errorf("--%w", err)
	}
	return s, nil
}

// override takes over the flags that count.
func (o *simOptions) override(s *sim.Scenario, counts func(name string) bool) {
	g := &o.given
	for name, set := range map[string]func(){
		"peers": func() { s.Peers = g.Peers }, "join": func() { s.Join = g.Join }, "users": func() { s.Users = g.Users },
		"refresh": func() { s.Refresh = g.Refresh }, "roam": func() { s.Roam = g.Roam }, "lookups": func() { s.Lookups = g.Lookups },
		"run": func() { s.Run = g.Run }, "skew": func() { s.Skew = g.Skew }, "update": func() { s.Update = g.Update },
		"hold-down": func() { s.HoldDown = g.HoldDown }, "durable": func() { s.Durable = g.Durable },
		"self-tuning": func() { s.SelfTuning = g.SelfTuning },
		"loss":        func() { s.Network.Loss, s.Network.Resend = g.Network.Loss, 200*time.Millisecond },
	} {
		if counts(name) {
			set()
		}
	}
	if s.Network.Loss == 0 {
		s.Network.Resend = 0
	}
}

func (o *simOptions) check() error {
	g := &o.given
	for name, d := range map[string]time.Duration{"join": g.Join, "refresh": g.Refresh, "roam": g.Roam, "run": g.Run, "skew": g.Skew,
		"update": g.Update, "hold-down": g.HoldDown, "partition": o.partition} {
		if d < 0 {
			return fmt.Errorf("--%s %s: it must not be negative", name, d)
		}
	}
	switch {
	case g.Peers < 1:
		return fmt.Errorf("--peers %d: it must be at least 1", g.Peers)
	case !(o.fail >= 0 && o.fail < 1):
		return fmt.Errorf("--fail %g: it must be a share from 0 to below 1: who is left?", o.fail)
	case !(o.churn >= 0):
		return fmt.Errorf("--churn %g: it must be a number of peers per second", o.churn)
	case !(g.Network.Loss >= 0 && g.Network.Loss <= 0.9):
		return fmt.Errorf("--loss %g: it must be a share from 0 to 0.9", g.Network.Loss)
	case !(g.Lookups >= 0):
		return fmt.Errorf("--lookups %g: it must be a number per second", g.Lookups)
	case g.Update%time.Second != 0:
		return fmt.Errorf("--update %s: the configuration document counts whole seconds", g.Update)
	}
	return nil
}

// faults adds those that flags name.
func (o *simOptions) faults(s *sim.Scenario) {
	at := s.Run / 10
	if o.partition > 0 {
		s.Run = max(s.Run, at+o.partition+time.Minute)
		s.Faults = append(s.Faults, sim.Fault{At: at, What: sim.FaultPartition, Amount: 0.5, Share: true, For: o.partition})
	}
	if o.fail > 0 {
		s.Faults = append(s.Faults, sim.Fault{At: at, What: sim.FaultKill, Amount: o.fail, Share: true})
	}
	if o.churn > 0 {
		s.Faults = append(s.Faults, sim.Fault{What: sim.FaultChurn, Amount: o.churn, For: s.Run})
	}
}

// withSeed is the command line with the seed that was drawn.
func withSeed(args []string, seed uint64) []string {
	out := make([]string, 0, len(args)+2)
	for _, a := range args {
		if strings.ContainsAny(a, " \t'\"$\\") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		out = append(out, a)
	}
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(strings.TrimLeft(a, "-"), "seed") }) {
		out = append(out, "--seed", fmt.Sprint(seed))
	}
	return out
}

// largeWorld is from how many peers on memory counts for more than time, and hugeWorld from how many on for much more.
const (
	largeWorld = 3000
	hugeWorld  = 30_000
)

// playTimed plays a scenario and measures how fast that was.
func playTimed(ctx context.Context, progress io.Writer, s sim.Scenario, strict bool) (sim.Result, error) {
	// Small worlds make much garbage and hold little; large ones are to fit into the machine.
	percent := 400
	switch {
	case s.Peers > hugeWorld:
		percent = 20
	case s.Peers > largeWorld:
		percent = 60
	}
	defer debug.SetGCPercent(debug.SetGCPercent(percent))
	begin := time.Now()
	p := newProgress(progress)
	m, err := s.Play(sim.Options{Progress: p.show, Strict: strict, Stop: func() bool { return ctx.Err() != nil }})
	p.done()
	m.EventsPerSecond = float64(m.Events) / time.Since(begin).Seconds()
	return m, err
}

func writeJSON(w io.Writer, m sim.Result) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}
