package overlay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// ErrRestart is the error of Run when the overlay has a new configuration that this peer has left it for: a peer that is
// made with the new document may enter it again (RFC 6940 §6.5.4.2).
var ErrRestart = errors.New("overlay: the new configuration demands a restart")

// Config is the overlay's configuration at this time. It must not be modified.
func (p *Peer) Config() *config.Overlay { return p.config.Load() }

// Configure hands the peer a new configuration document, from which it spreads over the overlay (RFC 6940 §6.5.4). It
// must be newer than the present one and be signed by one of the configuration-signers of that. The octets are the
// peer's from now on. It returns when the document is in force or refused; a *trust.RefusalError says whose signature is
// missing.
func (p *Peer) Configure(ctx context.Context, document []byte) error {
	w := &waiter{reply: make(chan node.Done, 1)}
	if err := p.enter(ctx, func(now time.Time, l *loop) { l.begin(now, node.OpConfigure{Document: document}, w) }); err != nil {
		return err
	}
	select {
	case d := <-w.reply:
		return d.Err
	case <-ctx.Done():
		return contextError(ctx) // what becomes of the document is seen in Config
	case <-p.stopped:
		return w.last().Err
	}
}

// configure has a worker carry out a Configure effect.
func (l *loop) configure(c node.Configure) {
	configured := func(o *config.Overlay, err error) input {
		return func(now time.Time, l *loop) { l.node.Configured(now, c.Job, o, err) }
	}
	l.submit(func() input { return configured(examine(time.Now(), c)) }, configured(nil, ErrOverload))
}

// examineKinds reads kind-blocks and adds what they describe to the present configuration.
func examineKinds(now time.Time, c node.Configure) (*config.Overlay, error) {
	o := c.Previous
	for _, octets := range c.Kinds {
		b, err := config.ParseKindBlock(octets)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", node.ErrDocument, err)
		}
		if err := trust.VerifyKindBlock(now, &b, o); err != nil {
			return nil, err
		}
		if o, err = o.WithKind(b); err != nil {
			return nil, fmt.Errorf("%w: %w", node.ErrDocument, err)
		}
	}
	return o, nil
}

// examine reads a document and checks that it may take the place of the present one.
func examine(now time.Time, c node.Configure) (*config.Overlay, error) {
	if c.Kinds != nil {
		return examineKinds(now, c)
	}
	d, err := config.Parse(c.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", node.ErrDocument, err)
	}
	found := d.Find(c.Previous.InstanceName)
	if found == nil {
		return nil, fmt.Errorf("%w: it is of %s", node.ErrDocument, strings.Join(d.Names(), ", "))
	}
	o := found.Overlay
	if !config.Newer(o.Sequence, c.Previous.Sequence) {
		return o, node.ErrNotNewer // the signature does not matter
	}
	if err := trust.VerifyDocument(now, found, c.Previous); err != nil {
		return nil, err
	}
	if o.Expired(now) {
		return nil, &trust.RefusalError{Reason: trust.Expired,
			Err: fmt.Errorf("the configuration expired at %s", o.Expiration.Format(time.RFC3339))}
	}
	return trust.KeepKinds(o, c.Previous), nil
}

// reconfigure has everything follow a new configuration.
func (l *loop) reconfigure(r node.Reconfigured) {
	l.p.config.Store(r.Overlay)
	l.p.maxMessage.Store(max(l.p.maxMessage.Load(), int64(r.Overlay.MaxMessageSize)))
	l.p.verifier.Follow(r.Overlay)
	l.p.watched.look()
	if r.Leave != "" {
		l.exit = fmt.Errorf("%w: %s", ErrRestart, r.Leave)
	}
	l.keepKinds(r.Overlay)
	if l.p.cfg.Changed != nil && r.Document != nil {
		latest(l.p.documents, r.Document)
	}
}

// tellChanges calls Changed and KindsChanged, which may take their time, one after the other.
func (p *Peer) tellChanges(ctx context.Context) {
	for over := false; ; {
		select {
		case d := <-p.documents:
			p.cfg.Changed(d)
			continue
		case k := <-p.kinds:
			p.cfg.KindsChanged(k)
			continue
		default:
		}
		if over { // and there is nothing left
			return
		}
		select {
		case d := <-p.documents:
			p.cfg.Changed(d)
		case k := <-p.kinds:
			p.cfg.KindsChanged(k)
		case <-ctx.Done():
			over = true
		}
	}
}
