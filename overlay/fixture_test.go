package overlay

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	overlayName = "dht.example.org"
	patience    = 20 * time.Second // for what happens at once on an idle machine
)

// world is one overlay's authority and configuration.
type world struct {
	t        testing.TB
	ca       *trust.Authority
	overlay  *config.Overlay
	journal  Journal // of the next members
	document []byte  // that overlay was read from
	changed  func([]byte)
	client   bool     // the next members are clients
	services []string // that the next members offer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca, err := trust.NewAuthority(overlayName, trust.P256, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	kind, ok := config.Registered(wire.KindSIPRegistration)
	if !ok {
		t.Fatal("SIP-REGISTRATION is not registered")
	}
	kind.MaxCount, kind.MaxSize = 20, 1000
	return &world{t: t, ca: ca, overlay: &config.Overlay{
		InstanceName: overlayName, Sequence: 1, TopologyPlugin: "CHORD-RELOAD", NodeIDLength: 16,
		RootCerts: []*x509.Certificate{ca.Certificate()}, NoICE: true, MaxMessageSize: 65000, InitialTTL: 100,
		ReliabilityTimer: 3 * time.Second, LinkProtocols: []string{"TLS"}, Kinds: []config.Kind{kind},
		ChordPingInterval: time.Hour, ChordUpdateInterval: 10 * time.Minute, ChordReactive: true,
	}}
}

func (w *world) signer(key crypto.Signer) *trust.Signer {
	w.t.Helper()
	cert, err := w.ca.IssueNode(time.Now(), "gw@example.org", key.Public())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := trust.NewSigner(overlayName, key, cert)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// user is a certificate for user with the Node-ID and the key of gateway.
func (w *world) user(gateway *trust.Signer, user string) *trust.Signer {
	w.t.Helper()
	cert, err := w.ca.IssueUser(time.Now(), user, gateway.Identity().Node, gateway.Key().Public())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := trust.NewSigner(overlayName, gateway.Key(), cert)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// memory is a network without a kernel, for tests in which time is the bubble's.
type memory struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener
}

func newMemory() *memory { return &memory{listeners: make(map[string]*memoryListener)} }

type memoryListener struct {
	net     *memory
	addr    *net.TCPAddr
	conns   chan net.Conn
	closed  chan struct{}
	closing sync.Once
}

func (m *memory) listen() net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &memoryListener{net: m, addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6084 + len(m.listeners)},
		conns: make(chan net.Conn), closed: make(chan struct{})}
	m.listeners[l.addr.String()] = l
	return l
}

func (m *memory) dial(ctx context.Context, _, address string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[address]
	m.mu.Unlock()
	if l == nil {
		<-ctx.Done() // an address that answers nothing
		return nil, ctx.Err()
	}
	a, b := net.Pipe()
	select {
	case l.conns <- b:
		return a, nil
	case <-l.closed:
		return nil, fmt.Errorf("%s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return nil
}

func (l *memoryListener) Addr() net.Addr { return l.addr }

// call is one input that a fake node got.
type call struct {
	input string
	id    uint64
	link  node.LinkID
	peer  trust.Identity
	raw   []byte
	v     trust.Verified
	err   error
	op    node.Op
}

// fake is a node that notes its inputs. It checks the driver's side of the contract: effects are taken after every input.
type fake struct {
	t       testing.TB
	calls   chan call
	do      func(id node.OpID, op node.Op) // may add to out
	out     node.Effects
	owed    bool
	ops     node.OpID
	records []store.Record
	at      time.Time
}

func (f *fake) input(c call) {
	if f.owed {
		f.t.Errorf("input %s before the effects of the one before it were taken", c.input)
	}
	f.owed = true
	f.calls <- c
}

func (f *fake) FetchOwn(time.Time, node.OpFetch) ([]node.Value, bool) { return nil, false }

func (f *fake) Held(time.Time, node.OpFetch) ([]wire.StoredData, []wire.Certificate) { return nil, nil }

func (f *fake) Receive(_ time.Time, from node.LinkID, raw []byte) {
	f.input(call{input: "receive", link: from, raw: raw})
}
func (f *fake) Verified(_ time.Time, id node.JobID, v trust.Verified, err error) {
	f.input(call{input: "verified", id: uint64(id), v: v, err: err})
}
func (f *fake) Sealed(_ time.Time, id node.JobID, raw []byte, err error) {
	f.input(call{input: "sealed", id: uint64(id), raw: raw, err: err})
}
func (f *fake) Configured(_ time.Time, id node.JobID, _ *config.Overlay, err error) {
	f.input(call{input: "configured", id: uint64(id), err: err})
}
func (f *fake) LinkUp(_ time.Time, id node.LinkID, peer trust.Identity, dial node.DialID) {
	f.input(call{input: "link up", link: id, peer: peer, id: uint64(dial)})
}
func (f *fake) LinkDown(_ time.Time, id node.LinkID, err error) {
	f.input(call{input: "link down", link: id, err: err})
}
func (f *fake) Reroute(_ time.Time, raw []byte) { f.input(call{input: "reroute", raw: raw}) }
func (f *fake) LinkStalled(_ time.Time, id node.LinkID, stalled bool) {
	f.input(call{input: fmt.Sprintf("stalled %v", stalled), link: id})
}
func (f *fake) DialFailed(_ time.Time, id node.DialID, err error) {
	f.input(call{input: "dial failed", id: uint64(id), err: err})
}
func (f *fake) Gathered(_ time.Time, id node.SessionID, _ node.Offer, err error) {
	f.input(call{input: "gathered", id: uint64(id), err: err})
}
func (f *fake) AwaitFailed(_ time.Time, id node.SessionID, err error) {
	f.input(call{input: "await failed", id: uint64(id), err: err})
}
func (f *fake) Renew(_ time.Time, id node.LinkID) { f.input(call{input: "renew", link: id}) }
func (f *fake) Do(_ time.Time, op node.Op) node.OpID {
	f.ops++
	f.input(call{input: "do", id: uint64(f.ops), op: op})
	if f.do != nil {
		f.do(f.ops, op)
	}
	return f.ops
}
func (f *fake) Cancel(_ time.Time, id node.OpID)                         { f.input(call{input: "cancel", id: uint64(id)}) }
func (f *fake) Tick(time.Time)                                           { f.at = time.Time{}; f.input(call{input: "tick"}) }
func (f *fake) Deadline() time.Time                                      { return f.at }
func (f *fake) Status(time.Time) node.Status                             { return node.Status{State: node.Joined} }
func (f *fake) Restore(time.Time, store.Record, []trust.ValueSigner) int { return 0 }
func (f *fake) Records() []store.Record                                  { return f.records }
func (f *fake) Take() node.Effects {
	out := f.out
	f.out, f.owed = node.Effects{}, false
	return out
}

// leaves is what a fake does that has nothing to hand over.
func (f *fake) leaves(id node.OpID, op node.Op) {
	if _, ok := op.(node.OpLeave); ok {
		f.out.Done = append(f.out.Done, node.Done{Op: id})
	}
}

// driven is a running peer around a fake node.
type driven struct {
	*Peer
	t    testing.TB
	node *fake
	stop func() // ends Run and waits for it
}

// drive starts a peer; change may alter its configuration.
func (w *world) drive(m *memory, change func(*Config)) *driven {
	w.t.Helper()
	c := Config{Overlay: w.overlay, Self: w.signer(newKey(w.t)), Log: zerolog.Nop()}
	c.Listener, c.AppListener = m.listen(), m.listen()
	if change != nil {
		change(&c)
	}
	d := &driven{t: w.t, node: &fake{t: w.t, calls: make(chan call, 4096)}}
	d.node.do = d.node.leaves
	p, err := newPeer(c, func(node.Config) machine { return d.node })
	if err != nil {
		w.t.Fatal(err)
	}
	d.Peer = p
	p.dialTCP, p.dialDTLS = m.dial, nil
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	d.stop = func() { cancel(); <-done }
	w.t.Cleanup(d.stop)
	return d
}

// effect has the fake node emit e.
func (d *driven) effect(e node.Effects) {
	d.t.Helper()
	if !d.post(context.Background(), func(_ time.Time, l *loop) { d.node.out = e }) {
		d.t.Error("the loop has ended")
	}
}

// next waits for the next input of this name and drops others.
func (d *driven) next(input string) call {
	d.t.Helper()
	timeout := time.After(2 * patience)
	for {
		select {
		case c := <-d.node.calls:
			if c.input == input {
				return c
			}
		case <-timeout:
			d.t.Fatalf("no input %q", input)
		}
	}
}

// none checks that there was no input of this name.
func (d *driven) none(input string) {
	d.t.Helper()
	for {
		select {
		case c := <-d.node.calls:
			if c.input == input {
				d.t.Errorf("unexpected input %+v", c)
			}
		default:
			return
		}
	}
}

func (d *driven) address() string    { return d.cfg.Listener.Addr().String() }
func (d *driven) appAddress() string { return d.cfg.AppListener.Addr().String() }

// at is a candidate.
func at(t testing.TB, address string) wire.IceCandidate {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return wire.IceCandidate{Address: a.AddrPort(), Link: wire.LinkTLSTCPFHNoICE, Type: wire.CandidateHost}
}
