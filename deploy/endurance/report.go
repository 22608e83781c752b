package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
)

// report is what a run comes to.
type report struct {
	Peers      int           `json:"peers"`
	Sites      int           `json:"sites"`
	Users      int           `json:"users"`
	Seed       uint64        `json:"seed"`
	Seconds    float64       `json:"seconds"`
	Grace      float64       `json:"grace_s"`
	Figures    figures       `json:"figures"`
	Faults     []faultReport `json:"faults"`
	Violations []string      `json:"violations"`
	Bucket     float64       `json:"bucket_s"`
	Timeline   []slice       `json:"timeline"`
}

// faultReport is a fault, in seconds since the begin.
type faultReport struct {
	Name  string  `json:"name"`
	Begin float64 `json:"begin_s"`
	End   float64 `json:"end_s"`
	outcome
}

// Lasted is how long the fault was on.
func (f faultReport) Lasted() float64 { return f.End - f.Begin }

func newReport(c config, rec *recorder) *report {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r := &report{Peers: c.peers, Sites: c.sites, Users: c.users, Seed: c.seed, Seconds: c.span.Seconds(), Grace: c.grace.Seconds(),
		Figures: rec.figures, Violations: rec.violations, Bucket: bucket.Seconds(), Timeline: rec.timeline}
	for _, f := range rec.h.faults {
		r.Faults = append(r.Faults, faultReport{f.Name, f.Begin.Sub(rec.begin).Seconds(), f.End.Sub(rec.begin).Seconds(), *rec.perFault[f]})
	}
	return r
}

func (r *report) text() string {
	var b strings.Builder
	f := r.Figures
	fmt.Fprintf(&b, "%d peers at %d sites, %d users, %.0f s, seed %d\n", r.Peers, r.Sites, r.Users, r.Seconds, r.Seed)
	fmt.Fprintf(&b, "REGISTERs %d (%d failed in faults), lookups %d and %d of sweeps (%d bad in faults, %d stale across a partition)\n",
		f.Registers, f.RegistersFailed, f.Lookups, f.Swept, f.LookupsBad, f.Stale)
	fmt.Fprintf(&b, "\n%-24s %8s %8s %14s %5s %10s %16s\n", "fault", "at s", "lasted s", "first good s", "bad", "last bad s", "... after end s")
	for _, x := range r.Faults {
		fmt.Fprintf(&b, "%-24s %8.0f %8.1f %14.3f %5d %10.1f %16.1f\n", x.Name, x.Begin, x.Lasted(), x.FirstSuccess, x.Bad, x.LastBad, x.AfterEnd)
	}
	fmt.Fprintf(&b, "\nviolations: %d\n", f.Violations)
	for _, v := range r.Violations {
		fmt.Fprintln(&b, " ", v)
	}
	return b.String()
}

func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, r.page()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.html"), page.Bytes(), 0o644)
}

// The plots, in units of the SVG.
const (
	plotWidth  = 960.0
	plotHeight = 160.0
)

type bar struct{ X, Y, W, H float64 }

type page struct {
	*report
	Width, Height float64
	Bands         []struct {
		bar
		Name string
	}
	Good, Bad []bar
	First     []struct {
		bar
		Label string
	}
	Highest float64 // first success, seconds
}

func (r *report) page() page {
	p := page{report: r, Width: plotWidth, Height: plotHeight}
	span := max(float64(len(r.Timeline))*r.Bucket, 1)
	for _, f := range r.Faults {
		p.Bands = append(p.Bands, struct {
			bar
			Name string
		}{bar{f.Begin / span * plotWidth, 0, max((f.End-f.Begin)/span*plotWidth, 1), plotHeight}, f.Name})
		p.Highest = max(p.Highest, f.FirstSuccess)
	}
	most := 1
	for _, s := range r.Timeline {
		most = max(most, s.Good+s.Bad)
	}
	w := plotWidth / float64(max(len(r.Timeline), 1))
	for i, s := range r.Timeline {
		good, bad := float64(s.Good)/float64(most)*plotHeight, float64(s.Bad)/float64(most)*plotHeight
		p.Good = append(p.Good, bar{float64(i) * w, plotHeight - good, w * 0.9, good})
		p.Bad = append(p.Bad, bar{float64(i) * w, plotHeight - good - bad, w * 0.9, bad})
	}
	w = plotWidth / float64(max(len(r.Faults), 1))
	for i, f := range r.Faults {
		h := f.FirstSuccess / max(p.Highest, 0.001) * plotHeight
		p.First = append(p.First, struct {
			bar
			Label string
		}{bar{float64(i) * w, plotHeight - h, w * 0.8, h}, fmt.Sprintf("%s: %.0f ms", f.Name, f.FirstSuccess*1000)})
	}
	return p
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Endurance of a ring of {{.Peers}} peers</title>
<style>
:root { color-scheme: light dark; --good: #2a7f62; --bad: #c8402f; --band: #8886; --line: #8888 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
svg { width: 100%; border-bottom: 1px solid var(--line) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .15rem .8rem; text-align: right; border-bottom: 1px solid var(--line) }
td:first-child, th:first-child { text-align: left; padding-left: 0 }
.good { fill: var(--good) } .bad { fill: var(--bad) } .band { fill: var(--band) }
</style>
<h1>A ring of {{.Peers}} real peers at {{.Sites}} sites</h1>
<p>{{.Seconds}} s, seed {{.Seed}}, {{.Users}} AORs. {{.Figures.Registers}} REGISTERs, {{.Figures.Lookups}} lookups and {{.Figures.Swept}} of sweeps.
<strong>{{.Figures.Violations}} violations</strong> of the history; {{.Figures.LookupsBad}} lookups failed or missed something during a fault or the {{.Grace}} s after it.</p>
<h2>Lookups</h2>
<p>Each bar is {{.Bucket}} s: <span style="color:var(--good)">good</span>, <span style="color:var(--bad)">bad</span>. Grey: a fault is on.</p>
<svg viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-label="lookups over time">
{{range .Bands}}<rect class="band" x="{{.X}}" y="0" width="{{.W}}" height="{{.H}}"><title>{{.Name}}</title></rect>{{end}}
{{range .Good}}<rect class="good" x="{{.X}}" y="{{.Y}}" width="{{.W}}" height="{{.H}}"/>{{end}}
{{range .Bad}}<rect class="bad" x="{{.X}}" y="{{.Y}}" width="{{.W}}" height="{{.H}}"/>{{end}}
</svg>
<h2>Time to the first success after each fault</h2>
<p>The highest bar is {{printf "%.3f" .Highest}} s.</p>
<svg viewBox="0 0 {{.Width}} {{.Height}}" role="img" aria-label="time to the first success">
{{range .First}}<rect class="good" x="{{.X}}" y="{{.Y}}" width="{{.W}}" height="{{.H}}"><title>{{.Label}}</title></rect>{{end}}
</svg>
<h2>Faults</h2>
<table><tr><th>fault<th>at, s<th>lasted, s<th>first success, s<th>bad lookups<th>last bad, s<th>last bad after the end, s</tr>
{{range .Faults}}<tr><td>{{.Name}}<td>{{printf "%.0f" .Begin}}<td>{{printf "%.1f" .Lasted}}<td>{{printf "%.3f" .FirstSuccess}}<td>{{.Bad}}<td>{{printf "%.1f" .LastBad}}<td>{{printf "%.1f" .AfterEnd}}</tr>
{{end}}</table>
{{if .Violations}}<h2>Violations</h2><pre>{{range .Violations}}{{.}}
{{end}}</pre>{{end}}
</html>
`))
