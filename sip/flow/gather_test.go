package flow

import (
	"testing"
	"time"
)

func TestReaderPausesOnlyWhereDatagramsWouldGather(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration // one datagram
		batch int
		want  time.Duration
	}{
		{"one phone", time.Second, 1, 0},
		{"500 in a second", 2 * time.Millisecond, 1, 0},
		{"2000 in a second", 500 * time.Microsecond, 1, gatherFor - 100*time.Microsecond},
		{"3000 in a second, gathered", time.Second / 3000, 6, gatherFor - 100*time.Microsecond},
		{"more than a batch holds", 100 * time.Microsecond, batchSize, 0},
	} {
		now := time.Unix(1000, 0)
		g := gather{read: now, gap: gatherGapMax}
		if d := g.pause(1, now); d != 0 {
			t.Errorf("a new socket is read after %v", d)
		}
		for range 100 {
			now = now.Add(c.every * time.Duration(c.batch))
			g.came(c.batch, now)
		}
		if d := g.pause(c.batch, now.Add(100*time.Microsecond)); d != c.want {
			t.Errorf("%s: %v, want %v", c.name, d, c.want)
		}
		if d := g.pause(1, now.Add(2*gatherFor)); d != 0 {
			t.Errorf("%s: %v after long work", c.name, d)
		}
		// A pause in the traffic is forgotten after some datagrams, an idle hour like an idle second.
		g.came(1, now.Add(time.Hour))
		if g.gap > c.every+gatherGapMax/gatherSmooth+time.Microsecond {
			t.Errorf("%s: a gap of %v after an idle hour", c.name, g.gap)
		}
	}
}
