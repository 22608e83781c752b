package registrar

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// ProbeConfig is what a Prober is made of. Every field must be set.
type ProbeConfig struct {
	// All iterates over every AOR with bindings that live at now.
	All func(now time.Time) iter.Seq2[location.AOR, []location.Binding]
	// Ask sends an OPTIONS to a contact; it reports whether there is a way to it. It must not block.
	Ask func(b location.Binding, user sip.ClientUser) bool
	// Interval is how often each contact is asked; Misses in a row make it unreachable.
	Interval time.Duration
	Misses   int
	Now      func() time.Time
}

// Prober asks bound contacts whether they are there (RFC 3261 §11). One that does not answer stays bound: it is only known to be
// unreachable. Safe for concurrent use.
type Prober struct {
	c ProbeConfig

	mu    sync.Mutex
	known map[probeKey]probeState
}

type probeKey struct {
	aor               location.AOR
	contact, instance string
	regID             uint32
}

func probeKeyOf(aor location.AOR, b *location.Binding) probeKey {
	return probeKey{aor, b.Contact, b.Instance, b.RegID}
}

type probeState struct {
	rtt    time.Duration
	missed int
	asked  time.Time // of the OPTIONS under way; zero: none is
}

// NewProber returns a Prober that has asked nobody.
func NewProber(c ProbeConfig) *Prober { return &Prober{c: c, known: map[probeKey]probeState{}} }

// Reach is what is known of a contact: how long its last answer took, 0 before the first, and whether it has not answered for a while.
func (p *Prober) Reach(aor location.AOR, b *location.Binding) (rtt time.Duration, unreachable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.known[probeKeyOf(aor, b)]
	return s.rtt, s.missed >= p.c.Misses
}

// bound is a contact that is to be asked.
type bound struct {
	aor location.AOR
	b   location.Binding
}

// Run asks until ctx ends: everybody once in an interval, in an order that differs, spread over it.
func (p *Prober) Run(ctx context.Context) {
	t := time.NewTicker(p.c.Interval / probeSteps)
	defer t.Stop()
	var list []bound
	for step := 0; ; step = (step + 1) % probeSteps {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if step == 0 {
			list = p.round()
		}
		n := len(list) / (probeSteps - step)
		for i := range list[:n] {
			p.ask(&list[i])
		}
		list = list[n:]
	}
}

// round lists who is to be asked, and forgets contacts that are not bound any more.
func (p *Prober) round() (list []bound) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := map[probeKey]probeState{}
	for aor, set := range p.c.All(p.c.Now()) {
		for _, b := range set {
			list = append(list, bound{aor, b})
			key := probeKeyOf(aor, &b)
			if s, ok := p.known[key]; ok {
				left[key] = s
			}
		}
	}
	p.known = left
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (p *Prober) ask(to *bound) {
	key := probeKeyOf(to.aor, &to.b)
	p.mu.Lock()
	s := p.known[key]
	if !s.asked.IsZero() {
		p.mu.Unlock()
		return // the last one is still unanswered; that is a miss soon enough
	}
	s.asked = p.c.Now()
	p.known[key] = s
	p.mu.Unlock()
	if !p.c.Ask(to.b, &probe{p: p, key: key}) {
		p.answered(key, false)
	}
}

// answered takes the outcome of an OPTIONS.
func (p *Prober) answered(key probeKey, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, known := p.known[key]
	if !known {
		return
	}
	if ok {
		s.rtt, s.missed = max(p.c.Now().Sub(s.asked), 1), 0
	} else {
		s.missed = min(s.missed+1, p.c.Misses)
	}
	s.asked = time.Time{}
	p.known[key] = s
}

// probe is the sip.ClientUser of one OPTIONS.
type probe struct {
	p   *Prober
	key probeKey
}

// Response implements sip.ClientUser: whoever answers, whatever he says, is there.
func (u *probe) Response(res *message.Message) {
	if res.StatusCode >= 200 {
		u.p.answered(u.key, true)
	}
}

// Failed implements sip.ClientUser.
func (u *probe) Failed(error) { u.p.answered(u.key, false) }
