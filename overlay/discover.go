package overlay

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/p2psip/p2psip-gateway/overlay/redir"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ServiceProvider is a node that provides a service, and how to reach it.
type ServiceProvider = redir.Entry

// ServiceLookup is what a lookup of a service came to.
type ServiceLookup struct {
	Provider ServiceProvider // the one that most immediately follows the key; the zero value: nobody provides the service
	Seen     []ServiceProvider
	Levels   []uint16 // of the tree nodes that were asked for, in that order
}

// Found reports whether somebody provides the service.
func (l ServiceLookup) Found() bool { return !l.Provider.Node.IsZero() }

// finders are the lookups of this peer: at which levels those of each service ended.
type finders struct {
	mu     sync.Mutex
	byTree map[redir.Tree]*redir.Finder
	random *rand.Rand
}

func newFinders() *finders {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return &finders{byTree: make(map[redir.Tree]*redir.Finder), random: rand.New(rand.NewChaCha8(seed))}
}

func (f *finders) begin(t redir.Tree, key wire.NodeID) *redir.Lookup {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byTree[t] == nil {
		if len(f.byTree) >= maxFinders {
			clear(f.byTree)
		}
		f.byTree[t] = redir.NewFinder(t)
	}
	return f.byTree[t].Find(key)
}

func (f *finders) end(t redir.Tree, l *redir.Lookup) ServiceProvider {
	f.mu.Lock()
	defer f.mu.Unlock()
	if finder := f.byTree[t]; finder != nil {
		finder.Found(l)
	}
	e, _ := l.Result(f.random)
	return e
}

// key draws a Node-ID: whoever asks for it spreads what it wants over all providers.
func (f *finders) key() wire.NodeID {
	f.mu.Lock()
	defer f.mu.Unlock()
	octets := binary.BigEndian.AppendUint64(nil, f.random.Uint64())
	id, _ := wire.NodeIDFromBytes(binary.BigEndian.AppendUint64(octets, f.random.Uint64())) // 16 octets are one
	return id
}

// FindService looks for the provider of a service whose Node-ID most immediately follows key (RFC 7374 §4.5); a peer that wants
// one for itself gives its own Node-ID. Behind the last of them any is taken. The error may be ErrNoRedir, or be one of Fetch.
func (p *Peer) FindService(ctx context.Context, namespace string, key wire.NodeID) (ServiceLookup, error) {
	var l ServiceLookup
	tree, err := p.tree(namespace)
	if err != nil {
		return l, err
	}
	walk := p.finders.begin(tree, key)
	for {
		at, ok := walk.Next()
		if !ok {
			break
		}
		entries, err := p.treeNode(ctx, tree, at)
		if err != nil {
			return l, err
		}
		l.Levels = append(l.Levels, at.Level)
		walk.Fetched(entries)
	}
	l.Provider, l.Seen = p.finders.end(tree, walk), walk.Providers()
	return l, nil
}

// ServiceProviders are those in the root of a service's tree, by Node-ID: all of them while they are few.
func (p *Peer) ServiceProviders(ctx context.Context, namespace string) ([]ServiceProvider, error) {
	tree, err := p.tree(namespace)
	if err != nil {
		return nil, err
	}
	root := tree.Find(p.self, 0)
	entries, err := p.treeNode(ctx, tree, redir.Place{})
	root.Fetched(entries)
	return root.Providers(), err
}

// discoverTURN looks for a TURN server by RFC 7374 §10.4, whose "mechanism specified in this document can be used as an
// alternative to the TURN server discovery mechanism specified in the RELOAD base specification": first the one next to this
// peer, then others. Where a provider is reached its TURN-SERVICE says. False: none was found that way.
func (p *Peer) discoverTURN(ctx context.Context) bool {
	key := p.self
	for range wantRelays + 1 {
		l, err := p.FindService(ctx, ServiceTURN, key)
		if err != nil {
			if !errors.Is(err, ErrNoRedir) {
				p.cfg.Log.Debug().Str("component", "turn").Err(err).Msg("no TURN server found by ReDiR")
			}
			return false
		}
		if !l.Found() {
			return false
		}
		if l.Provider.Node != p.self && p.fetchTURN(ctx, wire.TurnResource(l.Provider.Node, 1)) {
			return true
		}
		key = p.finders.key()
	}
	return false
}
