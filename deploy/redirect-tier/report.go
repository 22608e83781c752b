package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// report is what is found.
type report struct {
	Gateways, Redirects, Phones, Rate int
	Phases                            []figures
}

// figures are those of one phase.
type figures struct {
	Name                            string
	Requests, Right, Wrong, Missing int
	Again, Moved                    int     // asked again after 500 ms; at another peer at once
	Rate                            float64 // answers a second
	P50, P99, Max                   float64 // ms
	Redirects, Gateways             float64 // µs of CPU for a request; of a phase in which one is killed, of the others
	RedirectMemory, GatewayMemory   float64 // MB of all of them
	Examples                        []string
}

// bad reports whether an answer was wrong or missing.
func (r *report) bad() bool {
	for _, p := range r.Phases {
		if p.Wrong+p.Missing > 0 || p.Right == 0 {
			return true
		}
	}
	return false
}

// measure plays a phase and looks at the processes.
func (t *tier) measure(ctx context.Context, c *callers, p phase) figures {
	redirects := t.redirects
	if p.half != nil {
		redirects = redirects[:len(redirects)-1] // the last one is killed
	}
	return measure(ctx, c, p, pids(redirects), pids(t.gateways))
}

func measure(ctx context.Context, c *callers, p phase, redirects, gateways []int) figures {
	begun, r0, g0 := time.Now(), cpu(redirects), cpu(gateways)
	res := c.play(ctx, p)
	span := time.Since(begun)
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(p.n) }
	f := figures{Name: p.name, Requests: p.n, Right: res.right, Wrong: res.wrong, Missing: res.missing, Again: res.again, Moved: res.moved,
		Rate: float64(len(res.took)) / span.Seconds(), Redirects: per(cpu(redirects) - r0), Gateways: per(cpu(gateways) - g0),
		RedirectMemory: memory(redirects), GatewayMemory: memory(gateways), Examples: res.examples}
	if n := len(res.took); n > 0 {
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		f.P50, f.P99, f.Max = ms(res.took[n/2]), ms(res.took[n*99/100]), ms(res.took[n-1])
	}
	return f
}

func (r *report) print(out func(string, ...any)) {
	out("%d gateways, %d redirect peers, %d phones, %d requests a second\n\n", r.Gateways, r.Redirects, r.Phones, r.Rate)
	out("| %-36s | %8s | %8s | %5s | %7s | %5s | %5s | %8s | %8s | %8s | %9s | %9s |\n", "phase", "requests", "right", "wrong", "missing", "again", "moved", "p50 ms", "p99 ms", "max ms", "µs redir.", "µs gatew.")
	out("|%s|\n", strings.TrimSuffix(strings.Repeat("---|", 12), "|"))
	for _, p := range r.Phases {
		out("| %-36s | %8d | %8d | %5d | %7d | %5d | %5d | %8.1f | %8.1f | %8.1f | %9.0f | %9.0f |\n", p.Name, p.Requests, p.Right, p.Wrong, p.Missing, p.Again, p.Moved, p.P50, p.P99, p.Max, p.Redirects, p.Gateways)
	}
	for _, p := range r.Phases {
		for _, e := range p.Examples {
			out("%s: %s\n", p.Name, e)
		}
	}
}

// compareKamailio puts the same load on Kamailio, one server: with state, as a redirect server has it (RFC 3261 §8.3), and without.
func compareKamailio(ctx context.Context, o options, dir string, r *report) error {
	for _, mode := range []string{"redirect-tm", "redirect"} {
		p, err := port()
		if err != nil {
			return err
		}
		at := fmt.Sprint("127.0.0.1:", p)
		cmd := exec.Command(o.kamailio, mode, at)
		cmd.Env = append(os.Environ(), "RUN="+filepath.Join(dir, mode))
		if err := os.Mkdir(filepath.Join(dir, mode), 0o700); err != nil {
			return err
		}
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("kamailio: %w", err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			return fmt.Errorf("kamailio: %w", err)
		}
		f, err := playKamailio(ctx, o, at, mode, children(pid))
		_ = syscall.Kill(pid, syscall.SIGTERM)
		if err != nil {
			return err
		}
		r.Phases = append(r.Phases, f)
	}
	return nil
}

func playKamailio(ctx context.Context, o options, at, mode string, pids []int) (figures, error) {
	const home = "127.0.0.1:9"
	err := register(ctx, at, func(yield func(int, string) bool) {
		for i := 0; i < o.phones && yield(i, home); i++ {
			continue
		}
	})
	if err != nil {
		return figures{}, err
	}
	c, err := newCallers([]string{at}, func(int) string { return home })
	if err != nil {
		return figures{}, err
	}
	defer c.close()
	n := o.rate * int(o.span/time.Millisecond) / 1000
	return measure(ctx, c, phase{name: "Kamailio, " + mode, n: n, rate: o.rate, user: random(o.phones)}, pids, nil), nil
}

// children is a process with its children.
func children(pid int) []int {
	out := []int{pid}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(b)) {
		if child, err := strconv.Atoi(f); err == nil {
			out = append(out, child)
		}
	}
	return out
}
