package sipusage

import (
	"bytes"
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// While a gateway has been alone in its ring since it started nobody can ask for what it would store there. So registrations of users are only noted: no
// certificate is read, nothing is signed and stored, and the answer is that everybody in the ring sees it. All of it is stored when the first node
// comes, who is kept waiting until then (overlay.Config.Prepares). From then on registrations are stored as they come.
//
// What is not kept back: forwardings, number ranges and our own addresses, which are few; users without a certificate, of whom somebody has to hear;
// and those of whom there is something of ours in the store from an earlier run, which has to be renewed or removed.

// keep notes that value is wanted under key until then, without storing it. It reports false when something else is known of key, or there is no room.
func (s *schedule) keep(key string, value wire.StoredValue, until time.Time) bool {
	r := s.records[key]
	switch {
	case !s.alone:
		return false
	case r == nil && len(s.records) < maxRecords:
		r = &record{key: key, value: value, want: true, held: true, index: -1}
		s.records[key] = r
	case r == nil || !r.held:
		return false
	}
	r.until = until
	return true
}

// keepAll is connect for a node that is alone: what may be kept back is.
func (s *schedule) keepAll(now time.Time, value wire.StoredValue, mayKeep map[string]bool) {
	s.alone = true
	for key, r := range s.records {
		if r.want && mayKeep[key] && string(r.value.Data) == string(value.Data) {
			r.held = true
			s.answer(&r.waiters, nil)
		}
	}
	s.connect(now)
}

// release is when somebody has come: what was kept back is due. told is called when all of it was stored or has failed once. Of those who have gone he may hold what
// an earlier run of this program has stored, and he is to see by their certificates that there are such users: value is removed for each.
func (s *schedule) release(now time.Time, value wire.StoredValue, told func()) {
	s.alone, s.paid = false, told
	for _, r := range s.records {
		if !r.held && (!r.want || !r.end.IsZero()) {
			continue // it stands there, or nobody looks for it
		}
		r.held, r.owed = false, true
		s.owed++
		if r.flight == nil {
			s.at(r, now)
		}
	}
	for key := range s.left {
		if s.records[key] == nil {
			s.withdraw(now, key, value, func(error) {})
		}
	}
	s.left = nil
	if s.owed == 0 {
		s.pay(nil)
	}
}

// leave notes that somebody has gone while nobody else was there.
func (s *schedule) leave(key string) {
	if s.alone && key != "" && len(s.left) < maxOffered {
		if s.left == nil {
			s.left = make(map[string]struct{})
		}
		s.left[key] = struct{}{}
	}
}

// pay notes that r, if somebody waits for it, was tried.
func (s *schedule) pay(r *record) {
	if r != nil && r.owed {
		r.owed = false
		s.owed--
	}
	if s.owed == 0 && s.paid != nil {
		s.calls = append(s.calls, s.paid)
		s.paid = nil
	}
}

// keeps is Publish as long as nobody else is there: it reports whether there is no more to do than to note that aor is reachable here.
func (p *Publisher) keeps(aor location.AOR, until time.Time) bool {
	key := string(aor)
	p.mu.Lock()
	r, alone := p.s.records[key], p.s.alone
	p.mu.Unlock()
	if !alone || r == nil && !p.mayKeep(aor) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s.keep(key, p.route, until)
}

// mayKeep reports whether the record of a user can wait until somebody comes. It looks whether there is a certificate, and does not read it.
func (p *Publisher) mayKeep(aor location.AOR) bool {
	if _, numbers := RangeOf(aor); numbers || aor == "" || !p.peer.AllowsUser(string(aor)) || !p.keys.Has(string(aor)) {
		return false
	}
	return !p.inherits.Load() || !p.stands(aor)
}

// stands reports whether a record of ours is, or may be, in our own store.
func (p *Publisher) stands(aor location.AOR) bool {
	values, ok := p.peer.FetchOwn(resource(aor), wire.KindSIPRegistration)
	for i := range values {
		if bytes.Equal([]byte(values[i].Value.Key), []byte(p.route.Key)) {
			return true
		}
	}
	return !ok
}

// settle begins: alone, until it is known that somebody is there.
func (p *Publisher) settle() {
	p.inherits.Store(p.peer.Stored(wire.KindSIPRegistration) > 0)
	p.mu.Lock()
	keys := make([]string, 0, len(p.s.records))
	for key := range p.s.records {
		keys = append(keys, key)
	}
	p.mu.Unlock()
	mayKeep := make(map[string]bool, len(keys))
	for _, key := range keys {
		mayKeep[key] = p.mayKeep(location.AOR(key))
	}
	p.do(func(now time.Time, s *schedule) { s.keepAll(now, p.route, mayKeep) })
}

// Keeps reports whether aor is registered here and its record waits until somebody comes who could ask for it, or is on its way since.
func (p *Publisher) Keeps(aor location.AOR) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.s.records[string(aor)]
	return r != nil && r.want && (r.held || r.owed)
}

// Show has the record of aor stored now if it waits until somebody comes: for people who want to see it. The error is that of the Store, or ctx's.
func (p *Publisher) Show(ctx context.Context, aor location.AOR) error {
	told := make(chan error, 1)
	p.do(func(now time.Time, s *schedule) {
		if r := s.records[string(aor)]; r != nil && r.held {
			s.publish(now, r.key, r.value, r.until, func(err error) { told <- err })
		} else {
			told <- nil
		}
	})
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return unavailable("store "+string(aor), ctx.Err())
	}
}
