package proxy

import "time"

// startWaiting starts the waiting targets whose turn it is (RFC 3261 §16.6: "Targets are processed from highest qvalue to
// lowest. Targets with equal qvalues may be processed in parallel").
func (f *fork) startWaiting(now time.Time) {
	f.turn()
	n := 0
	for i := range f.branches {
		if f.due(&f.branches[i]) {
			n++
		}
	}
	if n > 0 {
		f.started = true
		f.startSome(now, n)
	}
	if f.invite && f.groupEnd.IsZero() && f.ringing() && f.lower() {
		f.groupEnd = now.Add(groupWait)
	}
}

// startSome starts up to n due targets, as far as Max-Breadth goes. RFC 5393 §5.3.3: "MUST NOT allow the Outgoing
// Max-Breadth to exceed the Incoming Max-Breadth"; what does not fit waits until other branches end. Half is kept for
// targets still to come: of a lookup that runs, and of the next group, which need not wait for the last phone of this one
// to answer its CANCEL.
func (f *fork) startSome(now time.Time, n int) {
	left := f.breadth
	for i := range f.branches {
		left -= f.branches[i].breadth
	}
	if f.held > 0 || f.lower() && f.invite {
		left -= left / 2
	}
	n = min(n, left)
	for i := range f.branches {
		b := &f.branches[i]
		if n == 0 {
			return
		}
		if !f.due(b) {
			continue
		}
		b.state, b.breadth = trying, (left+n-1)/n
		left, n = left-b.breadth, n-1
		if f.invite {
			// RFC 3261 §16.6 step 11: "Timer C MUST be set for each client transaction when an INVITE request is proxied".
			b.deadline = now.Add(timerC)
		}
		f.do(action{do: start, branch: i})
	}
}

// due reports whether b waits and may start: a request other than INVITE goes to all at once, for it has no time for a
// second turn (RFC 4320 §4.2).
func (f *fork) due(b *branch) bool { return b.state == waiting && (b.q >= f.group || !f.invite) }

// turn moves on to the next group when the current one is through and no lookup may add to it.
func (f *fork) turn() {
	if f.started && (f.held > 0 || f.ringing()) {
		return
	}
	highest := -1
	for i := range f.branches {
		if b := &f.branches[i]; b.state == waiting {
			highest = max(highest, b.q)
		}
	}
	if highest >= 0 && (highest < f.group || !f.started) {
		f.group, f.groupEnd = highest, time.Time{}
	}
}

// ringing reports whether a branch is under way whose time is not up.
func (f *fork) ringing() bool {
	for i := range f.branches {
		if b := &f.branches[i]; b.active() && !b.given {
			return true
		}
	}
	return false
}

// lower reports whether targets of a later group wait.
func (f *fork) lower() bool {
	for i := range f.branches {
		if b := &f.branches[i]; b.state == waiting && b.q < f.group {
			return true
		}
	}
	return false
}
