package sipusage

import (
	"container/heap"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// State is how a publication stands.
type State string

// The states. A record that is not to be published has none, the empty string.
const (
	Pending   State = "pending"    // the first Store is on its way
	Stored    State = "stored"     // the overlay holds the record
	LocalOnly State = "local-only" // the overlay has not taken it; it is tried again
	Alone     State = "alone"      // this gateway was alone since it started: it is stored as soon as somebody comes
)

var (
	errNotJoined = errors.New("not joined yet")
	errTooMany   = errors.New("too many records")
	errStopped   = errors.New("publisher stopped")
)

// record is one value that this gateway keeps in the overlay, or has to remove from it.
type record struct {
	key   string           // address-of-record; "" for the gateway's own addresses
	value wire.StoredValue // what is to stand there
	want  bool             // to stand there at all
	held  bool             // nothing is stored before somebody comes: see keep
	owed  bool             // somebody has come and waits for it
	until time.Time        // end of the last binding: the record is not wanted longer

	exists bool      // the last Store that succeeded was of the value, not of a tombstone
	dirty  bool      // the value changed since, or the certificate that signs it
	renew  bool      // the certificate changed while a Store was on its way
	good   time.Time // the overlay holds what was stored until then
	end    time.Time // nothing of ours is in the overlay after this; zero: nothing ever was
	last   int64     // storage time of the last Store, ms since 1970

	failures int
	err      error // of the last Store
	refresh  time.Time
	due      time.Time
	index    int // in the heap, -1 when it is not

	flight  *task         // the Store that is on its way
	asked   []func(error) // who waits for it
	waiters []func(error) // who waits for the next one
}

// task is one Store to carry out.
type task struct {
	key         string
	value       wire.StoredValue // a tombstone when want is false
	want        bool
	storageTime int64 // ms since 1970
	lifetime    time.Duration
	begun       time.Time
	renewal     bool // of a value that the overlay holds, because its time has come
}

// outcome is what came of a task.
type outcome struct {
	storageTime int64 // of the last attempt
	sent        bool  // something was sent to the overlay, which may have taken it whatever err says
	err         error
}

// schedule decides what is stored when. It is a value: no clock, goroutine or lock. Callbacks that became due are handed out by take.
type schedule struct {
	records  map[string]*record
	due      dueHeap
	inFlight int
	online   bool                // the overlay can be used
	alone    bool                // but nobody else is there
	left     map[string]struct{} // who has gone meanwhile, and may have come again
	owed     int                 // records that somebody waits for
	paid     func()
	rand     *rand.Rand
	calls    []func()
}

func newSchedule(r *rand.Rand) *schedule {
	return &schedule{records: make(map[string]*record), rand: r}
}

// take hands out the callbacks that are owed, to be called without a lock held.
func (s *schedule) take() []func() {
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *schedule) call(done func(error), err error) {
	s.calls = append(s.calls, func() { done(err) })
}

// publish wants value under key until then.
func (s *schedule) publish(now time.Time, key string, value wire.StoredValue, until time.Time, done func(error)) {
	r := s.records[key]
	if r == nil {
		if len(s.records) >= maxRecords {
			s.call(done, unavailable("publish "+key, errTooMany))
			return
		}
		r = &record{key: key, index: -1}
		s.records[key] = r
	}
	r.held = false
	if string(r.value.Data) != string(value.Data) {
		r.value, r.dirty = value, true
	}
	r.until = until
	s.turn(r, true)
	switch {
	case r.flight != nil && !r.flight.want:
		r.waiters = append(r.waiters, done)
	case r.current(now):
		// The overlay is not told that a phone refreshed: it is written when an address-of-record appears, disappears, or comes to the
		// point of its stored lifetime at which it is renewed.
		if r.flight == nil && r.failures == 0 {
			s.at(r, r.refresh)
		}
		s.call(done, nil)
	default:
		s.wait(now, r, done)
	}
}

// extend is publish for a record that is current, has no Store on its way, and is looked at next when it is half over; or that is kept back. It reports
// whether it is.
func (s *schedule) extend(now time.Time, key string, data []byte, until time.Time) bool {
	r := s.records[key]
	if r != nil && r.held {
		r.until = until
		return true
	}
	if r == nil || !r.want || r.flight != nil || r.failures > 0 || r.index < 0 || !r.due.Equal(r.refresh) || !r.current(now) ||
		string(r.value.Data) != string(data) {
		return false
	}
	r.until = until
	return true
}

// withdraw wants nothing under key.
func (s *schedule) withdraw(now time.Time, key string, value wire.StoredValue, done func(error)) {
	r := s.records[key]
	if r == nil {
		if len(s.records) >= maxRecords {
			s.call(done, unavailable("withdraw "+key, errTooMany))
			return
		}
		// Nothing is known of it: an earlier run of this program may have stored it.
		r = &record{key: key, value: value, index: -1, end: now.Add(maxLifetime), want: true}
		s.records[key] = r
	}
	s.turn(r, false)
	r.held = false
	switch {
	case r.flight != nil && r.flight.want:
		r.waiters = append(r.waiters, done)
	case r.flight == nil && r.end.IsZero():
		s.forget(r) // nothing ever left this gateway
		s.leave(key)
		s.call(done, nil)
	case r.removed(now):
		s.call(done, nil)
	default:
		s.wait(now, r, done)
	}
}

// wait lets done wait for the Store of r that is on its way or comes next, as long as that comes soon.
func (s *schedule) wait(now time.Time, r *record, done func(error)) {
	switch {
	case r.flight != nil && r.flight.want == r.want && (!r.want || string(r.flight.value.Data) == string(r.value.Data)):
		r.asked = append(r.asked, done)
	case r.flight != nil:
		r.waiters = append(r.waiters, done)
	case !s.online:
		s.call(done, unavailable("store "+r.key, errNotJoined))
	case r.failures > 0 && !errors.Is(r.err, location.ErrForbidden):
		s.call(done, r.err) // it waits for its next attempt; phones do not hurry it
	default: // new, or without a certificate: there may be one now
		r.waiters = append(r.waiters, done)
		s.at(r, now)
	}
}

// turn changes what is wanted. Who waits for the opposite waits no more.
func (s *schedule) turn(r *record, want bool) {
	if r.want == want {
		return
	}
	r.want, r.failures, r.err = want, 0, nil
	s.answer(&r.waiters, nil)
}

// current reports whether the overlay holds what is wanted to stand there.
func (r *record) current(now time.Time) bool { return r.exists && !r.dirty && now.Before(r.good) }

// removed reports whether the overlay holds our tombstone.
func (r *record) removed(now time.Time) bool { return !r.exists && now.Before(r.good) }

func (s *schedule) answer(waiters *[]func(error), err error) {
	for _, done := range *waiters {
		s.call(done, err)
	}
	*waiters = nil
}

// next returns a Store that is due; ok is false when there is none, or enough are on their way.
func (s *schedule) next(now time.Time) (t task, ok bool) {
	for s.online && s.inFlight < maxStores && len(s.due) > 0 && !s.due[0].due.After(now) {
		r := heap.Pop(&s.due).(*record)
		if r.want && !r.until.After(now) {
			s.turn(r, false) // every binding has ended and nobody told
		}
		switch {
		case r.want:
			return s.begin(now, r), true
		case !r.end.After(now):
			s.forget(r) // nothing of ours is left, not even a tombstone
		case r.removed(now):
			s.at(r, r.good)
		default:
			return s.begin(now, r), true
		}
	}
	return task{}, false
}

func (s *schedule) begin(now time.Time, r *record) task {
	s.inFlight++
	t := task{key: r.key, value: r.value, want: r.want, begun: now}
	// RFC 6940 §7.4.1.1: "The storage time values are greater than that of any values which would be replaced by this Store."
	t.storageTime = max(now.UnixMilli(), r.last+1)
	t.renewal = t.want && r.current(now) && r.failures == 0
	if r.want {
		t.lifetime = min(max(r.until.Sub(now), minLifetime), maxLifetime)
	} else {
		t.value = gone(r.value)
		// RFC 6940 §7.4.1.3: the lifetime of a nonexistent value is "at least as long as the remainder of the lifetime of the value it is
		// replacing".
		t.lifetime = max(r.end.Sub(now), minLifetime)
	}
	t.lifetime = (t.lifetime + time.Second - 1).Truncate(time.Second)
	r.flight, r.asked, r.waiters = &t, r.waiters, nil
	return t
}

// result takes what came of a task.
func (s *schedule) result(now time.Time, t task, o outcome) {
	s.inFlight--
	r := s.records[t.key]
	r.flight = nil
	s.pay(r)
	r.last = max(r.last, o.storageTime)
	r.err = o.err
	if o.err == nil {
		r.stored(t)
		r.refresh = s.renewal(t)
	} else {
		r.failed(t, o)
	}
	s.answer(&r.asked, o.err)
	s.again(now, r, t, o)
}

// stored notes what the overlay holds now.
func (r *record) stored(t task) {
	r.failures = 0
	r.exists, r.good = t.want, t.begun.Add(t.lifetime)
	r.end = r.good
	r.dirty = t.want && (r.renew || string(r.value.Data) != string(t.value.Data))
	r.renew = false
}

// failed notes what the overlay may hold now.
func (r *record) failed(t task, o outcome) {
	r.failures++
	if !o.sent {
		return
	}
	if end := t.begun.Add(t.lifetime); t.want && end.After(r.end) {
		r.end = end
	}
	if r.exists != t.want { // perhaps it does not stand any more
		r.exists, r.good = false, time.Time{}
	}
}

// again schedules what comes after a task.
func (s *schedule) again(now time.Time, r *record, t task, o outcome) {
	switch {
	case r.want != t.want:
		r.failures, r.err = 0, nil
		s.at(r, now)
	case o.err == nil && r.want && r.dirty:
		s.at(r, now)
	case o.err == nil && r.want:
		s.at(r, r.refresh)
	case o.err == nil:
		s.at(r, r.good)
	case !r.want && !o.sent && r.good.IsZero() && errors.Is(o.err, location.ErrForbidden):
		s.forget(r) // without a certificate nothing of ours can be there
	default:
		s.at(r, now.Add(s.backoff(r)))
	}
}

// renewal is when to store again what t has stored: a random point, so that what was stored together is not renewed together.
func (s *schedule) renewal(t task) time.Time {
	earliest := earliestFirst
	if t.renewal {
		earliest = earliestAgain
	}
	return t.begun.Add(time.Duration((earliest + s.rand.Float64()*(1./2-earliest)) * float64(t.lifetime)))
}

// backoff is how long r waits after a failure.
func (s *schedule) backoff(r *record) time.Duration {
	var d time.Duration
	switch {
	case errors.Is(r.err, location.ErrForbidden):
		d = retryForbidden
	case errors.Is(r.err, overlay.ErrNotJoined):
		d = retryNotJoined
	default:
		d = min(retryMin<<min(r.failures-1, 10), retryMax)
	}
	return d*3/4 + time.Duration(s.rand.Int64N(int64(d/2)))
}

// begin again: the overlay can be used from now on.
func (s *schedule) connect(now time.Time) {
	s.online = true
	for _, r := range s.records {
		if r.index < 0 && r.flight == nil && !r.held {
			s.at(r, now)
		}
	}
}

// renew has everything that is wanted stored again: the certificates are new, or it may not be there any more.
func (s *schedule) renew(now time.Time) {
	for _, r := range s.records {
		switch {
		case !r.want || r.held:
		case r.flight != nil:
			r.renew = true
		default:
			r.dirty = true
			s.at(r, now)
		}
	}
}

// stop ends everything: nothing is due any more, and who waits learns so.
func (s *schedule) stop() {
	s.online = false
	for _, r := range s.records {
		s.answer(&r.waiters, unavailable("store "+r.key, errStopped))
	}
}

// state is how key stands.
func (s *schedule) state(now time.Time, key string) State {
	r := s.records[key]
	switch {
	case r == nil || !r.want:
		return ""
	case r.held:
		return Alone
	case r.exists && now.Before(r.good):
		return Stored
	case r.failures > 0 || !s.online:
		return LocalOnly
	}
	return Pending
}

// deadline is when next is to be called; zero when nothing is due or nothing may be begun.
func (s *schedule) deadline() time.Time {
	if !s.online || s.inFlight >= maxStores || len(s.due) == 0 {
		return time.Time{}
	}
	return s.due[0].due
}

func (s *schedule) forget(r *record) {
	s.answer(&r.waiters, nil)
	s.pay(r)
	if r.index >= 0 {
		heap.Remove(&s.due, r.index)
	}
	delete(s.records, r.key)
}

// at makes r due.
func (s *schedule) at(r *record, due time.Time) {
	r.due = due
	if r.index < 0 {
		heap.Push(&s.due, r)
	} else {
		heap.Fix(&s.due, r.index)
	}
}

// dueHeap orders records by when they are due.
type dueHeap []*record

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	r := x.(*record)
	r.index = len(*h)
	*h = append(*h, r)
}

func (h *dueHeap) Pop() any {
	old := *h
	r := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	r.index = -1
	return r
}
