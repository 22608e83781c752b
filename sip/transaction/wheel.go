package transaction

import (
	"sync"
	"time"
)

// wheel holds when each transaction is to be looked at next. A transaction is in it at most once; there is no timer object, and
// one goroutine for all.
type wheel struct {
	mu    sync.Mutex
	slots [wheelSlots]*entry // doubly linked lists
	now   int64              // the last tick worked off
	count int
	used  bool          // something was put in since the goroutine last looked
	ticks bool          // the goroutine looks again within a tick
	wake  chan struct{} // one place: something is in the wheel, or in soon
	soon  []news        // what is to be told by whoever delivers, else by the wheel's goroutine
	turns int           // deliveries under way
}

// news is what somebody found out who must not call the users of transactions.
type news struct {
	e   *entry
	err error // what the transport said; nil: there are calls to run
}

// place is where an entry hangs in the wheel; the wheel's lock guards it.
type place struct {
	next, prev *entry
	due        int64 // in ticks; 0: not in the wheel
}

// set has e looked at when due has come; 0 takes it out.
func (w *wheel) set(e *entry, due instant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.place.due != 0 {
		w.unlink(e)
	}
	if due == 0 {
		return
	}
	e.place.due = max(int64((due+tickLength-1)/tickLength), w.now+1)
	w.link(e)
	w.used = true
	if !w.ticks {
		w.ticks = true
		w.kick()
	}
}

func (w *wheel) link(e *entry) {
	head := &w.slots[e.place.due%wheelSlots]
	e.place.prev, e.place.next = nil, *head
	if *head != nil {
		(*head).place.prev = e
	}
	*head = e
	w.count++
}

func (w *wheel) unlink(e *entry) {
	if e.place.prev != nil {
		e.place.prev.place.next = e.place.next
	} else {
		w.slots[e.place.due%wheelSlots] = e.place.next
	}
	if e.place.next != nil {
		e.place.next.place.prev = e.place.prev
	}
	e.place = place{}
	w.count--
}

// advance takes out what is due at now and appends it to out.
func (w *wheel) advance(now instant, out []*entry) []*entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := int64(now / tickLength)
	// A slot need not be looked at twice, however long ago the last call was.
	for t := max(w.now+1, until-wheelSlots+1); t <= until; t++ {
		for e := w.slots[t%wheelSlots]; e != nil; {
			next := e.place.next
			if e.place.due <= until {
				w.unlink(e)
				out = append(out, e)
			}
			e = next
		}
	}
	w.now = max(w.now, until)
	return out
}

// later has the news told at the end of the delivery that is under way, without another goroutine to be woken, or by the wheel's when there is
// none.
func (w *wheel) later(n news) {
	w.mu.Lock()
	w.soon = append(w.soon, n)
	waits := w.turns == 0
	w.mu.Unlock()
	if waits {
		w.kick()
	}
}

// enter begins a delivery.
func (w *wheel) enter() {
	w.mu.Lock()
	w.turns++
	w.mu.Unlock()
}

// leave ends a delivery, unless it returns news: they are to be told first, and told given back with the next call.
func (w *wheel) leave(told []news) (n []news) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = w.soon
	if told != nil {
		w.soon = told[:0]
	} else if len(n) > 0 {
		w.soon = nil
	}
	if len(n) > 0 {
		return n
	}
	w.turns--
	return nil
}

// take gives out the news, and whether to look again within a tick. A wheel that was in use goes on for one tick when it is empty: calls
// that follow each other closely do not wake the goroutine each.
func (w *wheel) take(buf []news) (n []news, ticks bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = w.soon
	w.soon = buf[:0]
	w.ticks = w.count > 0 || w.used
	w.used = false
	return n, w.ticks
}

func (w *wheel) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// tell tells news, and leaves their memory without references.
func tell(told []news) {
	for _, n := range told {
		n.e.told(n.err)
	}
	clear(told)
}

// sweep forgets what is left of transactions whose last timer has fired.
func (l *Layer) sweep(now instant) {
	l.keeps.Store(false)
	if l.table.expire(now) > 0 {
		l.keeps.Store(true)
	}
}

// run is the goroutine: it sleeps while the wheel is empty, and nothing is left of finished transactions.
func (l *Layer) run() {
	defer close(l.done)
	w := l.wheel
	timer := time.NewTimer(tickLength)
	defer timer.Stop()
	var due []*entry
	var told []news
	swept := instant(0)
	for {
		soon, ticks := w.take(told)
		tell(soon)
		told = soon
		due = w.advance(l.now(), due[:0])
		for _, e := range due {
			e.tick()
		}
		clear(due)
		if now := l.now(); l.keeps.Load() && now-swept >= sweepTicks*tickLength {
			swept = now
			l.sweep(now)
		}
		switch {
		case ticks:
			timer.Reset(tickLength)
		case l.keeps.Load():
			timer.Reset(sweepTicks * tickLength)
		default:
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-w.wake:
		case <-l.stop:
			return
		}
	}
}
