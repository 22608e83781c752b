package flow

import "time"

// gather decides how long the reader of a socket lets datagrams gather in the kernel before it reads again. When they come one after the other,
// each wakes a thread, finds cold caches and costs two system calls; those that came within gatherFor share all of that. It is what
// network cards do with interrupts. A socket with little to do is read at once.
type gather struct {
	read time.Time     // when the last batch came
	gap  time.Duration // between two datagrams, smoothed
}

// came takes a batch of n datagrams into account.
func (g *gather) came(n int, now time.Time) {
	gap := min(now.Sub(g.read)/time.Duration(n), gatherGapMax)
	g.gap += (gap - g.gap) / gatherSmooth
	g.read = now
}

// pause is how long to wait, at now, before the next batch; 0: not at all. last is the size of the batch that was worked off: behind a full
// one more is waiting.
func (g *gather) pause(last int, now time.Time) time.Duration {
	if last == batchSize || g.gap > gatherFor/gatherLeast {
		return 0
	}
	return max(gatherFor-now.Sub(g.read), 0)
}
