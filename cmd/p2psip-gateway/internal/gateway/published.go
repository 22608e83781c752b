package gateway

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/registrar"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// The codes of numbers that routes publish.
const (
	codeNotCertified = "E0112" // there is no certificate for them
	codeNotLookedFor = "E0113" // the document has no ranges like them
	codeNotTaken     = "E0114" // the overlay has not taken the record
)

// publishFor is for how long what a route publishes is wanted: until the route goes away.
const publishFor = 100 * 365 * 24 * time.Hour

// withdrawWait is how long a node that stops waits for the overlay to know that its numbers are not served here any more.
const withdrawWait = 3 * time.Second

// published are the numbers and ranges that routes of this gateway publish: in front of the publisher, so that a phone which registers as one of them and
// goes does not take the record with it. It is safe for concurrent use.
type published struct {
	publisher
	log zerolog.Logger

	mu    sync.Mutex
	names map[location.AOR]publication
}

// publication is how a name stands.
type publication struct {
	code string // of the last failure; empty: none
	err  error  // likewise
	told bool   // the log has it
}

// PublishedName is the address-of-record under which the numbers of a pattern are published; ok is false when there is none: it stands for everybody, or is
// of another domain.
func PublishedName(p trunk.Pattern, domain string) (aor location.AOR, ok bool) {
	if !p.Ours() {
		return "", false
	}
	if p.Exact() {
		return location.AOR(p.Prefix() + "@" + domain), p.Prefix() != ""
	}
	// The last x may be written as X in a route; in the overlay there is one spelling.
	aor = location.AOR(strings.ToLower(p.String()) + "@" + domain)
	_, ok = sipusage.RangeOf(aor)
	return aor, ok
}

// publishedNames are those of a plan, in its order, each once.
func publishedNames(plan *trunk.Plan, domain string) (names []location.AOR) {
	for _, p := range plan.Published() {
		if aor, ok := PublishedName(p, domain); ok && !slices.Contains(names, aor) {
			names = append(names, aor)
		}
	}
	return names
}

// PublishedNames are the addresses-of-record that the routes of a configuration publish, in a domain.
func (c *Config) PublishedNames(domain string) ([]location.AOR, error) {
	plan, err := c.plan()
	if err != nil {
		return nil, err
	}
	return publishedNames(plan, domain), nil
}

func (p *published) has(aor location.AOR) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.names[aor]
	return ok
}

// Publish implements publisher. What a route publishes has no end.
func (p *published) Publish(aor location.AOR, until time.Time, done func(error)) {
	if p.has(aor) {
		until = time.Now().Add(publishFor)
	}
	p.publisher.Publish(aor, until, done)
}

// Extend implements publisher.
func (p *published) Extend(aor location.AOR, until time.Time) bool {
	return !p.has(aor) && p.publisher.Extend(aor, until)
}

// Withdraw implements publisher. The end of the last phone is not the end of a route.
func (p *published) Withdraw(aor location.AOR, done func(error)) {
	if p.has(aor) {
		p.publisher.Publish(aor, time.Now().Add(publishFor), done)
		return
	}
	p.publisher.Withdraw(aor, done)
}

// set has names published, those that are no longer among them withdrawn, and those without a certificate tried again. front is what stands in front of
// p; bound reports whether phones are bound to a name, which keeps it in the overlay.
func (p *published) set(names []location.AOR, front registrar.Publisher, bound func(location.AOR) bool) {
	p.mu.Lock()
	old := p.names
	p.names = make(map[location.AOR]publication, len(names))
	for _, aor := range names {
		p.names[aor] = old[aor]
	}
	p.mu.Unlock()
	for aor := range old {
		if !p.has(aor) && !bound(aor) {
			front.Withdraw(aor, func(error) {})
		}
	}
	for _, aor := range names {
		front.Publish(aor, time.Now().Add(publishFor), func(error) {})
	}
}

// withdraw takes all names out of the overlay. The channel is closed when the overlay knows, or does not answer.
func (p *published) withdraw(front registrar.Publisher, bound func(location.AOR) bool) <-chan struct{} {
	p.mu.Lock()
	names := p.names
	p.names = nil
	p.mu.Unlock()
	var left sync.WaitGroup
	for aor := range names {
		if !bound(aor) {
			left.Add(1)
			front.Withdraw(aor, func(error) { left.Done() })
		}
	}
	gone := make(chan struct{})
	go func() { left.Wait(); close(gone) }()
	return gone
}

// stored takes what came of a Store: sipusage.Publisher.Watch. It reports whether aor is the name of a route.
func (p *published) stored(aor location.AOR, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was, ok := p.names[aor]
	if !ok {
		return false
	}
	now := publication{err: err, told: true}
	switch {
	case err == nil:
	case errors.Is(err, location.ErrForbidden):
		now.code = codeNotCertified
	default:
		now.code = codeNotTaken
	}
	p.names[aor] = now
	switch {
	case was.told && was.code == now.code:
	case err == nil:
		p.log.Info().Str("aor", string(aor)).Msg("numbers are published")
	default:
		p.log.Warn().Str("code", now.code).Str("aor", string(aor)).Err(err).Msg("numbers of a route are not published")
	}
	return true
}

// report lists what routes publish, by name.
func (p *published) report() []PublishedReport {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []PublishedReport
	for aor, how := range p.names {
		r := PublishedReport{AOR: string(aor), State: string(p.State(aor)), Code: how.code}
		switch {
		case how.code == codeNotCertified:
			r.State = "no certificate"
		case r.State == string(sipusage.LocalOnly) && how.code != "":
			r.State = "failed"
		case r.State == string(sipusage.LocalOnly):
			r.State = string(sipusage.Pending) // the node has not joined
		}
		if how.err != nil {
			r.Error = how.err.Error()
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b PublishedReport) int { return cmp.Compare(a.AOR, b.AOR) })
	return out
}

// numbered tells for whom numbers are routed to what they register: users that a trunk is registered as.
func numbered(plan *trunk.Plan, domain string) func(location.AOR) bool {
	return func(aor location.AOR) bool {
		user, ok := strings.CutSuffix(string(aor), "@"+domain)
		return ok && slices.ContainsFunc(plan.Routes(), func(r trunk.Route) bool {
			return slices.ContainsFunc(r.To, func(name string) bool { t := plan.Trunk(name); return t != nil && t.RegisteredAs == user })
		})
	}
}

// bound reports whether phones are bound to aor here.
func (g *Gateway) bound(aor location.AOR) bool { return len(g.bindings.Get(aor, time.Now())) > 0 }

// publishRoutes has the overlay know the numbers of the routes in force.
func (g *Gateway) publishRoutes() {
	names := publishedNames(g.inForce().plan, g.o.Config.Domain)
	for _, aor := range names {
		if !LookedFor(g.Overlay(), aor) {
			g.published.log.Warn().Str("code", codeNotLookedFor).Str("aor", string(aor)).Msg("the document of the overlay has no ranges like this: nobody looks for it")
		}
	}
	g.published.set(names, g.forwards, g.bound)
}

// LookedFor reports whether other gateways find the numbers that are published as aor.
func LookedFor(o *config.Overlay, aor location.AOR) bool {
	r, ok := sipusage.RangeOf(aor)
	return !ok || o.Ranges.Has(r.Shape())
}

// withdrawRoutes begins to take them back: callers go to other gateways that serve them. The result waits for the end of that.
func (g *Gateway) withdrawRoutes() (wait func()) {
	gone := g.published.withdraw(g.forwards, g.bound)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), withdrawWait)
		defer cancel()
		select {
		case <-gone:
		case <-ctx.Done():
		}
	}
}
