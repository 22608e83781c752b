package trunk

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// HealthOptions is what a Health is made of. Every field must be set.
type HealthOptions struct {
	Sender  sip.Sender
	Resolve func(ctx context.Context, uri message.URI) ([]location.Hop, error)
	Domain  string // From of the probes
	// Answered is told of each address that answers a probe. It must not block. Optional.
	Answered func(location.Hop)
	// Changed is told of each address, and each name, that goes down or comes up again. It must not block.
	Changed func(HealthChange)
}

// HealthChange is an address of a target, or its name, that went down or came up.
type HealthChange struct {
	Trunk, Target string
	Address       string // "UDP 10.0.0.9:5060"; empty: the name of the target can not be resolved, or can again
	Down          bool
	Reason        string        // why it is down, or was: "timeout", "503", "transport", "dns"
	After         time.Duration // how long it had been otherwise; 0: since the start
}

// Health watches the targets of trunks by OPTIONS (RFC 3261 §11), each address that a target resolves to for itself. Every target has a
// goroutine of its own, so that a name server or a connection that hangs keeps nobody else. It is safe for concurrent use.
type Health struct {
	o     HealthOptions
	ctx   context.Context
	stop  context.CancelFunc
	count [2]atomic.Uint64 // probes that were missed, and answered

	mu       sync.Mutex
	watches  map[watchKey]*watch // mu
	downHops map[location.Hop]int
	running  sync.WaitGroup
}

type watchKey struct{ trunk, target string }

// watch is the watching of one target.
type watch struct {
	h      *Health
	key    watchKey
	health HealthConfig
	domain string // host in From
	uri    message.URI
	cancel context.CancelFunc

	name  condition // h.mu; of its resolution
	hops  map[location.Hop]*hopState
	order []location.Hop // as resolved last; h.mu
}

type hopState struct {
	condition
	rtt     time.Duration // of the last answer
	probing bool
}

// NewHealth returns a Health that watches nothing. Close ends it.
func NewHealth(o HealthOptions) *Health {
	h := &Health{o: o, watches: map[watchKey]*watch{}, downHops: map[location.Hop]int{}}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close ends the watching and waits for it. Watch does nothing after it.
func (h *Health) Close() {
	h.mu.Lock()
	h.stop()
	h.mu.Unlock()
	h.running.Wait()
}

// Watch has the targets of trunks watched that want it, and those of no others. What is known of a target stays while its trunk's name, its
// URI, its thresholds and its domain do.
func (h *Health) Watch(trunks []Trunk) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return // the configuration was read again while the gateway stops
	}
	wanted := map[watchKey]*watch{}
	for i := range trunks {
		for _, t := range trunks[i].Targets {
			w := &watch{h: h, key: watchKey{trunks[i].Name, t.URI}, health: trunks[i].Health, domain: trunks[i].Domain, hops: map[location.Hop]*hopState{}}
			if w.domain == "" {
				w.domain = h.o.Domain
			}
			var err error
			if w.uri, err = message.ParseURI(t.URI); err == nil && w.health.Options > 0 {
				wanted[w.key] = w
			}
		}
	}
	for key, w := range h.watches {
		if n := wanted[key]; n == nil || n.health != w.health || n.domain != w.domain {
			w.end()
		}
	}
	for key, w := range wanted {
		if h.watches[key] == nil {
			h.watches[key] = w
			var ctx context.Context
			ctx, w.cancel = context.WithCancel(h.ctx)
			h.running.Go(func() { w.run(ctx) })
		}
	}
}

// end forgets a watch. The caller holds h.mu.
func (w *watch) end() {
	w.cancel()
	delete(w.h.watches, w.key)
	for hop := range w.hops {
		w.forget(hop)
	}
}

// forget takes an address out. The caller holds h.mu.
func (w *watch) forget(hop location.Hop) {
	if w.hops[hop].down {
		w.h.mark(hop, -1)
	}
	delete(w.hops, hop)
}

// mark counts the watches for which a hop is down. The caller holds h.mu.
func (h *Health) mark(hop location.Hop, n int) {
	if h.downHops[hop] += n; h.downHops[hop] <= 0 {
		delete(h.downHops, hop)
	}
}

// run probes until ctx ends.
func (w *watch) run(ctx context.Context) {
	t := time.NewTimer(time.Duration(rand.Int64N(int64(firstProbe))))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		// A tenth of spread keeps the probes of many gateways from coming all at once.
		t.Reset(w.health.Options - time.Duration(rand.Int64N(int64(w.health.Options/10+1))))
		hops, err := w.h.o.Resolve(ctx, w.uri)
		if ctx.Err() != nil {
			return
		}
		for _, hop := range w.resolved(hops, err) {
			w.probe(ctx, hop)
		}
	}
}

// resolved takes what the target resolves to now, and returns what is to be probed: also addresses that a name server does not name any more
// because it does not answer.
func (w *watch) resolved(hops []location.Hop, err error) (probe []location.Hop) {
	w.h.mu.Lock()
	s := sighting{ok: err == nil, reason: "dns"}
	if err == nil {
		known := w.hops
		w.hops = map[location.Hop]*hopState{}
		w.order = w.order[:0]
		for _, hop := range hops {
			hop = hopKey(hop)
			if w.hops[hop] != nil {
				continue
			}
			if w.hops[hop] = known[hop]; known[hop] == nil {
				w.hops[hop] = &hopState{}
			}
			delete(known, hop)
			w.order = append(w.order, hop)
		}
		for hop, st := range known {
			if st.down {
				w.h.mark(hop, -1)
			}
		}
	}
	for _, hop := range w.order {
		if st := w.hops[hop]; !st.probing {
			st.probing = true
			probe = append(probe, hop)
		}
	}
	change, changed := w.observe(&w.name, s)
	w.h.mu.Unlock()
	if changed {
		w.h.o.Changed(change)
	}
	return probe
}

// observe takes a sighting. The caller holds h.mu, and tells of the change without it.
func (w *watch) observe(c *condition, s sighting) (change HealthChange, changed bool) {
	now, before := time.Now(), c.since
	if changed = c.observe(now, s, w.health); !changed {
		return change, false
	}
	change = HealthChange{Trunk: w.key.trunk, Target: w.key.target, Down: c.down, Reason: c.reason}
	if !before.IsZero() {
		change.After = now.Sub(before)
	}
	return change, true
}

// probe sends one OPTIONS.
func (w *watch) probe(ctx context.Context, hop location.Hop) {
	p := &probe{w: w, hop: hop, begun: time.Now()}
	m := optionsTo(w.key.target, w.domain, w.h.o.Sender.Address(hop))
	p.mu.Lock() // nothing of it ends before it has begun
	// An answer later than this is none: a call would not have waited so long either.
	stop := context.AfterFunc(ctx, func() { p.end(sighting{}, false) })
	timer := time.AfterFunc(min(probeWait, w.health.Options/2), func() { p.end(sighting{reason: "timeout"}, true) })
	p.release = func() { stop(); timer.Stop() }
	p.mu.Unlock()
	tx := w.h.o.Sender.Send(m, hop, "", p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tx = tx; p.ended {
		tx.Abandon()
	}
}

// contactURI is one of our addresses as a SIP URI.
func contactURI(user string, a sip.Address) string {
	if user != "" {
		user += "@"
	}
	uri := "sip:" + user + message.HostPort(a.Host, a.Port)
	if a.Transport != "" && a.Transport != "UDP" {
		uri += ";transport=" + strings.ToLower(a.Transport)
	}
	return uri
}

// probe is the sip.ClientUser of one OPTIONS.
type probe struct {
	w       *watch
	hop     location.Hop
	begun   time.Time
	release func()

	mu    sync.Mutex
	ended bool
	tx    sip.ClientTransaction
}

// Response implements sip.ClientUser. Whoever answers, whatever he says, is there; but 408 and 503 say that calls come to nothing.
func (p *probe) Response(res *message.Message) {
	if res.StatusCode >= 200 {
		p.end(seen(res.StatusCode), true)
	}
}

// Failed implements sip.ClientUser.
func (p *probe) Failed(err error) { p.end(unseen(err), true) }

// seen is what a final response says of who sent it.
func seen(status int) sighting {
	if status == 408 || status == 503 {
		return sighting{reason: strconv.Itoa(status)}
	}
	return sighting{ok: true}
}

// unseen is what a failure says.
func unseen(err error) sighting {
	if errors.Is(err, sip.ErrTimeout) {
		return sighting{reason: "timeout"}
	}
	return sighting{hard: true, reason: "transport"}
}

// end takes the outcome of the probe; the first one counts.
func (p *probe) end(s sighting, counts bool) {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended = true
	if p.tx != nil {
		p.tx.Abandon()
	}
	p.mu.Unlock()
	p.release()
	h := p.w.h
	if counts {
		h.count[index(s.ok)].Add(1)
	}
	h.mu.Lock()
	st := p.w.hops[p.hop]
	if st == nil || h.watches[p.w.key] != p.w {
		h.mu.Unlock()
		return
	}
	st.probing = false
	if s.ok {
		st.rtt = time.Since(p.begun)
	}
	change, changed := HealthChange{}, false
	if counts {
		change, changed = p.w.sawHop(p.hop, s)
	}
	h.mu.Unlock()
	if counts && s.ok && h.o.Answered != nil {
		h.o.Answered(p.hop)
	}
	if changed {
		h.o.Changed(change)
	}
}

func index(ok bool) int {
	if ok {
		return 1
	}
	return 0
}

// sawHop takes a sighting of one address. The caller holds h.mu.
func (w *watch) sawHop(hop location.Hop, s sighting) (change HealthChange, changed bool) {
	st := w.hops[hop]
	if change, changed = w.observe(&st.condition, s); !changed {
		return change, false
	}
	change.Address = hopName(hop)
	w.h.mark(hop, 2*index(st.down)-1)
	return change, true
}

// hopName is an address for people.
func hopName(h location.Hop) string { return h.Transport + " " + h.Remote.String() }

// hopKey leaves out what differs from call to call.
func hopKey(h location.Hop) location.Hop {
	return location.Hop{Transport: h.Transport, Remote: h.Remote, Host: h.Host}
}

// Called tells what became of a call to an address: err, or else the status of a response. One that failed counts like a probe that was
// missed; an answer only ends a row of misses, since what is down shall come up by probes. It does not block.
func (h *Health) Called(hop location.Hop, status int, err error) {
	s := seen(status)
	if err != nil {
		s = unseen(err)
	}
	hop = hopKey(hop)
	var changes []HealthChange
	h.mu.Lock()
	for _, w := range h.watches {
		switch st := w.hops[hop]; {
		case st == nil:
		case s.ok && !st.down:
			st.misses = 0
		case !s.ok:
			if change, changed := w.sawHop(hop, s); changed {
				changes = append(changes, change)
			}
		}
	}
	h.mu.Unlock()
	for _, c := range changes {
		h.o.Changed(c)
	}
}

// HopDown implements Conditions.
func (h *Health) HopDown(hop location.Hop) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.downHops) > 0 && h.downHops[hopKey(hop)] > 0
}

// TargetDown implements Conditions.
func (h *Health) TargetDown(trunk, uri string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.watches[watchKey{trunk, uri}]
	return w != nil && w.down()
}

// down reports whether a target can not be called: its name leads nowhere, or all of its addresses are down. The caller holds h.mu.
func (w *watch) down() bool {
	if w.name.down && len(w.hops) == 0 {
		return true
	}
	for _, st := range w.hops {
		if !st.down {
			return false
		}
	}
	return len(w.hops) > 0
}

// TargetHealth is how one target stands.
type TargetHealth struct {
	Trunk, Target string
	Down          bool
	Unresolved    bool // its name can not be resolved at this time
	Since         time.Time
	Addresses     []AddressHealth
}

// AddressHealth is how one address of a target stands.
type AddressHealth struct {
	Address string
	Down    bool
	Since   time.Time     // the last change; zero: there was none
	Reason  string        // of the last miss
	RTT     time.Duration // of the last answer; 0: there was none
}

// Report lists what is watched, in no order.
func (h *Health) Report() (out []TargetHealth) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range maps.Values(h.watches) {
		t := TargetHealth{Trunk: w.key.trunk, Target: w.key.target, Down: w.down(), Unresolved: w.name.misses > 0, Since: w.name.since}
		for _, hop := range w.order {
			st := w.hops[hop]
			t.Addresses = append(t.Addresses, AddressHealth{hopName(hop), st.down, st.since, st.reason, st.rtt})
		}
		out = append(out, t)
	}
	return out
}

// Probes is how many probes were answered, and how many not.
func (h *Health) Probes() (answered, missed uint64) { return h.count[1].Load(), h.count[0].Load() }

var _ Conditions = (*Health)(nil)
