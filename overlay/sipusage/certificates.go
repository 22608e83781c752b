package sipusage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

var (
	errExpired = errors.New("certificate has expired") // nothing may be signed with it any more
	errDomain  = errors.New("the overlay does not serve this domain")
	errNoRoom  = errors.New("as many certificates stand there as may")
)

// Certificates puts certificates into the overlay: the gateway's own and, as they are offered, those of its users (RFC 6940
// §8). Each stands there once, however often the gateway starts. What fails is tried again when the certificate is offered
// again. It is safe for concurrent use.
type Certificates struct {
	peer  Peer
	queue chan *trust.Signer
	first chan *trust.Signer // before those in queue
	check func(*trust.Signer) error

	mu   sync.Mutex
	self *trust.Signer
	due  map[[sha256.Size]byte]time.Time // when to look again, by certificate
	// waiting are those in a queue; true: in first. While nobody else is there, they wait for as long as that takes.
	waiting map[[sha256.Size]byte]bool
	full    time.Time // until then there is no room at our Node-ID, and no need to fetch all that stands there
}

// NewCertificates returns what puts certificates into the overlay through peer. self is the gateway's own. Nothing is stored
// before Run.
func NewCertificates(peer Peer, self *trust.Signer) *Certificates {
	return &Certificates{peer: peer, self: self, queue: make(chan *trust.Signer, maxOffered), first: make(chan *trust.Signer, maxOffered),
		due: make(map[[sha256.Size]byte]time.Time), waiting: make(map[[sha256.Size]byte]bool)}
}

// Check has f look at the certificate of each user before it is shown to others; what f refuses is not. It is called before Run.
func (c *Certificates) Check(f func(*trust.Signer) error) { c.check = f }

// Offer has the certificate of s stored, unless it was not long ago. It does not block: when many wait already, nothing
// happens, and a later offer does it.
func (c *Certificates) Offer(s *trust.Signer) {
	now, sum := time.Now(), sha256.Sum256(s.Chain()[0].Raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waits := c.waiting[sum]; !waits && !now.Before(c.due[sum]) {
		c.queueUp(now, s, sum, false)
	}
}

// OfferFirst is Offer for a certificate that is missed until it stands, and comes before all others: of a user who is registered nowhere any more, but whose
// calls are not to go to a trunk; of one who calls and is not registered; of an account; our own.
func (c *Certificates) OfferFirst(s *trust.Signer) {
	now, sum := time.Now(), sha256.Sum256(s.Chain()[0].Raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if first, waits := c.waiting[sum]; !first && (waits || !now.Before(c.due[sum])) {
		c.queueUp(now, s, sum, true)
	}
}

// queueUp adds to a queue. c.mu is held.
func (c *Certificates) queueUp(now time.Time, s *trust.Signer, sum [sha256.Size]byte, first bool) {
	queue := c.queue
	if first {
		queue = c.first
	}
	if len(c.due) >= maxRecords {
		clear(c.due) // all of them are looked up once more than needed
	}
	select {
	case queue <- s:
		c.due[sum], c.waiting[sum] = now.Add(retryCertificate), first
	default:
	}
}

// Renew is for when the gateway's own certificate was renewed: it is stored besides the one before, which stays until it ends.
func (c *Certificates) Renew(self *trust.Signer) {
	c.mu.Lock()
	c.self = self
	c.mu.Unlock()
	c.OfferFirst(self)
}

func (c *Certificates) own() *trust.Signer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self
}

// Run stores what is offered, and the gateway's own certificate, from when the peer has joined, and is not alone any more, until ctx ends. It may be
// called once.
func (c *Certificates) Run(ctx context.Context) {
	for _, begun := range []<-chan struct{}{c.peer.Joined(), c.peer.Company()} {
		select {
		case <-begun:
		case <-ctx.Done():
			return
		}
	}
	t := time.NewTicker(retryCertificate)
	defer t.Stop()
	for {
		c.OfferFirst(c.own())
		select {
		case s := <-c.first:
			c.show(ctx, s)
			continue
		default:
		}
		select {
		case s := <-c.first:
			c.show(ctx, s)
		case s := <-c.queue:
			c.show(ctx, s)
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// show stores a certificate, unless that was done while it waited: it may wait in both queues.
func (c *Certificates) show(ctx context.Context, s *trust.Signer) {
	sum := sha256.Sum256(s.Chain()[0].Raw)
	c.mu.Lock()
	stands := c.due[sum].After(time.Now().Add(retryCertificate))
	delete(c.waiting, sum)
	c.mu.Unlock()
	if !stands {
		c.publish(ctx, s)
		pause(ctx, certificateInterval)
	}
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// publish stores one certificate. RFC 6940 §8: "A user/node MUST store its certificate at Resource-IDs derived from two Resource
// Names: [...] The user name in the certificate. [...] The Node-ID in the certificate."
//
// Deviation: of the certificates of our users, which all have our Node-ID, only some stand at that: thousands would fit in no
// answer. Nobody has to look there, since every message carries the certificates that it needs (§6.3.4).
func (c *Certificates) publish(ctx context.Context, s *trust.Signer) {
	ctx, cancel := context.WithTimeout(ctx, 2*storeTimeout)
	defer cancel()
	self, id, cert, room := c.own(), s.Identity(), s.Chain()[0], maxUserCertificates
	if s != self && c.check != nil && c.check(s) != nil {
		return
	}
	if cert.Equal(self.Chain()[0]) {
		room = -1
	}
	err := c.atNode(ctx, cert, spot{addressResource(id.Node), wire.KindCertificateByNode, self, room})
	if id.User != "" {
		err = errors.Join(err, c.ensure(ctx, cert, spot{wire.ResourceIDOf(id.User), wire.KindCertificateByUser, s, -1}))
	}
	if err != nil {
		return // Offer has set when to try again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due[sha256.Sum256(cert.Raw)] = time.Now().Add(checkCertificate)
}

// atNode stores a certificate at our Node-ID while there is room. One certificate signs all that stands there: so an answer carries one,
// and not one for each value.
func (c *Certificates) atNode(ctx context.Context, cert *trust.Certificate, at spot) error {
	c.mu.Lock()
	full := at.room >= 0 && time.Now().Before(c.full)
	c.mu.Unlock()
	if full {
		return nil
	}
	err := c.ensure(ctx, cert, at)
	if !errors.Is(err, errNoRoom) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full = time.Now().Add(checkCertificate)
	return nil
}

// spot is one of the two places of a certificate.
type spot struct {
	resource wire.ResourceID
	kind     wire.KindID
	by       *trust.Signer
	room     int // how many may stand there already; below 0: as many as the overlay takes
}

// ensure looks before it appends: the index of an array is not signed, and an array only ends when its values do.
func (c *Certificates) ensure(ctx context.Context, cert *trust.Certificate, at spot) error {
	left := min(time.Until(cert.NotAfter), time.Until(at.by.Chain()[0].NotAfter)).Truncate(time.Second)
	if left <= 0 {
		return errExpired
	}
	there, err := c.peer.Fetch(ctx, at.resource, at.kind)
	if err != nil {
		return fmt.Errorf("sipusage: certificates at %s: %w", at.resource.Short(), err)
	}
	// RFC 6940 §8: "New certificates are stored at the end of the list."
	v := wire.StoredValue{Model: wire.Array, Index: appendIndex, Exists: true, Data: cert.Raw}
	storageTime := time.Now()
	if have := find(there, cert.Raw); have != nil {
		if time.Duration(have.Lifetime)*time.Second >= left/2 {
			return nil
		}
		v.Index = have.Value.Index
		if last := time.UnixMilli(int64(have.StorageTime)); !storageTime.After(last) {
			storageTime = last.Add(time.Millisecond)
		}
	} else if at.room >= 0 && len(there) >= at.room {
		return errNoRoom
	}
	_, err = c.peer.Store(ctx, at.by, at.resource, at.kind, v, storageTime, left)
	return err
}

// find is the value that holds the certificate der, nil when none does.
func find(values []overlay.Value, der []byte) *overlay.Value {
	for i := range values {
		if bytes.Equal(values[i].Value.Data, der) {
			return &values[i]
		}
	}
	return nil
}

// Certified asks the overlay whether a certificate stands at aor, or at a number range that it is in: whether there is such a user or number at all,
// registered or not (RFC 6940 §8). The error wraps location.ErrUnavailable.
func (s *Service) Certified(ctx context.Context, aor location.AOR) (bool, error) {
	for name := range s.rangesOf(aor) {
		s.certified.begin(string(name))
	}
	h, err := s.certified.get(ctx, string(aor))
	if err != nil || len(h) > 0 {
		return len(h) > 0, err
	}
	for name := range s.rangesOf(aor) {
		if h, err = s.certified.get(ctx, string(name)); err != nil || len(h) > 0 {
			return len(h) > 0, err
		}
	}
	return false, nil
}

// CertifiedCached is Certified as far as a fresh answer is at hand, which known says; it does not block.
func (s *Service) CertifiedCached(aor location.AOR) (certified, known bool) {
	h, known := s.certified.cached(string(aor))
	if !known || len(h) > 0 {
		return len(h) > 0, known
	}
	for name := range s.rangesOf(aor) {
		if h, known = s.certified.cached(string(name)); !known || len(h) > 0 {
			return len(h) > 0, known
		}
	}
	return false, true
}

// CertifiedUserCached reports whether there is a certificate for aor itself, not for a range that it is in, as far as a fresh answer is at hand.
// It does not block.
func (s *Service) CertifiedUserCached(aor location.AOR) bool {
	h, known := s.certified.cached(string(aor))
	return known && len(h) > 0
}

func (s *Service) fetchCertified(ctx context.Context, aor string) ([]holder, time.Duration, error) {
	values, err := s.peer.Fetch(ctx, wire.ResourceIDOf(aor), wire.KindCertificateByUser)
	if err != nil {
		return nil, 0, unavailable("certificates of "+aor, err)
	}
	found, ttl := certified(aor, values)
	return found, ttl, nil
}

// ownCertified is fetchCertified for certificates that this peer holds.
func (s *Service) ownCertified(aor string) (found []holder, ttl time.Duration, ok bool) {
	values, ok := s.peer.FetchOwn(wire.ResourceIDOf(aor), wire.KindCertificateByUser)
	if ok {
		found, ttl = certified(aor, values)
	}
	return found, ttl, ok
}

// certified are those who put certificates there, which are theirs, and for how long that is so.
func certified(aor string, values []overlay.Value) ([]holder, time.Duration) {
	if h := holdersOf(values); len(h) > 0 {
		return h, certifiedFor
	}
	if _, ok := RangeOf(location.AOR(aor)); ok {
		return nil, foundFor
	}
	return nil, missingFor
}
