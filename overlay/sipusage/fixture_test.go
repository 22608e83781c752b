package sipusage

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"go.uber.org/goleak"
)

const domain = "example.org"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	_ Peer      = (*overlay.Peer)(nil)
	_ LeasePeer = (*overlay.Peer)(nil)
)

// ring is an overlay in one map: real signatures, a real store with its access control, no network.
type ring struct {
	t         testing.TB
	conf      *config.Overlay
	authority *trust.Authority
	verifier  *trust.Verifier

	mu       sync.Mutex
	store    *store.Store
	stores   []stored
	own      bool // each gateway is responsible for everything
	fetches  int
	attaches int
	welcomes int
	delay    time.Duration            // of every operation
	fail     func(op string) error    // instead of an operation
	lose     func(op string) error    // the answer to an operation that was carried out
	dumb     wire.ResourceID          // Fetches of it are not answered
	silent   map[wire.NodeID]struct{} // nodes that do not answer AppAttach
	only     wire.ApplicationID       // the only application that is taken; 0: any
}

// stored is one Store that arrived.
type stored struct {
	at       time.Time
	resource wire.ResourceID
	exists   bool
	time     int64
	lifetime time.Duration
	err      error
}

func newRing(t testing.TB) *ring {
	t.Helper()
	a, err := trust.NewAuthority(domain, trust.P256, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := config.New(domain)
	c.RootCerts = []*x509.Certificate{a.Certificate()}
	c.Kinds = append(c.Kinds, config.Kind{ID: wire.KindSIPGateway, Model: wire.SingleValue, Access: config.NodeMatch, MaxCount: 1, MaxSize: 4096},
		config.Kind{ID: wire.KindAccountLease, Model: wire.SingleValue, Access: config.UserMatch, MaxCount: 1, MaxSize: 64})
	return &ring{t: t, conf: c, authority: a, verifier: trust.NewVerifier(c), store: store.New(c), silent: map[wire.NodeID]struct{}{}}
}

// gateway is one node of the ring: a Peer, and a Keyring for every user whose name does not start with "nobody".
type gateway struct {
	*ring
	self      *trust.Signer
	uncertain chan struct{}
	joined    chan struct{}
	company   chan struct{} // closed, unless a test makes another one
	mu        sync.Mutex
	users     map[string]*trust.Signer
}

func (r *ring) gateway(name string) *gateway {
	r.t.Helper()
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		r.t.Fatal(err)
	}
	cert, err := r.authority.IssueNode(time.Now(), name+"@"+domain, key.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	self, err := trust.NewSigner(domain, key, cert)
	if err != nil {
		r.t.Fatal(err)
	}
	g := &gateway{ring: r, self: self, joined: make(chan struct{}), uncertain: make(chan struct{}), users: map[string]*trust.Signer{}}
	close(g.joined)
	g.company = g.joined
	return g
}

func (g *gateway) NodeID() wire.NodeID     { return g.self.Identity().Node }
func (g *gateway) Joined() <-chan struct{} { return g.joined }

func (g *gateway) Uncertain() <-chan struct{} { return g.uncertain }

func (g *gateway) Company() <-chan struct{} { return g.company }
func (g *gateway) Welcome()                 { g.set(func(r *ring) { r.welcomes++ }) }
func (g *gateway) Stored(kind wire.KindID) int {
	g.ring.mu.Lock()
	defer g.ring.mu.Unlock()
	return g.store.Count()[kind]
}

// Has reports no certificate where Signer has none.
func (g *gateway) Has(aor string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.users[aor]
	return s != nil || !ok && aor != "nobody@"+domain
}

func (g *gateway) AllowsUser(user string) bool { return g.conf.AllowsUser(user) }
func (g *gateway) HasKind(kind wire.KindID) bool {
	g.ring.mu.Lock()
	defer g.ring.mu.Unlock()
	_, ok := g.conf.Kind(kind)
	return ok
}
func (g *gateway) Ranges() numbers.Plan { return g.conf.Ranges }

var errNoCertificate = errors.New("no such file")

func (g *gateway) Signer(aor string) (*trust.Signer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s, ok := g.users[aor]; ok && s != nil {
		return s, nil
	} else if ok || aor == "nobody@"+domain {
		return nil, errNoCertificate
	}
	cert, err := g.authority.IssueUser(time.Now(), aor, g.NodeID(), g.self.Key().Public())
	if err != nil {
		return nil, err
	}
	s, err := trust.NewSigner(domain, g.self.Key(), cert)
	if err == nil {
		g.users[aor] = s
	}
	return s, err
}

// operate waits and fails as the test wants.
func (r *ring) operate(ctx context.Context, op string) error {
	r.mu.Lock()
	delay, fail := r.delay, r.fail
	r.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail(op)
	}
	return nil
}

// reset forgets what is stored. r is locked.
func (r *ring) reset() { r.store = store.New(r.conf) }

// set changes the ring's behaviour.
func (r *ring) set(change func(r *ring)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// log is every Store so far.
func (r *ring) log() []stored {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stores)
}

// counted is how many Fetches and AppAttachs there were.
func (r *ring) counted() (fetches, attaches int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fetches, r.attaches
}

func (r *ring) fetched() int {
	n, _ := r.counted()
	return n
}

// deliver seals a message and lets the ring verify it.
func (g *gateway) deliver(by *trust.Signer, body wire.Body, asked wire.ResourceID, bucket ...wire.Certificate) (trust.Verified, error) {
	m := &wire.Message{Body: body, Security: wire.SecurityBlock{Certificates: bucket}, Header: wire.Header{
		Overlay: g.conf.ID(), Version: wire.Version, TTL: 100, Fragment: wire.Unfragmented, Transaction: 1,
		Destinations: wire.NewDestinationList(wire.ToNode(g.NodeID()))}}
	raw, err := by.Seal(m)
	if err != nil {
		return trust.Verified{}, err
	}
	if m, err = g.conf.Schema().Parse(raw); err != nil {
		return trust.Verified{}, err
	}
	return g.verifier.Verify(time.Now(), m, asked)
}

func (g *gateway) Store(ctx context.Context, by *trust.Signer, res wire.ResourceID, kind wire.KindID, value wire.StoredValue,
	storageTime time.Time, lifetime time.Duration) ([]wire.NodeID, error) {
	call := stored{at: time.Now(), resource: res, exists: value.Exists, time: storageTime.UnixMilli(), lifetime: lifetime}
	call.err = g.operate(ctx, "store")
	if call.err == nil {
		d := wire.StoredData{StorageTime: uint64(call.time), Lifetime: uint32(lifetime / time.Second), Value: value}
		call.err = g.put(by, res, kind, d)
	}
	g.ring.mu.Lock()
	defer g.ring.mu.Unlock()
	if call.err == nil && g.lose != nil {
		call.err = g.lose("store")
	}
	g.stores = append(g.stores, call)
	return nil, call.err
}

// put signs and stores a value.
func (g *gateway) put(by *trust.Signer, res wire.ResourceID, kind wire.KindID, d wire.StoredData) error {
	return g.putIf(by, res, wire.StoreKindData{Kind: kind, Values: []wire.StoredData{d}})
}

func (g *gateway) putIf(by *trust.Signer, res wire.ResourceID, k wire.StoreKindData) error {
	if err := by.SignValue(res, k.Kind, &k.Values[0]); err != nil {
		return err
	}
	v, err := g.deliver(by, &wire.StoreReq{Resource: res, Kinds: []wire.StoreKindData{k}}, res)
	if err != nil {
		return err
	}
	g.ring.mu.Lock()
	defer g.ring.mu.Unlock()
	if _, e := g.store.Put(time.Now(), v, true); e != nil {
		return &overlay.RemoteError{Code: e.ErrorCode, Info: e.Info}
	}
	return nil
}

func (g *gateway) PutIf(ctx context.Context, what overlay.Put) (uint64, error) {
	if err := g.operate(ctx, "store"); err != nil {
		return 0, err
	}
	d := wire.StoredData{StorageTime: uint64(what.StorageTime.UnixMilli()), Lifetime: uint32(what.Lifetime / time.Second), Value: what.Value}
	return 0, g.putIf(what.By, what.Resource, wire.StoreKindData{Kind: what.Kind, Generation: what.Generation, Values: []wire.StoredData{d}})
}

func (g *gateway) Fetch(ctx context.Context, res wire.ResourceID, kind wire.KindID) ([]overlay.Value, error) {
	values, _, err := g.FetchCounted(ctx, res, kind)
	return values, err
}

func (g *gateway) FetchCounted(ctx context.Context, res wire.ResourceID, kind wire.KindID) ([]overlay.Value, uint64, error) {
	g.set(func(r *ring) { r.fetches++ })
	if err := g.operate(ctx, "fetch"); err != nil {
		return nil, 0, err
	}
	k, _ := g.conf.Kind(kind)
	g.ring.mu.Lock()
	if g.dumb != "" && res == g.dumb {
		g.ring.mu.Unlock()
		return nil, 0, overlay.ErrTimeout
	}
	spec := wire.Specifier{Kind: kind, Model: k.Model}
	if k.Model == wire.Array {
		spec.Ranges = []wire.ArrayRange{{First: 0, Last: 0xffffffff}}
	}
	ans, certs, e := g.store.Fetch(time.Now(), &wire.FetchReq{Resource: res, Specifiers: []wire.Specifier{spec}})
	g.ring.mu.Unlock()
	if e != nil {
		return nil, 0, &overlay.RemoteError{Code: e.ErrorCode, Info: e.Info}
	}
	v, err := g.deliver(g.self, ans, res, certs...)
	if err != nil {
		return nil, 0, err
	}
	var out []overlay.Value
	kinds := v.Message().Body.(*wire.FetchAns).Kinds
	for i, d := range kinds[0].Values {
		if signer := v.Values()[i]; d.Value.Exists && signer.Err == nil && store.CheckAccess(g.conf, k, res, &d, signer.Identity) == nil {
			out = append(out, overlay.Value{StoredData: d, Signer: signer.Identity})
		}
	}
	return out, kinds[0].Generation, nil
}

// FetchOwn is Fetch where the ring has each gateway answer itself.
func (g *gateway) FetchOwn(res wire.ResourceID, kind wire.KindID) ([]overlay.Value, bool) {
	g.ring.mu.Lock()
	own := g.own
	g.ring.mu.Unlock()
	if !own {
		return nil, false
	}
	values, err := g.Fetch(context.Background(), res, kind)
	return values, err == nil
}

func (g *gateway) AppAttach(ctx context.Context, dest wire.DestinationList, app wire.ApplicationID) (overlay.AppConn, error) {
	g.set(func(r *ring) { r.attaches++ })
	if err := g.operate(ctx, "attach"); err != nil {
		return overlay.AppConn{}, err
	}
	last, _ := dest.Last()
	g.ring.mu.Lock()
	_, silent := g.silent[last.Node]
	g.ring.mu.Unlock()
	if silent {
		return overlay.AppConn{}, overlay.ErrTimeout
	}
	if only := g.takesOnly(); only != 0 && only != app {
		return overlay.AppConn{}, &overlay.RemoteError{Code: wire.ErrorNotFound}
	}
	near, far := net.Pipe()
	g.t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return overlay.AppConn{Conn: near, Peer: trust.Identity{Node: last.Node, Nodes: []wire.NodeID{last.Node}}, Application: app}, nil
}

func (g *gateway) takesOnly() wire.ApplicationID {
	g.ring.mu.Lock()
	defer g.ring.mu.Unlock()
	return g.only
}

// register stores any SIP-REGISTRATION of aor at g.
func (g *gateway) register(aor location.AOR, reg wire.SipRegistration) {
	g.t.Helper()
	by, err := g.Signer(string(aor))
	if err != nil {
		g.t.Fatal(err)
	}
	value := wire.StoredValue{Model: wire.Dictionary, Key: string(g.NodeID().Bytes()), Exists: true, Data: reg.AppendTo(nil)}
	d := wire.StoredData{StorageTime: uint64(time.Now().UnixMilli()), Lifetime: 3600, Value: value}
	if err := g.put(by, resource(aor), wire.KindSIPRegistration, d); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) registerHere(aor location.AOR) {
	g.t.Helper()
	g.register(aor, wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(g.NodeID()))})
}

func (g *gateway) forward(aor location.AOR, uri string) {
	g.t.Helper()
	g.register(aor, wire.SipRegistration{Type: wire.SipRegistrationURI, URI: uri})
}

func (g *gateway) gr() string { return NodeGR(g.NodeID()) }
