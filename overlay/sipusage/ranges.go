package sipusage

import (
	"context"
	"iter"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/numbers"
)

// found is what is known of an address-of-record, and under which name.
type found struct {
	entries
	// by is the name of the number range that led here; empty: the address-of-record itself.
	by location.AOR
}

// RangeOf is the number range that aor names; ok is false when aor is anybody else's.
func RangeOf(aor location.AOR) (r numbers.Range, ok bool) {
	user, _, _ := strings.Cut(string(aor), "@")
	return numbers.Parse(user)
}

// rangesOf goes through the names of the ranges that aor may be in, the one that counts first in front: none unless aor is a number and the overlay
// has ranges.
func (s *Service) rangesOf(aor location.AOR) iter.Seq[location.AOR] {
	return func(yield func(location.AOR) bool) {
		plan := s.peer.Ranges()
		if len(plan) == 0 {
			return
		}
		user, domain, _ := strings.Cut(string(aor), "@")
		if !numbers.Is(user) {
			return
		}
		for _, shape := range plan {
			if r, ok := shape.Of(user); ok && !yield(location.AOR(r.String()+"@"+domain)) {
				return
			}
		}
	}
}

// mayBeInRange reports whether aor is a number for which ranges are looked up.
func (s *Service) mayBeInRange(aor location.AOR) bool {
	for range s.rangesOf(aor) {
		return true
	}
	return false
}

// find asks the overlay for aor and, at the same time, for the ranges that it may be in. It takes as long as one Fetch: what is not known yet is asked
// for at once. An answer that is missing is not the answer "nobody": nobody else gets the call then.
func (s *Service) find(ctx context.Context, aor location.AOR) (found, error) {
	e, ok := s.records.cached(string(aor))
	if !ok {
		for name := range s.rangesOf(aor) {
			s.records.begin(string(name))
		}
		var err error
		if e, err = s.records.get(ctx, string(aor)); err != nil {
			return found{}, err
		}
	}
	if e.any() {
		return found{entries: e}, nil
	}
	for name := range s.rangesOf(aor) {
		s.records.begin(string(name))
	}
	return s.inRange(aor, func(name location.AOR) (entries, error) { return s.records.get(ctx, string(name)) })
}

// findCached is find as far as fresh answers are at hand.
func (s *Service) findCached(aor location.AOR) (found, error) {
	e, ok := s.records.cached(string(aor))
	switch {
	case !ok:
		return found{}, location.ErrUnavailable
	case e.any():
		return found{entries: e}, nil
	}
	return s.inRange(aor, func(name location.AOR) (entries, error) {
		e, ok := s.records.cached(string(name))
		if !ok {
			return e, location.ErrUnavailable
		}
		return e, nil
	})
}

// inRange is the first range of aor that somebody holds: an address-of-record of its own beats any, and a longer prefix a shorter one.
func (s *Service) inRange(aor location.AOR, get func(location.AOR) (entries, error)) (found, error) {
	for name := range s.rangesOf(aor) {
		if e, err := get(name); err != nil || e.any() {
			return found{e, name}, err
		}
	}
	return found{}, nil
}

// any reports whether anybody holds the address-of-record, this gateway included.
func (e *entries) any() bool { return e.here || len(e.nodes) > 0 || len(e.uris) > 0 }

// Name is the name under which aor is found in the overlay: aor, or the number range that it is in; empty: none. The error wraps
// location.ErrUnavailable.
func (s *Service) Name(ctx context.Context, aor location.AOR) (location.AOR, error) {
	f, err := s.find(ctx, aor)
	switch {
	case err != nil || !f.any():
		return "", err
	case f.by != "":
		return f.by, nil
	}
	return aor, nil
}
