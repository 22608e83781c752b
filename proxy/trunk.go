package proxy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Trunks knows PBXs and providers: what comes from them, and which numbers lead to them. Its methods do not block and are safe for concurrent
// use. A call is known by its Call-ID.
type Trunks interface {
	// Active reports whether there is any trunk.
	Active() bool
	// Origin tells which trunk a request that opens a dialog, or stands alone, comes from.
	Origin(req *message.Message, from location.Hop) sip.Origin
	// Emergency reports whether a user part is an emergency number here; service: urn:service:sos is meant instead.
	Emergency(user string, service bool) bool
	// At names the trunk that has an address, "" when none does.
	At(h location.Hop) string
	// Named names the trunk that has a host: of a target, or its domain; "" when none does.
	Named(host string) string
	// Route finds the way for a request. ok is false when no route is for it: then it goes where it would without trunks.
	Route(d *sip.Dialled) (r sip.TrunkRoute, ok bool)
	// Receive takes note of a call from a trunk, Take of one that goes over a way; nil when there is room for it. Take before Drop of another
	// way moves the call.
	Receive(call string, trunk string, d *sip.Dialled) *sip.Refusal
	Take(call string, w *sip.Way, d *sip.Dialled) *sip.Refusal
	// Answered tells that a call is up, Drop that it has come to nothing, HungUp of each BYE when it passes and when it is answered. They do
	// nothing for calls that are not known.
	Answered(call string, talk sip.Talk)
	Drop(call string)
	HungUp(call string, h *sip.Hangup)
	// HopDown reports whether an address is known to be down.
	HopDown(h location.Hop) bool
	// Result tells how a request did on a way, at an address of it, the zero Hop for none: a final status, or err. moved: it goes on to another
	// address or way.
	Result(w *sip.Way, r sip.WayResult)
	// Answer answers the challenge in res, to a request with this method and Request-URI: a header field for the next try.
	Answer(trunk string, res *message.Message, method, uri string) (field message.Name, value string, ok bool)
}

// Refusals that trunks lead to.
var (
	trunkDown     = &sip.Refusal{Status: 503, Word: "TRK503", Text: "no target of the trunk answers"}
	trunkPassword = &sip.Refusal{Status: 503, Word: "TRK503A", Text: "the trunk wants credentials that it does not get, or refuses them"}
	aroundRoutes  = &sip.Refusal{Status: 403, Word: "TRK403R", Text: "the address of a trunk is reached by its numbers only"}
)

func (p *Proxy) trunking() bool { return p.c.Trunks != nil && p.c.Trunks.Active() }

// trunked is what a call knows of trunks.
type trunked struct {
	dialled sip.Dialled
	counted bool         // Trunks has an entry for it
	payer   location.AOR // the user of this gateway who had the call forwarded; "": nobody
}

// SOS reports whether a Request-URI is an emergency service (RFC 5031 §4.2: "urn:service:sos" and its sub-services).
func SOS(uri message.URI) bool {
	const service = "service:sos"
	return uri.Scheme == "urn" && len(uri.Rest) >= len(service) && message.EqualFold(uri.Rest[:len(service)], service) &&
		(len(uri.Rest) == len(service) || uri.Rest[len(service)] == '.')
}

// fromTrunk finds out whether a request comes from a trunk, and reads it as that means it.
func (p *Proxy) fromTrunk(in *inbound) (yes bool, refusal *sip.Refusal) {
	if !p.trunking() || in.overlay() {
		return false, nil
	}
	if in.inside {
		in.origin.Trunk = p.c.Trunks.At(in.src)
		return false, nil
	}
	o := p.c.Trunks.Origin(in.req, in.src)
	if in.origin = o; o.Trunk == "" || o.Refusal != nil {
		return false, o.Refusal
	}
	in.standing = known
	if o.Ours || p.responsible(in.uri) && in.uri.User != "" {
		in.uri = message.URI{Scheme: in.uri.Scheme, User: o.User, Host: p.c.Domain, Params: message.DelParam(message.DelParam(in.uri.Params, "transport"), "maddr")}
		in.msg.RequestURI = in.uri.String()
	}
	if o.From != "" {
		in.msg.Set(message.From, o.From)
		in.renamed = true
	}
	return true, nil
}

// dialled is what trunks are asked about a request.
func (c *call) dialled(user, domain string) *sip.Dialled {
	in := c.in
	if c.trunk == nil {
		c.trunk = &trunked{}
	}
	d := &c.trunk.dialled
	*d = sip.Dialled{User: user, Domain: domain, Origin: in.origin.Trunk, Caller: in.caller, Node: in.src.Node, Emergency: SOS(in.uri), Request: in.req}
	switch {
	case c.trunk.payer != "":
		d.Standing, d.Caller = sip.Known, c.trunk.payer
	case in.standing == known:
		d.Standing = sip.Known
	case in.standing == peer && in.verdict == Verified:
		d.Standing = sip.PeerOf
	case in.standing == peer:
		d.Standing = sip.Peer
	}
	return d
}

// emergency reports whether a request is a call to an emergency service of this place: that comes before anything else.
func (p *Proxy) emergency(in *inbound) bool {
	if !p.trunking() || in.inside {
		return false
	}
	service := SOS(in.uri)
	return (service || p.responsible(in.uri)) && p.c.Trunks.Emergency(in.uri.User, service)
}

func (p *Proxy) atPhone(in *inbound) bool { return p.c.Phones != nil && p.c.Phones(in.src) }

// elsewhere reports whether a trunk leads to the domain of the Request-URI, which is not ours.
func (p *Proxy) elsewhere(in *inbound) bool {
	if !p.trunking() || p.responsible(in.uri) {
		return false
	}
	_, ok := p.c.Trunks.Route(&sip.Dialled{User: in.uri.User, Domain: strings.ToLower(in.uri.Host), Request: in.req})
	return ok
}

// lent reports whether another gateway has this one send a request over an account that both have: then it goes nowhere else.
func (p *Proxy) lent(in *inbound) bool {
	_, account := in.uri.Param(accountParam)
	return account && in.overlay() && p.trunking()
}

// accountParam names the account in the Request-URI of such a request.
const accountParam = "account"

// receive counts a call that comes from a trunk.
func (p *Proxy) receive(in *inbound) *sip.Refusal {
	switch {
	case !p.trunking():
	case in.genuine && in.msg.Method == "BYE":
		p.hungUp(in, 0)
	case in.origin.Trunk != "" && !in.inside && in.msg.Method == "INVITE":
		return p.c.Trunks.Receive(in.req.Get(message.CallID), in.origin.Trunk, &sip.Dialled{User: in.uri.User, Origin: in.origin.Trunk, Request: in.req})
	}
	return nil
}

// drop takes receive back. Nothing else does: there may be a call of that Call-ID.
func (p *Proxy) drop(in *inbound) {
	if p.trunking() && in.origin.Trunk != "" && !in.inside && in.msg.Method == "INVITE" {
		p.c.Trunks.Drop(in.req.Get(message.CallID))
	}
}

// refuseBy answers a request that trunks turn away.
func (p *Proxy) refuseBy(tx sip.ServerTransaction, why *sip.Refusal) {
	tx.Respond(why.Response(tx.Request(), newTag()))
	p.counters.calls[resultOf(why.Status)].Add(1)
	p.turnedAwayBy(tx, why)
}

func (p *Proxy) turnedAwayBy(tx sip.ServerTransaction, why *sip.Refusal) {
	p.counters.refused[refusedByTrunks].Add(1)
	p.tell(tx, why)
}

// overTrunk leads a request over trunks, if a route says so; it reports whether that decided. uri is the Request-URI that it stands for.
func (c *call) overTrunk(user, domain string) bool {
	if !c.p.trunking() || c.instance != "" || c.in.inside {
		return false // what says to be within a dialog opens none, whether it is or not: it would be a call that is not counted
	}
	r, ok := c.p.c.Trunks.Route(c.dialled(user, domain))
	if !ok {
		return false
	}
	if r.Refusal == nil {
		r.Refusal = c.addWays(r.Ways)
	}
	if r.Refusal != nil {
		c.fork.refuse(r.Refusal)
		c.p.turnedAwayBy(c.tx, r.Refusal)
	}
	return true
}

// addWays adds one target with the ways as what may take its place. Those that are known to be down are not tried.
func (c *call) addWays(ways []sip.Way) *sip.Refusal {
	var up []target
	now := c.p.c.Now()
	for i := range ways {
		w := &ways[i]
		t, ok := c.p.wayTarget(w, c.in.uri.Scheme == "sips")
		if !ok || w.Down || c.p.rests(&t, now) {
			continue
		}
		up = append(up, t)
	}
	if len(up) == 0 {
		return trunkDown
	}
	c.addTarget(up[0], up[1:]...)
	return nil
}

// wayTarget makes a target of a way.
func (p *Proxy) wayTarget(w *sip.Way, sips bool) (target, bool) {
	if w.Node != "" {
		t := nodeTarget(w.URI, w.Node)
		t.way, t.known = w, false
		return t, true
	}
	if w.Binding == nil {
		return target{uri: w.URI, next: w.Next, way: w, q: wholeQ}, true
	}
	t, c := p.bound(*w.Binding, sips)
	if c != fine {
		return t, false
	}
	t.uri, t.way, t.known = w.URI, w, false
	return t, true
}

// rests reports whether the only address of a target has failed a short time ago and it is not its turn to be tried again.
func (p *Proxy) rests(t *target, now time.Time) bool {
	hop := t.hop
	if hop.Node != "" {
		return false // how gateways are is known elsewhere
	}
	if (hop == location.Hop{}) {
		uri, err := message.ParseURI(cmp.Or(t.next, t.uri))
		if err != nil {
			return true
		}
		hops, ok := p.c.Resolver.Immediate(uri)
		if !ok || len(hops) != 1 {
			return false
		}
		hop = hops[0]
	}
	return p.outages.rests(hop, now)
}

// take has the trunk of a leg make room for the call; it reports whether there is. Without, the next way has its turn. What is no call takes no
// room: nothing would tell when it ends.
func (c *call) take(branch int) bool {
	l := &c.legs[branch]
	if l.way == nil || c.in.msg.Method != "INVITE" {
		return true
	}
	d := &c.trunk.dialled
	d.Again = c.trunk.counted
	why := c.p.c.Trunks.Take(c.id(), l.way, d)
	if why == nil {
		c.trunk.counted = true
		return true
	}
	if why.Status == 503 && c.tryFlow(branch) {
		return false
	}
	c.fork.end(branch, why)
	c.p.turnedAwayBy(c.tx, why)
	return false
}

// current is the hop that is being tried, zero when none is.
func (l *leg) current() location.Hop {
	if l.at < len(l.hops) {
		return l.hops[l.at]
	}
	return location.Hop{}
}

// upFirst puts the hops of a trunk that are known to be down behind the others.
func (c *call) upFirst(l *leg) {
	if l.way == nil || len(l.hops) < 2 {
		return
	}
	l.hops = slices.Clone(l.hops) // it may be the resolver's
	slices.SortStableFunc(l.hops, func(a, b location.Hop) int {
		switch x, y := c.p.c.Trunks.HopDown(a), c.p.c.Trunks.HopDown(b); {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	})
}

// Back tells that an address answers: what was known of it being down is over.
func (p *Proxy) Back(h location.Hop) { p.outages.answered(h) }

// late reports whether a response to an earlier try of a branch counts all the same: a 2xx, which opens a call. The present try is cancelled.
func (c *call) late(e *event) bool {
	l := &c.legs[e.branch]
	if c.in.msg.Method != "INVITE" || e.res.StatusCode/100 != 2 || l.way == nil {
		return false
	}
	if l.tx != nil {
		l.tx.Cancel(elsewhere)
	}
	return true
}

// id is what trunks know a call by.
func (c *call) id() string { return c.in.req.Get(message.CallID) }

// patience has a target that says nothing at all make room for the next one, when there is a way to be patient with.
func (c *call) patience(branch int) {
	if l := &c.legs[branch]; l.way != nil && l.way.Wait > 0 {
		c.fork.patience(branch, c.p.c.Now().Add(l.way.Wait-l.way.Wait/20)) // a little less: the answer is to be there by then
	}
}

// patient is the user of an attempt that a 100 is news for.
type patient struct{ *user }

// Trying implements sip.TryingUser.
func (u *patient) Trying() { u.c.post(event{kind: evTrying, branch: u.branch, try: u.try}) }

// silence is the end of patience: nothing was heard from a target. Its transaction goes on: should a response come yet, a CANCEL follows.
func (c *call) silence(branch int) {
	l := &c.legs[branch]
	if l.tx != nil {
		l.tx.Cancel(expired)
	}
	c.failed(&event{kind: evFailed, branch: branch, try: l.try, err: sip.ErrTimeout})
}

// turn reports whether a response from a trunk has the next way tried, and does so. What a user or the owner of a phone decided is not asked
// again elsewhere, and neither is what the trunk knows of the number: only what says that the trunk itself fails.
func (c *call) turn(branch int, res *message.Message) bool {
	l := &c.legs[branch]
	if l.way == nil || res.StatusCode < 200 || !c.fork.branches[branch].active() {
		return false
	}
	w, status := l.way, res.StatusCode
	if status == 401 || status == 407 {
		if c.answerTrunk(branch, res) {
			return true
		}
		at := l.current()
		moved := c.tryFlow(branch)
		c.p.c.Trunks.Result(w, sip.WayResult{Hop: at, Status: status, Moved: moved})
		if !moved {
			c.fork.end(branch, trunkPassword)
		}
		return true
	}
	if status != 408 && !rerouted(status) {
		c.p.c.Trunks.Result(w, sip.WayResult{Hop: l.current(), Status: status})
		return false
	}
	at := l.current()
	moved := c.tryNext(branch) || c.tryFlow(branch)
	c.p.c.Trunks.Result(w, sip.WayResult{Hop: at, Status: status, Moved: moved})
	if !moved && (status == 408 || status == 503) {
		c.fork.end(branch, trunkDown)
		moved = true
	}
	return moved
}

// answerTrunk answers the challenge of a trunk, over the hop that it came from; it reports whether it could. RFC 3261 §22.3: see
// docs/decisions/0012 for the CSeq.
func (c *call) answerTrunk(branch int, res *message.Message) bool {
	l := &c.legs[branch]
	if l.at >= len(l.hops) || l.proofs >= maxProofs || !c.fork.running(branch) || l.hops[l.at].Node != "" {
		return false
	}
	trunk := ""
	if l.way != nil {
		trunk = l.way.Trunk
	} else if c.in.token.trunk && c.p.trunking() {
		trunk = c.p.c.Trunks.At(l.hops[l.at])
	}
	if trunk == "" {
		return false
	}
	field, value, ok := c.p.c.Trunks.Answer(trunk, res, c.in.msg.Method, l.uri)
	if !ok {
		return false
	}
	l.proof, l.proofField = value, field
	l.proofs++
	l.try++
	c.send(branch)
	return true
}

// believed reports whether a 503 came from another gateway that says of a trunk of its own that it is down: that is an answer, not a failure of the
// gateway.
func (c *call) believed(branch int, res *message.Message) *sip.Refusal {
	l := &c.legs[branch]
	if res.StatusCode != 503 || l.at >= len(l.hops) || l.hops[l.at].Node == "" {
		return nil
	}
	for _, why := range []*sip.Refusal{trunkPassword, sip.NoLine, trunkDown} {
		if strings.Contains(res.Get(message.Warning), why.Word+" ") {
			return why
		}
	}
	return nil
}

// trunkOver tells trunks how the call ended up.
func (c *call) trunkOver(res *message.Message) {
	if !c.p.trunking() || c.in.msg.Method != "INVITE" || c.in.inside || c.in.origin.Trunk == "" && (c.trunk == nil || !c.trunk.counted) {
		return
	}
	if res.StatusCode < 300 {
		c.p.c.Trunks.Answered(c.id(), c.talk(res))
		return
	}
	c.p.c.Trunks.Drop(c.id())
}

// dial leads a request for aor, which is nobody's own, over trunks; it reports whether that decided. A user of this gateway who has calls forwarded
// pays for where they go. When it is one of another gateway, whoever calls must be somebody who may call there: the word of others opens no
// trunk here.
func (c *call) dial(aor location.AOR, depth int) bool {
	if !c.p.trunking() || depth > 0 && len(c.seen) < 2 {
		return false
	}
	user, _, _ := strings.Cut(string(aor), "@")
	if depth > 0 {
		c.dialled(user, "") // makes room
		c.trunk.payer = ""
		if from := c.seen[len(c.seen)-2]; c.here(from) {
			c.trunk.payer = from
		}
	}
	return c.overTrunk(user, "")
}

// outweighs reports whether a trunk has the better route to aor than the ranges that were found in the overlay, and takes it. A user's own record
// is better than any; a range with the longer prefix is.
func (c *call) outweighs(aor location.AOR, found []location.Remote, depth int) bool {
	if !c.p.trunking() || len(found) == 0 || found[0].Range == "" {
		return false
	}
	user, _, _ := strings.Cut(string(aor), "@")
	r, ok := c.p.c.Trunks.Route(c.dialled(user, ""))
	pattern, _, _ := strings.Cut(string(found[0].Range), "@")
	return ok && (r.Prefix < 0 || r.Prefix >= len(strings.TrimRight(pattern, "x*"))) && c.dial(aor, depth)
}

// lookupWait is how long the overlay may take: less when a trunk leads on without it.
func (c *call) lookupWait(aor location.AOR) time.Duration {
	if !c.p.trunking() || len(c.legs) > 0 {
		return lookupWait
	}
	user, _, _ := strings.Cut(string(aor), "@")
	if _, ok := c.p.c.Trunks.Route(c.dialled(user, "")); !ok {
		return lookupWait
	}
	return exactWait
}

// astrayAt ends a branch whose target leads nowhere.
func (c *call) astrayAt(branch int) {
	if c.legs[branch].way == nil {
		c.fork.fail(branch, unresolvable)
		return
	}
	c.failed(&event{kind: evFailed, branch: branch, try: c.legs[branch].try, err: sip.ErrTransport})
}

// dress writes the copy that goes over a trunk as that wants it. What is not proven of identities is gone by now.
func (c *call) dress(l *leg, m *message.Message) {
	if l.way.Write != nil {
		l.way.Write(m)
	}
}

// isUser reports whether aor is a user itself.
func (p *Proxy) isUser(aor location.AOR) bool {
	if p.c.User != nil {
		return p.c.User(aor)
	}
	return p.c.Locator.Known(aor)
}

// nobodys reports whether nothing was found for aor, here and in the overlay, because it is nobody's own.
func (c *call) nobodys(aor location.AOR, found []location.Remote) bool {
	return len(found) == 0 && len(c.legs) == c.followed && !c.p.isUser(aor)
}
