package flow

import "time"

// gather decides how long a reader lets messages gather in the kernel before it reads again. When they come one after the other, each wakes
// threads, finds cold caches and costs system calls; those that came within every share all of that. It is what network cards do with
// interrupts. Where there is little to read it is read at once.
type gather struct {
	every time.Duration
	read  time.Time     // when something came last
	gap   time.Duration // between two messages, smoothed
}

func newGather(every time.Duration, now time.Time) gather {
	return gather{every, now, gatherGapMax}
}

// came takes into account that n messages came at a time.
func (g *gather) came(n int, at time.Time) {
	gap := min(at.Sub(g.read)/time.Duration(n), gatherGapMax)
	g.gap += (gap - g.gap) / gatherSmooth
	g.read = at
}

// pause is how long to wait, at now, before reading on; 0: not at all.
func (g *gather) pause(now time.Time) time.Duration {
	if g.gap > g.every/gatherLeast {
		return 0
	}
	return max(g.every-now.Sub(g.read), 0)
}
