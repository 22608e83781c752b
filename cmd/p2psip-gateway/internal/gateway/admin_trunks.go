package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// TrunksReport is GET /api/v1/trunks.
type TrunksReport struct {
	Trunks []TrunkReport `json:"trunks"`
	// Published are the numbers and ranges that routes publish.
	Published []PublishedReport `json:"published,omitempty"`
	// Refused is what guards turned away, by the word of the answer.
	Refused map[string]uint64 `json:"refused"`
}

// TrunkReport is how one trunk stands.
type TrunkReport struct {
	Name string `json:"name"`
	// State is up, partly (some targets are down), down, unregistered (a PBX that is to register here), or unwatched.
	State string `json:"state"`
	// Account is how its account at a provider stands: registered, registering, failed (REASON), standby (owner NODE); empty: there is none.
	Account   string              `json:"account"`
	Calls     int                 `json:"calls"`
	MaxCalls  int                 `json:"max_calls"` // 0: any number
	Targets   []TrunkTargetReport `json:"targets"`
	Results   map[string]uint64   `json:"results"`
	Failovers uint64              `json:"failovers"`
	LastError string              `json:"last_error"` // of a call; empty: there was none
	ErrorAge  int64               `json:"last_error_seconds_ago"`
}

// TrunkTargetReport is how one target stands.
type TrunkTargetReport struct {
	URI       string               `json:"uri"`
	State     string               `json:"state"` // up, down, unresolved, unwatched, registered
	Addresses []TrunkAddressReport `json:"addresses"`
}

// TrunkAddressReport is how one address of a target answers to probes.
type TrunkAddressReport struct {
	Address string  `json:"address"`
	State   string  `json:"state"` // up, down
	Reason  string  `json:"reason"`
	RTTms   float64 `json:"rtt_ms"` // 0: it never answered
}

// TrunkTestReport is POST /api/v1/trunks/{name}/test.
type TrunkTestReport struct {
	Name    string              `json:"name"`
	Answers []TrunkAnswerReport `json:"answers"`
}

// TrunkAnswerReport is what one address said.
type TrunkAnswerReport struct {
	Target  string  `json:"target"`
	Address string  `json:"address"`
	Status  int     `json:"status"` // 0: no answer
	Error   string  `json:"error"`
	Millis  float64 `json:"ms"`
}

// RouteReport is GET /api/v1/route?number=&from=: why a number leads where it does.
type RouteReport struct {
	Number  string            `json:"number"`
	From    string            `json:"from"`
	Allowed bool              `json:"allowed"`
	Refusal string            `json:"refusal"` // word and text; empty: none
	Steps   []RouteStepReport `json:"steps"`
}

// RouteStepReport is one thing that was looked at.
type RouteStepReport struct {
	Step string `json:"step"`
	Text string `json:"text"`
}

func (g *Gateway) trunkReports() TrunksReport {
	r := TrunksReport{Trunks: []TrunkReport{}, Refused: map[string]uint64{}, Published: g.published.report()}
	if g.trunks == nil {
		return r
	}
	watched := map[string]trunk.TargetHealth{}
	for _, h := range g.health.Report() {
		watched[h.Trunk+" "+h.Target] = h
	}
	plan := g.trunks.Plan()
	accounts := g.accountWords()
	for _, st := range g.trunks.Status() {
		t := plan.Trunk(st.Name)
		if t == nil {
			continue // of another plan than a moment ago
		}
		out := TrunkReport{Name: st.Name, Account: accounts[st.Name], Calls: st.Calls, MaxCalls: t.MaxCalls, Targets: []TrunkTargetReport{}, Results: st.Results,
			Failovers: st.Failovers, LastError: st.LastError, ErrorAge: st.ErrorAge}
		for _, b := range st.Registered {
			out.Targets = append(out.Targets, TrunkTargetReport{URI: b.Contact, State: "registered", Addresses: []TrunkAddressReport{}})
		}
		for _, x := range t.Targets {
			h, ok := watched[st.Name+" "+x.URI]
			out.Targets = append(out.Targets, targetReport(x.URI, h, ok))
		}
		out.State = stateOf(out.Targets, t.RegisteredAs != "")
		r.Trunks = append(r.Trunks, out)
	}
	r.Refused = g.trunks.Refused()
	return r
}

func targetReport(uri string, h trunk.TargetHealth, watched bool) TrunkTargetReport {
	r := TrunkTargetReport{URI: uri, State: "unwatched", Addresses: []TrunkAddressReport{}}
	switch {
	case !watched:
		return r
	case h.Down:
		r.State = "down"
	case h.Unresolved:
		r.State = "unresolved"
	default:
		r.State = "up"
	}
	for _, a := range h.Addresses {
		state := "up"
		if a.Down {
			state = "down"
		}
		r.Addresses = append(r.Addresses, TrunkAddressReport{a.Address, state, a.Reason, millis(a.RTT)})
	}
	return r
}

// stateOf is one word for all targets of a trunk.
func stateOf(targets []TrunkTargetReport, registers bool) string {
	down, watched := 0, false
	for _, t := range targets {
		if t.State == "down" {
			down++
		}
		watched = watched || t.State != "unwatched"
	}
	switch {
	case len(targets) == 0 && registers:
		return "unregistered"
	case !watched:
		return "unwatched"
	case down == len(targets):
		return "down"
	case down > 0:
		return "partly"
	}
	return "up"
}

// errNoTrunk: there is no trunk of that name.
type errNoTrunk string

func (e errNoTrunk) Error() string {
	return fmt.Sprintf("there is no trunk %q; trunk ls has them all", string(e))
}

func (g *Gateway) testTrunk(ctx context.Context, name string) (TrunkTestReport, error) {
	r := TrunkTestReport{Name: name, Answers: []TrunkAnswerReport{}}
	t := g.inForce().plan.Trunk(name)
	if t == nil || g.health == nil {
		return r, errNoTrunk(name)
	}
	var bindings []location.Binding
	if t.RegisteredAs != "" {
		bindings = g.locator.Local(location.AOR(t.RegisteredAs + "@" + g.o.Config.Domain))
	}
	for _, a := range g.health.Test(ctx, t, bindings) {
		r.Answers = append(r.Answers, TrunkAnswerReport{a.Target, a.Address, a.Status, a.Error, millis(a.Took)})
	}
	return r, nil
}

// explainRoute tells why a number leads where it does: as the proxy would decide, with the user's own record before any route.
func (g *Gateway) explainRoute(ctx context.Context, number, from string) (RouteReport, error) {
	if g.trunks == nil {
		return RouteReport{}, errors.New("a redirect peer has no routes")
	}
	r, err := explain(g.trunks, number, from)
	if err != nil || !r.leads || r.emergency {
		return r.RouteReport, err
	}
	own, text := g.ownRecord(ctx, r.aor, from == "overlay")
	step := RouteStepReport{"user", text}
	r.Steps = append(r.Steps[:1], append([]RouteStepReport{step}, r.Steps[1:]...)...)
	if own {
		r.Allowed, r.Refusal = true, ""
		r.Steps = append(r.Steps[:2], RouteStepReport{"result", "the user's own record, before any route"})
	}
	return r.RouteReport, nil
}

// ownRecord reports whether somebody has the number as user, and where.
func (g *Gateway) ownRecord(ctx context.Context, aor location.AOR, overOverlay bool) (own bool, text string) {
	switch set := g.locator.Local(aor); {
	case len(set) > 0:
		return true, fmt.Sprintf("%s is registered here, %d times", aor, len(set))
	case g.locator.ours(aor):
		return true, string(aor) + " is a user of this gateway, and not registered here"
	case overOverlay:
		return false, "no phone here; what comes over the overlay is not looked up there again"
	}
	found, err := g.locator.Remote(ctx, aor)
	switch {
	case err == nil && len(found) > 0 && found[0].Range == "":
		return true, fmt.Sprintf("%s is registered at %d other gateways", aor, len(found))
	case err == nil && len(found) > 0:
		return false, fmt.Sprintf("no user; the range %s is served by %d other gateways: the longer prefix decides", found[0].Range, len(found))
	case err == nil && g.locator.isUser(aor):
		return true, string(aor) + " is a user, and not registered"
	case err == nil, errors.Is(err, location.ErrNotFound):
		return false, "no user of that name"
	}
	return false, "the overlay does not answer: " + err.Error()
}

// explained is a RouteReport and what may be added to it.
type explained struct {
	RouteReport
	aor       location.AOR
	leads     bool // it is about a user of our domain
	emergency bool
}

// ExplainRoute tells what routes say to a number, for a caller: a user, trunk:NAME, overlay, or "" for nobody known. Users are not looked at.
func ExplainRoute(s *trunk.Service, number, from string) (RouteReport, error) {
	r, err := explain(s, number, from)
	return r.RouteReport, err
}

func explain(s *trunk.Service, number, from string) (explained, error) {
	r := explained{RouteReport: RouteReport{Number: number, From: from, Steps: []RouteStepReport{}}}
	d, err := s.Plan().CallerOf(from)
	if err != nil {
		return r, err
	}
	if d.Emergency = strings.EqualFold(number, "urn:service:sos"); !d.Emergency {
		user, domain, _ := strings.Cut(strings.TrimPrefix(number, "sip:"), "@")
		if user == "" {
			return r, errors.New("there is no number")
		}
		if !strings.EqualFold(domain, s.Plan().Domain()) {
			d.Domain = strings.ToLower(domain)
		}
		d.User = user
	}
	x := s.Explain(&d)
	r.aor = location.AOR(trunk.Number(d.User) + "@" + s.Plan().Domain())
	r.leads, r.emergency = d.Domain == "" && !d.Emergency, s.Emergency(d.User, d.Emergency)
	r.Allowed, r.Refusal = x.Found && x.Refusal == "", x.Refusal
	for _, step := range x.Steps {
		r.Steps = append(r.Steps, RouteStepReport{step.What, step.Text})
	}
	return r, nil
}

// trunkSource is the part of an adminSource that knows of trunks.
type trunkSource interface {
	trunkReports() TrunksReport
	testTrunk(ctx context.Context, name string) (TrunkTestReport, error)
	explainRoute(ctx context.Context, number, from string) (RouteReport, error)
}

func handleTrunks(mux *http.ServeMux, s trunkSource) {
	mux.HandleFunc("GET /api/v1/trunks", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, s.trunkReports()) })
	mux.HandleFunc("POST /api/v1/trunks/{name}/test", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), adminLookupWait)
		defer cancel()
		report, err := s.testTrunk(ctx, r.PathValue("name"))
		if err != nil {
			writeJSON(w, 404, ErrorReport{err.Error()})
			return
		}
		writeJSON(w, 200, report)
	})
	mux.HandleFunc("GET /api/v1/route", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), adminLookupWait)
		defer cancel()
		report, err := s.explainRoute(ctx, r.URL.Query().Get("number"), r.URL.Query().Get("from"))
		if err != nil {
			writeJSON(w, 400, ErrorReport{err.Error()})
			return
		}
		writeJSON(w, 200, report)
	})
}

// OfflineTrunks is the trunks of a configuration that no node runs: nothing is registered, nothing is known to be down.
func (l *Loaded) OfflineTrunks(domain string) (*trunk.Service, error) {
	c := l.Config
	if c.Domain == "" {
		c.Domain = domain
	}
	var first error
	t := c.trunking(func(key, format string, args ...any) {
		if first == nil {
			first = fmt.Errorf("E0104 %s: %s", key, fmt.Sprintf(format, args...))
		}
	})
	none := func(string) []location.Binding { return nil }
	return trunk.New(trunk.Options{Plan: trunk.NewPlan(t), Bindings: none, Now: time.Now}), first
}
