package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Chart is one plot. It becomes an SVG element whose colours are those of the page.
type Chart struct {
	Title, Note string // Note is a sentence below the plot
	X, Y        string // what the axes count, with the unit
	LogX        bool
	Bars        bool // of the first series, each as wide as the distance of two points, and to the right of its own
	Centered    bool // bars stand around their points
	Series      []Series
	Spans       []Span
}

// Series is one curve. Points are in order of x.
type Series struct {
	Name   string
	Points []Point
	Dashed bool // a line to compare with
	Bad    bool // what should be zero
	Dots   bool // measured one by one
}

// Point is one value.
type Point struct{ X, Y float64 }

// Span is a time during which something happened.
type Span struct {
	From, To float64
	Name     string
}

// Measures of a plot, in units of the view box.
const (
	width, height                     = 640.0, 300.0
	left, right, top, bottom          = 58.0, 14.0, 16.0, 44.0
	plotWidth, plotHeight             = width - left - right, height - top - bottom
	yTicks, xTicks                    = 5, 7
	legendAt, legendStep, markAtLeast = 12.0, 15.0, 2.0
)

// plot is a chart with its scales.
type plot struct {
	Chart
	x0, x1, y1 float64
	b          strings.Builder
}

// SVG draws the chart.
func (c Chart) SVG() template.HTML {
	p := &plot{Chart: c, x0: math.Inf(1), x1: math.Inf(-1)}
	for _, s := range c.Series {
		for _, pt := range s.Points {
			p.x0, p.x1, p.y1 = min(p.x0, pt.X), max(p.x1, pt.X), max(p.y1, pt.Y)
		}
	}
	if math.IsInf(p.x0, 1) {
		return `<p class="empty">There is nothing to plot.</p>`
	}
	if c.Bars {
		p.x0, p.x1 = p.x0-p.barShift(), p.x1+p.barStep()-p.barShift()
	}
	if p.x0 == p.x1 {
		p.x1++
	}
	ticks := niceTicks(0, p.y1, yTicks)
	p.y1 = ticks[len(ticks)-1]
	fmt.Fprintf(&p.b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, template.HTMLEscapeString(c.Title))
	p.spans()
	p.axes(ticks)
	for i, s := range c.Series {
		switch {
		case c.Bars && i == 0:
			p.bars(s)
		default:
			p.curve(i, s)
		}
	}
	p.legend()
	p.b.WriteString("</svg>")
	return template.HTML(p.b.String()) //nolint:gosec // every text in it was escaped, and all else are numbers
}

func (p *plot) barStep() float64 {
	points := p.Series[0].Points
	if len(points) < 2 {
		return 1
	}
	return points[1].X - points[0].X
}

// barShift is by how much a bar begins before its point.
func (p *plot) barShift() float64 {
	if p.Centered {
		return p.barStep() / 2
	}
	return 0
}

// x and y turn values into places.
func (p *plot) x(v float64) float64 {
	if p.LogX {
		return left + plotWidth*(math.Log(v)-math.Log(p.x0))/(math.Log(p.x1)-math.Log(p.x0))
	}
	return left + plotWidth*(v-p.x0)/(p.x1-p.x0)
}

func (p *plot) y(v float64) float64 { return top + plotHeight*(1-v/p.y1) }

func (p *plot) axes(ticks []float64) {
	for _, v := range ticks {
		y := p.y(v)
		fmt.Fprintf(&p.b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, left, y, left+plotWidth, y)
		fmt.Fprintf(&p.b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`, left-7, y+4, short(v))
	}
	for _, v := range p.xTicks() {
		fmt.Fprintf(&p.b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, p.x(v), top+plotHeight+17, short(v))
	}
	fmt.Fprintf(&p.b, `<line class="axis" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, left, top+plotHeight, left+plotWidth, top+plotHeight)
	fmt.Fprintf(&p.b, `<text class="label" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, left+plotWidth/2, height-7, escape(p.X))
	fmt.Fprintf(&p.b, `<text class="label" transform="translate(13 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, top+plotHeight/2, escape(p.Y))
}

func escape(s string) string { return template.HTMLEscapeString(s) }

// xTicks are round numbers or, on a logarithmic axis, the values themselves.
func (p *plot) xTicks() (out []float64) {
	if p.LogX {
		for _, pt := range p.Series[0].Points {
			out = append(out, pt.X)
		}
		return out
	}
	for _, v := range niceTicks(p.x0, p.x1, xTicks) {
		if v >= p.x0 && v <= p.x1 {
			out = append(out, v)
		}
	}
	return out
}

func (p *plot) bars(s Series) {
	step := p.barStep()
	for _, pt := range s.Points {
		x, w := p.x(pt.X-p.barShift()), p.x(pt.X+step)-p.x(pt.X)
		gap := min(2, w/6)
		fmt.Fprintf(&p.b, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="1.5"><title>%s: %s</title></rect>`,
			x+gap, p.y(pt.Y), max(0.5, w-2*gap), top+plotHeight-p.y(pt.Y), short(pt.X), short(pt.Y))
	}
}

func (p *plot) curve(i int, s Series) {
	class := fmt.Sprintf("s%d", i+1)
	if s.Bad {
		class = "bad"
	}
	if s.Dashed {
		class += " dashed"
	}
	var path strings.Builder
	for k, pt := range s.Points {
		fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(k, 1)], p.x(pt.X), p.y(pt.Y))
	}
	fmt.Fprintf(&p.b, `<path class="line %s" d="%s"/>`, class, path.String())
	if !s.Dots {
		return
	}
	for _, pt := range s.Points {
		fmt.Fprintf(&p.b, `<circle class="dot %s" cx="%.1f" cy="%.1f" r="3.5"><title>%s: %s</title></circle>`, class, p.x(pt.X), p.y(pt.Y),
			short(pt.X), short(pt.Y))
	}
}

// spans shows when something happened.
func (p *plot) spans() {
	for _, s := range p.Spans {
		from, to := max(s.From, p.x0), min(s.To, p.x1)
		if from > to {
			continue
		}
		fmt.Fprintf(&p.b, `<rect class="span" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`, p.x(from), top,
			max(markAtLeast, p.x(to)-p.x(from)), plotHeight, escape(s.Name))
	}
}

func (p *plot) legend() {
	if len(p.Series) < 2 {
		return
	}
	for i, s := range p.Series {
		class, y := fmt.Sprintf("s%d", i+1), top+legendAt+legendStep*float64(i)
		if s.Bad {
			class = "bad"
		}
		if s.Dashed {
			class += " dashed"
		}
		fmt.Fprintf(&p.b, `<line class="line %s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, left+10, y-4, left+32, y-4)
		fmt.Fprintf(&p.b, `<text class="legend" x="%.1f" y="%.1f">%s</text>`, left+38, y, escape(s.Name))
	}
}

// niceTicks are about n round numbers that span from a to b.
func niceTicks(a, b float64, n int) []float64 {
	if b-a <= max(1, math.Abs(a))*1e-12 { // nothing, or less than numbers can tell apart
		b = a + max(1, math.Abs(a))
	}
	step := math.Pow(10, math.Floor(math.Log10((b-a)/float64(n))))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if (b-a)/(m*step) <= float64(n) {
			step *= m
			break
		}
	}
	var out []float64
	for k := math.Floor(a / step); ; k++ {
		out = append(out, k*step)
		if k*step >= b-step*1e-9 {
			return out
		}
	}
}

// short writes a number in few characters.
func short(v float64) string {
	unit := ""
	for _, u := range []string{"k", "M", "G"} {
		if math.Abs(v) < 1000 || u == "k" && v < 10_000 && v == math.Trunc(v) {
			break
		}
		v, unit = v/1000, u
	}
	return strconv.FormatFloat(roundTo(v, 3), 'f', -1, 64) + unit
}

// roundTo rounds to so many digits that count.
func roundTo(v float64, digits int) float64 {
	if math.Abs(v) < 1e-100 { // no scale would be a number
		return 0
	}
	scale := math.Pow(10, float64(digits)-1-math.Floor(math.Log10(math.Abs(v))))
	if scale < 1 {
		return math.Round(v)
	}
	return math.Round(v*scale) / scale
}
