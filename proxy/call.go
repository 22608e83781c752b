package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// call drives the response context of one request: it feeds the fork with events, one after the other, and does what the
// fork says.
type call struct {
	p  *Proxy
	tx sip.ServerTransaction
	in *inbound

	mu    sync.Mutex
	inbox []event
	busy  bool // somebody empties the inbox

	// The rest belongs to whoever empties the inbox.
	handled  []event // memory of the inbox before
	fork     fork
	legs     []leg // by branch number
	seen     []location.AOR
	followed int             // legs that ended in a redirection which was followed
	lost     code            // why forwardings led nowhere; fine: they did not
	instance string          // the device that is called; "": all of the user's
	ctx      context.Context // of lookups; nil before the first
	stop     context.CancelFunc
	timer    struct {
		at   time.Time
		stop func()
	}
	answered, closed bool
	refused          code     // why nothing is sent; fine: it is
	trunk            *trunked // nil: trunks have not been asked

	// Memory of what most calls have one of.
	room struct {
		events   [1]event
		branches [1]branch
		actions  [2]action
		legs     [1]leg
		seen     [1]location.AOR
	}
}

// leg is what the driver knows of a branch.
type leg struct {
	target
	spare  []target        // other flows of the same device, not tried yet (RFC 5626 §7)
	hops   []location.Hop  // to be tried one after the other (RFC 3263 §4.3)
	only   [1]location.Hop // for hops, when there is no other
	at     int             // which one is being tried
	try    int             // how many were tried before, of every flow
	parent int             // the branch whose redirection led here, counted from 1; 0: none
	status int             // of the redirection that ended it

	forwarded string // URI of the AOR, or the place outside, that a forwarding led to; "": none did
	media     uint64 // its number for Config.Media; 0: none yet
	tx        sip.ClientTransaction

	proofs     int // challenges of this target that were answered
	proof      string
	proofField message.Name
}

// event is something that happened to a call.
type event struct {
	kind   evKind
	branch int
	try    int // which of the leg's hops an answer is from
	res    *message.Message
	// passage is that of res.
	passage *passage
	err     error
	reason  string
	found   []location.Remote
	hops    []location.Hop
	uri     string
	depth   int
	aor     location.AOR

	identified *identified
}

type evKind uint8

const (
	evResponse evKind = iota
	evFailed
	evFound    // the overlay answered
	evResolved // the DNS answered
	evIdentified
	evTrying // a 100 came
	evTick
	evCancel
	evEnded
)

// user is the sip.ClientUser of one attempt of a branch.
type user struct {
	c           *call
	branch, try int
	passage     passage
}

func (u *user) Response(res *message.Message) {
	u.c.post(event{kind: evResponse, branch: u.branch, try: u.try, res: res, passage: &u.passage})
}

func (u *user) Failed(err error) {
	u.c.post(event{kind: evFailed, branch: u.branch, try: u.try, err: err})
}

// begin starts a call. Its inbox is held busy since open, so that nothing comes in between.
func (c *call) begin(pl plan) {
	if !c.identify(pl) {
		c.proceed(&pl)
	}
	c.settle()
	if c.fork.invite && c.ctx != nil {
		// RFC 3261 §17.2.1: something has to be asked first, and nobody knows how long that takes. Otherwise the stack sends the 100, unless within
		// 200 ms the phone has said more.
		c.tx.Trying()
	}
	c.drain()
}

// proceed adds the targets of a plan.
func (c *call) proceed(pl *plan) {
	switch {
	case c.refused != fine:
		c.fork.note(c.refused)
		c.p.turnedAway(c.tx, c.refused)
	case pl.dial:
		if !c.overTrunk(pl.user, pl.domain) {
			c.fork.note(unknownUser)
		}
	case pl.aor == "":
		c.addTarget(pl.one, pl.spare...)
	default:
		c.instance = pl.instance
		c.lookUp(pl.aor, c.in.msg.RequestURI, pl.remote, 0)
	}
}

// post hands an event to the call and, unless somebody does already, deals with it.
func (c *call) post(e event) {
	c.mu.Lock()
	if len(c.inbox) >= maxInbox && e.comesAgain(c.fork.invite) {
		c.mu.Unlock()
		c.p.counters.dropped.Add(1)
		return
	}
	c.inbox = append(c.inbox, e)
	if c.busy {
		c.mu.Unlock()
		return
	}
	c.busy = true
	c.mu.Unlock()
	c.drain()
}

// comesAgain reports whether an event is news that is repeated, or not needed: provisional responses, and a 2xx to INVITE.
func (e *event) comesAgain(invite bool) bool {
	switch e.kind {
	case evTrying:
		return true
	case evResponse:
		return e.res.StatusCode < 200 || invite && e.res.StatusCode < 300
	}
	return false
}

// drain deals with events until there are none.
func (c *call) drain() {
	for {
		c.mu.Lock()
		if len(c.inbox) == 0 {
			if c.busy = false; cap(c.inbox) == 0 {
				c.inbox, c.handled = c.handled, nil
			}
			c.mu.Unlock()
			return
		}
		events := c.inbox
		c.inbox = c.handled
		c.mu.Unlock()
		for i := range events {
			c.handle(&events[i])
			c.settle()
			events[i] = event{} // no response is to live for as long as its memory
		}
		c.handled = events[:0]
	}
}

func (c *call) handle(e *event) {
	now := c.p.c.Now()
	switch e.kind {
	case evResponse:
		c.response(now, e)
	case evFailed:
		c.failed(e)
	case evFound:
		c.found(e)
	case evResolved:
		c.resolved(e)
	case evIdentified:
		c.identified(e)
	case evTrying:
		if e.try == c.legs[e.branch].try {
			c.fork.heard(e.branch)
		}
	case evTick:
		c.timer.at = time.Time{}
		c.fork.tick(now)
	case evCancel:
		c.fork.abort(now, e.reason)
	case evEnded:
		c.fork.orphan(now)
	}
}

// settle does what the fork wants done, until it wants nothing more, and then looks after timer and end.
func (c *call) settle() {
	now := c.p.c.Now()
	for {
		actions := c.fork.step(now)
		if len(actions) == 0 {
			break
		}
		for i := range actions {
			c.act(&actions[i])
			actions[i] = action{} // the fork uses the list again, and no response is to live for as long
		}
	}
	c.arm(now)
	if c.fork.done() {
		c.close()
	}
}

func (c *call) act(a *action) {
	switch a.do {
	case start:
		c.start(a.branch)
	case cancel:
		if tx := c.legs[a.branch].tx; tx != nil {
			tx.Cancel(a.reason)
		} else {
			c.fork.fail(a.branch, cancelled) // nothing was sent yet
		}
	case abandon:
		if tx := c.legs[a.branch].tx; tx != nil {
			tx.Abandon()
		}
	case quiet:
		c.silence(a.branch)
	case relay:
		c.relay(a.res)
	case finish:
		c.finish(a)
	}
}

// arm keeps the timer no later than the fork's deadline. One that fires too early does no harm, so it is not moved back.
func (c *call) arm(now time.Time) {
	next := c.fork.deadline()
	if next.IsZero() || !c.timer.at.IsZero() && !next.Before(c.timer.at) {
		return
	}
	if c.timer.stop != nil {
		c.timer.stop()
	}
	c.timer.at = next
	c.timer.stop = c.p.c.After(next.Sub(now), func() { c.post(event{kind: evTick}) })
}

// close ends the bookkeeping once everything has ended. Later 2xx find their way without the call: see Proxy.Relay.
func (c *call) close() {
	if c.closed {
		return
	}
	c.closed = true
	if c.timer.stop != nil {
		c.timer.stop()
	}
	if c.stop != nil {
		c.stop()
	}
	c.mediaEnd()
	c.p.forget(c.tx)
}

// relay passes a response upstream at once (RFC 3261 §16.7 step 9).
func (c *call) relay(res *message.Message) {
	if res.StatusCode >= 200 && !c.answered {
		c.answered = true
		c.p.counters.calls[resultSuccess].Add(1)
		c.trunkOver(res)
	}
	c.tx.Respond(res)
}

// finish sends the best final response.
func (c *call) finish(a *action) {
	res := a.best.res
	switch {
	case res != nil:
	case a.best.why != nil:
		res = a.best.why.Response(c.in.req, newTag())
	default:
		res = a.best.code.response(c.in.req)
	}
	aggregate(res, a.others)
	c.trunkOver(res)
	c.p.counters.calls[resultOf(res.StatusCode)].Add(1)
	c.tx.Respond(res)
}

// response takes a response on a branch.
func (c *call) response(now time.Time, e *event) {
	l := &c.legs[e.branch]
	if e.try != l.try && !c.late(e) {
		return
	}
	res := e.res
	if !e.passage.pass(res) {
		if res.StatusCode >= 200 {
			c.fork.fail(e.branch, timedOut) // its transaction is over, and nothing else will come
		}
		return
	}
	c.note(now, l, res, nil)
	c.mediaResponse(l, res)
	switch {
	case c.turn(e.branch, res):
		return
	case res.StatusCode == 503 && c.tryNext(e.branch):
		return // RFC 3263 §4.3: 503 is a failure of this server, not of the request
	case (res.StatusCode == 430 || res.StatusCode == 408 || l.ranged && rerouted(res.StatusCode)) && c.tryFlow(e.branch):
		return // RFC 5626 §7, RFC 5627 §6.1: only these two say that the phone did not get it
	case res.StatusCode == 430 && l.known && !c.in.inside:
		c.p.counters.branches[resultUnreachable].Add(1)
		c.fork.fail(e.branch, flowGone) // RFC 5626 §11.5: "Endpoints should never receive a 430 response"
		return
	}
	if res.StatusCode >= 200 {
		c.p.counters.branches[resultOf(res.StatusCode)].Add(1)
		if why := c.believed(e.branch, res); why != nil {
			c.fork.end(e.branch, why)
			return
		}
		if (res.StatusCode == 401 || res.StatusCode == 407) && c.answerTrunk(e.branch, res) {
			return
		}
		if c.withhold(e.branch, res) {
			c.fork.fail(e.branch, challengeWithheld)
			return
		}
		l.status = res.StatusCode
		c.p.hungUp(c.in, res.StatusCode)
		if c.recurse(e.branch, res) {
			return
		}
	}
	c.fork.response(now, e.branch, res)
}

// failed takes the end of a branch without a response.
func (c *call) failed(e *event) {
	l := &c.legs[e.branch]
	if e.try != l.try {
		return
	}
	c.note(c.p.c.Now(), l, nil, e.err)
	way, at := l.way, l.current()
	moved := c.tryNext(e.branch) || c.tryFlow(e.branch)
	if way != nil {
		c.p.c.Trunks.Result(way, sip.WayResult{Hop: at, Err: e.err, Moved: moved})
	}
	if moved {
		return
	}
	c.p.counters.branches[resultUnreachable].Add(1)
	switch {
	case way != nil:
		c.fork.end(e.branch, trunkDown)
	case errors.Is(e.err, sip.ErrTimeout):
		c.fork.fail(e.branch, timedOut) // RFC 3261 §16.8
	case l.known:
		c.fork.fail(e.branch, gatewayUnreachable)
	default:
		c.fork.fail(e.branch, unreachable) // RFC 3261 §16.9: as 503, which becomes 500
	}
}

// note remembers how the current hop of a leg did, where there are others to choose from.
func (c *call) note(now time.Time, l *leg, res *message.Message, err error) {
	if len(l.hops) < 2 && l.way == nil || l.at >= len(l.hops) {
		return
	}
	o, hop := &c.p.outages, l.hops[l.at]
	switch {
	case err != nil && silent(err):
		o.failed(hop, now, 0)
	case err != nil:
	case res.StatusCode != 503:
		o.answered(hop)
	case announced(res) > 0:
		o.failed(hop, now, announced(res))
	}
}

// tryNext goes on to the next hop of a branch. RFC 3261 §16.6 step 7: after a failure "the proxy continues to the next
// address".
func (c *call) tryNext(branch int) bool {
	l := &c.legs[branch]
	if l.at+1 >= len(l.hops) || !c.fork.running(branch) {
		return false
	}
	l.at++
	l.next()
	c.send(branch)
	return true
}

// tryFlow goes on to the next flow of the device that a branch is for. RFC 5626 §7: after a 430 "the proxy SHOULD replace the failed branch
// with another target (if one is available) with the same AOR and instance-id, but a different reg-id".
func (c *call) tryFlow(branch int) bool {
	l := &c.legs[branch]
	if len(l.spare) == 0 || !c.fork.running(branch) {
		return false
	}
	l.target, l.spare = l.spare[0], l.spare[1:]
	l.hops, l.at, l.tx = nil, 0, nil
	l.next()
	c.start(branch)
	return true
}

// next begins with another server: what was for the one before is not for it.
func (l *leg) next() {
	l.try++
	l.proof, l.proofs = "", 0
}
