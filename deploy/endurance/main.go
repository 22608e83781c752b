package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// config is a run.
type config struct {
	peers, sites, users int
	registers, lookups  float64 // a second
	span, grace         time.Duration
	hold, calm          time.Duration
	seed                uint64
	program, out, work  string
}

func main() {
	var c config
	flag.IntVar(&c.peers, "peers", 30, "`number` of gateway processes, at least 4")
	flag.IntVar(&c.sites, "sites", 4, "`number` of network namespaces that they are spread over, at least 2")
	flag.IntVar(&c.users, "users", 400, "`number` of AORs")
	flag.Float64Var(&c.registers, "registers", 20, "REGISTERs a second")
	flag.Float64Var(&c.lookups, "lookups", 20, "lookups a second")
	flag.DurationVar(&c.span, "for", 30*time.Minute, "how long")
	flag.DurationVar(&c.grace, "grace", 30*time.Second, "time after a fault in which not everything must be found")
	flag.DurationVar(&c.hold, "hold", 60*time.Second, "longest time that a fault stays, the shortest is a quarter of it")
	flag.DurationVar(&c.calm, "calm", 10*time.Second, "time without a fault after the grace time")
	flag.Uint64Var(&c.seed, "seed", rand.Uint64(), "`number` that decides which faults come when")
	flag.StringVar(&c.program, "program", "", "`file` of the p2psip-gateway program; it is built when not given")
	flag.StringVar(&c.out, "out", "", "`directory` for report.html and report.json")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, c, os.Stderr)
	if r != nil {
		fmt.Print(r.text())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "endurance:", err)
		os.Exit(1)
	}
}

// run does it all: namespaces, peers, load, faults, sweep, report.
func run(ctx context.Context, c config, progress io.Writer) (_ *report, err error) {
	if c.peers < 4 || c.sites < 2 || c.sites > 200 || c.users < 1 || c.registers <= 0 || c.lookups <= 0 || c.hold < 4 {
		return nil, errors.New("want 4 peers, 2 to 200 sites, 1 user and rates above 0 at least")
	}
	begin := time.Now()
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(progress, "%7s  %s\n", time.Since(begin).Round(time.Second), fmt.Sprintf(format, args...))
	}
	if c.work, err = os.MkdirTemp("", "endurance-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			say("the peers' logs are in %s", c.work)
			return
		}
		_ = os.RemoveAll(c.work)
	}()
	if c.program == "" {
		c.program = filepath.Join(c.work, "p2psip-gateway")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", c.program, "github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	n, err := newNetwork(c.sites)
	if err != nil {
		return nil, err
	}
	defer n.close()
	say("%d peers at %d sites, seed %d", c.peers, c.sites, c.seed)
	r, err := newRing(c.program, c.work, n, c)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	for _, p := range r.peers {
		if err := r.start(ctx, p); err != nil {
			return nil, err
		}
	}
	say("all peers have joined")
	return drive(ctx, c, n, r, say)
}

// drive lets load and faults run and makes the report.
func drive(ctx context.Context, c config, n *network, r *ring, say func(string, ...any)) (*report, error) {
	var sites []*phones
	for _, s := range n.sites {
		p, err := newPhones(s)
		if err != nil {
			return nil, err
		}
		defer func() { _ = p.conn.Close() }()
		sites = append(sites, p)
	}
	rec := newRecorder(c.grace, time.Now())
	l := newLoad(c, r, sites, rec)
	h := &hand{c: c, ring: r, net: n, rec: rec, load: l, rng: rand.New(rand.NewPCG(c.seed, 2)), say: say}
	loaded, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.run(loaded)
	}()
	err := h.run(ctx, time.Now().Add(c.span))
	stop()
	<-ended
	if err != nil {
		return nil, err
	}
	say("everybody is asked for everybody")
	l.sweep(ctx, r.peers)
	rep := newReport(c, rec)
	if c.out != "" {
		if err := rep.write(c.out); err != nil {
			return rep, err
		}
	}
	if rep.Figures.Violations > 0 {
		return rep, fmt.Errorf("%d violations", rep.Figures.Violations)
	}
	return rep, nil
}
