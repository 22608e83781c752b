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
	mu      sync.Mutex
	proven  *cache[claim, struct{}]
	refuted *cache[claim, struct{}]
	asking  map[string]int // questions under way about each gateway
}

func newClaims() *claims {
	return &claims{proven: newCache[claim, struct{}](maxCached), refuted: newCache[claim, struct{}](maxCached), asking: map[string]int{}}
}

func (c *claims) get(of claim) (holds, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if _, ok := c.proven.get(of, now); ok {
		return true, true
	}
	_, ok := c.refuted.get(of, now)
	return false, ok
}

func (c *claims) put(of claim, holds bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if holds {
		c.refuted.remove(of)
		c.proven.put(of, struct{}{}, now, provenFor)
	} else {
		c.refuted.put(of, struct{}{}, now, foundFor)
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
// certificate that stands at aor, is signed with one of both. An answer holds for minutes, one that says no for seconds. One gateway may be asked about
// only so often at a time. The error wraps location.ErrNotFound when gr names no node, else location.ErrUnavailable; it is not the same as no.
func (s *Service) Holds(ctx context.Context, gr string, aor location.AOR) (bool, error) {
	of := claim{gr, aor}
	if holds, known := s.claims.get(of); known {
		return holds, nil
	}
	if !s.claims.enter(gr) {
		return false, unavailable("certificates of "+string(aor), errBusy)
	}
	defer s.claims.leave(gr)
	holds, err := s.prove(of, func(a string) (entries, error) { return s.records.get(ctx, a) },
		func(a string) ([]holder, error) { return s.certified.get(ctx, a) })
	if err != nil {
		return false, err
	}
	s.claims.put(of, holds)
	return holds, nil
}

// HoldsCached is Holds as far as a fresh answer is at hand, which known says; it does not block.
func (s *Service) HoldsCached(gr string, aor location.AOR) (holds, known bool) {
	of := claim{gr, aor}
	if holds, known = s.claims.get(of); known {
		return holds, known
	}
	holds, err := s.prove(of, func(a string) (entries, error) { return atHand(s.records, a) },
		func(a string) ([]holder, error) { return atHand(s.certified, a) })
	if err != nil {
		return false, false
	}
	s.claims.put(of, holds)
	return holds, true
}

// prove looks for the proof of a claim. A registration that proves it makes the certificates unnecessary.
func (s *Service) prove(of claim, records func(string) (entries, error), certificates func(string) ([]holder, error)) (bool, error) {
	dest, err := ParseGR(of.gr, s.self.Len())
	if err != nil {
		return false, err
	}
	node, _ := Terminal(dest)
	want := holder{string(of.aor), node}
	e, err := records(string(of.aor))
	if err != nil {
		return false, err
	}
	if slices.Contains(e.holders, want) {
		return true, nil
	}
	held, err := certificates(string(of.aor))
	if err != nil {
		return false, err
	}
	return slices.Contains(held, want), nil
}

// atHand answers without asking anybody else.
func atHand[V any](l *lookups[V], key string) (V, error) {
	v, ok := l.cached(key)
	if !ok {
		return v, fmt.Errorf("sipusage: %w", location.ErrUnavailable)
	}
	return v, nil
}
