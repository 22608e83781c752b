package lease

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// world is nodes that want one lease, and the place of its record, in virtual time.
type world struct {
	t      testing.TB
	rand   *rand.Rand
	now    time.Duration
	events events
	seq    int
	nodes  []*peer
	place  place
	faults bool
	calm   time.Duration // until when there are none

	holder *peer         // who held it last
	ended  time.Duration // since when nobody does
	takes  int
}

type peer struct {
	w      *world
	name   string
	skew   time.Duration // of its clock
	rate   float64
	alive  bool
	paused time.Duration // until when it stands still
	lease  *Lease
	wall   time.Duration // by how much storage times are wrong
	stored time.Duration // storage time of what was read last
	life   int           // operations of an earlier one end nowhere
}

// place is what a storing peer does.
type place struct {
	holder     string
	mark       uint64
	exists     bool
	ends       time.Duration
	stored     time.Duration // storage time
	generation uint64
	before     *place // the version before
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(t testing.TB, seed uint64, nodes int) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1))}
	for i := range nodes {
		n := &peer{w: w, name: fmt.Sprint("node", i), skew: time.Duration(w.rand.Int64N(int64(time.Hour))),
			rate: 1 + (w.rand.Float64()-0.5)/1000, wall: w.upTo(time.Second)}
		w.nodes = append(w.nodes, n)
		w.after(w.upTo(5*time.Second), n.start)
	}
	return w
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rand.Int64N(int64(d))) }

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + d, w.seq, do})
}

func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
		w.check()
	}
	w.now = until
}

// check holds that nobody has the lease while another one has it.
func (w *world) check() {
	var held []*peer
	for _, n := range w.nodes {
		if n.alive && n.lease.Held(n.clock()) {
			held = append(held, n)
		}
	}
	switch {
	case len(held) > 1:
		w.t.Fatalf("at %v both %s and %s hold the lease", w.now, held[0].name, held[1].name)
	case len(held) == 1 && held[0] != w.holder:
		w.holder = held[0]
		w.takes++
	case len(held) == 0 && w.holder != nil:
		w.holder, w.ended = nil, w.now
	}
}

func (n *peer) clock() time.Time {
	return time.Unix(1e9, 0).Add(n.skew + time.Duration(float64(n.w.now)*n.rate))
}

// faulty reports whether something goes wrong that happens once in n times.
func (w *world) faulty(n int) bool { return w.faults && w.now >= w.calm && w.rand.IntN(n) == 0 }

func (n *peer) start() {
	n.life++
	n.alive = true
	n.lease = New(n.name, rand.New(rand.NewPCG(n.w.rand.Uint64(), 2)), n.clock())
	n.step()
}

func (n *peer) kill() { n.alive = false; n.life++ }

// do has something done by the node that it is now, when it does not stand still.
func (n *peer) do(life int, d time.Duration, f func()) {
	n.w.after(d, func() {
		switch {
		case n.life != life:
		case n.w.now < n.paused:
			n.do(life, n.paused-n.w.now, f)
		default:
			f()
			n.step()
		}
	})
}

// step begins what is due.
func (n *peer) step() {
	now := n.clock()
	if op, ok := n.lease.Next(now); ok {
		n.begin(op)
	}
	if d := n.lease.Deadline(now); !d.IsZero() {
		n.do(n.life, max(d.Sub(now), time.Millisecond), func() {})
	}
}

// begin sends an operation, which may be lost, late, or have its answer lost.
func (n *peer) begin(op Op) {
	there, back := n.w.upTo(50*time.Millisecond), n.w.upTo(50*time.Millisecond)
	if n.w.faulty(10) {
		there = n.w.upTo(15 * time.Second)
	}
	if n.w.faulty(10) {
		back = time.Hour
	}
	answered, life := false, n.life
	stamp := max(n.w.now+n.wall, n.stored+1)
	if op.Create {
		stamp = 1
	}
	answer := func(f func(now time.Time)) {
		n.do(life, back, func() {
			if !answered {
				answered = true
				f(n.clock())
			}
		})
	}
	if !n.w.faulty(20) {
		n.w.after(there, func() {
			if op.Write {
				o := n.w.write(n.name, op, stamp)
				answer(func(now time.Time) { n.lease.Written(now, o) })
				return
			}
			r, stored := n.w.read(), n.w.place.stored
			answer(func(now time.Time) {
				n.stored = stored
				n.lease.Read(now, r)
			})
		})
	}
	n.do(life, Patience, func() {
		switch {
		case answered:
		case op.Write:
			n.lease.Written(n.clock(), Unknown)
		default:
			n.lease.Failed(n.clock())
		}
		answered = true
	})
}

func (w *world) expire() {
	if w.place.exists && w.now >= w.place.ends {
		w.place = place{}
	}
}

func (w *world) read() Record {
	w.expire()
	p := w.place
	return Record{Exists: p.exists, Holder: p.holder, Mark: p.mark, Generation: p.generation,
		Left: max(0, p.ends-w.now).Truncate(time.Second)}
}

func (w *world) write(by string, op Op, stamp time.Duration) Outcome {
	w.expire()
	if !op.Create && op.Generation != w.place.generation || w.place.exists && stamp <= w.place.stored {
		return Refused
	}
	before := w.place
	before.before = nil
	w.place = place{holder: by, mark: op.Mark, exists: true, ends: w.now + Lifetime, stored: stamp,
		generation: w.place.generation + 1, before: &before}
	if op.Vacate {
		w.place.holder = ""
	}
	return Accepted
}

// disturb does something bad, again and again.
func (w *world) disturb() {
	n := w.nodes[w.rand.IntN(len(w.nodes))]
	switch w.rand.IntN(5) {
	case 0:
		if n.alive {
			n.kill()
			w.after(w.upTo(40*time.Second), n.start)
		}
	case 1:
		n.paused = w.now + w.upTo(time.Minute)
	case 2:
		if n.alive {
			n.lease.Release(n.clock())
			n.step()
			w.after(5*time.Second+w.upTo(10*time.Second), func() {
				if n.alive {
					n.kill()
					n.start()
				}
			})
		}
	case 3: // a renewal in time is lost just after it was acknowledged, with who stored it
		if b := w.place.before; b != nil && b.exists && w.place.exists && b.holder == w.place.holder && w.place.ends-b.ends < Renewal+confirm && w.now < w.place.ends-Lifetime+confirm {
			w.place = *b
		}
	case 4: // the record is lost
		if w.settled() {
			w.place = place{}
			w.calm = w.now + settle
		}
	}
	w.after(max(0, w.calm-w.now)+w.upTo(30*time.Second), func() {
		if w.faults {
			w.disturb()
		}
	})
}

// settled reports whether the record can be lost without a second holder: its holder is there to put it back, and the
// others have seen this record, or none for long.
func (w *world) settled() bool {
	for _, n := range w.nodes {
		switch now := n.clock(); {
		case !n.alive:
		case n == w.holder:
			if n.name != w.place.holder || w.now < n.paused+Renewal || n.lease.busy {
				return false
			}
		case !n.lease.empty.IsZero():
			return false // it did not see the record at all
		case now.After(n.lease.free):
		case n.lease.free.Before(now.Add(w.place.ends - w.now)):
			return false
		}
	}
	return w.place.exists && w.holder != nil
}
