package trunk

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Plan is a configuration made ready for use: a pure value that is not changed, safe for concurrent use.
type Plan struct {
	c      Config
	byName map[string]*Trunk
	sorted []*Route // as before has it
}

// NewPlan makes a plan.
func NewPlan(c Config) *Plan {
	p := &Plan{c: c, byName: map[string]*Trunk{}}
	for i := range c.Trunks {
		p.byName[c.Trunks[i].Name] = &c.Trunks[i]
	}
	for i := range c.Routes {
		p.sorted = append(p.sorted, &c.Routes[i])
	}
	slices.SortStableFunc(p.sorted, func(a, b *Route) int { return before(a.Match, b.Match) })
	return p
}

// Trunks lists the trunks. They are not to be changed.
func (p *Plan) Trunks() []Trunk { return p.c.Trunks }

// Trunk finds one by its name, nil when there is none.
func (p *Plan) Trunk(name string) *Trunk { return p.byName[name] }

// Routes lists the routes in the order of the configuration. They are not to be changed.
func (p *Plan) Routes() []Route { return p.c.Routes }

// Domain is the SIP domain of the overlay.
func (p *Plan) Domain() string { return p.c.Domain }

// Identity is the user part that calls to the outside come from, "" when it is the caller's.
func (p *Plan) Identity() string { return p.c.Identity }

// Published lists the patterns of our domain that other gateways may use, in the order of the configuration.
func (p *Plan) Published() (out []Pattern) {
	for i := range p.c.Routes {
		if r := &p.c.Routes[i]; r.Publish && r.Match.Ours() {
			out = append(out, r.Match)
		}
	}
	return out
}

// Route finds the route that decides about a user part, as Number returns it, of a domain in lower case, "" for ours. published restricts it to
// routes that other gateways may use.
func (p *Plan) Route(user, domain string, published bool) *Route {
	for _, r := range p.sorted {
		if (r.Publish || !published) && r.Match.Match(user, domain) {
			return r
		}
	}
	return nil
}

// Emergency finds the route for a number that is an emergency number here. "" is the number of urn:service:sos: the first route for
// emergencies.
func (p *Plan) Emergency(number string) *Route {
	if number == "" {
		for i := range p.c.Routes {
			if p.c.Routes[i].Emergency {
				return &p.c.Routes[i]
			}
		}
		return nil
	}
	for _, r := range p.sorted {
		if r.Emergency && r.Match.Match(number, "") {
			return r
		}
	}
	return nil
}

// EmergencyNumbers are the numbers of all routes for emergencies that stand for one number.
func (p *Plan) EmergencyNumbers() (out []string) {
	for i := range p.c.Routes {
		if r := &p.c.Routes[i]; r.Emergency && r.Match.Exact() {
			out = append(out, r.Match.Prefix())
		}
	}
	return out
}

// Shadowed lists routes that never decide, because others do for all of their numbers: pairs of indices into Routes, the shadowed one first.
func (p *Plan) Shadowed() (out [][2]int) {
	for i := range p.c.Routes {
		if j := p.shadow(i); j >= 0 {
			out = append(out, [2]int{i, j})
		}
	}
	return out
}

// shadow finds a route that takes numbers of route i away, when together the routes in front of it take all; -1 when they do not.
func (p *Plan) shadow(i int) int {
	r := &p.c.Routes[i]
	var first []*Route
	for _, o := range p.sorted {
		if o == r {
			break
		}
		if o.Match.domain == r.Match.domain {
			first = append(first, o)
		}
	}
	by := taken(r.Match, first)
	return slices.IndexFunc(p.c.Routes, func(o Route) bool { return by != nil && o.Match == by.Match })
}

// taken finds one of the routes that take all numbers of a pattern, nil when they do not.
func taken(m Pattern, by []*Route) *Route {
	for _, o := range by {
		q := o.Match
		rest, within := strings.CutPrefix(m.prefix, q.prefix)
		if m.same(q) || within && q.kind == open || within && q.kind == fixed && m.kind != open && len(rest)+m.digits == q.digits && numeric(rest) {
			return o
		}
	}
	if m.kind != fixed {
		return nil // what begins with a prefix may go on in any way
	}
	if !slices.ContainsFunc(by, func(o *Route) bool {
		return len(o.Match.prefix) > len(m.prefix) && strings.HasPrefix(o.Match.prefix, m.prefix)
	}) {
		return nil
	}
	var last *Route
	for d := '0'; d <= '9'; d++ {
		next := m
		next.prefix, next.digits = m.prefix+string(d), m.digits-1
		if next.digits == 0 {
			next.kind = single
		}
		if last = taken(next, by); last == nil {
			return nil
		}
	}
	return last
}

// Overlap is a network that two trunks accept requests from.
type Overlap struct {
	Trunk, Other string
	Network      netip.Prefix // of Trunk: within Other's
}

// Overlaps lists where accept_from of trunks overlap: the longest match decides, and of equal ones the one that asks for more.
func (p *Plan) Overlaps() (out []Overlap) {
	for i := range p.c.Trunks {
		for j := range p.c.Trunks {
			for _, n := range p.c.Trunks[i].AcceptFrom {
				for _, m := range p.c.Trunks[j].AcceptFrom {
					if i != j && m.Overlaps(n) && (m.Bits() < n.Bits() || m.Bits() == n.Bits() && i < j) {
						out = append(out, Overlap{p.c.Trunks[i].Name, p.c.Trunks[j].Name, n})
					}
				}
			}
		}
	}
	return out
}

// Source is where a request comes from.
type Source struct {
	Addr  netip.Addr
	Names []string                 // of the client certificate of its TLS connection, verified
	Field func(name string) string // the first value of a header field
	// Registered reports whether a user registered over the flow that it came on.
	Registered func(user string) bool
}

// Identify finds the trunk that a request comes from, nil when it comes from none. The longest network decides, and of equal ones the trunk
// that asks for more, then the first.
func (p *Plan) Identify(s Source) *Trunk {
	var best *Trunk
	most := -1
	for i := range p.c.Trunks {
		t := &p.c.Trunks[i]
		if n := t.identifies(s); n > most {
			best, most = t, n
		}
	}
	return best
}

// identifies tells how well a source is identified as t; -1: not at all.
func (t *Trunk) identifies(s Source) int {
	if t.RegisteredAs != "" && s.Registered != nil && s.Registered(t.RegisteredAs) {
		return 1 << 20 // it proved who it is
	}
	bits := -1
	for _, n := range t.AcceptFrom {
		if n.Contains(s.Addr) {
			bits = max(bits, n.Bits())
		}
	}
	if len(t.AcceptFrom) == 0 && len(t.Certificate) > 0 {
		bits = 0 // anywhere, with the certificate
	}
	if bits < 0 || !t.holds(s.Names) || !t.says(s.Field) {
		return -1
	}
	weight := bits << 8
	if len(t.Certificate) > 0 {
		weight += 128
	}
	return weight + len(t.Headers)
}

// holds reports whether the certificate of a source is one of this trunk.
func (t *Trunk) holds(names []string) bool {
	return len(t.Certificate) == 0 || slices.ContainsFunc(t.Certificate, func(want string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, want) })
	})
}

// says reports whether a request has all header fields of this trunk.
func (t *Trunk) says(field func(string) string) bool {
	return !slices.ContainsFunc(t.Headers, func(h Header) bool { return field == nil || field(h.Name) != h.Value })
}

// String describes the route: its pattern and where it leads.
func (r *Route) String() string { return fmt.Sprintf("%s -> %s", r.Match, strings.Join(r.To, ", ")) }
