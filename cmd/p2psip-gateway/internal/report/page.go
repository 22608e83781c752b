// Package report makes the report of `p2psip-gateway sim`: one HTML file with plots that needs nothing else, light or dark
// as the reader's system is. It holds no state, and its functions are safe for concurrent use.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

// Report is what a report shows. Of the lists, those that are empty are not plotted.
type Report struct {
	Command, Version string
	Scenario         sim.Scenario
	Main             sim.Result
	Sizes            []sim.Result // calm worlds of several sizes, ascending
	Churn            []Sample     // the same world, with more and more churn
	Failures         []Sample     // the same world, of which more and more stops
}

// Sample is a result in dependence on something.
type Sample struct {
	X      float64 // peers that join, and go, per minute and hundred peers; or the share that stops
	Result sim.Result
}

type fact struct {
	Name, Value string
	Wrong       bool
}

type row struct {
	Name   string
	Values []string
}

// Write writes the page.
func (r *Report) Write(w io.Writer) error {
	m := &r.Main
	data := struct {
		Title, Subtitle, Command, Version, Scenario string
		Facts                                       []fact
		Charts                                      []Chart
		Spreads                                     []row
	}{
		Title:    fmt.Sprintf("An overlay of %s peers", thousands(m.Peers)),
		Subtitle: fmt.Sprintf("Simulated from seed %d · %.0f s of virtual time · %s messages · trace %s", m.Seed, m.VirtualSeconds, thousands(m.Messages), m.TraceHash),
		Command:  r.Command, Version: r.Version, Scenario: r.Scenario.String(),
		Facts: r.facts(), Charts: r.charts(),
		Spreads: []row{spreadRow("messages received a second", m.Load), spreadRow("bytes sent a minute", m.Bytes), spreadRow("links", m.Links)},
	}
	return page.Execute(w, data)
}

func (r *Report) facts() []fact {
	m := &r.Main
	heal := fact{"to heal after the last fault", fmt.Sprintf("%.1f s", m.HealSeconds), m.HealSeconds < 0}
	switch {
	case m.HealSeconds < 0:
		heal.Value = "never"
	case len(m.Faults) == 0:
		heal.Value = "–"
	}
	return []fact{
		{"lookups", thousands(m.Lookups), false},
		{"of them failed", thousands(m.Failed), m.Failed > 0},
		{fmt.Sprintf("hops a lookup; 99 %% take at most %.0f", m.HopsP99), fmt.Sprintf("%.2f", m.HopsMean), false},
		{"dead peers met by a lookup", fmt.Sprintf("%.2f", m.TimeoutsMean), false},
		{fmt.Sprintf("of %s registrations lost", thousands(m.Stored)), thousands(m.Lost), m.Lost > 0},
		heal,
		{"bytes a second sent by a peer", thousands(int(m.BytesPerPeerSecond)), false},
		{"events a second simulated", thousands(int(m.EventsPerSecond)), false},
	}
}

func (r *Report) charts() []Chart {
	charts := []Chart{r.hops()}
	if len(r.Churn) > 0 {
		charts = append(charts, r.churn())
	}
	if len(r.Failures) > 0 {
		charts = append(charts, r.heal())
	}
	return append(charts, r.overTime(), r.traffic(), r.load(), r.bytes(), r.hopCounts())
}

// hops is the plot against the number of peers.
func (r *Report) hops() Chart {
	c := Chart{Title: "Hops against the number of peers", X: "peers", Y: "hops a lookup", LogX: true,
		Note: "Calm rings that have settled. The dashed line is ½·log₂ N, which Chord takes with one finger for each power of two."}
	mean, most := Series{Name: "mean", Dots: true}, Series{Name: "99 % take at most", Dots: true}
	theory := Series{Name: "½·log₂ N", Dashed: true}
	for _, m := range r.Sizes {
		n := float64(m.Peers)
		mean.Points = append(mean.Points, Point{n, m.HopsMean})
		most.Points = append(most.Points, Point{n, m.HopsP99})
		theory.Points = append(theory.Points, Point{n, math.Log2(n) / 2})
	}
	c.Series = []Series{mean, most, theory}
	return c
}

func (r *Report) churn() Chart {
	c := Chart{Title: "Failures against churn", X: "peers that join, and that stop unseen, a minute and hundred peers", Y: "of 10,000 lookups",
		Note: fmt.Sprintf("Rings of %d peers, %.0f s each. Lost are registrations that could not be found at the end, of 10,000.",
			r.Churn[0].Result.Peers, r.Churn[0].Result.VirtualSeconds)}
	failed, lost := Series{Name: "failed lookups", Bad: true, Dots: true}, Series{Name: "lost registrations", Dots: true}
	for _, s := range r.Churn {
		failed.Points = append(failed.Points, Point{s.X, per(s.Result.Failed, s.Result.Lookups)})
		lost.Points = append(lost.Points, Point{s.X, per(s.Result.Lost, s.Result.Stored)})
	}
	c.Series = []Series{failed, lost}
	return c
}

func per(n, of int) float64 { return 10_000 * float64(n) / float64(max(1, of)) }

func (r *Report) heal() Chart {
	c := Chart{Title: "Time to heal", X: "% of the peers that stop at once, unseen", Y: "seconds",
		Note: fmt.Sprintf("Rings of %d peers: until all that are left are one ring, and every registration of which there is a copy is where it is looked for.",
			r.Failures[0].Result.Peers)}
	s := Series{Dots: true}
	for _, f := range r.Failures {
		if f.Result.HealSeconds >= 0 {
			s.Points = append(s.Points, Point{100 * f.X, f.Result.HealSeconds})
		}
	}
	c.Series = []Series{s}
	return c
}

func (r *Report) overTime() Chart {
	ok, failed := Series{Name: "answered"}, Series{Name: "failed", Bad: true}
	step := 1.0
	if len(r.Main.Series) > 0 {
		step = r.Main.Series[0].At
	}
	for _, p := range r.Main.Series {
		ok.Points = append(ok.Points, Point{p.At, float64(p.Lookups-p.Failed) / step})
		failed.Points = append(failed.Points, Point{p.At, float64(p.Failed) / step})
	}
	return Chart{Title: "Lookups over time", X: "seconds until they began", Y: "a second", Series: []Series{ok, failed}, Spans: r.spans(), Note: r.spanNote()}
}

func (r *Report) traffic() Chart {
	s := Series{}
	for _, p := range r.Main.Series {
		s.Points = append(s.Points, Point{p.At, p.BytesPerPeerSecond * 60})
	}
	return Chart{Title: "Bytes per peer and minute over time", X: "seconds", Y: "bytes a minute", Series: []Series{s}, Spans: r.spans(), Note: r.spanNote()}
}

func (r *Report) spanNote() string {
	if len(r.Main.Faults) == 0 {
		return "Nothing happened."
	}
	return "Shaded is when something happened; the scenario below says what."
}

// maxSpans is how many spans a plot shows of faults that come again and again.
const maxSpans = 300

func (r *Report) spans() (out []Span) {
	for _, f := range r.Scenario.Faults {
		for at := f.At; len(out) < maxSpans; at += f.Every {
			out = append(out, Span{at.Seconds(), (at + max(f.For, f.Over)).Seconds(), f.String()})
			if f.Every == 0 || at+f.Every > f.Until {
				break
			}
		}
	}
	return out
}

// bins is how many bars a histogram has, about.
const bins = 32

func histogram(values []float64) (out []Point) {
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	ticks := niceTicks(0, top, bins)
	step := ticks[1] - ticks[0]
	counts := make([]int, len(ticks))
	for _, v := range values {
		counts[int(v/step)]++
	}
	for i, n := range counts[:len(counts)-1] {
		out = append(out, Point{float64(i) * step, float64(n)})
	}
	out[len(out)-1].Y += float64(counts[len(counts)-1])
	return out
}

func (r *Report) load() Chart {
	return Chart{Title: "Load per peer", X: "messages received a second", Y: "peers", Bars: true, Series: []Series{{Points: histogram(r.Main.LoadOf)}},
		Note: "Peers that were up from the beginning of the measurement to its end: their own requests, those that they answer and those that they pass on."}
}

func (r *Report) bytes() Chart {
	return Chart{Title: "Bytes per peer and minute", X: "bytes sent a minute", Y: "peers", Bars: true, Series: []Series{{Points: histogram(r.Main.BytesOf)}},
		Note: "RELOAD messages with their frames; TLS, TCP and IP are not counted."}
}

func (r *Report) hopCounts() Chart {
	s := Series{}
	for hops, n := range r.Main.HopCounts {
		s.Points = append(s.Points, Point{float64(hops), float64(n)})
	}
	return Chart{Title: "Hops of a lookup", X: "hops", Y: "lookups", Bars: true, Centered: true, Series: []Series{s},
		Note: "Links from the peer that asks to the one that answers; 0 is an answer of its own."}
}

func spreadRow(name string, s sim.Spread) row {
	r := row{Name: name}
	for _, v := range []float64{s.Min, s.Median, s.P90, s.P99, s.Max, s.Mean} {
		r.Values = append(r.Values, short(v))
	}
	return r
}

// thousands writes a number with a thin space between thousands.
func thousands(n int) string {
	if n < 0 {
		return "-" + thousands(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s\u202f%03d", thousands(n/1000), n%1000)
}
