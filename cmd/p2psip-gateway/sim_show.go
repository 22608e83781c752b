package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

// progress shows how far a run is: a bar on a terminal, else a line now and then.
type progress struct {
	w     io.Writer
	tty   bool
	begin time.Time
	shown time.Time
	label string
}

// Times between two signs of progress.
const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 10 * time.Second
	barWidth     = 40
)

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, begin: time.Now(), shown: time.Now()}
	if f, ok := w.(*os.File); ok {
		s, err := f.Stat()
		p.tty = err == nil && s.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return p
}

// show is for a part of the whole, 0 to 1.
func (p *progress) show(part float64) {
	now := time.Now()
	switch {
	case p.tty && now.Sub(p.shown) >= barInterval:
		full := int(part * barWidth)
		fmt.Fprintf(p.w, "\r%s%s%s %3.0f%% %s ", p.label, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), part*100,
			now.Sub(p.begin).Round(time.Second))
	case !p.tty && now.Sub(p.shown) >= lineInterval:
		fmt.Fprintf(p.w, "%s%.0f%% after %s\n", p.label, part*100, now.Sub(p.begin).Round(time.Second))
	default:
		return
	}
	p.shown = now
}

// done takes the bar away.
func (p *progress) done() {
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// writeTable is the result for people.
func writeTable(w io.Writer, m sim.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("peers", "%d, %d at the end", m.Peers, m.PeersAtEnd)
	for _, f := range m.Faults {
		row("", "%s", f)
	}
	if m.Lookups > 0 {
		row("lookups", "%d, %d failed%s", m.Lookups, m.Failed, reasons(m.FailedWhy))
		row("hops", "%.2f on the average, 99%% take at most %.0f", m.HopsMean, m.HopsP99)
		row("dead peers met", "%.2f for a lookup", m.TimeoutsMean)
		row("time", "%.0f ms on the average, 99%% take at most %.0f ms", m.LatencyMean, m.LatencyP99)
	}
	if m.Stores > 0 {
		row("registrations", "%d acknowledged, %d lost", m.Stored, m.Lost)
	}
	switch {
	case m.HealSeconds < 0:
		row("healed", "no")
	case len(m.Faults) > 0:
		row("healed", "%.1f s after the last fault", m.HealSeconds)
	}
	row("traffic", "%.0f bytes a second sent by a peer, %.0f messages received; half of the peers %.0f or less, the busiest %.0f",
		m.BytesPerPeerSecond, m.Load.Mean, m.Load.Median, m.Load.Max)
	row("links", "%.0f of a peer on the average, %.0f at most", m.Links.Mean, m.Links.Max)
	if u := m.Tuning; u != nil {
		row("self-tuning", "about %.0f peers, a peer leaves every %.0f s; stabilizing every %.0f s, lists of %.0f", u.Size, 1/u.FailsPerSecond,
			u.IntervalSeconds, u.Lists)
	}
	row("simulated", "%.0f s, %d messages, %.0f events a second", m.VirtualSeconds, m.Messages, m.EventsPerSecond)
	row("seed", "%d, trace %s", m.Seed, m.TraceHash)
	return t.Flush()
}

func reasons(why map[string]int) string {
	if len(why) == 0 {
		return ""
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(why)) {
		out = append(out, fmt.Sprintf("%d %s", why[k], strings.TrimPrefix(k, "node: ")))
	}
	return ": " + strings.Join(out, ", ")
}
