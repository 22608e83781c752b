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
	foundFor  time.Duration
	keeps     func(location.AOR) bool
}

// NewService returns a service on peer. aorOf makes the canonical address-of-record of a SIP URI; ok is false when its domain is not
// one of this overlay. Close ends it.
func NewService(peer Peer, aorOf func(uri string) (location.AOR, bool)) *Service {
	s := &Service{peer: peer, self: peer.NodeID(), aorOf: aorOf, suspects: newSuspects(), secure: newSecure(), claims: newClaims(), foundFor: foundFor,
		keeps: func(location.AOR) bool { return false }}
	s.records = newLookups(s.fetchRecord, s.ownRecord)
	s.addresses = newLookups(s.fetchAddresses, s.ownAddresses)
	s.certified = newLookups(s.fetchCertified, s.ownCertified)
	return s
}

// Remember has what is found used for d, instead of 5 s: less to ask, and later news of users who have moved. It is called before the service is
// used.
func (s *Service) Remember(d time.Duration) { s.foundFor = d }

// Kept has f tell which addresses-of-record are registered here whose record is not stored, since nobody could ask for it: Publisher.Keeps. What is
// found here is what will be there. It is called before the service is used.
func (s *Service) Kept(f func(location.AOR) bool) { s.keeps = f }

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
	e, ttl := s.record(location.AOR(aor), values)
	return e, ttl, nil
}

// ownRecord is fetchRecord for a record that this peer holds.
func (s *Service) ownRecord(aor string) (e entries, ttl time.Duration, ok bool) {
	values, ok := s.peer.FetchOwn(resource(location.AOR(aor)), wire.KindSIPRegistration)
	if ok {
		e, ttl = s.record(location.AOR(aor), values)
	}
	return e, ttl, ok
}

// record reads a record, and says for how long it may be used.
func (s *Service) record(aor location.AOR, values []overlay.Value) (entries, time.Duration) {
	e := read(values, s.self)
	if s.keeps(aor) {
		e.here, e.holders = true, append(e.holders, holder{string(aor), s.self})
	}
	for _, n := range e.nodes {
		s.suspects.seen(n.id, n.since)
		s.secure.note(n.id, n.sips)
	}
	_, isRange := RangeOf(aor)
	switch {
	case isRange && e.any():
		return e, max(rangeFor, s.foundFor)
	case e.any(), isRange, s.mayBeInRange(aor): // a number in a range is known for as long as one that is somebody's own
		return e, s.foundFor
	}
	return e, missingFor
}

// Remote asks the overlay where aor is registered, this gateway left out: at other gateways, and under other URIs. A number that is nobody's own is
// looked for in the number ranges of the overlay, the one with the longest prefix. Addresses-of-record of
// the overlay that forward to others are followed: what is returned are those that lead to a node, as URIs, so that the
// Request-URI can follow. At most 16 places are returned, each once; nodes that did not answer lately only when there is
// nothing else. The error wraps location.ErrUnavailable, or location.ErrForwardLoop or location.ErrForwardDepth when all that is registered
// are forwardings that lead nowhere.
func (s *Service) Remote(ctx context.Context, aor location.AOR) ([]location.Remote, error) {
	return s.remote(aor, func(a location.AOR) (found, error) {
		if a == aor {
			return s.find(ctx, a)
		}
		short, cancel := context.WithTimeout(ctx, followTimeout)
		defer cancel()
		return s.find(short, a)
	})
}

// RemoteCached is Remote as far as a fresh answer is at hand; it does not block.
func (s *Service) RemoteCached(aor location.AOR) (r []location.Remote, ok bool) {
	r, err := s.remote(aor, s.findCached)
	return r, err == nil
}

// Invalidate forgets what is known of aor, and of the number ranges that it may be in.
func (s *Service) Invalidate(aor location.AOR) {
	s.records.forget(string(aor))
	for name := range s.rangesOf(aor) {
		s.records.forget(string(name))
	}
}

func (s *Service) remote(aor location.AOR, get func(location.AOR) (found, error)) ([]location.Remote, error) {
	e, err := get(aor)
	if err != nil {
		return nil, err
	}
	out := make([]location.Remote, 0, len(e.nodes)+len(e.uris))
	for _, n := range s.suspects.prefer(e.nodes, len(e.uris) == 0) {
		out = append(out, location.Remote{Node: n.gr, Range: e.by})
	}
	uris, err := s.follow(aor, e.uris, following{get: get})
	out = append(out, uris...)
	// What is known is not held back because something else did not answer.
	if err != nil && len(out) == 0 {
		return nil, err
	}
	return out[:min(len(out), maxTargets)], nil
}
