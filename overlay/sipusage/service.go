package sipusage

import (
	"context"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Service looks up addresses-of-record and connects to the gateways that serve them. Remote and RemoteCached are those of
// location.Locator.
type Service struct {
	peer      Peer
	self      wire.NodeID
	aorOf     func(uri string) (location.AOR, bool)
	records   *lookups[entries]
	addresses *lookups[[]string]
	certified *lookups[[]holder]
	claims    *claims
	suspects  *suspects
	secure    *secure
}

// NewService returns a service on peer. aorOf makes the canonical address-of-record of a SIP URI; ok is false when its domain is not
// one of this overlay. Close ends it.
func NewService(peer Peer, aorOf func(uri string) (location.AOR, bool)) *Service {
	s := &Service{peer: peer, self: peer.NodeID(), aorOf: aorOf, suspects: newSuspects(), secure: newSecure(), claims: newClaims()}
	s.records = newLookups(s.fetchRecord, s.ownRecord)
	s.addresses = newLookups(s.fetchAddresses, s.ownAddresses)
	s.certified = newLookups(s.fetchCertified, s.ownCertified)
	return s
}

// Close ends what is on its way and waits for it. Nothing is found afterwards.
func (s *Service) Close() {
	s.records.close()
	s.addresses.close()
	s.certified.close()
}

// fetchRecord asks the overlay. RFC 7904 §4.2 step 1: "Perform a Fetch for Kind SIP-REGISTRATION at the Resource-ID corresponding to
// the AOR. This Fetch SHOULD NOT indicate any dictionary keys".
func (s *Service) fetchRecord(ctx context.Context, aor string) (entries, time.Duration, error) {
	values, err := s.peer.Fetch(ctx, resource(location.AOR(aor)), wire.KindSIPRegistration)
	if err != nil {
		return entries{}, 0, unavailable("look up "+aor, err)
	}
	e, ttl := s.record(values)
	return e, ttl, nil
}

// ownRecord is fetchRecord for a record that this peer holds.
func (s *Service) ownRecord(aor string) (e entries, ttl time.Duration, ok bool) {
	values, ok := s.peer.FetchOwn(resource(location.AOR(aor)), wire.KindSIPRegistration)
	if ok {
		e, ttl = s.record(values)
	}
	return e, ttl, ok
}

// record reads a record, and says for how long it may be used.
func (s *Service) record(values []overlay.Value) (entries, time.Duration) {
	e := read(values, s.self)
	for _, n := range e.nodes {
		s.suspects.seen(n.id, n.since)
		s.secure.note(n.id, n.sips)
	}
	if len(e.nodes) == 0 && len(e.uris) == 0 && !e.here {
		return e, missingFor
	}
	return e, foundFor
}

// Remote asks the overlay where aor is registered, this gateway left out: at other gateways, and under other URIs. Addresses-of-record of
// the overlay that forward to others are followed: what is returned are those that lead to a node, as URIs, so that the
// Request-URI can follow. At most 16 places are returned, each once; nodes that did not answer lately only when there is
// nothing else. The error wraps location.ErrUnavailable, or location.ErrForwardLoop or location.ErrForwardDepth when all that is registered
// are forwardings that lead nowhere.
func (s *Service) Remote(ctx context.Context, aor location.AOR) ([]location.Remote, error) {
	return s.remote(aor, func(a location.AOR) (entries, error) {
		if a == aor {
			return s.records.get(ctx, string(a))
		}
		short, cancel := context.WithTimeout(ctx, followTimeout)
		defer cancel()
		return s.records.get(short, string(a))
	})
}

// RemoteCached is Remote as far as a fresh answer is at hand; it does not block.
func (s *Service) RemoteCached(aor location.AOR) (r []location.Remote, ok bool) {
	r, err := s.remote(aor, func(a location.AOR) (entries, error) {
		e, ok := s.records.cached(string(a))
		if !ok {
			return e, location.ErrUnavailable
		}
		return e, nil
	})
	return r, err == nil
}

// Invalidate forgets what is known of aor.
func (s *Service) Invalidate(aor location.AOR) { s.records.forget(string(aor)) }

func (s *Service) remote(aor location.AOR, get func(location.AOR) (entries, error)) ([]location.Remote, error) {
	e, err := get(aor)
	if err != nil {
		return nil, err
	}
	out := make([]location.Remote, 0, len(e.nodes)+len(e.uris))
	for _, n := range s.suspects.prefer(e.nodes, len(e.uris) == 0) {
		out = append(out, location.Remote{Node: n.gr})
	}
	uris, err := s.follow(aor, e.uris, following{get: get})
	out = append(out, uris...)
	// What is known is not held back because something else did not answer.
	if err != nil && len(out) == 0 {
		return nil, err
	}
	return out[:min(len(out), maxTargets)], nil
}
