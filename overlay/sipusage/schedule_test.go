package sipusage

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// crowd is many records of one schedule that were stored in one burst, on virtual time.
type crowd struct {
	*testing.T
	s     *schedule
	start time.Time
	last  map[string]time.Time // Store of each
	at    map[int64]int        // Stores by second
}

func newCrowd(t *testing.T, records int) *crowd {
	c := &crowd{T: t, s: newSchedule(rand.New(rand.NewPCG(1, 2))), start: time.Unix(1e9, 0), last: map[string]time.Time{}, at: map[int64]int{}}
	c.s.connect(c.start)
	value := wire.StoredValue{Model: wire.Dictionary, Exists: true, Data: []byte("here")}
	for i := range records {
		c.s.publish(c.start, fmt.Sprint(i), value, c.start.Add(forever), func(error) {})
	}
	return c
}

// pass carries out what is due between two times; each Store takes no time.
func (c *crowd) pass(from, to time.Duration) {
	for now := c.start.Add(from); now.Before(c.start.Add(to)); now = c.s.due[0].due {
		for task, ok := c.s.next(now); ok; task, ok = c.s.next(now) {
			if before, again := c.last[task.key]; again && now.Sub(before) > maxLifetime/2 {
				c.Fatalf("%s is stored again after %v", task.key, now.Sub(before))
			}
			c.last[task.key] = now
			c.at[now.Unix()]++
			c.s.result(now, task, outcome{storageTime: task.storageTime, sent: true})
			c.s.take()
		}
	}
}

// steady checks how many Stores there are in each second, and in each minute, between two times.
func (c *crowd) steady(from, to time.Duration, perSecond, perMinute int) {
	c.Helper()
	minute := 0
	for s := int64(from / time.Second); s < int64(to/time.Second); s++ {
		n := c.at[c.start.Unix()+s]
		if minute += n; n > perSecond {
			c.Fatalf("%d Stores in second %d", n, s)
		}
		if s%60 == 59 {
			if minute > perMinute {
				c.Fatalf("%d Stores in the minute until second %d", minute, s)
			}
			minute = 0
		}
	}
}

// What 10,000 phones made the gateway store in one second is no burst any more when it is renewed, nor later: 10,000 in 22 minutes and a half are 7.4
// in a second. The same holds for all that is stored again because certificates are new.
//
// Conformance: H-29
// Feature: REG-28
func TestABurstOfStoresIsNoBurstOfRenewals(t *testing.T) {
	c := newCrowd(t, 10_000)
	c.pass(0, 6*time.Hour)
	c.steady(time.Second, 6*time.Hour, 25, 560)
	if n := c.at[c.start.Unix()]; n != 10_000 {
		t.Fatalf("%d were stored at once", n)
	}
	c.s.renew(c.start.Add(6 * time.Hour))
	c.pass(6*time.Hour, 9*time.Hour)
	c.steady(6*time.Hour+time.Second, 9*time.Hour, 25, 560)
	total := 0
	for _, n := range c.at {
		total += n
	}
	// In nine hours 2 bursts, and a renewal every 7/16 of an hour on average; the first of each burst comes earlier.
	if mean := float64(total)/10_000 - 2; mean < 19 || mean > 22 {
		t.Errorf("%.1f renewals of a record in nine hours", mean)
	}
}
