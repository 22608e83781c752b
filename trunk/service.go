package trunk

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Options is what a Service is made of. Fields not said to be optional must be set.
type Options struct {
	Plan *Plan
	// Conditions tells which targets are down. Optional: none is.
	Conditions Conditions
	// Names lists the names in the client certificate of the connection of a Hop, which is verified. Optional: none.
	Names func(location.Hop) []string
	// Bindings lists where a user is registered.
	Bindings func(user string) []location.Binding
	// Answer makes credentials of an account for the challenge in res, to a request with this method and Request-URI; the field says where they
	// belong. Optional: nothing is answered.
	Answer func(a *RegisterConfig, res *message.Message, method, uri string) (field message.Name, value string, err error)
	// Accounts knows the accounts that several gateways have. Optional: there are none.
	Accounts Shares
	// Called is told what became of a request to an address. It must not block. Optional.
	Called func(at location.Hop, status int, err error)
	// Failed is told of a trunk that did not take a request, or refused what it was told, and why. It must not block. Optional.
	Failed func(trunk, why string)
	Now    func() time.Time
}

// Service is a Plan in force. It implements proxy.Trunks and is safe for concurrent use.
type Service struct {
	o    Options
	plan atomic.Pointer[Plan]

	mu    sync.Mutex
	calls map[string]*entry // mu; by Call-ID
	// ringing counts, by caller and number, the calls from one trunk to another that nobody has answered. mu.
	ringing map[string]int
	swept   time.Time      // mu; when calls were last gone through
	lines   map[string]int // mu; calls by trunk
	users   map[location.AOR]*spending
	day     int64 // mu; that daily counts are of, since 1970
	stats   map[string]*counters
	guard   map[string]uint64 // mu; refusals by word
}

// New returns a Service.
func New(o Options) *Service {
	s := &Service{o: o, calls: map[string]*entry{}, ringing: map[string]int{}, lines: map[string]int{}, users: map[location.AOR]*spending{}, stats: map[string]*counters{},
		guard: map[string]uint64{}}
	s.plan.Store(o.Plan)
	return s
}

// Set puts another plan in force. Calls under way go on.
func (s *Service) Set(p *Plan) { s.plan.Store(p) }

// Plan is the plan in force.
func (s *Service) Plan() *Plan { return s.plan.Load() }

// Refusals, by what is wrong.
var (
	notTheTrunk  = &sip.Refusal{Status: 403, Word: "TRK403S", Text: "says to be a trunk, from an address that is none of its"}
	notProven    = &sip.Refusal{Status: 403, Word: "TRK403A", Text: "trunks are for senders who proved who they are"}
	notPublished = &sip.Refusal{Status: 403, Word: "TRK403U", Text: "this number is not for other gateways"}
	notAllowed   = &sip.Refusal{Status: 403, Word: "TRK403L", Text: "this caller may not call there"}
	notPrefix    = &sip.Refusal{Status: 403, Word: "TRK403P", Text: "this number may not be called over the trunk"}
	overCalls    = &sip.Refusal{Status: 403, Word: "TRK403C", Text: "too many calls of this user at a time"}
	overDaily    = &sip.Refusal{Status: 403, Word: "TRK403D", Text: "too many calls of this user in a day"}
	roundTrip    = &sip.Refusal{Status: 482, Word: "TRK482", Text: "the call comes from the trunk that it would go to"}
	sameCall     = &sip.Refusal{Status: 482, Word: "TRK482C", Text: "there is a call with this Call-ID already"}
	noNumber     = &sip.Refusal{Status: 484, Word: "TRK484", Text: "nothing is left of the number"}
)

// Active implements proxy.Trunks.
func (s *Service) Active() bool { return len(s.plan.Load().c.Trunks) > 0 }

// Origin implements proxy.Trunks.
func (s *Service) Origin(req *message.Message, from location.Hop) (o sip.Origin) {
	p := s.plan.Load()
	caller, ok := addressOf(req.Get(message.From))
	t, number := s.contact(p, req)
	ours := t != nil
	if t == nil {
		t = p.Identify(s.source(req, from))
	}
	if t == nil {
		if ok && p.claims(req, caller.Host) {
			s.count(notTheTrunk)
			o.Refusal = notTheTrunk
		}
		return o
	}
	o.Trunk, o.Trusted = t.Name, t.TrustIdentity
	if uri, err := message.ParseURI(req.RequestURI); err == nil {
		at, numeric := message.Addr(uri.Host)
		o.Ours = ours || t.isAt(uri.Host, from.Remote.Addr()) || numeric && at.Unmap() == from.Local.Addr().Unmap()
		if !ours {
			number = Number(uri.User)
		}
		o.User = t.Inbound.Apply(number, t.Country)
	}
	if ok && t.isAt(caller.Host, from.Remote.Addr()) && p.owns(t, Number(caller.User)) {
		o.From = rewritten(req.Get(message.From), message.URI{Scheme: "sip", User: Number(caller.User), Host: p.c.Domain})
	}
	o.Identity, o.Own = p.identity(t, req)
	return o
}

// source is what a request shows of where it comes from.
func (s *Service) source(req *message.Message, from location.Hop) Source {
	src := Source{Addr: from.Remote.Addr().Unmap(), Registered: func(user string) bool { return s.registered(user, from) }}
	if s.o.Names != nil && from.Transport != "UDP" {
		src.Names = s.o.Names(from)
	}
	if req != nil {
		src.Field = func(name string) string { return field(req, name) }
	}
	return src
}

// field is the first line of a header field by its text name.
func field(m *message.Message, name string) string {
	if n := message.ParseName(name); n != message.Other {
		return m.Get(n)
	}
	return m.Other(name)
}

// registered reports whether a user registered over the flow of a request.
func (s *Service) registered(user string, from location.Hop) bool {
	return slices.ContainsFunc(s.o.Bindings(user), func(b location.Binding) bool {
		if b.Hop.Flow != 0 || from.Flow != 0 {
			return b.Hop.Flow == from.Flow
		}
		return b.Hop.Transport == from.Transport && b.Hop.Remote == from.Remote
	})
}

// claims reports whether a request that comes from no trunk says to come from one: by the header fields of one, or by its address in From.
func (p *Plan) claims(req *message.Message, fromHost string) bool {
	return slices.ContainsFunc(p.c.Trunks, func(t Trunk) bool {
		says := len(t.Headers) > 0 && t.says(func(name string) string { return field(req, name) })
		return says || !strings.EqualFold(fromHost, p.c.Domain) && t.isAt(fromHost, netip.Addr{})
	})
}

// isAt reports whether a host is one that the trunk writes for itself: that of a target, its domain, or the address that it sends from.
func (t *Trunk) isAt(host string, from netip.Addr) bool {
	if a, ok := message.Addr(host); ok && from.IsValid() && a.Unmap() == from.Unmap() {
		return true
	}
	if host == "" || strings.EqualFold(host, t.Domain) {
		return host != ""
	}
	return slices.ContainsFunc(t.Targets, func(x Target) bool {
		u, err := message.ParseURI(x.URI)
		return err == nil && strings.EqualFold(u.Host, host)
	})
}

// owns reports whether a number is published as one of this trunk's.
func (p *Plan) owns(t *Trunk, number string) bool {
	r := p.Route(number, "", true)
	return r != nil && slices.Contains(r.To, t.Name)
}

// At implements proxy.Trunks.
func (s *Service) At(h location.Hop) string {
	p := s.plan.Load()
	if h.Node != "" || len(p.c.Trunks) == 0 {
		return ""
	}
	for i := range p.c.Trunks {
		t := &p.c.Trunks[i]
		if slices.ContainsFunc(t.Targets, func(x Target) bool { return x.at(h.Remote) }) || t.RegisteredAs != "" && s.registered(t.RegisteredAs, h) {
			return t.Name
		}
	}
	src := s.source(nil, h)
	for i := range p.c.Trunks {
		if t := p.c.Trunks[i]; len(t.AcceptFrom) > 0 {
			if t.Headers = nil; t.identifies(src) >= 0 {
				return t.Name
			}
		}
	}
	return ""
}

// Named implements proxy.Trunks.
func (s *Service) Named(host string) string {
	for _, t := range s.plan.Load().c.Trunks {
		if t.isAt(host, netip.Addr{}) {
			return t.Name
		}
	}
	return ""
}

// at reports whether a target is at an address.
func (x *Target) at(remote netip.AddrPort) bool {
	u, err := message.ParseURI(x.URI)
	a, ok := message.Addr(u.Host)
	return err == nil && ok && a.Unmap() == remote.Addr().Unmap()
}

// Emergency implements proxy.Trunks.
func (s *Service) Emergency(user string, service bool) bool {
	if service {
		user = ""
	} else if user == "" {
		return false
	}
	return s.plan.Load().Emergency(Number(user)) != nil
}

// Route implements proxy.Trunks.
func (s *Service) Route(d *sip.Dialled) (sip.TrunkRoute, bool) {
	p := s.plan.Load()
	if lent, ok := s.lent(p, d); ok {
		return lent, true
	}
	r, why := p.decide(d)
	if r == nil && why == nil {
		return sip.TrunkRoute{}, false
	}
	out := sip.TrunkRoute{Refusal: why}
	if r != nil {
		out.Pattern, out.Prefix, out.Emergency = r.Match.String(), len(r.Match.prefix), r.Emergency
		if r.Match.Exact() {
			out.Prefix = -1
		}
	}
	if why == nil {
		out.Ways, out.Refusal = s.ways(p, r, d)
	}
	if out.Refusal != nil {
		s.count(out.Refusal)
	}
	return out, true
}

// decide finds the route for a request, and why it may not be used.
func (p *Plan) decide(d *sip.Dialled) (*Route, *sip.Refusal) {
	number := Number(d.User)
	peer := d.Standing == sip.Peer || d.Standing == sip.PeerOf
	var r *Route
	switch {
	case d.Emergency:
		r = p.Emergency("")
	case d.Domain == "":
		r = p.Emergency(number)
	}
	if r == nil && !d.Emergency {
		r = p.Route(number, d.Domain, peer)
	}
	switch {
	case r == nil && peer && p.Route(number, d.Domain, false) != nil, r != nil && peer && !r.Publish:
		return r, notPublished
	case r == nil:
		return nil, nil
	}
	return r, r.admits(p, d)
}

// admits tells why a sender may not use a route; nil: it may.
func (r *Route) admits(p *Plan, d *sip.Dialled) *sip.Refusal {
	switch {
	case r.Require == RequireNone:
	case d.Standing == sip.Stranger:
		return notProven
	case r.Require != RequireAuth || r.Emergency:
	case d.Origin != "":
		if t := p.Trunk(d.Origin); t == nil || !t.TrustIdentity {
			return notProven
		}
	case d.Standing == sip.Peer, d.Standing == sip.Known && d.Caller == "":
		return notProven
	}
	if len(r.Allow) > 0 && !slices.ContainsFunc(r.Allow, func(a Pattern) bool { return a.Match(callerOf(d), "") }) {
		return notAllowed
	}
	return nil
}

// callerOf is the user part of whoever calls: proven, or said by somebody who needs not prove it.
func callerOf(d *sip.Dialled) string {
	if d.Caller != "" {
		user, _, _ := strings.Cut(string(d.Caller), "@")
		return Number(user)
	}
	if d.Request == nil || d.Standing == sip.Stranger {
		return ""
	}
	uri, _ := addressOf(d.Request.Get(message.From))
	return Number(uri.User)
}

// ways lists the ways of a route, the ones that are not down first; or why there is none.
func (s *Service) ways(p *Plan, r *Route, d *sip.Dialled) ([]sip.Way, *sip.Refusal) {
	number := Number(d.User)
	if d.Emergency {
		number = r.Match.Prefix()
	}
	var out []sip.Way
	why := roundTrip
	for _, name := range r.To {
		t := p.Trunk(name)
		if t == nil || name == d.Origin {
			continue // a call never goes back to where it comes from
		}
		n := t.Outbound.Apply(r.Change.apply(number, t.Country), t.Country)
		switch {
		case n == "":
			why = noNumber
		case !r.Emergency && !t.permits(n):
			why = notPrefix
		default:
			why = nil
			out = append(out, s.waysOf(p, t, &leaving{route: r, number: n, call: d})...)
		}
	}
	if len(out) == 0 {
		return nil, why
	}
	slices.SortStableFunc(out, func(a, b sip.Way) int {
		switch {
		case a.Down == b.Down:
			return 0
		case b.Down:
			return -1
		}
		return 1
	})
	return out, nil
}

// permits reports whether a number, as it is sent, may be called over the trunk.
func (t *Trunk) permits(number string) bool {
	return len(t.Prefixes) == 0 || slices.ContainsFunc(t.Prefixes, func(x Pattern) bool { return x.Match(number, "") })
}

// leaving is a call on its way to a trunk.
type leaving struct {
	route  *Route
	number string // as the trunk is to see it
	call   *sip.Dialled
}

// waysOf lists the ways of one trunk.
func (s *Service) waysOf(p *Plan, t *Trunk, l *leaving) (out []sip.Way) {
	base := sip.Way{Trunk: t.Name, Wait: t.Timeout, Emergency: l.route.Emergency, Write: func(m *message.Message) { p.write(t, l, m) }}
	if !l.route.Publish && !l.route.Emergency {
		if user := callerOf(l.call); user != "" && l.call.Origin == "" {
			base.Charge = location.AOR(user + "@" + p.c.Domain)
		}
	}
	if way, ok := s.borrowed(p, t, l.number, base); ok {
		return []sip.Way{way}
	}
	if t.RegisteredAs != "" {
		for _, b := range s.o.Bindings(t.RegisteredAs) {
			u, err := message.ParseURI(b.Contact)
			if err != nil || !u.IsSIP() {
				continue
			}
			// The number that was dialled, not the one that the PBX registered; what else is in its contact finds the line there.
			u.User, u.Password = l.number, ""
			if b.Bulk {
				// RFC 6140 §5.2: the contact of a number is that of the PBX "adding [..] a user portion containing the fully qualified,
				// E.164-formatted number [..] and removing the "bnc" parameter".
				u.Params = message.DelParam(u.Params, "bnc")
			}
			way := base
			way.URI, way.Binding = u.String(), &b
			out = append(out, way)
		}
		return out
	}
	for _, x := range t.order() {
		u, err := message.ParseURI(x.URI)
		if err != nil {
			continue
		}
		way := base
		way.Down = s.o.Conditions != nil && s.o.Conditions.TargetDown(t.Name, x.URI)
		u.User, u.Password, u.Headers = l.number, "", ""
		way.Next = u.String()
		if t.Domain != "" {
			u.Host, u.Port = t.Domain, 0
		}
		way.URI = u.String()
		out = append(out, way)
	}
	return out
}

// order lists the targets as they are to be tried: as configured, or drawn, each as often first as its weight says.
func (t *Trunk) order() []Target {
	if !t.Weighted || len(t.Targets) < 2 {
		return t.Targets
	}
	left, out := slices.Clone(t.Targets), make([]Target, 0, len(t.Targets))
	for len(left) > 0 {
		all := 0
		for _, x := range left {
			all += x.Weight
		}
		at, n := 0, rand.IntN(all)
		for n >= left[at].Weight {
			n -= left[at].Weight
			at++
		}
		out, left = append(out, left[at]), slices.Delete(left, at, at+1)
	}
	return out
}

// Answer implements proxy.Trunks.
func (s *Service) Answer(trunk string, res *message.Message, method, uri string) (message.Name, string, bool) {
	t := s.plan.Load().Trunk(trunk)
	if t == nil || t.Register == nil || s.o.Answer == nil {
		return 0, "", false
	}
	name, value, err := s.o.Answer(t.Register, res, method, uri)
	if err != nil {
		s.failed(trunk, err.Error())
	}
	return name, value, err == nil
}

func (s *Service) failed(trunk, why string) {
	s.mu.Lock()
	c := s.counters(trunk)
	c.lastError, c.lastErrorAt = why, s.o.Now()
	s.mu.Unlock()
	if s.o.Failed != nil {
		s.o.Failed(trunk, why)
	}
}
