package registrar

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Feature: REG-25
func TestContactsAreAskedWhetherTheyAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, interval = 200, time.Minute
		table := map[location.AOR][]location.Binding{}
		for i := range n {
			table[location.AOR(fmt.Sprintf("u%d@d", i))] = []location.Binding{{Contact: fmt.Sprintf("sip:u%d@h", i)}}
		}
		dead, nowhere := "sip:u1@h", "sip:u2@h"
		var mu sync.Mutex // of all these
		asked, busiest, second, last := 0, 0, 0, time.Time{}
		p := NewProber(ProbeConfig{
			All: func(time.Time) iter.Seq2[location.AOR, []location.Binding] {
				return func(yield func(location.AOR, []location.Binding) bool) {
					mu.Lock()
					defer mu.Unlock()
					for aor, set := range table {
						if !yield(aor, set) {
							return
						}
					}
				}
			},
			Ask: func(b location.Binding, user sip.ClientUser) bool {
				mu.Lock()
				defer mu.Unlock()
				asked++
				if now := time.Now().Truncate(time.Second); now != last {
					last, second = now, 0
				}
				second++
				busiest = max(busiest, second)
				switch b.Contact {
				case dead:
					go func() { time.Sleep(32 * time.Second); user.Failed(sip.ErrTimeout) }()
				case nowhere:
					return false
				default:
					go func() { time.Sleep(20 * time.Millisecond); user.Response(&message.Message{StatusCode: 405}) }()
				}
				return true
			},
			Interval: interval, Misses: 3, Now: time.Now,
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		reach := func(user string) (time.Duration, bool) {
			synctest.Wait()
			return p.Reach(location.AOR(user+"@d"), &location.Binding{Contact: "sip:" + user + "@h"})
		}
		time.Sleep(interval + time.Second/2)
		if rtt, bad := reach("u0"); rtt != 20*time.Millisecond || bad {
			t.Errorf("u0: %v, unreachable %v", rtt, bad)
		}
		if _, bad := reach("u2"); bad {
			t.Error("unreachable after one miss")
		}
		mu.Lock()
		if asked != n || busiest > n/20 {
			t.Errorf("%d asked in an interval, want %d; %d in one second", asked, n, busiest)
		}
		mu.Unlock()
		time.Sleep(7 * interval) // an OPTIONS that is under way is not sent again
		for _, user := range []string{"u1", "u2"} {
			if _, bad := reach(user); !bad {
				t.Errorf("%s is reachable", user)
			}
		}
		mu.Lock()
		nowhere = "" // it is back
		mu.Unlock()
		time.Sleep(interval + time.Second)
		if rtt, bad := reach("u2"); rtt == 0 || bad {
			t.Errorf("u2: %v, unreachable %v", rtt, bad)
		}
		mu.Lock()
		delete(table, "u3@d")
		mu.Unlock()
		time.Sleep(interval + time.Second)
		stop()
		<-done
		p.mu.Lock()
		if len(p.known) != n-1 {
			t.Errorf("%d contacts remembered of %d", len(p.known), n-1)
		}
		p.mu.Unlock()
		time.Sleep(time.Minute)
	})
}

// Feature: REG-09 REG-25
func TestAtTheLimitAContactThatDoesNotAnswerMakesRoom(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Unreachable = func(_ location.AOR, b *location.Binding) bool { return b.Contact == "sip:b@h" }
	})
	b.want(b.register("Contact: <sip:a@h>, <sip:b@h>, <sip:c@h>"), 200)
	b.want(b.register("Contact: <sip:d@h>"), 200)
	if got := fmt.Sprint(b.contacts()); got != "[sip:a@h sip:c@h sip:d@h]" {
		t.Errorf("bound: %s", got)
	}
}

// Feature: REG-17
func TestRFC3261_26_3_2_1_ACertificateIsACredential(t *testing.T) {
	for _, c := range []struct {
		names  []location.AOR
		status int
	}{
		{[]location.AOR{alice}, 200},
		{[]location.AOR{"bob@example.org", alice}, 200},
		{[]location.AOR{"bob@example.org"}, 403},
		{nil, 401},
	} {
		b := newBench(t, func(conf *Config) { conf.Certified = func(location.Hop) []location.AOR { return c.names } })
		b.want(b.send("", "sip:example.org", "<sip:alice@example.org>", "Contact: <sip:a@h>"), c.status)
		if got := len(b.contacts()); got != map[bool]int{true: 1}[c.status == 200] {
			t.Errorf("%v: %d bindings", c.names, got)
		}
	}
}
