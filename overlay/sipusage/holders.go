package sipusage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// holder is a node with a certificate for a user: what stands in the overlay under the name of the user is signed with it.
type holder struct {
	user string
	node wire.NodeID
}

// holdersOf are those that signed values. The access control of both Kinds wants the user's own certificate (USER-NODE-MATCH, RFC 7904 §7;
// USER-MATCH, RFC 6940 §8), and the overlay has checked that.
func holdersOf(values []overlay.Value) (h []holder) {
	for i := range values {
		if v := &values[i]; v.Lifetime > 0 && len(h) < maxHolders {
			h = append(h, holder{v.Signer.User, v.Signer.Node})
		}
	}
	return h
}

// claim is what a gateway says: that it holds the certificate of a user.
type claim struct {
	gr  string
	aor location.AOR
}

// claims are what is known of claims, and how many are being looked at.
type claims struct {
	mu     sync.Mutex
	proven *cache[claim, struct{}]
	others *cache[claim, location.Holding]
	asking map[string]int // questions under way about each gateway
}

func newClaims() *claims {
	return &claims{proven: newCache[claim, struct{}](maxCached), others: newCache[claim, location.Holding](maxCached), asking: map[string]int{}}
}

func (c *claims) get(of claim) (h location.Holding, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if _, ok := c.proven.get(of, now); ok {
		return location.Held, true
	}
	return c.others.get(of, now)
}

func (c *claims) put(of claim, h location.Holding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if h == location.Held {
		c.others.remove(of)
		c.proven.put(of, struct{}{}, now, provenFor)
	} else {
		c.others.put(of, h, now, foundFor)
	}
}

// enter reports whether one more question about a gateway may be asked; leave must follow then.
func (c *claims) enter(gr string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking[gr] >= maxAsking {
		return false
	}
	c.asking[gr]++
	return true
}

func (c *claims) leave(gr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asking[gr]--; c.asking[gr] <= 0 {
		delete(c.asking, gr)
	}
}

// Holds asks the overlay whether the gateway that gr leads to holds a certificate for aor: whether the registration of aor there, or a
// certificate that stands at aor, is signed with one of both. A number that is nobody's own is held by who holds the number range with the longest
// prefix. That it is Held is remembered for minutes, anything else for seconds. One gateway may be asked about
// only so often at a time. The error wraps location.ErrNotFound when gr names no node, else location.ErrUnavailable; it is not the same as no.
func (s *Service) Holds(ctx context.Context, gr string, aor location.AOR) (location.Holding, error) {
	of := claim{gr, aor}
	if h, known := s.claims.get(of); known {
		return h, nil
	}
	if !s.claims.enter(gr) {
		return 0, unavailable("certificates of "+string(aor), errBusy)
	}
	defer s.claims.leave(gr)
	for name := range s.rangesOf(aor) {
		s.records.begin(string(name)) // it takes as long as one Fetch
	}
	h, err := s.prove(of, func(a string) (entries, error) { return s.records.get(ctx, a) },
		func(a string) ([]holder, error) { return s.certified.get(ctx, a) })
	if err == nil {
		s.claims.put(of, h)
	}
	return h, err
}

// HoldsCached is Holds as far as a fresh answer is at hand, which known says; it does not block.
func (s *Service) HoldsCached(gr string, aor location.AOR) (h location.Holding, known bool) {
	of := claim{gr, aor}
	if h, known = s.claims.get(of); known {
		return h, known
	}
	h, err := s.prove(of, func(a string) (entries, error) { return atHand(s.records, a) },
		func(a string) ([]holder, error) { return atHand(s.certified, a) })
	if err != nil {
		return 0, false
	}
	s.claims.put(of, h)
	return h, true
}

// prove looks for the proof of a claim: under the address-of-record, and then under each range that it may be in, until somebody holds it.
func (s *Service) prove(of claim, records func(string) (entries, error), certificates func(string) ([]holder, error)) (location.Holding, error) {
	dest, err := ParseGR(of.gr, s.self.Len())
	if err != nil {
		return 0, err
	}
	node, _ := Terminal(dest)
	h, err := proveAt(holder{string(of.aor), node}, records, certificates)
	for name := range s.rangesOf(of.aor) {
		if err != nil || h != location.HeldByNobody {
			break
		}
		h, err = proveAt(holder{string(name), node}, records, certificates)
	}
	return h, err
}

// proveAt does so under one name. A registration that proves it makes the certificates unnecessary.
func proveAt(want holder, records func(string) (entries, error), certificates func(string) ([]holder, error)) (location.Holding, error) {
	e, err := records(want.user)
	if err != nil {
		return 0, err
	}
	if slices.Contains(e.holders, want) {
		return location.Held, nil
	}
	held, err := certificates(want.user)
	switch {
	case err != nil:
		return 0, err
	case slices.Contains(held, want):
		return location.Held, nil
	case len(e.holders)+len(held) > 0:
		return location.HeldByOthers, nil
	}
	return location.HeldByNobody, nil
}

// atHand answers without asking anybody else.
func atHand[V any](l *lookups[V], key string) (V, error) {
	v, ok := l.cached(key)
	if !ok {
		return v, fmt.Errorf("sipusage: %w", location.ErrUnavailable)
	}
	return v, nil
}
