package overlay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Value is a stored value that was fetched, verified and authorised.
type Value struct {
	wire.StoredData
	Signer trust.Identity
}

// Store signs value with by and stores it (RFC 6940 §7.4.1). storageTime and lifetime are the value's. by must be
// whom the access control policy of kind wants. The Node-IDs of the replicas come back.
func (p *Peer) Store(ctx context.Context, by *trust.Signer, res wire.ResourceID, kind wire.KindID, value wire.StoredValue,
	storageTime time.Time, lifetime time.Duration) (replicas []wire.NodeID, err error) {
	a, err := p.put(ctx, Put{By: by, Resource: res, Kind: kind, Value: value, StorageTime: storageTime, Lifetime: lifetime})
	return a.Replicas, err
}

// Put is one value to be stored by PutIf.
type Put struct {
	By          *trust.Signer // signs; whom the access control policy of Kind wants
	Resource    wire.ResourceID
	Kind        wire.KindID
	Value       wire.StoredValue
	StorageTime time.Time
	Lifetime    time.Duration
	// Generation is the generation counter that Kind must have there, or nothing is stored; 0: any.
	Generation uint64
}

// PutIf is Store on the condition that nobody changed anything since the generation counter was fetched. When somebody did, the error
// is a *RemoteError with wire.ErrorGenerationCounterTooLow (RFC 6940 §7.4.1.1). The counter after the store comes back.
func (p *Peer) PutIf(ctx context.Context, what Put) (generation uint64, err error) {
	a, err := p.put(ctx, what)
	return a.Generation, err
}

func (p *Peer) put(ctx context.Context, what Put) (a wire.StoreKindResponse, err error) {
	defer func() { p.count.request("store", err) }()
	data := wire.StoredData{
		StorageTime: uint64(what.StorageTime.UnixMilli()),
		Lifetime:    uint32(min(max(what.Lifetime/time.Second, 0), 1<<32-1)),
		Value:       what.Value,
	}
	if err := p.verifier.SignValue(what.By, what.Resource, what.Kind, &data); err != nil {
		return a, fmt.Errorf("overlay: %w", err)
	}
	done, err := p.do(ctx, node.OpStore{By: what.By, Resource: what.Resource, Kind: what.Kind, Values: []wire.StoredData{data},
		Generation: what.Generation})
	if err != nil {
		return a, err
	}
	answer, ok := done.Body.(*wire.StoreAns)
	if !ok {
		return a, errUnexpected
	}
	for _, k := range answer.Kinds {
		if k.Kind == what.Kind {
			a.Generation = k.Generation
			a.Replicas = append(a.Replicas, k.Replicas...)
		}
	}
	return a, nil
}

// Fetch fetches every value of kind under res (RFC 6940 §7.4.2). Values whose signature or access control fails are
// left out and counted; tombstones are left out. The signer of a value that this peer holds itself comes without a certificate.
func (p *Peer) Fetch(ctx context.Context, res wire.ResourceID, kind wire.KindID) (values []Value, err error) {
	values, _, err = p.FetchCounted(ctx, res, kind)
	return values, err
}

// FetchCounted is Fetch with the generation counter of kind under res, for PutIf; 0 when nothing stands there.
func (p *Peer) FetchCounted(ctx context.Context, res wire.ResourceID, kind wire.KindID) (values []Value, generation uint64, err error) {
	defer func() { p.count.request("fetch", err) }()
	s, err := everything(p.Config(), kind)
	if err != nil {
		return nil, 0, err
	}
	done, err := p.do(ctx, node.OpFetch{Resource: res, Specifier: s})
	if err != nil {
		return nil, 0, err
	}
	if answer, ok := done.Body.(*wire.FetchAns); ok {
		for _, k := range answer.Kinds {
			if k.Kind == kind {
				generation = k.Generation
			}
		}
	}
	return existing(done.Values), generation, nil
}

// FetchOwn is Fetch as far as this peer is responsible for res itself and has a moment: it does not block. Otherwise ok is false.
func (p *Peer) FetchOwn(res wire.ResourceID, kind wire.KindID) (values []Value, ok bool) {
	s, err := everything(p.Config(), kind)
	if err != nil || !p.turn.TryLock() {
		return nil, false
	}
	defer p.turn.Unlock()
	if !p.isRunning() {
		return nil, false
	}
	found, ok := p.node.FetchOwn(time.Now(), node.OpFetch{Resource: res, Specifier: s})
	if !ok {
		return nil, false
	}
	p.count.request("fetch", nil)
	p.count.hops(0)
	return existing(found), true
}

// isRunning reports whether the peer is part of the ring and its loop runs.
func (p *Peer) isRunning() bool {
	select {
	case <-p.stopped:
		return false
	default:
	}
	select {
	case <-p.joined:
		return true
	default:
		return false
	}
}

// existing leaves out tombstones.
func existing(found []node.Value) (values []Value) {
	for _, v := range found {
		if v.Value.Exists {
			values = append(values, Value(v))
		}
	}
	return values
}

// Ping measures the way to dest (RFC 6940 §6.5.3). The Node-ID is that of the node that answered.
func (p *Peer) Ping(ctx context.Context, dest wire.DestinationList) (rtt time.Duration, from wire.NodeID, err error) {
	defer func() { p.count.request("ping", err) }()
	start := time.Now()
	done, err := p.do(ctx, node.OpPing{Destinations: dest})
	if err != nil {
		return 0, wire.NodeID{}, err
	}
	return time.Since(start), done.From, nil
}

// AppAttach asks the last node of dest for a connection (RFC 6940 §6.5.2). Its certificate holds the Node-ID that
// answered and, when the last entry of dest is a node, that one (RFC 7904 §5.1).
//
// Both sides may ask at once: RFC 6940 has no rule for that, and both connections come to be. This one is the
// caller's, the other goes to Config.Accept.
func (p *Peer) AppAttach(ctx context.Context, dest wire.DestinationList, app wire.ApplicationID) (conn AppConn, err error) {
	defer func() { p.count.request("app_attach", err) }()
	var target wire.NodeID
	if last, ok := dest.Last(); ok && last.Type == wire.DestNode && !last.Node.IsWildcard() {
		target = last.Node
	}
	w := p.apps.expect(target)
	if w == nil {
		return AppConn{}, ErrOverload
	}
	defer p.apps.forget(w)
	op := node.OpAppAttach{Destinations: dest, Application: app}
	if p.ice != nil {
		return p.attachApp(ctx, op, target)
	}
	done, err := p.do(ctx, op)
	if err != nil {
		return AppConn{}, err
	}
	from := done.Answer.Sender().Node
	// RFC 7904 §5.1: the certificate must be of the node that the destination list ends in; the node that answered
	// must be it.
	if !target.IsZero() && from != target {
		return AppConn{}, ErrUntrusted
	}
	p.apps.answered(w, from)
	a, err := p.await(ctx, w)
	if err != nil {
		return AppConn{}, err
	}
	a.Application = app
	return p.watch(a), nil
}

// waiter is a caller that waits for the end of its operation.
type waiter struct {
	id    node.OpID // the loop's
	reply chan node.Done
}

// do carries out one operation of the node.
func (p *Peer) do(ctx context.Context, op node.Op) (node.Done, error) {
	w := &waiter{reply: make(chan node.Done, 1)}
	if err := p.enter(ctx, func(now time.Time, l *loop) { l.begin(now, op, w) }); err != nil {
		return node.Done{}, err
	}
	select {
	case d := <-w.reply:
		return d, p.outcome(d)
	case <-ctx.Done():
		p.aside.put(func(now time.Time, l *loop) { l.cancel(now, w) })
		return node.Done{}, contextError(ctx)
	case <-p.stopped:
		d := w.last()
		return d, p.outcome(d)
	}
}

// last is the answer that the loop gave before it ended, if it gave one.
func (w *waiter) last() node.Done {
	select {
	case d := <-w.reply:
		return d
	default:
		return node.Done{Err: ErrClosed}
	}
}

// enter gives a caller's input to the loop. A full inbox for postTimeout means overload.
func (p *Peer) enter(ctx context.Context, f input) error {
	short, cancel := context.WithTimeout(ctx, postTimeout)
	defer cancel()
	switch {
	case ctx.Err() != nil:
		return contextError(ctx)
	case p.post(short, f):
		return nil
	case ctx.Err() != nil:
		return contextError(ctx)
	case short.Err() != nil:
		return ErrOverload
	default:
		return ErrClosed
	}
}

func (l *loop) begin(now time.Time, op node.Op, w *waiter) {
	if len(l.waiting) >= maxOps {
		w.reply <- node.Done{Err: ErrOverload}
		return
	}
	w.id = l.node.Do(now, op)
	l.waiting[w.id] = w
}

func (l *loop) cancel(now time.Time, w *waiter) {
	if l.waiting[w.id] == w {
		delete(l.waiting, w.id)
		l.node.Cancel(now, w.id)
	}
}

// outcome is the error of d as callers know it.
func (p *Peer) outcome(d node.Done) error {
	switch {
	case d.Refused != nil:
		return &RemoteError{Code: d.Refused.ErrorCode, Info: d.Refused.Info}
	case d.Err != nil:
		return ownError(d.Err)
	}
	p.count.hops(d.Hops)
	return nil
}

// contextError says why ctx ended: a deadline that passed is ErrTimeout too.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
	return ctx.Err()
}
