package proxy

import (
	"context"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// alertExternal tells phones that a caller is none that the domain vouches for (RFC 7462: the source of the call is outside).
const alertExternal = "<urn:alert:source:external>"

// asserted is one identity that a gateway asserts.
type asserted struct {
	aor   location.AOR
	value string // to be passed on, once it is proven
}

// claims is who a request that came over the overlay says to be from: what its gateway asserts, and From when that is of our domain.
type claims struct {
	aors     [maxAsserted + 1]location.AOR
	n        int
	asserted [maxAsserted]asserted
	values   int
	wrong    bool // some of it is nobody's of our domain, or is too much
	foreign  bool // what is asserted is a number that nobody in the overlay has
}

func (c *claims) add(aor location.AOR) {
	for _, have := range c.aors[:c.n] {
		if have == aor {
			return
		}
	}
	c.aors[c.n] = aor
	c.n++
}

// claims reads who in says to be from.
func (p *Proxy) claims(in *inbound) (c claims) {
	if from := p.from(in); from != "" {
		c.add(from)
	}
	for i := range in.req.Fields {
		f := &in.req.Fields[i]
		switch {
		case f.Name != message.PAssertedIdentity:
		case strings.IndexByte(f.Value, ',') < 0:
			p.claim(in, &c, f.Value)
		default:
			for _, v := range message.AppendValues(nil, f.Value) {
				p.claim(in, &c, v)
			}
		}
	}
	return c
}

// from is who From says it is, among the users of our domain; a telephone number is one of them.
func (p *Proxy) from(in *inbound) location.AOR {
	if in.from != "" {
		return in.from
	}
	a, err := message.ParseAddress(in.req.Get(message.From))
	if err != nil || len(a.URI) < len("tel:") || !message.EqualFold(a.URI[:len("tel:")], "tel:") {
		return ""
	}
	return p.assertedAOR(a.URI)
}

// claim adds one value of P-Asserted-Identity. The name to be shown is left out: no certificate says what a user is called.
func (p *Proxy) claim(in *inbound, c *claims, value string) {
	a, err := message.ParseAddress(value)
	if err != nil || c.values >= maxAsserted {
		c.wrong = true // RFC 3325 §9.1: "There may be one or two P-Asserted-Identity values"
		return
	}
	aor := in.from
	if aor == "" || !strings.HasPrefix(a.URI, "sip:") || a.URI[len("sip:"):] != string(aor) {
		if aor = p.assertedAOR(a.URI); aor == "" {
			c.wrong = true
			return
		}
	}
	c.add(aor)
	c.asserted[c.values] = asserted{aor, nameAddr(value, aor)}
	c.values++
}

// assertedAOR is the address-of-record that a URI in P-Asserted-Identity stands for, "" when it is none of ours. A telephone number is that user
// of the domain (RFC 3261 §19.1.6).
func (p *Proxy) assertedAOR(s string) location.AOR {
	uri, err := message.ParseURI(s)
	if err != nil {
		return ""
	}
	if uri.Scheme == "tel" {
		number, _, _ := strings.Cut(uri.Rest, ";")
		uri = message.URI{Scheme: "sip", User: digits(number), Host: p.c.Domain}
	}
	if uri.User == "" {
		return ""
	}
	aor, _ := p.c.AOR(uri)
	return aor
}

// digits takes the visual separators out of a telephone number (RFC 3966 §5.1.1).
func digits(number string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.()", r) {
			return -1
		}
		return r
	}, number)
}

// identify finds out whether who the request says to be from is proven. It reports whether the call has to wait for that; then evIdentified
// goes on with pl. Requests within a dialog are not looked at: who its sides are was settled when it began.
func (c *call) identify(pl plan) (waits bool) {
	in := c.in
	if !in.overlay() || in.genuine {
		if !in.genuine {
			c.p.counters.callers[in.verdict].Add(1)
		}
		return false
	}
	cl := c.p.claims(in)
	switch {
	case cl.n == 0 && !cl.wrong:
		c.judge(&cl, Unknown, false)
		return false
	case cl.wrong || c.p.c.Identity.Callers == nil:
		c.judge(&cl, Unverified, false)
		return false
	}
	verdict := Verified
	for _, aor := range cl.aors[:cl.n] {
		h, known := c.p.c.Identity.Callers.HoldsCached(in.src.Node, aor)
		if !known {
			return c.prove(pl, cl)
		}
		if !c.p.weigh(&cl, aor, h) {
			verdict = Unverified
			break
		}
	}
	c.judge(&cl, verdict, false)
	return false
}

// weigh takes what was found of one of the claims; it reports whether the gateway may make it. A number that nobody in the overlay has is one from outside
// of it, which came in over a trunk there: nobody's name is forged, and nothing is proven.
func (p *Proxy) weigh(cl *claims, aor location.AOR, h location.Holding) bool {
	if h == location.HeldByNobody && isNumber(aor) && !p.c.Locator.Known(aor) {
		for _, a := range cl.asserted[:cl.values] {
			cl.foreign = cl.foreign || a.aor == aor
		}
		return true
	}
	return h == location.Held
}

// isNumber reports whether the user part of aor is a telephone number.
func isNumber(aor location.AOR) bool {
	user, _, _ := strings.Cut(string(aor), "@")
	return numbers.Is(user)
}

// prove asks the overlay whether the gateway that sent the request holds the certificates of all who it is said to be from. What is not
// answered in time, or can not be asked for there is too much to ask, is not proven.
func (c *call) prove(pl plan, cl claims) (waits bool) {
	p, node := c.p, c.in.src.Node
	ctx := c.context()
	p.counters.proofs.Add(1)
	ok := p.checking.Add(1) <= maxChecks && p.pool.submit(func() {
		defer p.checking.Add(-1)
		ctx, cancel := context.WithTimeout(ctx, checkWait)
		defer cancel()
		e := event{kind: evIdentified, identified: &identified{plan: pl, claims: cl, verdict: Verified}}
		for _, aor := range cl.aors[:cl.n] {
			h, err := p.c.Identity.Callers.Holds(ctx, node, aor)
			if e.err = err; err != nil || !p.weigh(&e.identified.claims, aor, h) {
				e.identified.verdict = Unverified
				break
			}
		}
		c.post(e)
	})
	if !ok {
		p.checking.Add(-1)
		c.judge(&cl, Unverified, true)
		return false
	}
	c.fork.held++
	return true
}

// identified is what came of prove, and what was to be done then.
type identified struct {
	plan    plan
	claims  claims
	verdict Verdict
}

// identified goes on with a call whose caller was asked about.
func (c *call) identified(e *event) {
	c.fork.held--
	c.judge(&e.identified.claims, e.identified.verdict, e.err != nil)
	c.proceed(&e.identified.plan)
}

// judge does what follows from a verdict.
func (c *call) judge(cl *claims, v Verdict, late bool) {
	in, id := c.in, &c.p.c.Identity
	if v == Verified && (cl.values == 0 || cl.foreign) {
		v = Unknown // without an assertion the gateway may speak for From, but does not say that it has asked
	}
	in.verdict = v
	c.p.counters.callers[v].Add(1)
	if v == Verified {
		for i := range cl.values {
			in.msg.Add(message.PAssertedIdentity, cl.asserted[i].value)
		}
		in.asserted = true
	}
	if id.Told != nil {
		id.Told(Caller{Verdict: v, Method: in.req.Method, From: in.req.Get(message.From), AOR: cl.aors[0], Node: in.src.Node, Late: late})
	}
	switch {
	case v != Unverified:
	case id.Refuse && late:
		c.refused = lookupFailed // no answer is not the answer "no"
	case id.Refuse:
		c.refused = forgedFrom
	case id.Mark && in.msg.Method == "INVITE":
		mark(in.msg)
	}
}

// mark has a phone show, if it can, that nobody vouches for the caller. What the sender said of the source of the call goes: RFC 7462 permits
// proxies to add and to remove Alert-Info.
func mark(m *message.Message) {
	keep := m.Fields[:0]
	for _, f := range m.Fields {
		if f.Name != message.Other || !message.EqualFold(f.Text, "Alert-Info") || !strings.Contains(strings.ToLower(f.Value), "urn:alert:source:") {
			keep = append(keep, f)
		}
	}
	m.Fields = keep
	m.AddOther("Alert-Info", alertExternal)
}
