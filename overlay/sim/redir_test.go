package sim

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/redir"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// serving is a host that provides a service.
type serving struct {
	*Host
	provider *redir.Provider
	walks    int // that have ended
}

// register carries out one registration, and another one when it is time.
func (s *serving) register() {
	if !s.Up {
		return
	}
	walk, begun := s.provider.Register(), s.now()
	s.step(walk, func() {
		s.walks++
		s.later(s.provider.Registered(begun, walk).Sub(begun), s.register)
	})
}

func (s *serving) step(walk *redir.Registration, done func()) {
	q, ok := walk.Next()
	if !ok {
		done()
		return
	}
	res := s.provider.Tree().Resource(q.Place)
	if !q.Store {
		s.Do(fetchTreeNode(res), func(d node.Done) {
			var ids []wire.NodeID
			for _, e := range entriesOf(d) {
				ids = append(ids, e.Node)
			}
			walk.Fetched(ids)
			s.step(walk, done)
		})
		return
	}
	s.Do(s.storeRecord(res, q.Place, true), func(d node.Done) {
		walk.Stored(d.Err == nil && d.Refused == nil)
		s.step(walk, done)
	})
}

func (s *serving) storeRecord(res wire.ResourceID, at redir.Place, exists bool) node.OpStore {
	d := wire.StoredData{StorageTime: uint64(s.now().UnixMilli()), Lifetime: uint32(redir.Lifetime / time.Second),
		Value: wire.StoredValue{Model: wire.Dictionary, Key: string(s.ID.Bytes()), Exists: exists}}
	if exists {
		d.Value.Data = s.provider.Record(at).AppendTo(nil)
	}
	s.gateway.signValue(res, wire.KindREDIR, &d)
	return node.OpStore{By: s.gateway.signer, Resource: res, Kind: wire.KindREDIR, Values: []wire.StoredData{d}}
}

func fetchTreeNode(res wire.ResourceID) node.OpFetch {
	return node.OpFetch{Resource: res, Specifier: wire.Specifier{Kind: wire.KindREDIR, Model: wire.Dictionary}}
}

func entriesOf(d node.Done) (out []redir.Entry) {
	for _, v := range d.Values {
		if v.Value.Exists {
			out = append(out, redir.Entry{Node: v.Signer.Node})
		}
	}
	return out
}

// search has h look for the provider next to key.
func (h *Host) search(l *redir.Lookup, t redir.Tree, fetches *int, done func()) {
	at, ok := l.Next()
	if !ok {
		done()
		return
	}
	*fetches++
	h.Do(fetchTreeNode(t.Resource(at)), func(d node.Done) {
		l.Fetched(entriesOf(d))
		h.search(l, t, fetches, done)
	})
}

// TestServicesAreFoundInARing has 16 peers of 32 provide a service, and the others look for it: the provider found is the nearest one
// of those that live. A quarter of them dies without a word; when their records have ended nobody is sent to them any more.
//
// Conformance: I-06 I-07 I-08
func TestServicesAreFoundInARing(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		o := Overlay()
		o.WithRedir(64, 512)
		k := &o.Kinds[len(o.Kinds)-1]
		k.BranchingFactor = 2 + 8*int(seed-1)
		tree := redir.Tree{Namespace: "voice-mail", Branching: k.BranchingFactor}
		w, _ := populated(t, Config{Seed: seed, Peers: 32, MaxDelay: 20 * time.Millisecond, Overlay: o, RealSize: true}, 0)
		var providers []*serving
		for i := range 16 {
			s := &serving{Host: w.Host(2 * i), provider: redir.NewProvider(tree, w.Host(2*i).ID)}
			providers = append(providers, s)
			s.later(w.delay(0, 20*time.Second), s.register)
		}
		// The first to come see a tree with little in it, and of two at once none sees the other: the refresh puts that right (RFC 7374 §4.4).
		w.Run(20*time.Second + redir.Refresh + time.Minute)
		lookForService(t, w, tree, providers)
		for i := range 4 {
			w.Kill(providers[4*i].Index, Silent)
		}
		w.Run(redir.Lifetime + redir.Refresh)
		lookForService(t, w, tree, providers)
		for i, s := range providers {
			if want := 2; s.Up && s.walks < want {
				t.Errorf("seed %d: provider %d has registered %d times, not %d", seed, i, s.walks, want)
			}
		}
	}
}

// lookForService compares lookups with a look at all providers that live.
func lookForService(t *testing.T, w *World, tree redir.Tree, providers []*serving) {
	t.Helper()
	finder := redir.NewFinder(tree)
	ended, fetches := 0, 0
	const lookups = 200
	for range lookups {
		key := wire.NodeID{}
		var best wire.NodeID
		for best.IsZero() { // a key that is not behind the last of them
			key = randomNodeID(w)
			for _, s := range providers {
				if s.Up && s.ID.Compare(key) >= 0 && (best.IsZero() || s.ID.Compare(best) < 0) {
					best = s.ID
				}
			}
		}
		l := finder.Find(key)
		w.Host(1).search(l, tree, &fetches, func() {
			ended++
			finder.Found(l)
			if e, _ := l.Result(w.rand); e.Node != best {
				t.Errorf("b %d: %v finds %v, not %v", tree.Branching, key, e.Node, best)
			}
		})
		w.Run(time.Second)
	}
	w.Run(time.Minute)
	if ended != lookups {
		t.Errorf("%d of %d lookups have ended", ended, lookups)
	}
	t.Logf("b %d, %v: %.2f Fetches a lookup", tree.Branching, w.Elapsed().Round(time.Second), float64(fetches)/lookups)
}

func randomNodeID(w *World) wire.NodeID {
	var octets [16]byte
	for i := range octets {
		octets[i] = byte(w.rand.Uint32())
	}
	id, err := wire.NodeIDFromBytes(octets[:])
	if err != nil {
		panic(err)
	}
	return id
}
