package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// options say what is run.
type options struct {
	binary string
	run    time.Duration
	rate   int // calls a second
	phones int
	// expires is what a REGISTER asks for. The overlay's record of a phone is stored again within half of it.
	expires time.Duration
}

const (
	samplePause = 5 * time.Second
	// settling is until the process holds what it always will at this rate: finished transactions for 32 s, the heap of some garbage
	// collections, which are 10 s apart, and what is left of the burst of first registrations.
	settling  = 2 * time.Minute
	tolerance = 0.05
	spare     = 16 // goroutines of a scrape, and of what the overlay does now and then
)

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/p2psip-gateway", "the program")
	flag.DurationVar(&o.run, "for", 30*time.Minute, "how long calls are made once memory has settled")
	flag.IntVar(&o.rate, "rate", 200, "calls a second")
	flag.IntVar(&o.phones, "phones", 10000, "registrations")
	flag.DurationVar(&o.expires, "expires", time.Hour, "lifetime of a registration; with 10m all records are stored again within five minutes, not half an hour")
	flag.Parse()
	bad, err := soak(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	for _, line := range bad {
		fmt.Println("FAILED:", line)
	}
	if len(bad) > 0 {
		os.Exit(1)
	}
	fmt.Println("flat, and no call failed")
}

// sample is what is seen of the process at a time.
type sample struct {
	at                       time.Duration
	rss                      int // kB, without mapped files
	goroutines, transactions int
	calls, failed            uint64
	p99                      time.Duration
}

// soak runs everything and returns what is wrong.
func soak(o options) (bad []string, err error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	g, err := start(o, dir)
	if err != nil {
		return nil, err
	}
	defer g.stop()
	idle, err := g.look()
	if err != nil {
		return nil, err
	}
	l, err := newLoad(o, g.sip)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.registerAll(); err != nil {
		return nil, err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	l.begin()
	begun, end := time.Now(), time.After(settling+o.run)
	tick := time.NewTicker(samplePause)
	defer tick.Stop()
	var all []sample
	fmt.Printf("%8s %9s %7s %8s %8s %11s %13s\n", "time", "calls", "failed", "p99 ms", "mem MB", "goroutines", "transactions")
	for running := true; running; {
		select {
		case <-tick.C:
			s, err := g.look()
			if err != nil {
				return nil, err
			}
			s.at = time.Since(begun).Round(time.Second)
			l.fill(&s)
			all = append(all, s)
			fmt.Printf("%8v %9d %7d %8.1f %8.1f %11d %13d\n", s.at, s.calls, s.failed, float64(s.p99.Microseconds())/1000, float64(s.rss)/1024, s.goroutines, s.transactions)
		case <-end:
			running = false
		case <-stop:
			running = false
		}
	}
	l.finish()
	return append(judge(all, idle, o.run), l.failures()...), nil
}

// judge finds what grew.
func judge(all []sample, idle sample, run time.Duration) (bad []string) {
	for _, s := range all {
		if most := idle.goroutines + s.transactions + spare; s.goroutines > most {
			bad = append(bad, fmt.Sprintf("at %v: %d goroutines, with %d transactions and %d when idle", s.at, s.goroutines, s.transactions, idle.goroutines))
			break
		}
	}
	for name, of := range map[string]func(sample) int{"memory in kB": func(s sample) int { return s.rss }, "goroutines": func(s sample) int { return s.goroutines }} {
		first, last := median(all, of, settling, settling+run/6), median(all, of, settling+run-run/6, settling+run+samplePause)
		fmt.Printf("%s: %d, and %d in the end\n", name, first, last)
		if first == 0 || last == 0 {
			bad = append(bad, name+": the run was too short to be judged")
			continue
		}
		if d := float64(last-first) / float64(first); d > tolerance || d < -tolerance && name != "memory in kB" {
			bad = append(bad, fmt.Sprintf("%s: %d, and %d in the end: %+.1f %%", name, first, last, 100*d))
		}
	}
	return bad
}

// median is that of the samples between two times.
func median(all []sample, of func(sample) int, from, to time.Duration) int {
	var v []int
	for _, s := range all {
		if s.at > from && s.at <= to {
			v = append(v, of(s))
		}
	}
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}
