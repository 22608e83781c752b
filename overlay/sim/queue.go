package sim

import "time"

// event is something that is going to happen. It is either a function, a message that arrives, or a tick of a node: the
// latter two are most of all events, and cost nothing but their place in the queue.
type event struct {
	run  func()
	host *Host // to whom it happens; nil: to nobody in particular, and always
	life int32 // of host, in which it happens
	tick bool
	to   *end   // at which a message arrives
	raw  []byte // of that message
}

// place is where an event stands in time.
type place struct {
	at   time.Duration // since the start of the world
	seq  uint64        // breaks ties: what was planned first happens first
	slot int32
}

func (p place) before(q place) bool { return p.at < q.at || p.at == q.at && p.seq < q.seq }

// queue holds events in the order in which they happen: a heap of four children a node over small places, with the events in
// slots that are used again; what is to happen at once waits in a list, and never sees the heap.
type queue struct {
	heap  []place
	slots []event
	free  []int32
	seq   uint64
	now   []place // in order, all for the present
	done  int     // of now
}

// put plans an event; present says that it is for the present.
func (q *queue) put(at time.Duration, present bool, e event) {
	var slot int32
	if n := len(q.free); n > 0 {
		slot, q.free = q.free[n-1], q.free[:n-1]
	} else {
		slot, q.slots = int32(len(q.slots)), append(q.slots, event{})
	}
	q.slots[slot] = e
	q.seq++
	p := place{at, q.seq, slot}
	if present {
		q.now = append(q.now, p)
		return
	}
	q.heap = append(q.heap, p)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !p.before(q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = p
}

// next is the place of what happens next; ok is false when nothing does.
func (q *queue) next() (p place, ok bool) {
	switch {
	case q.done < len(q.now) && (len(q.heap) == 0 || q.now[q.done].before(q.heap[0])):
		return q.now[q.done], true
	case len(q.heap) > 0:
		return q.heap[0], true
	}
	return place{}, false
}

// take removes what happens next, which p is the place of.
func (q *queue) take(p place) event {
	if q.done < len(q.now) && q.now[q.done] == p {
		if q.done++; q.done == len(q.now) {
			q.now, q.done = q.now[:0], 0
		}
	} else {
		q.pop()
	}
	e := q.slots[p.slot]
	q.slots[p.slot] = event{}
	q.free = append(q.free, p.slot)
	return e
}

func (q *queue) pop() {
	n := len(q.heap) - 1
	last := q.heap[n]
	q.heap = q.heap[:n]
	if n == 0 {
		return
	}
	i := 0
	for {
		least := 4*i + 1
		if least >= n {
			break
		}
		for c := least + 1; c < min(4*i+5, n); c++ {
			if q.heap[c].before(q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(last) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = last
}
