package trunk

import (
	"fmt"
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Step is one thing that was looked at on the way from a number to where it leads, for people.
type Step struct {
	What string // number, emergency, route, sender, limits, way, result
	Text string
}

// Explanation is why a number leads where it does.
type Explanation struct {
	Steps   []Step
	Refusal string // code and text of why it may not go there; "": it may
	Found   bool   // a route decides
}

func (x *Explanation) add(what, format string, args ...any) {
	x.Steps = append(x.Steps, Step{what, fmt.Sprintf(format, args...)})
}

// Explain tells what becomes of a request that is for no user's own record.
func (s *Service) Explain(d *sip.Dialled) (x Explanation) {
	p := s.plan.Load()
	number := Number(d.User)
	if !d.Emergency {
		x.add("number", "%s", number)
	}
	r := p.explainEmergency(&x, d, number)
	if r == nil {
		r = p.explainRoutes(&x, d, number)
	}
	if r == nil {
		x.add("result", "no route: as without trunks")
		return x
	}
	x.Found = true
	if d.Emergency {
		number = r.Match.Prefix()
	}
	x.add("sender", "%s", senderText(d, r))
	_, why := p.decide(d)
	var ways []sip.Way
	if why == nil {
		ways, why = s.ways(p, r, d)
		s.explainWays(&x, p, r, number)
	}
	if why == nil && !slices.ContainsFunc(ways, func(w sip.Way) bool { return !w.Down }) {
		why = &sip.Refusal{Status: 503, Word: "TRK503", Text: "no target of the trunk answers"}
	}
	if why != nil {
		x.Refusal = why.Word + " " + why.Text
		x.add("result", "%d %s", why.Status, x.Refusal)
		return x
	}
	x.add("result", "%s over trunk %s", ways[0].URI, ways[0].Trunk)
	return x
}

func (p *Plan) explainEmergency(x *Explanation, d *sip.Dialled, number string) *Route {
	if d.Emergency {
		number = ""
	} else if d.Domain != "" || number == "" {
		return nil
	}
	r := p.Emergency(number)
	if r == nil {
		x.add("emergency", "no")
		return nil
	}
	x.add("emergency", "yes, by route %s: before everything else, without limits", r)
	return r
}

// maxExplained are the routes that are named one by one.
const maxExplained = 50

func (p *Plan) explainRoutes(x *Explanation, d *sip.Dialled, number string) *Route {
	peer := d.Standing == sip.Peer || d.Standing == sip.PeerOf
	var decides *Route
	for i, r := range p.sorted {
		if i == maxExplained {
			x.add("route", "and %d more", len(p.sorted)-i)
			break
		}
		switch matches := r.Match.Match(number, d.Domain); {
		case !matches:
			x.add("route", "%s does not match", r)
		case peer && !r.Publish:
			x.add("route", "%s matches, and is not published: not for other gateways", r)
		case decides != nil:
			x.add("route", "%s matches, and comes after %s", r, decides.Match)
		default:
			decides = r
			x.add("route", "%s decides", r)
		}
	}
	return p.Route(number, d.Domain, peer)
}

func senderText(d *sip.Dialled, r *Route) string {
	who := map[sip.Standing]string{sip.Stranger: "nobody known", sip.Peer: "another gateway", sip.PeerOf: "another gateway, with a caller that is proven",
		sip.Known: "known"}[d.Standing]
	if d.Caller != "" {
		who = string(d.Caller)
	}
	if d.Origin != "" {
		who = "trunk " + d.Origin
	}
	wants := map[Require]string{RequireKnown: "somebody who is known", RequireAuth: "somebody who is proven", RequireNone: "anybody"}[r.Require]
	if len(r.Allow) > 0 {
		var list []string
		for _, a := range r.Allow {
			list = append(list, a.String())
		}
		wants += ", of " + strings.Join(list, ", ")
	}
	return who + "; the route is for " + wants
}

// explainWays tells how each trunk of a route sees the number, and how its targets are.
func (s *Service) explainWays(x *Explanation, p *Plan, r *Route, number string) {
	for _, name := range r.To {
		t := p.Trunk(name)
		routed := r.Change.apply(number, t.Country)
		sent := t.Outbound.Apply(routed, t.Country)
		x.add("number", "%s by the route, %s for trunk %s", routed, sent, name)
		if t.MaxCalls > 0 {
			x.add("limits", "trunk %s has %d of %d lines taken", name, s.Lines(name), t.MaxCalls)
		}
		if t.RegisteredAs != "" {
			x.add("way", "%s", s.registeredText(t))
			continue
		}
		for _, target := range t.Targets {
			word := "up, or not watched"
			if s.o.Conditions != nil && s.o.Conditions.TargetDown(name, target.URI) {
				word = "down"
			}
			x.add("way", "trunk %s target %s: %s", name, target.URI, word)
		}
	}
}

func (s *Service) registeredText(t *Trunk) string {
	set := s.o.Bindings(t.RegisteredAs)
	if len(set) == 0 {
		return fmt.Sprintf("trunk %s is not registered as %s", t.Name, t.RegisteredAs)
	}
	return fmt.Sprintf("trunk %s is registered as %s at %s", t.Name, t.RegisteredAs, set[0].Contact)
}

// Translate tells how a number that is dialled is written at each step, for a table: by the route, and for each of its trunks. ok is false without
// a route.
func (p *Plan) Translate(number string) (route *Route, sent []string, ok bool) {
	number = Number(number)
	if route = p.Emergency(number); route == nil || number == "" {
		route = p.Route(number, "", false)
	}
	if route == nil {
		return nil, nil, false
	}
	for _, name := range route.To {
		t := p.Trunk(name)
		sent = append(sent, t.Outbound.Apply(route.Change.apply(number, t.Country), t.Country))
	}
	return route, sent, true
}

// Received is what a number becomes that a trunk calls.
func (t *Trunk) Received(number string) string { return t.Inbound.Apply(Number(number), t.Country) }

// Status is how one trunk stands.
type Status struct {
	Name      string
	Calls     int
	Results   map[string]uint64 // requests, by result: ResultNames
	Failovers uint64
	LastError string // of a request; "": there was none
	ErrorAge  int64  // seconds since
	// Registered are the contacts of a PBX that registers here.
	Registered []location.Binding
}

// Status tells how each trunk of the plan in force stands, in its order.
func (s *Service) Status() (out []Status) {
	p := s.plan.Load()
	for i := range p.c.Trunks {
		t := &p.c.Trunks[i]
		st := Status{Name: t.Name, Results: map[string]uint64{}}
		if t.RegisteredAs != "" {
			st.Registered = s.o.Bindings(t.RegisteredAs)
		}
		s.mu.Lock()
		c := s.counters(t.Name)
		st.Calls, st.Failovers, st.LastError = s.lines[t.Name], c.failovers, c.lastError
		for k, name := range ResultNames {
			st.Results[name] = c.results[k]
		}
		if !c.lastErrorAt.IsZero() {
			st.ErrorAge = int64(s.o.Now().Sub(c.lastErrorAt).Seconds())
		}
		s.mu.Unlock()
		out = append(out, st)
	}
	return out
}

// Refused counts what guards turned away, by the word of the refusal: a closed set.
func (s *Service) Refused() map[string]uint64 {
	out := map[string]uint64{}
	for _, why := range []*sip.Refusal{notTheTrunk, notProven, notPublished, notAllowed, notPrefix, overCalls, overDaily, roundTrip, noNumber, sip.NoLine} {
		out[why.Word] = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for word, n := range s.guard {
		out[word] = n
	}
	return out
}

// CallerOf is what Explain takes for a caller: the user part or AOR of a user of ours, or "trunk:NAME", or "overlay", or "" for nobody.
func (p *Plan) CallerOf(from string) (d sip.Dialled, err error) {
	name, isTrunk := strings.CutPrefix(from, "trunk:")
	switch {
	case from == "":
		return d, nil
	case from == "overlay":
		d.Standing = sip.Peer
	case isTrunk:
		if p.Trunk(name) == nil {
			return d, fmt.Errorf("there is no trunk %q", name)
		}
		d.Origin, d.Standing = name, sip.Known
	default:
		user, domain, at := strings.Cut(from, "@")
		if user == "" || at && !strings.EqualFold(domain, p.c.Domain) {
			return d, fmt.Errorf("%q is no user of %s: want a user, trunk:NAME or overlay", from, p.c.Domain)
		}
		d.Caller, d.Standing = location.AOR(message.CanonicalUser(user)+"@"+p.c.Domain), sip.Known
	}
	return d, nil
}
