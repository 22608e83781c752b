package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// Network is what links do to messages. A chance is a number from 0 to 1. The zero value is a network that delays messages
// between Config.MinDelay and Config.MaxDelay, and keeps every one.
type Network struct {
	// Delay draws how long a message from one host to another is on its way; nil: between MinDelay and MaxDelay.
	Delay Delay
	// Loss is the chance that a message is lost. With Resend, the link sends it again so much later, as TCP does, until it
	// arrives; those behind it wait.
	Loss   float64
	Resend time.Duration
	// Duplicate is the chance that a message arrives twice, and Reorder that those behind it may overtake it: by up to ten
	// times the delay. Links over TCP do neither.
	Duplicate, Reorder float64
}

// Delay draws how long a message is on its way, between two hosts that are given by their index.
type Delay func(r *rand.Rand, from, to int) time.Duration

// LANDelay is that of one site: a tenth of a millisecond, and now and then a few more.
func LANDelay() Delay {
	return func(r *rand.Rand, _, _ int) time.Duration {
		return 100*time.Microsecond + min(20*time.Millisecond, time.Duration(r.ExpFloat64()*float64(100*time.Microsecond)))
	}
}

// Regions is how many regions there are with WANDelay. A host is in the region Index % Regions.
const Regions = 6

// oneWay is how many milliseconds a packet takes between two regions, one way, about: Europe, North America East and West, South
// America, South-East Asia, East Asia.
var oneWay = [Regions][Regions]float64{
	{8, 42, 70, 95, 82, 110},
	{42, 10, 33, 60, 110, 85},
	{70, 33, 8, 88, 85, 54},
	{95, 60, 88, 12, 160, 135},
	{82, 110, 85, 160, 14, 38},
	{110, 85, 54, 135, 38, 12},
}

// WANDelay is that between hosts all over the world, with a tenth more on the average for queues.
func WANDelay() Delay {
	return func(r *rand.Rand, from, to int) time.Duration {
		ms := oneWay[from%Regions][to%Regions]
		ms += math.Min(r.ExpFloat64()*ms/10, 4*ms)
		return time.Duration(ms * float64(time.Millisecond))
	}
}

// between draws how long a message is on its way.
func (w *World) between(from, to *Host) time.Duration {
	if f := w.c.Network.Delay; f != nil {
		return f(w.rand, max(0, from.Index), max(0, to.Index))
	}
	return w.delay(w.c.MinDelay, w.c.MaxDelay)
}

// chance is true with probability p.
func (w *World) chance(p float64) bool { return p > 0 && w.rand.Float64() < p }

// lost draws whether a message is lost and, when it is not, by how much it is late because a link had to send it again.
func (w *World) lost() (late time.Duration, lost bool) {
	n := &w.c.Network
	again := n.Resend
	for w.chance(n.Loss) {
		if n.Resend == 0 {
			return 0, true
		}
		late += again
		again = min(2*again, 8*time.Second)
	}
	return late, false
}

// SetNetwork changes what links do to messages from now on.
func (w *World) SetNetwork(n Network) { w.c.Network = n }

// Network is what links do to messages.
func (w *World) Network() Network { return w.c.Network }

// Wall keeps packets from some hosts to all others, without a word: links stay up until somebody finds out, and what is sent over them is
// lost.
type Wall struct {
	bit    uint64 // in Host.side of those within
	oneWay bool
}

// maxWalls is how many walls there may be at a time: there is a bit for each.
const maxWalls = 64

// Raise makes a wall around some hosts. One that is oneWay lets packets in, but not out. It returns nil when there are too many.
func (w *World) Raise(within []*Host, oneWay bool) *Wall {
	used := uint64(0)
	for _, x := range w.walls {
		used |= x.bit
	}
	if len(w.walls) == maxWalls {
		return nil
	}
	x := &Wall{bit: ^used & (used + 1), oneWay: oneWay}
	for _, h := range within {
		h.side |= x.bit
	}
	w.walls = append(w.walls, x)
	return x
}

// Fell takes a wall away.
func (w *World) Fell(x *Wall) {
	for i, o := range w.walls {
		if o == x {
			w.walls = append(w.walls[:i], w.walls[i+1:]...)
			break
		}
	}
	for _, h := range w.hosts {
		h.within = h.side&x.bit != 0
		h.side &^= x.bit
	}
	w.felled = w.Elapsed()
}

// meeting is for how long after the end of a partition the two sides are said to have just met.
const meeting = time.Minute

// justMet reports whether two hosts were on different sides of the wall that was taken away last, not long ago.
func (w *World) justMet(a, b *Host) bool {
	return w.felled > 0 && w.Elapsed()-w.felled < meeting && a.within != b.within
}

// blocked reports whether a wall keeps packets of one host from another.
func (w *World) blocked(from, to *Host) bool {
	for _, x := range w.walls {
		out, in := from.side&x.bit != 0, to.side&x.bit != 0
		if out && !in || in && !out && !x.oneWay {
			return true
		}
	}
	return false
}

// SameSide reports whether no wall stands between two hosts, in either direction.
func (w *World) SameSide(a, b *Host) bool {
	return len(w.walls) == 0 || !w.blocked(a, b) && !w.blocked(b, a)
}

// Pause stops a host, as SIGSTOP does: its links stay up, and what arrives waits. Resume lets it go on.
func (h *Host) Pause() {
	if h.Up {
		h.paused = true
		h.w.note(Step{Host: h.Index, Input: "pause", From: -1})
	}
}

// Resume lets a host that is paused go on: what has happened to it since happens at once.
func (h *Host) Resume() {
	h.paused = false
	backlog := h.backlog
	h.backlog = nil
	h.w.note(Step{Host: h.Index, Input: "resume", From: -1})
	for _, e := range backlog {
		if !h.paused && h.w.violated == nil {
			h.w.happen(e)
		}
	}
	if h.Up {
		h.tick = 0 // the clock has moved while it stood still
		h.arm()
	}
}

// Slow has a host take so long for each message that arrives; 0 makes it as fast as it was.
func (h *Host) Slow(d time.Duration) { h.slow = d }
