package trunk

import "time"

// condition is how one address, or the name of a target, answers to probes. It is a value: the time is an argument.
type condition struct {
	misses, hits int // in a row
	down         bool
	since        time.Time // the last change; zero: there was none
	reason       string    // of the last miss
}

// sighting is what a probe, or a call, saw.
type sighting struct {
	ok     bool
	hard   bool   // the other side can not be reached at all: there is nothing to wait for
	reason string // of a miss: "timeout", "503"
}

// observe takes a sighting, and reports whether the condition changed between up and down.
func (c *condition) observe(now time.Time, s sighting, h HealthConfig) (changed bool) {
	if s.ok {
		c.hits, c.misses = min(c.hits+1, h.Up), 0
		changed = c.down && c.hits >= h.Up
	} else {
		c.misses, c.hits, c.reason = min(c.misses+1, h.Down), 0, s.reason
		changed = !c.down && (s.hard || c.misses >= h.Down)
	}
	if changed {
		c.down, c.since = !c.down, now
	}
	return changed
}
