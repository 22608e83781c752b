// Package metrics shows counters to Prometheus. It is the only importer of its library; nothing else knows that there is one. Labels
// are from closed sets: never an address-of-record, a peer or a Call-ID. Safe for concurrent use.
package metrics

import (
	"maps"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// Gauges is what is read at each scrape.
type Gauges struct {
	Joined            bool
	Stored            map[string]int // values held for the overlay, by Kind
	Bindings          int
	Transactions      int
	Finished          int64 // octets that are kept of finished SIP transactions
	Connections       int
	CertificateExpiry time.Time
	Flow              map[string]uint64 // events of the SIP transports, by name
	Transaction       map[string]uint64 // events of the SIP transactions, by name
	Published         map[string]int    // AORs by the state of their record
	TargetsUp         map[Target]bool   // targets of trunks that are watched
	Trunks            map[string]Trunk  // by name
	ProbesAnswered    uint64            // OPTIONS to targets of trunks
	ProbesMissed      uint64
	Accounts          map[string]string // state of each account at a provider, by trunk
	Callers           map[string]uint64 // requests that began something, by what is known of who sent them
	Media             *Media            // nil: none is relayed
}

// Trunk counts what went over a trunk.
type Trunk struct {
	Calls     int               // under way
	Results   map[string]uint64 // requests, by what became of them
	Failovers uint64
}

// Target is a target of a trunk, as the configuration has both.
type Target struct{ Trunk, URI string }

// Sources is where the numbers come from.
type Sources struct {
	Version string
	Overlay func() overlay.Stats
	Gauges  func() Gauges
}

// Metrics counts what has no counter of its own, and collects the rest from its sources.
type Metrics struct {
	registry  *prometheus.Registry
	responses *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	lookups   *prometheus.CounterVec
	lookupDur prometheus.Histogram

	// known are the counters in responses that were used: finding one by its labels costs more than all else about it.
	known  atomic.Pointer[map[response]prometheus.Counter]
	adding sync.Mutex
}

// response is the labels of a counter in Metrics.responses.
type response struct {
	core, method string
	code         int
}

// New returns the metrics of one node.
func New(s Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "p2psip_sip_responses_total",
			Help: "Final responses that a core of this node made itself."}, []string{"core", "method", "code"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "p2psip_sip_refusals_total",
			Help: "Refusals, by the stable word that their Warning carries."}, []string{"word"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "p2psip_location_lookups_total",
			Help: "Lookups of an address-of-record in the overlay."}, []string{"result"}),
		lookupDur: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "p2psip_location_lookup_duration_seconds",
			Help: "How long lookups in the overlay took, cached ones included.", Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9)}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "p2psip_build_info", Help: "1, labelled with version and Go version.",
		ConstLabels: prometheus.Labels{"version": s.Version, "go": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.responses, m.refusals, m.lookups, m.lookupDur, build, scrape{s},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Response counts a final response of a core. word is that of a refusal, else empty.
func (m *Metrics) Response(core, method string, code int, word string) {
	m.counter(response{core, closed(method), code}).Inc()
	if word != "" {
		m.refusals.WithLabelValues(word).Inc()
	}
}

// counter is that of a kind of response. There are no more kinds than labels, which are closed sets.
func (m *Metrics) counter(r response) prometheus.Counter {
	if known := m.known.Load(); known != nil {
		if c := (*known)[r]; c != nil {
			return c
		}
	}
	m.adding.Lock()
	defer m.adding.Unlock()
	next := map[response]prometheus.Counter{}
	if known := m.known.Load(); known != nil {
		maps.Copy(next, *known)
	}
	r.method = strings.Clone(r.method) // it is part of a request
	next[r] = m.responses.WithLabelValues(r.core, r.method, strconv.Itoa(r.code))
	m.known.Store(&next)
	return next[r]
}

// Lookup counts a lookup in the overlay: "found", "none" or "failed".
func (m *Metrics) Lookup(result string, took time.Duration) {
	m.lookups.WithLabelValues(result).Inc()
	m.lookupDur.Observe(took.Seconds())
}

// closed keeps what strangers can write in a request out of the label set.
func closed(method string) string {
	switch method {
	case "REGISTER", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "INFO", "UPDATE", "PRACK":
		return method
	}
	return "other"
}
