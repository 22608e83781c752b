package route

import (
	"container/list"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Table holds the end-to-end timers of the requests that wait for an answer (RFC 6940 §6.2.1). All of them wait for the
// same overlay-reliability-timer, so they fall due in the order in which they were sent.
type Table struct {
	timer time.Duration
	limit int
	order *list.List // of *waiting, ascending by due
	index map[wire.TransactionID]*list.Element
}

type waiting struct {
	tx   wire.TransactionID
	due  time.Time
	left int // transmissions
}

// NewTable returns a table for at most limit requests with the given overlay-reliability-timer.
func NewTable(timer time.Duration, limit int) *Table {
	return &Table{timer: timer, limit: limit, order: list.New(), index: make(map[wire.TransactionID]*list.Element)}
}

// Len counts the requests.
func (t *Table) Len() int { return t.order.Len() }

// Has reports whether tx waits for an answer.
func (t *Table) Has(tx wire.TransactionID) bool { return t.index[tx] != nil }

// Start sets the timer of a request that may be sent so many times in all. It reports false when the table is full or
// the transaction ID is taken.
func (t *Table) Start(now time.Time, tx wire.TransactionID, transmissions int) bool {
	if t.order.Len() >= t.limit || t.index[tx] != nil {
		return false
	}
	t.index[tx] = t.order.PushBack(&waiting{tx, now.Add(t.timer), transmissions - 1})
	return true
}

// Again counts one more transmission, ahead of time, and restarts the timer. It reports false when there is none left:
// the request then stays in the table until its timer fires.
func (t *Table) Again(now time.Time, tx wire.TransactionID) bool {
	e := t.index[tx]
	if e == nil {
		return false
	}
	w := e.Value.(*waiting)
	if w.left == 0 {
		return false
	}
	w.left--
	w.due = now.Add(t.timer)
	t.order.MoveToBack(e)
	return true
}

// Left is how many more times a request may be sent.
func (t *Table) Left(tx wire.TransactionID) int {
	if e := t.index[tx]; e != nil {
		return e.Value.(*waiting).left
	}
	return 0
}

// End forgets a request and reports whether it was there.
func (t *Table) End(tx wire.TransactionID) bool {
	e := t.index[tx]
	if e == nil {
		return false
	}
	t.order.Remove(e)
	delete(t.index, tx)
	return true
}

// Collect returns the requests to be sent again now, and those that have failed: "After the timer for the fifth
// transmission fires, the message MUST be considered to have failed" (RFC 6940 §6.2.1). The failed ones are forgotten.
func (t *Table) Collect(now time.Time) (again, failed []wire.TransactionID) {
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		w := e.Value.(*waiting)
		if w.due.After(now) {
			break
		}
		if t.Again(now, w.tx) {
			again = append(again, w.tx)
			continue
		}
		t.End(w.tx)
		failed = append(failed, w.tx)
	}
	return again, failed
}

// Deadline is when Collect has something to return; zero when nothing waits.
func (t *Table) Deadline() time.Time {
	if e := t.order.Front(); e != nil {
		return e.Value.(*waiting).due
	}
	return time.Time{}
}
