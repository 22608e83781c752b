package flow

import "sync"

// Receipt follows a request until its transaction releases it: the owner is told when the request cannot be written, or when
// the connection that it went over ends (RFC 3261 §17.1.4). The zero Receipt with an Owner is ready. It must not be copied.
type Receipt struct {
	// Owner is told at most once, from any goroutine, also from one that is inside Send for somebody else: it must take no lock
	// that is held around a Send.
	Owner interface{ SendFailed(error) }

	mu   sync.Mutex
	s    *stream
	over bool
}

// Release ends the Receipt: the owner is not told of anything that happens from now on.
func (r *Receipt) Release() {
	r.mu.Lock()
	s := r.s
	r.s, r.over = nil, true
	r.mu.Unlock()
	if s != nil {
		s.unwatch(r)
	}
}

// Renew makes a Receipt whose owner was told follow the request anew.
func (r *Receipt) Renew() {
	r.mu.Lock()
	r.s, r.over = nil, false
	r.mu.Unlock()
}

// fail tells the owner. A nil Receipt is that of a message nobody follows.
func (r *Receipt) fail(err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	told := r.over
	r.s, r.over = nil, true
	r.mu.Unlock()
	if !told {
		r.Owner.SendFailed(err)
	}
}

// attach ties r to a connection that already watches it; false when r was released meanwhile.
func (r *Receipt) attach(s *stream) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	r.s = s
	return true
}
