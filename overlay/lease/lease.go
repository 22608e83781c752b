package lease

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Record is what stands at the place of a lease.
type Record struct {
	Exists     bool
	Holder     string        // empty: who had it gave it back
	Mark       uint64        // of the write
	Left       time.Duration // of its lifetime, when it was read
	Generation uint64
}

// Op is one operation at the place. The caller carries it out and says how it ended; until then there is no other.
type Op struct {
	Write  bool // else read
	Vacate bool // write a record without holder
	// Create writes only where nothing stands. It is no lease yet, since nothing says when it arrives, but gives the place a
	// generation counter and keeps others away.
	Create     bool
	Generation uint64 // that the place must have, but for Create
	Mark       uint64
}

// Outcome is how a write ended.
type Outcome int

// How writes end.
const (
	Accepted Outcome = iota
	Refused          // another was faster: nothing was changed
	Denied           // it is not allowed, or not possible at all
	Unknown          // it may have been carried out, or will be
)

// Lease is one node's view of one lease.
type Lease struct {
	self string
	rand *rand.Rand

	leaving bool
	left    bool      // and nothing stands there any more that is ours
	holding bool      // up to end
	end     time.Time // of what is ours
	tries   []try     // writes that may be found in the place
	busy    bool      // doing is on its way
	doing   Op
	begun   time.Time // when
	next    time.Time // when to begin another one
	pending Op        // which one: the zero value is a read

	holder string    // as last seen; empty: nobody
	free   time.Time // when nobody else can have it any more, as far as was seen
	empty  time.Time // since when nothing stands there; zero: something does
}

type try struct {
	mark uint64
	sent time.Time
}

// New is the view of the node named self, which wants the lease from now on. random marks writes, and must not be that of
// another node.
func New(self string, random *rand.Rand, now time.Time) *Lease {
	return &Lease{self: self, rand: random, next: now}
}

// Held reports whether the lease is ours. What is used under it must be given back as soon as it is not.
func (l *Lease) Held(now time.Time) bool { return l.holding && !l.leaving && now.Before(l.end) }

// Holder is who has the lease, as far as is known; empty when nobody has.
func (l *Lease) Holder(now time.Time) string {
	switch {
	case l.Held(now):
		return l.self
	case l.holder != l.self && now.Before(l.free):
		return l.holder
	}
	return ""
}

// Release gives the lease back: it is not held any more.
func (l *Lease) Release(now time.Time) {
	l.leaving, l.holding = true, false
	l.next, l.pending = now, Op{}
}

// Left reports whether there is nothing to be done any more after Release.
func (l *Lease) Left() bool { return l.left }

// Deadline is when Next or Held may say something new; zero: when the operation on its way has ended.
func (l *Lease) Deadline(now time.Time) time.Time {
	var d time.Time
	if !l.busy && !l.left {
		d = l.next
	}
	if l.Held(now) && (d.IsZero() || l.end.Before(d)) {
		d = l.end
	}
	return d
}

// Next is the operation to be begun now, if there is one.
func (l *Lease) Next(now time.Time) (op Op, ok bool) {
	if l.busy || l.left || now.Before(l.next) {
		return Op{}, false
	}
	op, l.pending = l.pending, Op{}
	if now.Sub(l.next) > stale {
		op = Op{} // we stood still: what was read then need not be true any more
	}
	if op.Write {
		op.Mark = l.rand.Uint64()
	}
	if op.Write && !op.Vacate && !op.Create {
		if len(l.tries) == maxTries {
			l.tries = l.tries[1:]
		}
		l.tries = append(l.tries, try{op.Mark, now})
	}
	l.busy, l.doing, l.begun = true, op, now
	return op, true
}

// Failed says that a read came to nothing.
func (l *Lease) Failed(now time.Time) {
	l.busy, l.next = false, now.Add(retry)
}

// Written says how the write ended that was sent last. Whatever is not sure the next read tells.
func (l *Lease) Written(now time.Time, o Outcome) {
	l.busy = false
	switch {
	case l.leaving:
		l.left = l.doing.Vacate && o == Accepted
		l.next = now.Add(retry)
	case o == Denied:
		l.next = now.Add(deny)
	case o == Accepted && l.doing.Create:
		l.next = now
	case o == Accepted && l.Held(now):
		l.extend(l.tries[len(l.tries)-1].sent)
	case o == Accepted:
		l.next = now.Add(confirm)
	default:
		// Two that were refused at once shall not go on at the same pace.
		l.next = now.Add(retry/2 + time.Duration(l.rand.Int64N(int64(retry))))
	}
}

// extend has the lease be ours by a write that was sent at a time.
func (l *Lease) extend(sent time.Time) {
	l.holding, l.holder = true, l.self
	l.end = sent.Add(Lifetime - holderMargin)
	l.next = sent.Add(Renewal)
}

// Read says what stands at the place.
func (l *Lease) Read(now time.Time, r Record) {
	if now.Sub(l.begun) > Patience {
		l.Failed(now) // the answer waited for us: what it says need not be true any more
		return
	}
	l.busy = false
	switch {
	case r.Exists:
		l.empty = time.Time{}
	case l.empty.IsZero():
		l.empty = now
	}
	switch {
	case l.leaving:
		l.leave(now, r)
	case !r.Exists:
		l.readNothing(now)
	case r.Holder == "":
		// Whoever gave it back has stopped to use it before. Ours, when we have one, was lost.
		l.write(now, Op{Generation: r.Generation})
	case r.Holder == l.self:
		l.readOwn(now, r)
	default:
		l.holding, l.holder = false, r.Holder
		l.free = now.Add(r.Left + rounding + takerMargin)
		l.next = now.Add(poll)
	}
}

// leave takes out what is ours.
func (l *Lease) leave(now time.Time, r Record) {
	if l.left = !r.Exists || r.Holder != l.self; !l.left {
		l.write(now, Op{Vacate: true, Generation: r.Generation})
	}
}

// readNothing is for an empty place: the record has ended, or was lost.
func (l *Lease) readNothing(now time.Time) {
	if l.Held(now) {
		l.write(now, Op{Create: true})
		return
	}
	free := l.free
	if l.empty.After(free) { // it was not seen how it became empty
		free = l.empty.Add(settle)
	}
	if now.Before(free) {
		l.next = earlier(free, now.Add(poll))
		return
	}
	l.write(now, Op{Create: true})
}

// readOwn is for a record of ours. One that no write of ours is known to have made only keeps others away: it is of the time
// before we were started, or made the place.
func (l *Lease) readOwn(now time.Time, r Record) {
	l.holder = l.self
	i := slices.IndexFunc(l.tries, func(t try) bool { return t.mark == r.Mark })
	if i >= 0 {
		l.extend(l.tries[i].sent)
		l.tries = l.tries[i:] // those before it can hardly be found there any more
	}
	if i < 0 || !l.Held(now) || !now.Before(l.next) {
		l.write(now, Op{Generation: r.Generation})
	}
}

// write has a write begun at once.
func (l *Lease) write(now time.Time, op Op) {
	op.Write = true
	l.pending, l.next = op, now
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
