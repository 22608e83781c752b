package flow

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestReaderPausesOnlyWhereMessagesWouldGather(t *testing.T) {
	for _, c := range []struct {
		name   string
		every  time.Duration // one message
		batch  int
		gather time.Duration
		pauses bool
	}{
		{"one phone", time.Second, 1, gatherUDP, false},
		{"500 datagrams in a second", 2 * time.Millisecond, 1, gatherUDP, false},
		{"2000 datagrams in a second", 500 * time.Microsecond, 1, gatherUDP, true},
		{"3000 datagrams in a second, gathered", time.Second / 3000, 6, gatherUDP, true},
		{"200 messages in a second over a connection", 5 * time.Millisecond, 1, gatherStream, false},
		{"900 messages in a second over a connection", time.Second / 900, 1, gatherStream, true},
	} {
		now := time.Unix(1000, 0)
		g := newGather(c.gather, now)
		if d := g.pause(now); d != 0 {
			t.Errorf("%s: %v before anything came", c.name, d)
		}
		for range 100 {
			now = now.Add(c.every * time.Duration(c.batch))
			g.came(c.batch, now)
		}
		want := time.Duration(0)
		if c.pauses {
			want = c.gather - 100*time.Microsecond
		}
		if d := g.pause(now.Add(100 * time.Microsecond)); d != want {
			t.Errorf("%s: %v, want %v", c.name, d, want)
		}
		if d := g.pause(now.Add(2 * c.gather)); d != 0 {
			t.Errorf("%s: %v after long work", c.name, d)
		}
		// An idle hour is forgotten like an idle second.
		before := g.gap
		g.came(1, now.Add(time.Hour))
		if g.gap > before+gatherGapMax/gatherSmooth {
			t.Errorf("%s: a gap of %v after an idle hour", c.name, g.gap)
		}
	}
}

func TestConnectionIsReadLaterOnlyWhenThatHoldsNothingUp(t *testing.T) {
	for _, c := range []struct {
		name string
		src  source
		want time.Duration
	}{
		{"plain TCP", source{plain: true}, gatherStream},
		{"TLS, of which a read takes one record", source{}, 0},
		{"more is waiting", source{plain: true, full: true}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c.src.gather = newGather(gatherStream, time.Now())
			for range 100 {
				time.Sleep(time.Millisecond)
				c.src.gather.came(1, time.Now())
			}
			c.src.heard, c.src.whole = time.Now(), 1
			c.src.rest()
			if d := time.Since(c.src.heard); d != c.want {
				t.Errorf("%s: waited %v, want %v", c.name, d, c.want)
			}
			before := time.Now()
			c.src.rest() // nothing was read since
			if d := time.Since(before); d != 0 {
				t.Errorf("%s: waited %v for nothing", c.name, d)
			}
		})
	}
}
