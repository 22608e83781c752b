package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
)

func write(t *testing.T, r Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func measured(t *testing.T, text string) (sim.Scenario, sim.Result) {
	t.Helper()
	s, err := sim.ParseScenario(text)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Play(sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// elsewhere is what would make a page load something: addresses in attributes and styles, imports and scripts.
var elsewhere = regexp.MustCompile(`(?i)https?:|//[a-z]|\ssrc=|\shref=|@import|url\(|<script|<link|<iframe`)

func TestPageNeedsNothingElse(t *testing.T) {
	s, m := measured(t, "peers 20\nseed 1\nusers 20\nlookups 50\nrun 10s\nat 2s kill 3\nat 5s partition 50% for 3s")
	page := write(t, Report{Command: `p2psip-gateway sim --delay '1ms 2ms' <&>`, Scenario: s, Main: m, Sizes: []sim.Result{m, m},
		Churn: []Sample{{0, m}, {1, m}}, Failures: []Sample{{0.1, m}, {0.2, m}}})
	if found := elsewhere.FindString(page); found != "" {
		t.Errorf("the page loads something: %q", found)
	}
	if n := strings.Count(page, "<svg "); n != 8 {
		t.Errorf("%d plots, want 8", n)
	}
	for _, want := range []string{"at 5s partition 50% for 3s", "&lt;&amp;&gt;", m.TraceHash, "prefers-color-scheme: dark"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	for _, svg := range regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(page, -1) {
		wellFormed(t, svg)
	}
}

func TestPageOfNothing(t *testing.T) {
	if page := write(t, Report{}); !strings.Contains(page, "There is nothing to plot.") || strings.Contains(page, "NaN") {
		t.Error(page)
	}
}

func wellFormed(t interface{ Errorf(string, ...any) }, svg string) {
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("not a number: %s", svg)
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%v in %s", err, svg)
			return
		}
	}
}

func TestAnyChartIsWellFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Chart{Title: rapid.String().Draw(t, "title"), X: "<x>", Y: "&y", LogX: rapid.Bool().Draw(t, "log"), Bars: rapid.Bool().Draw(t, "bars"),
			Centered: rapid.Bool().Draw(t, "centered"), Spans: []Span{{-1, 2, "<&"}}}
		if strings.ContainsFunc(c.Title, func(r rune) bool { return r < ' ' || r > 0xd7ff }) {
			c.Title = "t"
		}
		for range rapid.IntRange(0, 3).Draw(t, "series") {
			s := Series{Name: "<n>", Dots: rapid.Bool().Draw(t, "dots")}
			x := 1.0
			for _, y := range rapid.SliceOfN(rapid.Float64Range(0, 1e12), 0, 9).Draw(t, "values") {
				s.Points = append(s.Points, Point{x, y})
				x *= 3
			}
			c.Series = append(c.Series, s)
		}
		c.Bars = c.Bars && !c.LogX
		wellFormed(t, string(c.SVG()))
	})
}

func TestHistogramCountsEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 0, 50).Draw(t, "values")
		sum := 0.0
		for _, p := range histogram(values) {
			sum += p.Y
		}
		if int(sum) != len(values) {
			t.Fatalf("%v of %d", sum, len(values))
		}
	})
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.25", 12: "12", 999: "999", 1000: "1000", 1234: "1234", 12_345: "12.3k", 1e6: "1M",
		2.5e9: "2.5G", 1.0 / 3: "0.333"} {
		if got := short(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	for n, want := range map[int]string{7: "7", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -1001: "-1\u202f001"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	if got := niceTicks(0, 1e-308, 5); len(got) != 6 || got[5] != 1 {
		t.Errorf("ticks of next to nothing %v", got)
	}
	if got := niceTicks(0, 97, 5); len(got) != 6 || got[5] != 100 || math.Abs(got[1]-20) > 1e-9 {
		t.Errorf("ticks %v", got)
	}
}
