package sipusage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/lease"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// The value of wire.KindAccountLease, which is ours:
//
//	enum { free (0), held (1), (255) } LeaseState;
//	struct {
//	  LeaseState state;
//	  uint64     mark;
//	} AccountLease;
//
// It stands, as a single value with access control USER-MATCH, at the hash of the user name that stands for the account. Who holds the
// lease is who signed it: the Node-ID of the certificate. mark is another one with each write. A reader ignores what follows.
const (
	leaseFree = 0
	leaseHeld = 1
	leaseSize = 9
)

// createdAt is the storage time of a record that must replace nothing: RFC 6940 §7.4.1.1 has a value refused whose storage time is not
// "greater than that of any values which would be replaced". A generation counter can not say that: 0 means any.
var createdAt = time.UnixMilli(1)

// LeasePeer is what Leases need of the overlay: *overlay.Peer.
type LeasePeer interface {
	FetchCounted(ctx context.Context, res wire.ResourceID, kind wire.KindID) (values []overlay.Value, generation uint64, err error)
	PutIf(ctx context.Context, what overlay.Put) (generation uint64, err error)
	HasKind(kind wire.KindID) bool
	NodeID() wire.NodeID
	Joined() <-chan struct{}
}

// Leases says which gateway of the overlay uses an account elsewhere that only one may use at a time. It is safe for concurrent use.
type Leases struct {
	peer LeasePeer
	keys Keyring
	show func(*trust.Signer) // the certificate with which an account is claimed
}

// NewLeases returns leases on peer. A gateway claims accounts with the certificates of keys; show, when it is not nil, is given
// each, so that others can see who may claim what.
func NewLeases(peer LeasePeer, keys Keyring, show func(*trust.Signer)) *Leases {
	return &Leases{peer: peer, keys: keys, show: show}
}

// Claim is the part of this gateway in one lease.
type Claim struct {
	s       *Leases
	account location.AOR
	changed func()
	ctx     context.Context
	stop    context.CancelFunc
	wake    chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	clock  clock
	lease  *lease.Lease
	stored uint64               // storage time of what stands there
	others map[wire.NodeID]bool // nodes with a certificate for the account
	asked  time.Time            // when they were looked for
	err    error                // of the last operation

	told string // what changed was called for; of run alone
}

// Claim has this gateway want the account that account, a user name of the overlay, stands for. changed is called whenever Held, Holder
// or Err may say something else; it must not block. Release ends it.
func (s *Leases) Claim(account location.AOR, changed func()) *Claim {
	c := &Claim{s: s, account: account, changed: changed, wake: make(chan struct{}, 1), done: make(chan struct{})}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.lease = lease.New(s.peer.NodeID().String(), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), c.clock.now())
	go c.run()
	return c
}

// Held reports whether this gateway may use the account now. It is to be asked right before each use.
func (c *Claim) Held() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lease.Held(c.clock.now())
}

// Holder is the gr value of the gateway that uses the account, as Remote's; "" when it is this one, or none is known.
func (c *Claim) Holder() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.lease.Holder(c.clock.now())
	node, err := wire.ParseNodeID(h)
	if err != nil || node == c.s.peer.NodeID() {
		return ""
	}
	return NodeGR(node)
}

// Member reports whether the gateway of a gr value has a certificate for the account, as far as it was seen within the last half minute.
func (c *Claim) Member(gr string) bool {
	dest, err := ParseGR(gr, c.s.peer.NodeID().Len())
	if err != nil {
		return false
	}
	node, _ := Terminal(dest)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.others[node]
}

// membersDue reports whether the holder is to look who else may use the account, now and again: it is asked for each call that comes from them.
// The caller holds c.mu.
func (c *Claim) membersDue(now time.Time) bool {
	due := c.lease.Held(now) && now.Sub(c.asked) >= membersFor
	if due {
		c.asked = now
	}
	return due
}

// lookForMembers finds out who else may use the account.
func (c *Claim) lookForMembers() {
	ctx, cancel := context.WithTimeout(c.ctx, lease.Patience)
	defer cancel()
	// Whoever has such a certificate stored it there, signed with it (RFC 6940 §8).
	values, _, err := c.s.peer.FetchCounted(ctx, resource(c.account), wire.KindCertificateByUser)
	if err != nil {
		return // those that were known stay
	}
	others := make(map[wire.NodeID]bool, len(values))
	for i := range values {
		others[values[i].Signer.Node] = true
	}
	c.mu.Lock()
	c.others = others
	c.mu.Unlock()
}

// Err is what kept the last operation on the lease from being done; nil: nothing. It is a location.ErrNotOffered while the document of the overlay
// does not have leases.
func (c *Claim) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Release gives the account back, which must not be in use any more, and returns when that is done or ctx has ended. It may be called once.
func (c *Claim) Release(ctx context.Context) {
	c.mu.Lock()
	c.lease.Release(c.clock.now())
	nothing := errors.Is(c.err, location.ErrNotOffered) // stands there
	c.mu.Unlock()
	if nothing {
		c.stop()
	}
	c.wake <- struct{}{}
	select {
	case <-c.done:
	case <-ctx.Done():
	}
	c.stop()
	<-c.done
}

// run is the loop of the claim.
func (c *Claim) run() {
	defer close(c.done)
	select {
	case <-c.s.peer.Joined():
	case <-c.wake:
		return // it was given back before there was anything
	case <-c.ctx.Done():
		return
	}
	c.showCertificate()
	timer := time.NewTimer(0)
	defer timer.Stop()
	ended := make(chan func(now time.Time), 1)
	running := 0
	defer func() {
		for ; running > 0; running-- {
			<-ended
		}
	}()
	for {
		c.mu.Lock()
		now := c.clock.now()
		if op, ok := c.lease.Next(now); ok {
			running++
			go func() { ended <- c.carryOut(op) }()
		}
		if c.membersDue(now) {
			running++
			go func() {
				c.lookForMembers()
				ended <- func(time.Time) {}
			}()
		}
		deadline, left := c.lease.Deadline(now), c.lease.Left()
		c.mu.Unlock()
		c.tell()
		timer.Stop()
		if left {
			return
		}
		if !deadline.IsZero() {
			timer.Reset(deadline.Sub(now))
		}
		select {
		case <-timer.C:
		case <-c.wake:
		case f := <-ended:
			running--
			c.mu.Lock()
			f(c.clock.now())
			c.mu.Unlock()
		case <-c.ctx.Done():
			return
		}
	}
}

// showCertificate has others see that this gateway may use the account.
func (c *Claim) showCertificate() {
	if by, err := c.s.keys.Signer(string(c.account)); err == nil && c.s.show != nil {
		c.s.show(by)
	}
}

// tell calls changed when something is not what it was.
func (c *Claim) tell() {
	c.mu.Lock()
	now := c.lease.Holder(c.clock.now())
	switch {
	case errors.Is(c.err, location.ErrNotOffered):
		now += " not offered"
	case c.err != nil:
		now += " failed"
	}
	c.mu.Unlock()
	if now != c.told {
		c.told = now
		c.changed()
	}
}

// carryOut carries an operation out and returns how to tell the lease, with c.mu held.
func (c *Claim) carryOut(op lease.Op) func(now time.Time) {
	if !c.s.peer.HasKind(wire.KindAccountLease) {
		return c.failed(fmt.Errorf("sipusage: Kind %#x: %w", uint32(wire.KindAccountLease), location.ErrNotOffered))
	}
	ctx, cancel := context.WithTimeout(c.ctx, lease.Patience)
	defer cancel()
	if op.Write {
		o, err := c.write(ctx, op)
		return func(now time.Time) {
			c.err = err
			c.lease.Written(now, o)
		}
	}
	values, generation, err := c.s.peer.FetchCounted(ctx, resource(c.account), wire.KindAccountLease)
	if err != nil {
		return c.failed(unavailable("lease of "+string(c.account), err))
	}
	return func(now time.Time) {
		r := lease.Record{Generation: generation}
		c.stored = 0
		if len(values) > 0 {
			r = readLease(values[0], generation)
			c.stored = values[0].StorageTime
		}
		c.lease.Read(now, r)
	}
}

// failed is for an operation that was not carried out.
func (c *Claim) failed(err error) func(now time.Time) {
	return func(now time.Time) {
		c.err = err
		c.lease.Failed(now)
	}
}

// readLease reads a record. One that is not understood is held: whoever wrote it may have had a reason.
func readLease(v overlay.Value, generation uint64) lease.Record {
	r := lease.Record{Exists: true, Holder: v.Signer.Node.String(), Generation: generation, Left: time.Duration(v.Lifetime) * time.Second}
	if data := v.Value.Data; len(data) >= leaseSize {
		r.Mark = binary.BigEndian.Uint64(data[1:])
		if data[0] == leaseFree {
			r.Holder = ""
		}
	}
	return r
}

// write carries a write out.
func (c *Claim) write(ctx context.Context, op lease.Op) (lease.Outcome, error) {
	by, err := c.s.keys.Signer(string(c.account))
	if err != nil {
		return lease.Denied, fmt.Errorf("sipusage: certificate of %s: %w: %w", c.account, location.ErrForbidden, err)
	}
	if time.Until(by.Chain()[0].NotAfter) < lease.Lifetime { // its record would end before we think so (RFC 6940 §7.1)
		return lease.Denied, fmt.Errorf("sipusage: certificate of %s: %w: %w", c.account, location.ErrForbidden, errExpired)
	}
	state := byte(leaseHeld)
	if op.Vacate {
		state = leaseFree
	}
	data := binary.BigEndian.AppendUint64([]byte{state}, op.Mark)
	_, err = c.s.peer.PutIf(ctx, overlay.Put{By: by, Resource: resource(c.account), Kind: wire.KindAccountLease, Generation: op.Generation,
		Value: wire.StoredValue{Model: wire.SingleValue, Exists: true, Data: data}, StorageTime: c.storageTime(op), Lifetime: lease.Lifetime})
	if err == nil {
		return lease.Accepted, nil
	}
	var remote *overlay.RemoteError
	switch {
	case !errors.As(err, &remote):
		return lease.Unknown, unavailable("lease of "+string(c.account), err)
	case remote.Code == wire.ErrorGenerationCounterTooLow, remote.Code == wire.ErrorDataTooOld:
		return lease.Refused, nil // another was faster
	}
	return lease.Denied, unavailable("lease of "+string(c.account), err)
}

// storageTime is that of a write: after that of what stands there, whatever the clock of who wrote that.
func (c *Claim) storageTime(op lease.Op) time.Time {
	if op.Create {
		return createdAt
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.UnixMilli(max(time.Now().UnixMilli(), int64(c.stored)+1))
}

// clock counts the time also while the machine sleeps: then the monotonic clock stands still, and the other one does not. One that
// somebody sets ahead ends what is held, which is always allowed.
type clock struct{ last, at time.Time }

func (c *clock) now() time.Time {
	t := time.Now()
	if c.last.IsZero() {
		c.last, c.at = t, t.Round(0)
	}
	c.at = c.at.Add(max(t.Sub(c.last), t.Round(0).Sub(c.last.Round(0))))
	c.last = t
	return c.at
}
