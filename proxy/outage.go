package proxy

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// outages remembers which next hops, found by name, do not answer (RFC 3263 §4.3), so that not every request waits for them again. It is about
// one address and transport, never about a name: the other addresses of the name go on. It is safe for concurrent use.
type outages struct {
	known atomic.Int64 // how many are in down: requests need no lock while there are none
	mu    sync.Mutex
	down  map[location.Hop]outage // mu
}

// outage is what is known of a hop that failed.
type outage struct {
	until  time.Time     // when it is due to be tried again
	length time.Duration // of the next outage, if that fails too
	kept   time.Time     // when it is forgotten
}

// key leaves out what differs from call to call.
func (o *outages) key(h location.Hop) location.Hop {
	return location.Hop{Transport: h.Transport, Remote: h.Remote, Host: h.Host}
}

// failed notes that a hop failed at now. With announced it said itself for how long (RFC 3261 §21.5.4).
func (o *outages) failed(h location.Hop, now time.Time, announced time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.key(h)
	x, again := o.down[k]
	switch {
	case !again:
		o.forget(now)
		x.length = outageWait
	case now.Before(x.until):
		return // one of several requests that were under way when it failed
	}
	length := x.length
	if announced > 0 {
		length = min(announced, outageMost)
	}
	x.until, x.kept, x.length = now.Add(length), now.Add(length+outageMost), min(2*x.length, outageMost)
	if o.down == nil {
		o.down = map[location.Hop]outage{}
	}
	o.down[k] = x
	o.known.Store(int64(len(o.down)))
}

// forget makes room for one more: what is over goes, else any one. The caller holds mu.
func (o *outages) forget(now time.Time) {
	for k, x := range o.down {
		if x.kept.Before(now) {
			delete(o.down, k)
		}
	}
	for k := range o.down {
		if len(o.down) < maxOutages {
			return
		}
		delete(o.down, k)
	}
}

// answered notes that a hop is there.
func (o *outages) answered(h location.Hop) {
	if o.known.Load() == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.down, o.key(h))
	o.known.Store(int64(len(o.down)))
}

// order puts the hops that are known to be down behind the others; among each other both keep their order. With probe, one whose time is over
// is tried in its old place, by the caller that asks first; for the others it is down for as long as that may take. The slice that was
// given is not changed: it may be the resolver's.
func (o *outages) order(hops []location.Hop, now time.Time, probe bool) []location.Hop {
	if len(hops) < 2 || o.known.Load() == 0 {
		return hops
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	up, down := make([]location.Hop, 0, len(hops)), []location.Hop(nil)
	for _, h := range hops {
		k := o.key(h)
		x, known := o.down[k]
		switch {
		case !known || x.kept.Before(now):
			up = append(up, h)
		case now.Before(x.until) || !probe:
			down = append(down, h)
		default:
			x.until = now.Add(outageProbe)
			o.down[k] = x
			up = append(up, h)
		}
	}
	return append(up, down...)
}

// silent reports whether a failure says something about the other side: it did not answer, or could not be reached.
func silent(err error) bool {
	return errors.Is(err, sip.ErrTimeout) || errors.Is(err, sip.ErrTransport)
}

// announced is the time for which a 503 asks to be left alone; 0: it does not say, which makes it a failure of this request only. RFC 3261
// §21.5.4: the client "SHOULD NOT forward any other requests to that server for the duration specified in the Retry-After".
func announced(res *message.Message) time.Duration {
	digits, _, _ := strings.Cut(res.Get(message.RetryAfter), ";")
	digits, _, _ = strings.Cut(digits, "(")
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// rests reports whether a hop that has no other to take its place is not to be tried now: it has failed, and nobody asks this time whether it is
// back.
func (o *outages) rests(h location.Hop, now time.Time) bool {
	if o.known.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.key(h)
	x, known := o.down[k]
	switch {
	case !known || x.kept.Before(now):
		return false
	case now.Before(x.until):
		return true
	}
	x.until = now.Add(outageProbe)
	o.down[k] = x
	return false
}
