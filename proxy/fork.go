package proxy

import (
	"strconv"
	"time"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// fork is a response context (RFC 3261 §16.6 to §16.10) as a value: it is told what happened and says what is to be done.
// It knows neither clocks nor transactions nor locks. Targets are numbered from 0 in the order in which they were added;
// target and branch are one thing here.
type fork struct {
	invite   bool
	breadth  int // incoming Max-Breadth (RFC 5393 §5.3.2)
	branches []branch
	results  []result // final responses that are candidates for the best one
	held     int      // lookups under way that may bring more targets
	started  bool     // a branch was started
	group    int      // q of the group that is being tried; later groups have less
	groupEnd time.Time
	sent     final
	declined bool // a 6xx came
	canceled bool // the caller gave up
	out      []action
	given    []action // what the last step returned
}

type final uint8

const (
	nothing  final = iota
	success        // a 2xx was relayed
	failure        // a final response other than 2xx was sent
	silenced       // a non-INVITE transaction ends without a response (RFC 4320 §4.2)
)

type branch struct {
	state    branchState
	q        int
	breadth  int  // its share of Max-Breadth while it is active
	given    bool // it was cancelled because its time was up: its 487 means 408
	cancel   bool // CANCEL was asked for
	silent   bool // it was cancelled and never heard from: a 2xx may come yet
	deadline time.Time
	hush     time.Time // when a branch of which nothing was heard is told of as silent; zero: never
}

type branchState uint8

const (
	waiting    branchState = iota
	trying                 // sent, or about to be; nothing heard
	proceeding             // a provisional response came
	accepted               // a 2xx came; more may
	over                   // ended with another final response, a failure, or never started
)

func (b *branch) active() bool { return b.state == trying || b.state == proceeding }

// result is what a branch ended with: a response from downstream, or the code of one that is ours.
type result struct {
	res  *message.Message
	code code
	why  *sip.Refusal // instead of code, when it is not one of ours alone
}

func (r result) status() int {
	if r.res != nil {
		return r.res.StatusCode
	}
	if r.why != nil {
		return r.why.Status
	}
	return r.code.status()
}

// action is something to be done, in the order of fork.out.
type action struct {
	do     verb
	branch int
	reason string // Reason of a CANCEL (RFC 3326)
	best   result // for finish
	others []*message.Message
	res    *message.Message // for relay
}

type verb uint8

const (
	start   verb = iota // forward the request to this target
	cancel              // CANCEL this branch
	abandon             // forget this branch: its transaction does not end by itself
	quiet               // nothing was heard of this branch in the time it had
	relay               // pass res upstream
	finish              // send the best response upstream, with the challenges of others
)

const (
	elsewhere = `SIP;cause=200;text="Call completed elsewhere"`
	expired   = `SIP;cause=408;text="Request Timeout"`
)

// add adds a target and returns its number. It does not count once no more branches may be started.
func (f *fork) add(q int) int {
	f.branches = append(f.branches, branch{q: q, state: waiting})
	return len(f.branches) - 1
}

// note adds a result that is no branch's: a lookup that failed.
func (f *fork) note(c code) { f.results = append(f.results, result{code: c}) }

// refuse adds the result why, which is no branch's; end ends branch i with it.
func (f *fork) refuse(why *sip.Refusal) { f.results = append(f.results, result{why: why}) }

func (f *fork) end(i int, why *sip.Refusal) {
	b := &f.branches[i]
	if b.state == accepted || b.state == over {
		return
	}
	b.state, b.breadth = over, 0
	f.refuse(why)
}

// patience has the end of it told when nothing is heard of branch i until then; heard, and any response, ends the wait.
func (f *fork) patience(i int, until time.Time) {
	if b := &f.branches[i]; f.invite && b.active() {
		b.state, b.hush = trying, until
	}
}

func (f *fork) heard(i int) { f.branches[i].hush = time.Time{} }

// response takes a response on branch i.
func (f *fork) response(now time.Time, i int, res *message.Message) {
	b, status := &f.branches[i], res.StatusCode
	switch {
	case status >= 200 && status < 300:
		f.success(b, res)
	case !b.active():
	case status < 200:
		f.provisional(now, b, res)
	default:
		f.failed(b, res)
	}
}

func (f *fork) provisional(now time.Time, b *branch, res *message.Message) {
	b.state, b.hush = proceeding, time.Time{}
	switch {
	case f.invite && !b.cancel:
		// RFC 3261 §16.7 step 2: "MUST reset timer C for that client transaction".
		b.deadline = now.Add(timerC)
	case f.invite:
		b.deadline = now.Add(cancelWait) // now its CANCEL goes out
	}
	// RFC 3261 §16.7 step 5: "any provisional response other than 100" is forwarded at once until a final response is
	// sent. RFC 4320 §4.1: there is none for other methods.
	if f.invite && f.sent == nothing && res.StatusCode > 100 {
		f.do(action{do: relay, res: res})
	}
}

func (f *fork) success(b *branch, res *message.Message) {
	if b.state == waiting || b.state == over && !b.silent {
		return // it was abandoned, or it contradicts itself
	}
	b.state, b.breadth = accepted, 0
	// RFC 3261 §16.7 step 5: any 2xx at once; after a final response "any 2xx response to an INVITE request".
	if f.sent == nothing || f.sent == success && f.invite {
		f.do(action{do: relay, res: res})
	}
	if f.sent == nothing {
		f.sent = success // the next step cancels the others
	}
}

func (f *fork) failed(b *branch, res *message.Message) {
	b.state, b.breadth = over, 0
	if b.given && res.StatusCode == 487 {
		f.note(timedOut)
		return
	}
	f.results = append(f.results, result{res: res})
	if res.StatusCode >= 600 && !f.declined {
		// RFC 3261 §16.7 step 5: "SHOULD cancel all client pending transactions [..] MUST NOT create any new branches".
		f.declined = true
		f.cancelAll("SIP;cause=" + strconv.Itoa(res.StatusCode))
	}
}

// drop ends branch i without a result: others have taken its place.
func (f *fork) drop(i int) {
	b := &f.branches[i]
	b.state, b.breadth = over, 0
}

// fail ends branch i without a response: as if c had come (RFC 3261 §16.8, §16.9).
func (f *fork) fail(i int, c code) {
	b := &f.branches[i]
	if b.state == accepted || b.state == over {
		return
	}
	b.state, b.breadth = over, 0
	f.note(c)
}

// abort is the caller's CANCEL (RFC 3261 §16.10).
func (f *fork) abort(now time.Time, reason string) {
	if f.canceled || f.sent != nothing {
		return
	}
	f.canceled = true
	f.cancelAll(reason)
	f.limit(now)
}

// orphan tells that nobody waits for a response any more.
func (f *fork) orphan(now time.Time) {
	if f.sent != nothing {
		return
	}
	f.sent = silenced
	f.cancelAll("")
	f.limit(now)
	if f.invite {
		return
	}
	for i := range f.branches { // only INVITEs have deadlines
		if b := &f.branches[i]; b.active() {
			b.state, b.breadth = over, 0
			f.do(action{do: abandon, branch: i})
		}
	}
}

// cancelAll cancels every branch that is under way and drops those that are not. Whether a CANCEL may go out already, or
// has to wait for a provisional response, is the transaction's to know (RFC 3261 §9.1).
func (f *fork) cancelAll(reason string) {
	for i := range f.branches {
		b := &f.branches[i]
		if b.state == waiting {
			b.state = over
		}
		f.cancel(i, reason)
	}
}

func (f *fork) cancel(i int, reason string) {
	b := &f.branches[i]
	if !f.invite || !b.active() || b.cancel {
		return
	}
	b.cancel = true
	f.do(action{do: cancel, branch: i, reason: reason})
}

// limit gives branches that were cancelled 64*T1 to end.
//
// Deviation: one that nothing was heard from gets silentWait only. RFC 3261 §16.7 step 6 has the caller wait for it, half a minute for a contact
// that is dead, to learn that another phone declined. Its transaction stays: should a provisional response come yet, the CANCEL follows.
func (f *fork) limit(now time.Time) {
	for i := range f.branches {
		b := &f.branches[i]
		end := now.Add(cancelWait)
		if b.state == trying {
			end = now.Add(silentWait)
		}
		if b.active() && b.cancel && b.deadline.After(end) {
			b.deadline = end
		}
	}
}

// tick handles what is due at now.
func (f *fork) tick(now time.Time) {
	for i := range f.branches {
		if b := &f.branches[i]; b.active() && !b.deadline.IsZero() && !now.Before(b.deadline) {
			f.expire(now, i)
		}
		if b := &f.branches[i]; b.state == trying && !b.cancel && !b.hush.IsZero() && !now.Before(b.hush) {
			b.hush = time.Time{}
			f.do(action{do: quiet, branch: i})
		}
	}
	if !f.groupEnd.IsZero() && !now.Before(f.groupEnd) {
		f.groupEnd = time.Time{}
		for i := range f.branches {
			if f.branches[i].active() {
				f.giveUp(now, i)
			}
		}
	}
}

// expire is Timer C of branch i, or the end of the wait after its CANCEL.
func (f *fork) expire(now time.Time, i int) {
	b := &f.branches[i]
	if b.state == proceeding && !b.cancel {
		// RFC 3261 §16.8: "If the client transaction has received a provisional response, the proxy MUST generate a
		// CANCEL request".
		f.giveUp(now, i)
		return
	}
	// RFC 3261 §16.8: otherwise "the proxy MUST behave as if the transaction received a 408".
	b.silent = b.state == trying && b.cancel
	b.state, b.breadth = over, 0
	f.note(timedOut)
	if !b.silent {
		f.do(action{do: abandon, branch: i})
	}
}

func (f *fork) giveUp(now time.Time, i int) {
	f.branches[i].given = !f.branches[i].cancel
	f.cancel(i, expired)
	f.limit(now)
}

// running reports whether branch i is under way and wanted.
func (f *fork) running(i int) bool { return f.branches[i].active() && !f.branches[i].cancel }

// closed reports whether no branch may be started any more.
func (f *fork) closed() bool { return f.sent != nothing || f.declined || f.canceled }

// step starts what may be started, sends the final response when it is due, and returns what is to be done since the last
// step. The slice is valid until the next step.
func (f *fork) step(now time.Time) []action {
	if f.closed() {
		// RFC 3261 §16.7 step 10: after a final response "the proxy MUST generate a CANCEL request for all pending client
		// transactions". This also drops targets that come too late.
		f.cancelAll(elsewhere)
		f.limit(now)
		f.groupEnd = time.Time{}
	} else {
		f.startWaiting(now)
	}
	if f.sent == nothing && !f.busy() {
		f.finish()
	}
	f.out, f.given = f.given[:0], f.out
	return f.given
}

// busy reports whether something may still bring a result.
func (f *fork) busy() bool {
	if f.held > 0 && !f.canceled && !f.declined {
		return true
	}
	for i := range f.branches {
		if f.branches[i].state == waiting {
			return true
		}
	}
	return f.anyActive()
}

// done reports whether the context is finished with: a final response is sent and every branch has ended (RFC 3261 §16.7
// step 9).
func (f *fork) done() bool { return f.sent != nothing && !f.anyActive() }

func (f *fork) anyActive() bool {
	for i := range f.branches {
		if f.branches[i].active() {
			return true
		}
	}
	return false
}

// deadline is when tick is wanted next; the zero time is never.
func (f *fork) deadline() time.Time {
	next := f.groupEnd
	for i := range f.branches {
		if b := &f.branches[i]; b.active() && !b.deadline.IsZero() && (next.IsZero() || b.deadline.Before(next)) {
			next = b.deadline
		}
		if b := &f.branches[i]; b.state == trying && !b.cancel && !b.hush.IsZero() && (next.IsZero() || b.hush.Before(next)) {
			next = b.hush
		}
	}
	return next
}

func (f *fork) finish() {
	best, others, ok := choose(f.results, f.invite)
	switch {
	case f.canceled && f.invite:
		best, others = terminated(f.results, best), nil
	case !ok && !f.invite:
		f.sent = silenced
		return
	}
	f.sent = failure
	f.do(action{do: finish, best: best, others: others})
}

func (f *fork) do(a action) { f.out = append(f.out, a) }
