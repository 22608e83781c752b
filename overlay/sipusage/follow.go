package sipusage

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2psip/p2psip-gateway/location"
)

// forward is an URI that somebody registered.
type forward struct {
	uri   string
	depth int      // how many addresses-of-record led to it
	by    *forward // whose record it stands in; nil: that of the one which was asked for
	aor   location.AOR
}

// back reports whether aor is one of those that led to f.
func (f *forward) back(aor location.AOR) bool {
	for f = f.by; f != nil; f = f.by {
		if f.aor == aor {
			return true
		}
	}
	return false
}

// source is the address-of-record whose record f stands in.
func (f *forward) source(from location.AOR) location.AOR {
	if f.by == nil {
		return from
	}
	return f.by.aor
}

// following says how forwardings are followed.
type following struct {
	get  func(location.AOR) (found, error)
	note func(Step) // told of each URI; nil: nobody wants to know
}

// Step is one URI in the record of an address-of-record, and what is behind it.
type Step struct {
	AOR   location.AOR // whose record it is
	URI   string
	Depth int // how many addresses-of-record led there: 1 for those of the first record
	End   StepEnd
	Nodes []string // gateways of the user behind it, as gr values, this one left out
	Here  bool     // this gateway is one of the user's
}

// StepEnd says what becomes of a URI.
type StepEnd string

// What can become of a URI.
const (
	StepFollowed StepEnd = "followed"  // the record behind it was read
	StepOutside  StepEnd = "outside"   // of another domain: contacted as any URI is
	StepLoop     StepEnd = "loop"      // one of those that led here: not followed
	StepAgain    StepEnd = "again"     // another forwarding leads there too
	StepTooDeep  StepEnd = "too deep"  // more than five forwardings, or sixteen users
	StepNoAnswer StepEnd = "no answer" // the overlay did not say what is behind it
)

// follow resolves registered URIs. RFC 7904 §4.2 step 2: "If any of the results of the Fetch are non-GRUU AORs, then repeat step 1 for
// that AOR." Each is asked for once, so that a loop ends.
func (s *Service) follow(from location.AOR, uris []string, how following) (out []location.Remote, err error) {
	if len(uris) == 0 {
		return nil, nil
	}
	asked := map[location.AOR]bool{from: true}
	queue := enqueue(nil, nil, uris)
	for len(queue) > 0 && len(out) < maxTargets {
		f := queue[0]
		queue = queue[1:]
		step := Step{AOR: f.source(from), URI: f.uri, Depth: f.depth}
		var e entries
		var failed error
		step.End, e, failed = s.behind(f, asked, from, how.get)
		if failed != nil {
			err = worse(err, failed)
		}
		step.Here = e.here
		for _, n := range e.nodes {
			step.Nodes = append(step.Nodes, n.gr)
		}
		if how.note != nil {
			how.note(step)
		}
		if step.End == StepOutside || e.here || len(e.nodes) > 0 {
			out = appendOnce(out, location.Remote{URI: f.uri, Depth: f.depth})
		}
		queue = enqueue(queue, f, e.uris)
	}
	return out, err
}

// enqueue appends the URIs in the record behind by.
func enqueue(queue []*forward, by *forward, uris []string) []*forward {
	depth := 1
	if by != nil {
		depth = by.depth + 1
	}
	for _, u := range uris {
		queue = append(queue, &forward{uri: u, depth: depth, by: by})
	}
	return queue
}

// behind looks what is behind a URI.
func (s *Service) behind(f *forward, asked map[location.AOR]bool, from location.AOR, get func(location.AOR) (found, error)) (StepEnd, entries, error) {
	if f.depth > maxDepth {
		return StepTooDeep, entries{}, location.ErrForwardDepth
	}
	aor, ours := s.aorOf(f.uri)
	f.aor = aor
	switch {
	case !ours:
		// RFC 7904 §4.2 step 3: "If there are also external AORs, the Peer follows the appropriate procedure for contacting them".
		return StepOutside, entries{}, nil
	case aor == from || f.back(aor):
		return StepLoop, entries{}, location.ErrForwardLoop
	case asked[aor]:
		return StepAgain, entries{}, nil
	case len(asked) > maxFollowed:
		return StepTooDeep, entries{}, location.ErrForwardDepth
	}
	asked[aor] = true
	e, err := get(aor)
	if err != nil {
		return StepNoAnswer, entries{}, err
	}
	return StepFollowed, e.entries, nil
}

// worse is what is to be said of two failures: what was not answered may have led somewhere.
func worse(a, b error) error {
	if a == nil || !errors.Is(b, location.ErrForwardLoop) && !errors.Is(b, location.ErrForwardDepth) {
		return b
	}
	return a
}

// Explain follows the forwardings of aor as Remote does, past the cache, and lists every URI that it came by. The error wraps
// location.ErrUnavailable.
func (s *Service) Explain(ctx context.Context, aor location.AOR) (steps []Step, err error) {
	fetch := func(a location.AOR) (entries, error) {
		e, _, err := s.fetchRecord(ctx, string(a))
		return e, err
	}
	get := func(a location.AOR) (found, error) {
		if e, err := fetch(a); err != nil || e.any() {
			return found{entries: e}, err
		}
		return s.inRange(a, fetch)
	}
	e, err := get(aor)
	if err != nil {
		return nil, fmt.Errorf("sipusage: explain: %w", err)
	}
	_, _ = s.follow(aor, e.uris, following{get, func(st Step) { steps = append(steps, st) }}) // each step has what became of it
	return steps, nil
}

func appendOnce(list []location.Remote, r location.Remote) []location.Remote {
	for _, have := range list {
		if have.URI == r.URI {
			return list
		}
	}
	return append(list, r)
}
