package proxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// lookUp adds the targets of aor (RFC 3261 §16.5): phones of this gateway at once, those at other gateways as soon as the
// overlay has answered. uri is the Request-URI that leads there, depth how many AORs forwarded to this one.
func (c *call) lookUp(aor location.AOR, uri string, remote bool, depth int) {
	if slices.Contains(c.seen, aor) || depth > maxDepth {
		return
	}
	c.seen = append(c.seen, aor)
	first := len(c.legs)
	to, forwarded := c.forwarding(aor)
	if !forwarded {
		set := c.p.c.Locator.Local(aor)
		for i := range set {
			if (c.instance == "" || set[i].Instance == c.instance) && !set[i].Bulk {
				c.addBinding(set, i)
			}
		}
		c.forwardedTo(first, uri, depth)
	}
	switch {
	case !remote && forwarded:
	case !remote:
		if len(c.legs) > first || c.p.isUser(aor) || !c.dial(aor, depth) {
			c.nothingFound()
		}
	case c.cached(aor, uri, depth):
	case c.ask(aor, uri, depth):
	default:
		c.fork.note(overloaded)
	}
	if forwarded {
		c.divert(to, depth)
	}
}

// addBinding adds the target that set[i] is. RFC 5626 §7: "The proxy MUST NOT populate the target set with more than one contact with the
// same AOR and instance-id at a time".
func (c *call) addBinding(set []location.Binding, i int) {
	sips := c.in.uri.Scheme == "sips"
	if set[i].Instance == "" || alone(set, i) {
		t, code := c.p.bound(set[i], sips)
		if code != fine {
			c.fork.note(code) // the other phones ring all the same
			return
		}
		c.addTarget(t)
		return
	}
	if !lead(set, i) {
		return
	}
	flows, code := c.p.flows(set, set[i].Instance, sips)
	if len(flows) == 0 {
		c.fork.note(code)
		return
	}
	c.addTarget(flows[0], flows[1:]...)
}

// cached uses a fresh answer of the overlay when there is one.
func (c *call) cached(aor location.AOR, uri string, depth int) bool {
	found, ok := c.p.c.Locator.RemoteCached(aor)
	if !ok {
		return false
	}
	c.p.counters.lookups[lookupCached].Add(1)
	if !c.outweighs(aor, found, depth) && !(c.nobodys(aor, found) && c.dial(aor, depth)) {
		c.addRemotes(found, uri, depth)
	}
	return true
}

// ask sends a lookup on its way.
func (c *call) ask(aor location.AOR, uri string, depth int) bool {
	ctx := c.context()
	wait := c.lookupWait(aor)
	ok := c.p.pool.submit(func() {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		found, err := c.p.c.Locator.Remote(ctx, aor)
		c.post(event{kind: evFound, found: found, err: err, uri: uri, depth: depth, aor: aor})
	})
	if !ok {
		c.p.counters.lookups[lookupRejected].Add(1)
		return false
	}
	c.fork.held++
	return true
}

func (c *call) context() context.Context {
	if c.ctx == nil {
		c.ctx, c.stop = context.WithCancel(c.p.ctx)
	}
	return c.ctx
}

// found takes the answer of the overlay.
func (c *call) found(e *event) {
	c.fork.held--
	switch {
	case e.err == nil:
		c.p.counters.lookups[lookupAnswered].Add(1)
		if c.outweighs(e.aor, e.found, e.depth) || c.nobodys(e.aor, e.found) && c.dial(e.aor, e.depth) {
			return
		}
		c.addRemotes(e.found, e.uri, e.depth)
	case c.astray(e.err): // somebody's own forwardings: no number for a trunk
		c.p.counters.lookups[lookupAnswered].Add(1)
		c.nothingFound()
	case errors.Is(e.err, location.ErrNotFound):
		c.p.counters.lookups[lookupAnswered].Add(1)
		if len(c.legs) > c.followed || !c.dial(e.aor, e.depth) {
			c.nothingFound()
		}
	default:
		// No answer is not the answer "nobody": never a 404.
		c.p.counters.lookups[lookupFailures].Add(1)
		if len(c.legs) == c.followed && c.dial(e.aor, e.depth) {
			return // a site that is cut off still has its trunks
		}
		c.fork.note(lookupFailed)
	}
}

// addRemotes adds what the overlay knows of an AOR.
func (c *call) addRemotes(found []location.Remote, uri string, depth int) {
	uri = c.p.inDomain(uri)
	c.addHolders(found, uri, depth)
	for _, r := range found {
		if r.Range != "" {
			continue
		}
		first := len(c.legs)
		if r.Node != "" {
			c.addTarget(nodeTarget(uri, r.Node)) // the AOR stays the Request-URI: the other gateway knows its phones
			c.forwardedTo(first, uri, depth)
			continue
		}
		c.addForward(r.URI, depth+max(r.Depth, 1))
	}
	c.nothingFound()
}

// inDomain is a Request-URI of ours as every gateway understands it: who wrote an address of this gateway in the place of the domain means the same user,
// and to the next gateway that address is somebody else's.
func (p *Proxy) inDomain(uri string) string {
	u, err := message.ParseURI(uri)
	if err != nil || !u.IsSIP() || message.EqualFold(u.Host, p.c.Domain) {
		return uri
	}
	u.Host, u.Port = p.c.Domain, 0
	return u.String()
}

// nothingFound notes the reason when an AOR has led nowhere at all.
func (c *call) nothingFound() {
	if len(c.legs) > c.followed || len(c.fork.results) > 0 || c.fork.held > 0 {
		return
	}
	if c.lost != fine {
		c.fork.note(c.lost)
		return
	}
	// RFC 3261 §16.5: a resource "that does not exist" is 404, an empty target set 480. Over the overlay nobody asks us
	// for a user that was never registered here: the record is only old. Deviation: a stranger outside gets 480 for both, or numbers could be
	// tried until one exists.
	if c.in.overlay() || c.p.c.Locator.Known(c.seen[0]) || c.in.standing == stranger && c.p.c.Outside != nil && c.p.c.Outside(c.in.src) {
		c.fork.note(notRegistered)
		return
	}
	c.fork.note(unknownUser)
}

// addTarget adds a target once, with other ways to the same device. RFC 3261 §16.5: "any given URI MUST NOT be added to the set more than once".
func (c *call) addTarget(t target, spare ...target) {
	if len(c.legs) >= maxTargets {
		return
	}
	for i := range c.legs {
		if l := &c.legs[i]; l.hop == t.hop && (l.uri == t.uri || message.EqualURI(l.uri, t.uri)) {
			return
		}
	}
	c.legs = append(c.legs, leg{target: t, spare: spare})
	c.fork.add(t.q)
}

// start starts a branch: it finds the next hop (RFC 3261 §16.6 step 7) and sends.
func (c *call) start(branch int) {
	l := &c.legs[branch]
	if !c.take(branch) {
		return
	}
	c.patience(branch)
	if (l.hop != location.Hop{}) {
		l.only[0] = l.hop
		l.hops = l.only[:]
		c.send(branch)
		return
	}
	uri, ok := nextHop(&l.target, c.in)
	if !ok {
		c.fork.fail(branch, unresolvable)
		return
	}
	if hops, ok := c.p.c.Resolver.Immediate(uri); ok {
		l.hops = c.p.outages.order(hops, c.p.c.Now(), true)
		c.upFirst(l)
		c.sendFirst(branch)
		return
	}
	ctx, try, wait := c.context(), l.try, lookupWait
	if l.way != nil {
		wait = min(wait, l.way.Wait) // names of one trunk that nobody resolves are not to keep those of others waiting
	}
	if !c.p.resolve(ctx, uri, wait, func(hops []location.Hop, err error) {
		c.post(event{kind: evResolved, branch: branch, try: try, hops: hops, err: err})
	}) {
		c.fork.fail(branch, overloaded)
	}
}

// resolve asks the DNS, and tells done; it reports whether there is room for that.
func (p *Proxy) resolve(ctx context.Context, uri message.URI, wait time.Duration, done func([]location.Hop, error)) bool {
	if p.resolving.Add(1) <= maxResolving && p.pool.submit(func() {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		hops, err := p.c.Resolver.Resolve(ctx, uri)
		p.resolving.Add(-1)
		done(hops, err)
	}) {
		return true
	}
	p.resolving.Add(-1)
	return false
}

// resolved takes the answer of the DNS.
func (c *call) resolved(e *event) {
	if e.try != c.legs[e.branch].try {
		return // the next way has its turn
	}
	if !c.fork.running(e.branch) {
		return // it was cancelled meanwhile, which ended it
	}
	if e.err != nil {
		c.astrayAt(e.branch)
		return
	}
	c.legs[e.branch].hops = c.p.outages.order(e.hops, c.p.c.Now(), true)
	c.upFirst(&c.legs[e.branch])
	c.sendFirst(e.branch)
}

func (c *call) sendFirst(branch int) {
	if len(c.legs[branch].hops) == 0 {
		c.astrayAt(branch)
		return
	}
	c.send(branch)
}

// via has hop use the socket that the phone behind it knows, as far as that can reach it.
func (in *inbound) via(hop location.Hop) location.Hop {
	if hop.Transport == "UDP" && in.socket.IsValid() && hop.Remote.Addr().Is4() == in.socket.Addr().Is4() {
		hop.Local = in.socket
	}
	return hop
}

// send forwards the request over the current hop of a branch. RFC 3261 §16.6 step 7: "the branch parameter [..] MUST be
// different for each attempt".
func (c *call) send(branch int) {
	l := &c.legs[branch]
	hop := c.in.via(l.hops[l.at])
	if c.around(l, hop) {
		c.fork.end(branch, aroundRoutes)
		c.p.turnedAwayBy(c.tx, aroundRoutes)
		return
	}
	m := c.p.branchOf(c.in, &l.target, hop, c.fork.branches[branch].breadth)
	if l.way != nil {
		c.dress(l, m)
	} else {
		c.p.disclose(c.in, m, &l.target, hop)
		m.RequestURI = unlent(m.RequestURI, hop)
	}
	if l.proof != "" {
		m.Add(l.proofField, l.proof)
	}
	c.history(m, branch)
	if !c.mediaRequest(l, m, hop) {
		c.fork.fail(branch, noMediaPorts)
		return
	}
	u := &user{c: c, branch: branch, try: l.try, passage: c.passageOf(branch)}
	if l.way != nil {
		l.tx = c.p.c.Sender.Send(m, hop, newBranch(c.in.hash), &patient{u})
		return
	}
	l.tx = c.p.c.Sender.Send(m, hop, newBranch(c.in.hash), u)
}
