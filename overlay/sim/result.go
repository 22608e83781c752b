package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
)

// Result is what was measured of a scenario. Its JSON names are an interface.
type Result struct {
	Peers     int    `json:"peers"` // at the start
	Seed      uint64 `json:"seed"`
	TraceHash string `json:"trace_hash"`

	Lookups      int     `json:"lookups"` // that ended while it was measured
	Failed       int     `json:"failed"`  // of them; where nobody has a copy any more, nothing found is no failure
	HopsMean     float64 `json:"hops_mean"`
	HopsP99      float64 `json:"hops_p99"`
	TimeoutsMean float64 `json:"timeouts_mean"` // messages to dead peers, per lookup
	LatencyMean  float64 `json:"latency_mean_ms"`
	LatencyP99   float64 `json:"latency_p99_ms"`

	Stored       int `json:"stored"` // registrations that were acknowledged
	Lost         int `json:"lost"`   // of them, at the end
	Stores       int `json:"stores"`
	StoresFailed int `json:"stores_failed"`

	// AllCopiesDied is how many registrations lost all their copies at the same moment, HomeDiedToo at how many of them the
	// gateway died as well; and the others are how long they were away, until their gateway had stored them again.
	AllCopiesDied  int     `json:"all_copies_died"`
	HomeDiedToo    int     `json:"home_died_too"`
	StoredAgainP50 float64 `json:"stored_again_p50_seconds"`
	StoredAgainP99 float64 `json:"stored_again_p99_seconds"`

	// HealSeconds is how long it took, since the last fault was over, until all peers were one ring and all that was
	// acknowledged was where it is looked for; 0 without a fault, -1 when that did not happen.
	HealSeconds        float64 `json:"heal_seconds"`
	BytesPerPeerSecond float64 `json:"bytes_per_peer_second"` // sent, frames included, TLS and TCP not
	// EventsPerSecond is for the caller, who has a clock, to fill in.
	EventsPerSecond float64 `json:"events_per_second"`

	Events         int             `json:"events"`
	Messages       int             `json:"messages"`
	VirtualSeconds float64         `json:"virtual_seconds"`
	PeersAtEnd     int             `json:"peers_at_end"`
	FailedWhy      map[string]int  `json:"failed_why,omitempty"`
	LostUsers      []string        `json:"lost_users,omitempty"` // the first few
	HopCounts      []int           `json:"hop_counts,omitempty"` // how many lookups took so many hops
	Load           Spread          `json:"messages_per_peer_second"`
	Bytes          Spread          `json:"bytes_per_peer_minute"`
	Links          Spread          `json:"links_per_peer"`
	PeakLinks      int             `json:"links_max"` // that any peer has had at any time
	Tuning         *TuningResult   `json:"self_tuning,omitempty"`
	Series         []Point         `json:"series,omitempty"`
	Faults         []string        `json:"faults,omitempty"`
	Took           []time.Duration `json:"-"` // each lookup
	Away           []time.Duration `json:"-"` // each registration of which no copy was left, until it was stored again
	LoadOf         []float64       `json:"-"` // of each peer that Load is about, ascending
	BytesOf        []float64       `json:"-"`

	timeouts, hops int
}

// Spread is how something is spread over the peers.
type Spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
	Mean   float64 `json:"mean"`
}

// TuningResult is what the peers of a self-tuning overlay went by at the end of the measurement: medians.
type TuningResult struct {
	Size            float64 `json:"size"`              // peers
	JoinsPerSecond  float64 `json:"joins_per_second"`  // of all
	FailsPerSecond  float64 `json:"fails_per_second"`  // of one peer
	IntervalSeconds float64 `json:"interval_seconds"`  // between two stabilizations
	Lists           float64 `json:"successor_entries"` // length of the successor list
}

// Point is one step of what was measured over time.
type Point struct {
	At                 float64 `json:"at"` // seconds since the beginning of the measurement, at the end of the step
	Peers              int     `json:"peers"`
	Lookups            int     `json:"lookups"` // that began in it
	Failed             int     `json:"failed"`
	Timeouts           int     `json:"timeouts"`
	BytesPerPeerSecond float64 `json:"bytes_per_peer_second"`
}

// maxLostNames is how many of those who are lost a Result names.
const maxLostNames = 10

func (m *Result) lost(name string) {
	if !slices.Contains(m.LostUsers, name) {
		m.Lost++
		if len(m.LostUsers) < maxLostNames {
			m.LostUsers = append(m.LostUsers, name)
		}
	}
}

// counted takes a lookup that begins now into the figures.
func (r *run) counted() func(found) {
	p := &r.m.Series[min(int((r.Elapsed()-r.begin)/r.step), len(r.m.Series)-1)]
	return func(f found) {
		m := &r.m
		m.Lookups++
		p.Lookups++
		m.timeouts += f.timeouts
		p.Timeouts += f.timeouts
		m.Took = append(m.Took, f.took)
		if !f.ok {
			if f.why != NoCopyLeft { // who was asked is the owner, and has nothing
				m.Failed++
				p.Failed++
			}
			if m.FailedWhy == nil {
				m.FailedWhy = make(map[string]int)
			}
			m.FailedWhy[f.why]++
			return
		}
		m.hops += f.hops
		for len(m.HopCounts) <= f.hops {
			m.HopCounts = append(m.HopCounts, 0)
		}
		m.HopCounts[f.hops]++
	}
}

// sample makes the steps of the series, and fills them in one after the other.
func (r *run) sample() {
	r.step = min(r.s.Run, max(r.s.Run/maxSeries, time.Second))
	r.m.Series = make([]Point, r.s.Run/r.step)
	var next func(i, octets int)
	next = func(i, octets int) {
		r.After(r.step, func() {
			p := &r.m.Series[i]
			p.At, p.Peers = (r.Elapsed() - r.begin).Seconds(), len(r.Living())
			p.BytesPerPeerSecond = float64(r.Octets-octets) / float64(max(1, p.Peers)) / r.step.Seconds()
			if i+1 < len(r.m.Series) {
				next(i+1, r.Octets)
			}
		})
	}
	next(0, r.Octets)
}

// measured closes what is measured per time.
func (r *run) measured() {
	m, seconds := &r.m, r.s.Run.Seconds()
	var load, octets, links []float64
	for i, h := range r.hosts {
		if !h.Up || i >= len(r.load) {
			continue
		}
		load = append(load, float64(h.traffic.Received-r.load[i].Received)/seconds)
		octets = append(octets, float64(h.traffic.Octets-r.load[i].Octets)/seconds*60)
		links = append(links, float64(h.Node.Links()))
	}
	m.Load, m.Bytes, m.Links = spread(load), spread(octets), spread(links)
	m.LoadOf, m.BytesOf = load, octets
	m.Tuning = r.tuning()
	peers := 0
	for _, p := range m.Series {
		peers += p.Peers
	}
	if len(m.Series) > 0 {
		mean := float64(peers) / float64(len(m.Series))
		m.BytesPerPeerSecond = float64(r.Octets-r.sent) / max(1, mean) / seconds
	}
}

// tuning is what the living peers go by; nil when that is nothing.
func (w *World) tuning() *TuningResult {
	var all []node.Tuning
	for _, h := range w.Living() {
		if t := h.Status().Tuning; t != nil && h.Node.State() == node.Joined {
			all = append(all, *t)
		}
	}
	if len(all) == 0 {
		return nil
	}
	median := func(of func(node.Tuning) float64) float64 {
		values := make([]float64, len(all))
		for i, t := range all {
			values[i] = of(t)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return &TuningResult{
		Size:            median(func(t node.Tuning) float64 { return t.Used.Size }),
		JoinsPerSecond:  median(func(t node.Tuning) float64 { return t.Used.Joins }),
		FailsPerSecond:  median(func(t node.Tuning) float64 { return t.Used.Fails }),
		IntervalSeconds: median(func(t node.Tuning) float64 { return t.Interval.Seconds() }),
		Lists:           median(func(t node.Tuning) float64 { return float64(t.Lists) }),
	}
}

// finish fills in what is known at the end.
func (r *run) finish() {
	m := &r.m
	m.Peers, m.Seed, m.TraceHash = r.s.Peers, r.s.Seed, fmt.Sprintf("%016x", r.Hash())
	m.PeersAtEnd, m.PeakLinks = len(r.Living()), r.PeakLinks
	m.Events, m.Messages, m.VirtualSeconds = r.Events, r.Messages, r.Elapsed().Seconds()
	for _, u := range r.users {
		if u.acked > 0 {
			m.Stored++
		}
	}
	for _, f := range r.s.Faults {
		m.Faults = append(m.Faults, f.String())
	}
	if n := len(m.Away); n > 0 {
		slices.Sort(m.Away)
		m.StoredAgainP50, m.StoredAgainP99 = m.Away[(n-1)/2].Seconds(), m.Away[(n-1)*99/100].Seconds()
	}
	if m.Lookups > 0 {
		m.TimeoutsMean = float64(m.timeouts) / float64(m.Lookups)
		m.HopsMean = float64(m.hops) / float64(max(1, m.Lookups-m.Failed-m.FailedWhy[NoCopyLeft]))
		m.HopsP99 = float64(percentile(m.HopCounts, 0.99))
		slices.Sort(m.Took)
		sum := time.Duration(0)
		for _, d := range m.Took {
			sum += d
		}
		m.LatencyMean = sum.Seconds() * 1000 / float64(len(m.Took))
		m.LatencyP99 = m.Took[(len(m.Took)-1)*99/100].Seconds() * 1000
	}
}

// percentile is the smallest value that part of all do not exceed; counts says how often each value was seen.
func percentile(counts []int, part float64) int {
	all := 0
	for _, n := range counts {
		all += n
	}
	seen := 0
	for v, n := range counts {
		if seen += n; float64(seen) >= part*float64(all) {
			return v
		}
	}
	return 0
}

func spread(x []float64) (s Spread) {
	if len(x) == 0 {
		return s
	}
	slices.Sort(x)
	at := func(part float64) float64 { return x[int(part*float64(len(x)-1)+0.5)] }
	for _, v := range x {
		s.Mean += v
	}
	s.Mean /= float64(len(x))
	s.Min, s.Median, s.P90, s.P99, s.Max = x[0], at(0.5), at(0.9), at(0.99), x[len(x)-1]
	return s
}
