package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options say what is run.
type options struct {
	binary, kamailio    string
	gateways, redirects int
	phones, hot         int // hot: phones that are asked for in the phase of the caches
	rate                int // requests a second
	span, settle        time.Duration
	cache               time.Duration // redirect.cache; 0: what it is by itself
	json                string
	out                 func(format string, args ...any)
	most                time.Duration // that anything may take to be ready
}

func main() {
	o := options{most: 3 * time.Minute, out: func(format string, args ...any) { fmt.Printf(format, args...) }}
	flag.StringVar(&o.binary, "binary", "bin/p2psip-gateway", "the program")
	flag.StringVar(&o.kamailio, "kamailio", "", "start.sh of the load bench: measure Kamailio too")
	flag.IntVar(&o.gateways, "gateways", 10, "gateways")
	flag.IntVar(&o.redirects, "redirects", 3, "redirect peers")
	flag.IntVar(&o.phones, "phones", 10000, "registrations")
	flag.IntVar(&o.hot, "hot", 500, "phones that are asked for in the phase of the caches")
	flag.IntVar(&o.rate, "rate", 2000, "requests a second")
	flag.DurationVar(&o.span, "for", 20*time.Second, "how long each phase takes")
	flag.DurationVar(&o.settle, "settle", time.Minute, "pause behind the registrations, in which the overlay takes the certificates of the users")
	flag.DurationVar(&o.cache, "cache", 0, "redirect.cache; 0: what it is by itself")
	flag.StringVar(&o.json, "json", "", "file for the results")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "redirect-tier:", err)
		os.Exit(2)
	}
	r.print(o.out)
	if o.json != "" {
		b, _ := json.MarshalIndent(r, "", "  ") // numbers and words only
		if err := os.WriteFile(o.json, append(b, '\n'), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "redirect-tier:", err)
			os.Exit(2)
		}
	}
	if r.bad() {
		os.Exit(1)
	}
}

// run does everything.
func run(ctx context.Context, o options) (*report, error) {
	dir, err := os.MkdirTemp("", "redirect-tier")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := &report{Gateways: o.gateways, Redirects: o.redirects, Phones: o.phones, Rate: o.rate}
	t, err := start(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if err := t.registerAll(ctx, o); err != nil {
		return nil, err
	}
	if err := wait(ctx, o.settle); err != nil {
		return nil, err
	}
	home := func(user int) string { return t.gateways[user%len(t.gateways)].sip }
	c, err := newCallers(addresses(t.redirects), home)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for _, p := range phases(o, t) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.Phases = append(r.Phases, t.measure(ctx, c, p))
	}
	if o.kamailio != "" {
		err = compareKamailio(ctx, o, dir, r)
	}
	return r, err
}

// phases are what is measured.
func phases(o options, t *tier) []phase {
	all := o.rate * int(o.span/time.Millisecond) / 1000
	return []phase{
		{name: "everybody once", n: o.phones, rate: o.rate, user: func(i int) int { return i }},
		{name: "everybody at random", n: all, rate: o.rate, user: random(o.phones)},
		{name: "in the caches", n: all, rate: o.rate, user: random(o.hot)},
		{name: "one of the redirect peers is killed", n: all, rate: o.rate, user: random(o.phones), half: t.redirects[len(t.redirects)-1].kill},
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
