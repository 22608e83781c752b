package overlay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/redir"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// The registered namespaces of services (RFC 7374 §10.4). Any other is between those who agree on it.
const (
	ServiceTURN      = "turn-server"
	ServiceVoiceMail = "voice-mail"
)

// ErrNoRedir means that the configuration document has no Kind REDIR: services are not found in this overlay.
var ErrNoRedir = errors.New("overlay: the configuration document has no Kind REDIR")

// ServiceOffer is one service that this peer provides.
type ServiceOffer struct {
	Namespace string
	// Records is in how many nodes of the service's tree this peer stands.
	Records int
	// Since is when it was registered last; the zero time: it is not.
	Since time.Time
	// Err is why the last registration failed; nil: it has not.
	Err error
}

// offer keeps this peer registered as provider of one service. Its mutex is a leaf.
type offer struct {
	namespace string
	ready     func() bool // nil: always

	mu       sync.Mutex
	provider *redir.Provider // nil: nothing was stored
	since    time.Time
	err      error
}

// newOffers are those that c asks for.
func newOffers(c *Config) ([]*offer, error) {
	if len(c.Services) > maxServices {
		return nil, fmt.Errorf("overlay: %d services, at most %d are offered", len(c.Services), maxServices)
	}
	var list []*offer
	for _, ns := range c.Services {
		if err := CheckService(ns); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(o *offer) bool { return o.namespace == ns }) {
			list = append(list, &offer{namespace: ns})
		}
	}
	return list, nil
}

// CheckService says what is wrong with the name of a service.
func CheckService(namespace string) error {
	if namespace == "" || len(namespace) > redir.MaxNamespace {
		return fmt.Errorf("overlay: the name of a service has 1 to %d octets, %.80q has not", redir.MaxNamespace, namespace)
	}
	return nil
}

// Offers are the services that this peer provides.
func (p *Peer) Offers() []ServiceOffer {
	now := time.Now()
	var list []ServiceOffer
	for _, o := range p.offers {
		o.mu.Lock()
		s := ServiceOffer{Namespace: o.namespace, Since: o.since, Err: o.err}
		if o.provider != nil {
			s.Records = len(o.provider.Held(now))
		}
		o.mu.Unlock()
		list = append(list, s)
	}
	return list
}

// offerServices registers this peer as provider until ctx ends. The last registrations are taken out while sockets lives, which
// is after that; done is called then.
func (p *Peer) offerServices(ctx, sockets context.Context) (done <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(sockets, cancel)
	var offering sync.WaitGroup
	for _, o := range p.offers {
		offering.Go(func() {
			p.keepOffer(ctx, o)
			short, cancel := context.WithTimeout(sockets, turnWithdraw)
			defer cancel()
			p.withdrawOffer(short, o)
		})
	}
	over := make(chan struct{})
	p.running.Go(func() {
		defer cancel()
		defer stop()
		offering.Wait()
		close(over)
	})
	return over
}

// keepOffer registers again and again until ctx ends. RFC 7374 §4.4: "Every service provider MUST repeat the entire registration
// process periodically until it leaves the RELOAD Overlay Instance."
func (p *Peer) keepOffer(ctx context.Context, o *offer) {
	if !p.inRing(ctx) {
		return
	}
	for {
		wait := servicePause
		if o.ready == nil || o.ready() {
			wait = serviceRetry
			next, err := p.registerOffer(ctx, o)
			if err == nil {
				wait = time.Until(next)
			}
			p.cfg.Log.Debug().Str("component", "redir").Str("service", o.namespace).Err(err).Msg("service offered")
		}
		if !sleep(ctx, wait, nil) {
			return
		}
	}
}

// registerOffer walks through the tree once. It returns when the next walk is due.
func (p *Peer) registerOffer(ctx context.Context, o *offer) (next time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err = err; err == nil {
			o.since = time.Now()
		}
	}()
	tree, err := p.tree(o.namespace)
	if err != nil {
		return next, err
	}
	o.mu.Lock()
	if o.provider == nil || o.provider.Tree() != tree {
		o.provider = redir.NewProvider(tree, p.self)
	}
	provider := o.provider
	o.mu.Unlock()
	now := time.Now()
	walk := provider.Register()
	err = p.walk(ctx, provider, walk)
	o.mu.Lock()
	defer o.mu.Unlock()
	return provider.Registered(now, walk), err
}

// walk carries out what a registration asks for.
func (p *Peer) walk(ctx context.Context, provider *redir.Provider, walk *redir.Registration) error {
	stored, refused := 0, error(nil)
	for {
		q, ok := walk.Next()
		switch {
		case !ok && stored == 0:
			return refused
		case !ok:
			return nil
		}
		if !q.Store {
			entries, err := p.treeNode(ctx, provider.Tree(), q.Place)
			if err != nil && !tooLarge(err) {
				return err
			}
			// A tree node that one message cannot hold is full of others.
			walk.Fetched(nodesOf(entries))
			continue
		}
		err := p.storeRecord(ctx, provider, q.Place, true)
		var remote *RemoteError
		if err != nil && !errors.As(err, &remote) {
			return err
		}
		// A peer that refuses, because the tree node is full, does not end the walk.
		if walk.Stored(err == nil); err == nil {
			stored++
		} else {
			refused = err
		}
	}
}

// tooLarge reports whether a peer had more to say than a message takes.
func tooLarge(err error) bool {
	var remote *RemoteError
	return errors.As(err, &remote) && remote.Code == wire.ErrorResponseTooLarge
}

// withdrawOffer takes the records of o out of the overlay. RFC 7374 §4.6: it does so "Before leaving the RELOAD Overlay Instance".
func (p *Peer) withdrawOffer(ctx context.Context, o *offer) {
	o.mu.Lock()
	provider := o.provider
	o.mu.Unlock()
	if provider == nil {
		return
	}
	var stores []func() error
	for _, at := range provider.Held(time.Now()) {
		stores = append(stores, func() error { return p.storeRecord(ctx, provider, at, false) })
	}
	_ = together(stores) // what is left ends by itself
}

// storeRecord stores this peer's record in a tree node; exists is false to take it out.
func (p *Peer) storeRecord(ctx context.Context, provider *redir.Provider, at redir.Place, exists bool) error {
	v := wire.StoredValue{Model: wire.Dictionary, Key: string(p.self.Bytes()), Exists: exists}
	if exists {
		v.Data = provider.Record(at).AppendTo(nil)
	}
	_, err := p.Store(ctx, p.signer.Load(), provider.Tree().Resource(at), wire.KindREDIR, v, time.Now(), redir.Lifetime)
	return err
}

// tree is that of a service in this overlay.
func (p *Peer) tree(namespace string) (redir.Tree, error) {
	if err := CheckService(namespace); err != nil {
		return redir.Tree{}, err
	}
	kind, ok := p.Config().Redir()
	if !ok {
		return redir.Tree{}, ErrNoRedir
	}
	return redir.Tree{Namespace: namespace, Branching: kind.BranchingFactor}, nil
}

// treeNode fetches all that stands in one node of a tree (RFC 7374 §4.3: "The fetch MUST be a wildcard fetch.").
func (p *Peer) treeNode(ctx context.Context, tree redir.Tree, at redir.Place) ([]redir.Entry, error) {
	values, err := p.Fetch(ctx, tree.Resource(at), wire.KindREDIR)
	if err != nil {
		return nil, err
	}
	entries := make([]redir.Entry, 0, len(values))
	for _, v := range values {
		// The node has checked that the key is the signer's Node-ID, and that the record is of this tree node.
		if r, err := wire.ParseRedirServiceProvider(v.Value.Data); err == nil {
			entries = append(entries, redir.Entry{Node: v.Signer.Node, Destinations: r.Destinations})
		}
	}
	return entries, nil
}

func nodesOf(entries []redir.Entry) []wire.NodeID {
	ids := make([]wire.NodeID, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, e.Node)
	}
	return ids
}
