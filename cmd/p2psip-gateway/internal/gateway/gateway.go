package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/media"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/journal"
	"github.com/p2psip/p2psip-gateway/overlay/lan"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/proxy"
	"github.com/p2psip/p2psip-gateway/redirect"
	"github.com/p2psip/p2psip-gateway/registrar"
	"github.com/p2psip/p2psip-gateway/registrar/regevent"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/resolve"
	"github.com/p2psip/p2psip-gateway/sip/transaction"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// Options is what a Gateway is made of. The files that Config names for these are read by whoever calls Open.
type Options struct {
	Config Config
	// Loaded, when set, is what Config was read from.
	Loaded *Loaded
	// Reread reads configuration and users again, for Reload; nil: there is nothing to read.
	Reread func() (*Loaded, *digest.Users, error)
	// Reloaded is called after each Reload, which it must not wait for; Level sets the level of the log. Both may be nil.
	Reloaded func()
	Level    func(level string)
	// Stopping is called when the node begins to drain. May be nil.
	Stopping func()
	Version  string
	Log      zerolog.Logger
	Overlay  *config.Overlay
	// Verifier is that of overlay.Config, by which Keyring checks; nil: the peer has its own.
	Verifier *trust.Verifier
	// Document is what Overlay was read from; nil: it is not handed on. Changed is called with each document that takes its
	// place, to be kept; nil: it is not.
	Document []byte
	Changed  func(document []byte)
	Self     *trust.Signer // the node's own identity
	Keyring  Keyring       // the certificates of its users
	// Servers tells how the servers stand that renew certificates and documents; nil: there are none.
	Servers func() []ServerReport
	Users   *digest.Users // empty on a redirect peer that was given none
	// DNS says whom names are asked of; zero: as the system is configured.
	DNS resolve.Config
	// OpenCalls lets callers from our own domain call inside it without credentials: a laboratory on loopback.
	OpenCalls bool
}

// Gateway is one node: SIP front end and peer.
type Gateway struct {
	o        Options
	names    *names
	started  time.Time
	draining atomic.Bool
	drained  chan struct{} // closed when the node is to drain
	drainOne sync.Once
	refusals zerolog.Logger // sampled: whoever sends rubbish shall not fill the disk

	current       atomic.Pointer[inForce]
	reloading     sync.Mutex
	lastReload    atomic.Pointer[ReloadReport] // nil: there was none
	makeRegistrar func(*inForce) *registrar.Registrar

	bindings  *location.Bindings
	flows     *flow.Table
	load      *overload
	revoked   *revocations
	prober    *registrar.Prober  // nil: nobody is asked
	events    *regevent.Notifier // nil on a redirect peer
	waits     *waits
	layer     *transaction.Layer
	guard     *guard           // in front of layer
	proxy     *proxy.Proxy     // nil on a redirect peer
	redirect  *redirect.Server // nil on others
	media     *media.Relay     // nil: no media is relayed
	peer      *overlay.Peer
	accounts  *trunk.Accounts // nil on a redirect peer
	health    *trunk.Health   // nil on a redirect peer
	trunks    *trunk.Service  // nil on a redirect peer
	usage     *sipusage.Service
	publisher *sipusage.Publisher
	forwards  *forwards  // between registrar and published
	published *published // between forwards and publisher: what routes publish

	uncertified uncertified
	shown       *sipusage.Certificates
	vouchers    *vouchers        // nil on a redirect peer
	journal     *journal.Journal // of what the peer holds
	known       *knownPeers
	kinds       *keptKinds
	lan         *lan.Agent // nil: nobody is looked for
	found       chan lan.Found
	met         chan struct{} // closed when the peer was told of the first that was found
	locator     *locator
	metrics     *metrics.Metrics
	admin       net.Listener
	links       net.Listener // of the peer; nil without TLS
	packets     *net.UDPConn // of the peer; nil without DTLS
	turn        *net.UDPConn // of the peer's TURN server; nil without one
	apps        net.Listener // of the peer, for SIP over TLS; nil without
	datagrams   *net.UDPConn // likewise over DTLS
}

// Open binds every socket and opens the durable state. Errors are meant for people: which part, why, what to do.
func Open(o Options) (*Gateway, error) {
	g := &Gateway{o: o, started: time.Now(), drained: make(chan struct{})}
	g.refusals = o.Log.Sample(&zerolog.BurstSampler{Burst: refusalLines, Period: time.Second})
	if g.o.Config.Domain == "" {
		g.o.Config.Domain = o.Overlay.InstanceName
	}
	if want := o.Config.Overlay.Join; want != "" && !strings.EqualFold(want, o.Overlay.InstanceName) {
		return nil, fmt.Errorf("E0303 overlay.join: the identity is of the overlay %s, not %s\n      try: p2psip-gateway join %s", o.Overlay.InstanceName, want, want)
	}
	for _, open := range []func() error{g.openConfig, g.openData, g.openAdmin, g.openPeer, g.openLAN, g.openMedia, g.openSIP} {
		if err := open(); err != nil {
			g.Close()
			return nil, err
		}
	}
	return g, nil
}

func (g *Gateway) openData() (err error) {
	dir := g.o.Config.Data
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("data: %w\n      try: a directory that this user may write", err)
	}
	if g.bindings, err = location.Open(filepath.Join(dir, "bindings.db")); err != nil {
		return err
	}
	if g.known, err = openKnown(filepath.Join(dir, "peers.json"), g.o.Overlay.InstanceName); err != nil {
		return err
	}
	if g.kinds, err = openKinds(filepath.Join(dir, "kinds.json"), g.o.Overlay.InstanceName); err != nil {
		return err
	}
	if g.forwards, err = openForwards(filepath.Join(dir, "forwards.json")); err != nil {
		return err
	}
	path := filepath.Join(dir, "overlay.db")
	if g.journal, err = journal.Open(path); err == nil && g.journal.Damage() != nil {
		g.o.Log.Error().Str("component", "overlay").Str("file", path).Err(g.journal.Damage()).
			Msg("the file was put aside, and begins anew: what it held the ring has, if it still runs")
	}
	return err
}

// listen opens a TCP listener; what it says of a port in use is what a person needs.
func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, inUse(key, address, err)
	}
	return l, nil
}

func inUse(key, address string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Errorf("E0201 %s: can not listen on %s: %w\n      try: another port, or stop what has it: ss -lnp | grep %s", key, address, err, portOf(address))
}

func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return port
}

// Run serves until ctx ends, then leaves the overlay in order. It returns when every socket is closed.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.Close()
	g.o.Log.Info().Str("component", "gateway").Str("peer_id", g.peer.NodeID().Short()).Str("role", string(g.o.Config.Role)).
		Strs("overlay", g.linkAddresses()).Str("admin", g.admin.Addr().String()).Msg("started")
	// The SIP side and what uses the peer end before the peer leaves, the peer before the sockets close.
	// None of them ends with ctx: what is under way needs them.
	front, stopFront := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFront()
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	var frontDone, backDone sync.WaitGroup
	errs := make(chan error, 3)
	backDone.Go(func() { errs <- g.runPeer(back) })
	frontDone.Go(func() { g.runLAN(front) })
	frontDone.Go(func() { errs <- serveAdmin(front, g.admin, g.adminServer()) })
	frontDone.Go(func() { g.publisher.Run(front) })
	frontDone.Go(func() { g.shown.Run(front) })
	if g.vouchers != nil {
		frontDone.Go(func() { g.vouchers.run(front) })
	}
	frontDone.Go(func() { g.expire(front) })
	frontDone.Go(func() { g.keepPhones(front) })
	frontDone.Go(func() { g.rememberPeers(front) })
	if g.prober != nil {
		frontDone.Go(func() { g.prober.Run(front) })
	}
	if g.media != nil {
		backDone.Go(func() { g.keepMedia(back) })
	}
	frontDone.Go(func() { g.load.run(front, g.flows.Received, g.waits.measure) })
	frontDone.Go(func() { g.revoked.run(front) })
	if err := g.announce(); err != nil {
		errs <- err
	}
	g.flows.Serve(g.guard)
	g.watchTrunks()
	g.registerAccounts()

	var err error
	select {
	case <-ctx.Done():
	case <-g.drained:
	case err = <-errs:
	}
	if err == nil {
		g.drain()
	}
	stopFront()
	frontDone.Wait()
	stopBack()
	backDone.Wait()
	return err
}

// refusalLines is how many lines a second the log has for refusals; the counters have them all.
const refusalLines = 20

// Drain has Run end: new requests get 503, what is under way may go on for a while. It does not block, and may be called again.
func (g *Gateway) Drain() {
	g.drainOne.Do(func() {
		g.draining.Store(true)
		g.layer.StopAccepting()
		close(g.drained)
	})
}

// drain lets what is under way end: new requests outside of dialogs get 503, the others their answers.
func (g *Gateway) drain() {
	g.Drain()
	limit := g.inForce().config.DrainTimeout
	log := g.o.Log.With().Str("component", "gateway").Logger()
	log.Info().Int64("transactions", live(g.layer.Stats().Live)).Dur("limit", limit).Msg("draining")
	if g.o.Stopping != nil {
		g.o.Stopping()
	}
	if g.health != nil {
		g.health.Close() // its probes would not end
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	g.closeAccounts(ctx)
	withdrawn := g.withdrawRoutes()
	defer withdrawn()
	if g.layer.Drain(ctx) != nil {
		log.Warn().Int64("transactions", live(g.layer.Stats().Live)).Msg("stopped with transactions under way")
	}
}

// expire removes bindings that have ended and tells the overlay of AORs that lost their last one.
func (g *Gateway) expire(ctx context.Context) {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			for aor, left := range g.bindings.Sweep(now) {
				g.bindingsChanged(aor)
				if len(left) == 0 {
					g.forwards.Withdraw(aor, func(error) {})
				}
			}
		}
	}
}

// codeBindings is for bindings that cannot be written.
const codeBindings = "E0223"

// diskRefuses logs that bindings cannot be written; nil: that they can again.
func (g *Gateway) diskRefuses(err error) {
	log := g.o.Log.With().Str("component", "registrar").Str("code", codeBindings).Logger()
	if err == nil {
		log.Info().Msg("bindings are written again")
		return
	}
	log.Error().Err(err).Msg("bindings can not be written: what is new or changed is refused with 503, refreshes are too when 9/16 of their lifetime are over")
}

// bindingsChanged tells who wants to know.
func (g *Gateway) bindingsChanged(aor location.AOR) {
	if g.events != nil {
		g.events.Changed(aor)
	}
}

// expireEvery is how late a lapsed binding is removed at most; lookups leave it out at once.
const expireEvery = time.Second

// announce tells the overlay what was bound before the start, and at which addresses plain SIP reaches this gateway.
func (g *Gateway) announce() error {
	for aor, set := range g.bindings.All(time.Now()) {
		for _, b := range set {
			g.guard.Registered(b.Hop)
		}
		last := set[0].Expires
		for _, b := range set[1:] {
			if b.Expires.After(last) {
				last = b.Expires
			}
		}
		g.forwards.Publish(aor, last, func(error) {})
	}
	g.forwards.announce()
	g.publishRoutes()
	if g.o.Config.Role == RoleRedirect {
		return nil
	}
	return g.publisher.PublishAddresses(g.sipURIs())
}

// Renewed is for when the node's own certificate was renewed, or those of its users: links show it from now on, and what this
// gateway keeps in the overlay is signed anew (RFC 6940 §7.1). It does not block. The error is overlay.ErrOtherNode.
func (g *Gateway) Renewed(self *trust.Signer) error {
	if err := g.peer.Renew(self); err != nil {
		return err
	}
	g.publisher.Renew(self)
	g.shown.Renew(self)
	return nil
}

// Signer is what this node shows and signs with at this time.
func (g *Gateway) Signer() *trust.Signer { return g.peer.Signer() }

// Overlay is the configuration of the overlay at this time. It must not be modified.
func (g *Gateway) Overlay() *config.Overlay { return g.peer.Config() }

// Joined is closed when the peer is part of the ring.
func (g *Gateway) Joined() <-chan struct{} { return g.peer.Joined() }

// Close releases what Open took, as far as it got.
func (g *Gateway) Close() {
	if g.health != nil {
		g.health.Close()
	}
	g.closeAccounts(over())
	if g.proxy != nil {
		g.proxy.Close()
	}
	if g.events != nil {
		g.events.Close()
	}
	if g.flows != nil {
		g.flows.Close()
	}
	if g.waits != nil {
		g.waits.close()
	}
	if g.layer != nil {
		g.layer.Close()
	}
	if g.media != nil {
		g.media.Close()
	}
	if g.usage != nil {
		g.usage.Close()
	}
	for _, l := range []net.Listener{g.admin, g.links, g.apps} {
		if l != nil {
			_ = l.Close()
		}
	}
	for _, l := range []*net.UDPConn{g.packets, g.datagrams, g.turn} {
		if l != nil {
			_ = l.Close()
		}
	}
	if g.bindings != nil {
		_ = g.bindings.Close()
	}
	if g.journal != nil {
		_ = g.journal.Close()
	}
}
