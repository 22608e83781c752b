package sipusage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// forever is the end of what is published as long as the gateway runs.
const forever = 100 * 365 * 24 * time.Hour

// Publisher keeps the records of this gateway's users, and its own addresses, in the overlay: it stores them, renews them
// within half of their lifetime, removes them, and tries again what fails.
type Publisher struct {
	peer    Peer
	keys    Keyring
	route   wire.StoredValue // what stands under an AOR that is reachable here
	running sync.WaitGroup
	wake    chan struct{}
	tasks   chan task // to a worker that has nothing to do

	certificates *Certificates // nil: they are not published
	watch        func(aor location.AOR, err error)
	inherits     atomic.Bool // there were registrations in the store when this run began

	mu     sync.Mutex
	self   *trust.Signer
	s      *schedule
	armed  time.Time // when the loop wakes up by itself; zero: not at all
	stores map[string]uint64
}

// NewPublisher returns a publisher on peer. self signs for the gateway, keys for its users. Nothing is stored before Run.
func NewPublisher(peer Peer, self *trust.Signer, keys Keyring) *Publisher {
	return &Publisher{
		peer: peer, self: self, keys: keys, route: route(peer.NodeID()),
		wake:   make(chan struct{}, 1),
		tasks:  make(chan task),
		s:      newSchedule(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		stores: make(map[string]uint64),
	}
}

// ShowCertificates offers each certificate with which a record was stored to c. It is called before Run.
func (p *Publisher) ShowCertificates(c *Certificates) { p.certificates = c }

// Watch has f told of what came of each Store, and of each that was not tried for want of a certificate. It must not block. It is called before Run.
func (p *Publisher) Watch(f func(aor location.AOR, err error)) { p.watch = f }

// Renew is for when certificates were renewed: every live value is signed and stored anew, with self and with what the keyring
// has now. RFC 6940 §7.1: a value ends with the certificate of its signer, whatever its lifetime says. It does not block.
func (p *Publisher) Renew(self *trust.Signer) {
	p.do(func(now time.Time, s *schedule) {
		p.self = self
		s.renew(now)
	})
}

// Publish has the overlay know that aor is reachable here until the time until, the end of its longest binding. It does not block. done is
// called once, perhaps before Publish returns, and must not block: with nil as soon as the overlay holds the record, with an
// error when the first attempt has failed. The error wraps location.ErrUnavailable, or location.ErrForbidden when there is no
// certificate for aor. What fails is tried again until it succeeds. A gateway that starts publishes everything that is bound. While it is alone in
// its ring nothing is stored: whoever comes finds it.
func (p *Publisher) Publish(aor location.AOR, until time.Time, done func(error)) {
	if p.keeps(aor, until) {
		done(nil)
		return
	}
	p.do(func(now time.Time, s *schedule) { s.publish(now, string(aor), p.route, until, done) })
}

// Extend is Publish where that has nothing to do, because the overlay holds the record and is to go on holding it, or nobody else is there: it then
// returns true. Else it does nothing and returns false.
func (p *Publisher) Extend(aor location.AOR, until time.Time) bool {
	return p.extends(aor, until) || p.keeps(aor, until)
}

func (p *Publisher) extends(aor location.AOR, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s.extend(time.Now(), string(aor), p.route.Data, until)
}

// Withdraw removes the record of aor from the overlay: no phone is bound here any more. It does not block; done is as in Publish.
func (p *Publisher) Withdraw(aor location.AOR, done func(error)) {
	p.do(func(now time.Time, s *schedule) {
		if s.alone && s.records[string(aor)] == nil && !p.inherits.Load() {
			s.leave(string(aor))
			s.call(done, nil) // nothing of ours is where anybody could ask for it
			return
		}
		s.withdraw(now, string(aor), p.route, done)
	})
}

// Forward has the overlay know that who wants aor is to ask for uri instead (RFC 7904 §3.1), in place of what Publish says and until Publish
// or Withdraw is called. It does not block; done is as in Publish. An error that it returns says that uri can not be published.
func (p *Publisher) Forward(aor location.AOR, uri string, done func(error)) error {
	v, err := elsewhere(p.peer.NodeID(), uri)
	if err != nil {
		return err
	}
	p.do(func(now time.Time, s *schedule) { s.publish(now, string(aor), v, now.Add(forever), done) })
	return nil
}

// PublishAddresses has the overlay know the SIP URIs at which this gateway takes calls from plain phones, as long as the publisher
// runs. None withdraws them. It does not block. At most 16 URIs are published, each of at most 512 octets.
func (p *Publisher) PublishAddresses(uris []string) error {
	if err := checkAddresses(uris); err != nil {
		return err
	}
	v := wire.StoredValue{Model: wire.SingleValue, Exists: true, Data: appendAddresses(nil, uris)}
	p.do(func(now time.Time, s *schedule) {
		if len(uris) == 0 {
			s.withdraw(now, "", v, func(error) {})
			return
		}
		s.publish(now, "", v, now.Add(forever), func(error) {})
	})
	return nil
}

// State is how the record of aor stands; "" when it is not to be published.
func (p *Publisher) State(aor location.AOR) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s.state(time.Now(), string(aor))
}

// PublisherStats are numbers for people.
type PublisherStats struct {
	Records map[State]int     // wanted records, by state
	Stores  map[string]uint64 // since the start, by result: "ok", "no_certificate", "refused", "failed"
}

// Stats takes a look at every record: for status pages and scrapes.
func (p *Publisher) Stats() PublisherStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := PublisherStats{Records: make(map[State]int), Stores: make(map[string]uint64)}
	now := time.Now()
	for key, r := range p.s.records {
		if r.want && key != "" {
			st.Records[p.s.state(now, key)]++
		}
	}
	for result, n := range p.stores {
		st.Stores[result] = n
	}
	return st
}

// Run stores what there is to store, from when the peer has joined until ctx ends. It returns when nothing is on its way any more; what
// stands in the overlay is left there. It may be called once.
func (p *Publisher) Run(ctx context.Context) {
	defer p.peer.Welcome()
	defer p.do(func(_ time.Time, s *schedule) { s.stop() })
	select {
	case <-p.peer.Joined():
	case <-ctx.Done():
		return
	}
	defer p.running.Wait()
	p.settle()
	company := p.peer.Company()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.start(ctx)
		timer.Stop()
		if wait, ok := p.arm(); ok {
			timer.Reset(wait)
		}
		select {
		case <-timer.C:
		case <-p.wake:
		case <-company:
			company = nil
			p.do(func(now time.Time, s *schedule) { s.release(now, p.route, p.peer.Welcome) })
		case <-p.peer.Uncertain():
			p.do(func(now time.Time, s *schedule) { s.renew(now) })
		case <-ctx.Done():
			return
		}
	}
}

// do changes the schedule, then makes the calls that became due.
func (p *Publisher) do(change func(now time.Time, s *schedule)) {
	p.mu.Lock()
	now := time.Now()
	change(now, p.s)
	calls := p.s.take()
	next := p.s.deadline()
	early := !next.IsZero() && (p.armed.IsZero() || next.Before(p.armed))
	p.mu.Unlock()
	if early {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	for _, call := range calls {
		call()
	}
}

// arm is how long the loop may sleep; ok is false when nothing is due at all.
func (p *Publisher) arm() (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = p.s.deadline()
	return time.Until(p.armed), !p.armed.IsZero()
}

// start begins every Store that is due.
func (p *Publisher) start(ctx context.Context) {
	for ok := true; ok; {
		p.do(func(now time.Time, s *schedule) {
			var t task
			if t, ok = s.next(now); ok {
				p.give(ctx, t)
			}
		})
	}
}

// give has a worker carry t out.
func (p *Publisher) give(ctx context.Context, t task) {
	select {
	case p.tasks <- t:
	default:
		p.running.Go(func() { p.work(ctx, t) })
	}
}

// work carries out t, and more as long as there is. Signing takes a deep stack, which a new goroutine would have to grow each time.
func (p *Publisher) work(ctx context.Context, t task) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		p.carryOut(ctx, t)
		idle.Reset(workerIdle)
		select {
		case t = <-p.tasks:
		case <-idle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (p *Publisher) carryOut(ctx context.Context, t task) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	o := p.store(ctx, &t)
	if p.watch != nil && t.key != "" && t.want {
		p.watch(location.AOR(t.key), o.err)
	}
	p.do(func(now time.Time, s *schedule) {
		p.stores[label(o.err)]++
		s.result(now, t, o)
	})
}

func label(err error) string {
	var remote *overlay.RemoteError
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errDomain):
		return "refused"
	case errors.Is(err, location.ErrForbidden):
		return "no_certificate"
	case errors.As(err, &remote):
		return "refused"
	}
	return "failed"
}

// place is where the record of key stands, and who signs it.
func (p *Publisher) place(key string) (res wire.ResourceID, kind wire.KindID, by *trust.Signer, err error) {
	if key == "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		return addressResource(p.peer.NodeID()), wire.KindSIPGateway, p.self, nil
	}
	if !p.peer.AllowsUser(key) {
		// RFC 7904 §3.3: "Before issuing a Store request to the overlay, any Peer SHOULD verify that the AOR of the request is a
		// valid Resource Name with respect to its domain name and the namespaces defined in the overlay configuration document".
		return "", 0, nil, fmt.Errorf("sipusage: %s: %w: %w", key, location.ErrForbidden, errDomain)
	}
	by, err = p.keys.Signer(key)
	if err != nil {
		err = fmt.Errorf("sipusage: certificate of %s: %w: %w", key, location.ErrForbidden, err)
	}
	return resource(location.AOR(key)), wire.KindSIPRegistration, by, err
}

// store carries out one task. RFC 6940 §7: a node whose store for a user is refused with Error_Data_Too_Old "MAY elect to perform its
// store using a storage_time that increments the value used with the previous store (this may be obtained by doing a Fetch)".
//
// The lifetime in t becomes that of the signer's certificate, if that is shorter: so the record is refreshed before it ends,
// perhaps with a renewed certificate.
func (p *Publisher) store(ctx context.Context, t *task) outcome {
	res, kind, by, err := p.place(t.key)
	if err != nil {
		return outcome{err: err}
	}
	left := time.Until(by.Chain()[0].NotAfter).Truncate(time.Second)
	if left <= 0 {
		return outcome{err: fmt.Errorf("sipusage: certificate of %s: %w: %w", by.Identity().User, location.ErrForbidden, errExpired)}
	}
	t.lifetime = min(t.lifetime, left)
	o := outcome{storageTime: t.storageTime, sent: true}
	for try := range maxTooOld {
		_, err = p.peer.Store(ctx, by, res, kind, t.value, time.UnixMilli(o.storageTime), t.lifetime)
		if !tooOld(err) {
			break
		}
		if existing, ok := p.existing(ctx, res, kind, t.value.Key); ok && existing >= o.storageTime {
			o.storageTime = existing + 1
		} else {
			// What stands in the way is a tombstone, which a Fetch does not show: our clock went back since it was written.
			o.storageTime += (time.Minute << try).Milliseconds()
		}
	}
	switch {
	case err != nil:
		o.err = unavailable("store "+t.key, err)
	case p.certificates == nil:
	case t.want:
		p.certificates.Offer(by)
	case t.key != "":
		p.certificates.OfferFirst(by)
	}
	return o
}

func tooOld(err error) bool {
	var remote *overlay.RemoteError
	return errors.As(err, &remote) && remote.Code == wire.ErrorDataTooOld
}

// existing is the storage time of our value in the overlay.
func (p *Publisher) existing(ctx context.Context, res wire.ResourceID, kind wire.KindID, key string) (ms int64, ok bool) {
	values, err := p.peer.Fetch(ctx, res, kind)
	if err != nil {
		return 0, false
	}
	for i := range values {
		if v := &values[i]; v.Value.Key == key && (!ok || int64(v.StorageTime) > ms) {
			ms, ok = int64(v.StorageTime), true
		}
	}
	return ms, ok
}
