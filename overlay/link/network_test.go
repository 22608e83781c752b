package link

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// talker is what drives a sender of Simple Reliability: ours, or the one that waits.
type talker interface {
	push(messages ...[]byte) bool
	idle() bool
	step(now time.Time) effect
	wake() time.Time
	ack(now time.Time, seq, received uint32) (restored bool)
}

var _, _ talker = (*sender)(nil), (*waiter)(nil)

// waiter is the stop-and-wait sender of RFC 6940 §6.6.3.1, as plainly as it can be had: one unacknowledged message, an RTO of
// 500 ms that doubles, five copies, and 10 ms from an ACK to the next message.
type waiter struct {
	queue  [][]byte
	copies int
	next   uint32
	wait   time.Duration
	due    time.Time // for the next copy or, between messages, the next message
}

func (w *waiter) push(messages ...[]byte) bool { w.queue = append(w.queue, messages...); return true }
func (w *waiter) idle() bool                   { return len(w.queue) == 0 }

func (w *waiter) wake() time.Time {
	if w.idle() {
		return time.Time{}
	}
	return w.due
}

func (w *waiter) step(now time.Time) effect {
	switch {
	case w.idle() || now.Before(w.due):
		return effect{}
	case w.copies == maxCopies:
		return effect{dead: true}
	case w.copies == 0:
		w.wait = initialSRRTO / 2
	}
	w.wait *= 2
	w.due = now.Add(w.wait)
	w.copies++
	w.next++
	return effect{message: w.queue[0], seq: w.next - 1, copied: w.copies > 1}
}

func (w *waiter) ack(now time.Time, seq, _ uint32) bool {
	if w.copies > 0 && w.next-1-seq < uint32(w.copies) {
		w.queue, w.copies, w.due = w.queue[1:], 0, now.Add(10*ms)
	}
	return false
}

// network is a path in virtual time that all streams share: a queue in front of a bottleneck towards the receivers, and a
// delay, losses, copies and overtaking both ways.
type network struct {
	now         time.Time
	rand        *rand.Rand
	loss, twice float64
	delay       time.Duration // one way
	jitter      time.Duration
	service     time.Duration // of one packet at the bottleneck
	buffer      int           // packets in front of it; 0: any number
	free        time.Time     // when the bottleneck is
	travelling  []travel
	streams     []*stream
}

// travel is a frame under way.
type travel struct {
	at            time.Time
	stream        *stream
	ack           bool
	seq, received uint32
	message       uint32
}

// stream is one sender and its receiver.
type stream struct {
	talker
	numbers  []uint32 // of messages that wait to be pushed
	queued   int
	seen     wire.Received
	got      map[uint32]int // arrivals, by message
	sent     map[uint32]int // copies
	dead     bool
	observed func(now time.Time, e effect)
}

func (n *network) add(t talker, messages int) *stream {
	f := &stream{talker: t, got: make(map[uint32]int), sent: make(map[uint32]int), observed: func(time.Time, effect) {}}
	for i := range uint32(messages) {
		f.numbers = append(f.numbers, i)
	}
	n.streams = append(n.streams, f)
	return f
}

func newNetwork(seed uint64) *network {
	return &network{now: epoch, rand: rand.New(rand.NewPCG(seed, 1)), delay: 20 * ms}
}

// run lets time pass until all streams are done or dead, or the end has come.
func (n *network) run(end time.Time) {
	for {
		for _, f := range n.streams {
			n.drive(f)
		}
		over := !slices.ContainsFunc(n.streams, func(f *stream) bool { return !f.dead && !(f.idle() && len(f.numbers) == 0) })
		if over {
			return
		}
		at, next := end, -1
		for _, f := range n.streams {
			if wake := f.wake(); !f.dead && !wake.IsZero() && wake.Before(at) {
				at = wake
			}
		}
		for i, t := range n.travelling {
			if t.at.Before(at) {
				at, next = t.at, i
			}
		}
		if !at.Before(end) {
			n.now = end
			return
		}
		n.now = at
		if next >= 0 {
			t := n.travelling[next]
			n.travelling = slices.Delete(n.travelling, next, next+1)
			n.arrive(t)
		}
	}
}

// drive has a sender do what is to be done now.
func (n *network) drive(f *stream) {
	for !f.dead {
		for len(f.numbers) > 0 && f.queued < maxWindow {
			f.push(binary.BigEndian.AppendUint32(nil, f.numbers[0]))
			f.numbers = f.numbers[1:]
			f.queued++
		}
		e := f.step(n.now)
		f.observed(n.now, e)
		if f.dead = e.dead; e.message == nil {
			return
		}
		number := binary.BigEndian.Uint32(e.message)
		if f.sent[number]++; !e.copied {
			f.queued--
		}
		n.post(travel{stream: f, seq: e.seq, message: number})
	}
}

// post sends a frame, through the bottleneck if it is data.
func (n *network) post(t travel) {
	at := n.now
	if !t.ack && n.service > 0 {
		if n.buffer > 0 && n.free.Sub(n.now) > time.Duration(n.buffer)*n.service {
			return
		}
		n.free = later(n.free, n.now).Add(n.service)
		at = n.free
	}
	for copies := 0; copies == 0 || n.rand.Float64() < n.twice; copies++ {
		if n.rand.Float64() >= n.loss {
			t.at = at.Add(n.delay)
			if n.jitter > 0 {
				t.at = t.at.Add(time.Duration(n.rand.Int64N(int64(n.jitter))))
			}
			n.travelling = append(n.travelling, t)
		}
	}
}

func (n *network) arrive(t travel) {
	if t.ack {
		t.stream.ack(n.now, t.seq, t.received)
		return
	}
	t.stream.got[t.message]++
	n.post(travel{stream: t.stream, ack: true, seq: t.seq, received: t.stream.seen.Add(t.seq)})
}

// check looks whether a sender contradicts itself.
func (s *sender) check(t interface{ Fatalf(string, ...any) }) {
	flight, lost := 0, 0
	for q := s.next - recentFrames; q != s.next; q++ {
		if f := s.sent[q%recentFrames]; f.seq == q && f.underWay {
			flight += weight(f.of.message)
			if int32(q-s.low) < 0 || s.next-q > maskReach {
				t.Fatalf("#%d is under way, low is #%d and next #%d", q, s.low, s.next)
			}
		}
	}
	for _, m := range s.active {
		if m.lost {
			lost++
		}
		last := s.sent[m.last%recentFrames]
		if m.done || m.copies < 1 || m.copies > maxCopies || m.lost == (last.of == m && last.underWay) {
			t.Fatalf("%+v is active", m)
		}
	}
	if flight != s.window.flight || lost != s.lost || len(s.active) > maxWindow {
		t.Fatalf("flight %d, counted %d; lost %d, counted %d; %d active", s.window.flight, flight, s.lost, lost, len(s.active))
	}
	if s.window.size < 1 || s.window.size > maxWindow || s.window.threshold < 2 || s.next-s.low > maskReach {
		t.Fatalf("%+v, #%d to #%d", s.window, s.low, s.next)
	}
}

// rate is how many messages a second a flow got through a network alone.
func rate(t testing.TB, s talker, n *network, messages int) float64 {
	f := n.add(s, messages)
	n.run(epoch.Add(time.Hour))
	if f.dead || len(f.got) != messages {
		t.Fatalf("%d of %d messages arrived; dead: %v", len(f.got), messages, f.dead)
	}
	return float64(messages) / n.now.Sub(epoch).Seconds()
}
