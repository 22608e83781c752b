package gateway

import (
	"context"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/p2psip/p2psip-gateway/proxy"
	"github.com/p2psip/p2psip-gateway/redirect"
	"github.com/p2psip/p2psip-gateway/registrar"
	"github.com/p2psip/p2psip-gateway/registrar/regevent"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/sip/resolve"
	"github.com/p2psip/p2psip-gateway/sip/transaction"
)

// openPeer binds the sockets of the overlay and makes the peer.
func (g *Gateway) openPeer() error {
	c := g.o.Config.Overlay
	pc := overlay.Config{
		Overlay: g.o.Overlay, Verifier: g.o.Verifier, Document: g.o.Document, Changed: g.o.Changed, Self: g.o.Self,
		Kinds: g.kinds.list, KindsChanged: g.keepKinds,
		Bootstrap: c.Bootstrap, Known: g.known.list, First: c.First, Prepares: true,
		Applications: []wire.ApplicationID{wire.ApplicationSIP, wire.ApplicationSIPS}, Accept: g.accept,
		Client: c.Role == RoleClient, Log: g.o.Log, Software: "p2psip-gateway/" + g.o.Version,
	}
	pc.Services = c.Services.Offer
	if !pc.Client { // which holds nothing
		pc.Journal = g.journal
	}
	if err := g.openLinks(&pc); err != nil {
		return err
	}
	if err := g.openApps(&pc); err != nil {
		return err
	}
	if !g.o.Overlay.NoICE {
		if err := g.openTURN(&pc); err != nil {
			return err
		}
	}
	var err error
	g.peer, err = overlay.New(pc)
	return err
}

// aorOf is what the usage follows: the address-of-record of a URI in our domain.
func (g *Gateway) aorOf(uri string) (location.AOR, bool) {
	u, err := message.ParseURI(uri)
	if err != nil {
		return "", false
	}
	return g.names.aor(u)
}

// accept takes a connection that another gateway opened to send SIP over.
func (g *Gateway) accept(c overlay.AppConn) {
	if err := g.flows.AddNode(nodeConn(c)); err != nil {
		g.o.Log.Debug().Str("component", "gateway").Str("peer_id", c.Peer.Node.Short()).Err(err).Msg("connection of a gateway not taken")
	}
}

// openSIP binds the SIP sockets and makes the stack and the core on top of it.
func (g *Gateway) openSIP() error {
	c := g.o.Config
	listeners, err := sipListeners(c.SIP)
	if err != nil {
		return err
	}
	g.openGuard()
	f := g.inForce()
	fc := flow.Config{Listen: listeners, Allow: f.allow, Deny: f.deny, Banned: g.guard.Banned, Domain: c.Domain, Origins: c.SIP.Origins, DSCP: c.SIP.DSCP, Wildcards: c.SIP.TLS.Wildcards,
		ShowCertificate: c.SIP.TLS.Cert != "", DialNode: g.dialNode, Log: g.o.Log}
	if fc.Certificate, err = sipCertificate(c.SIP.TLS, certificateHosts(c), g.o.Log); err != nil {
		return err
	}
	if fc.Roots, err = sipRoots("sip.tls.ca", c.SIP.TLS.CA); err != nil {
		return err
	}
	if fc.ClientRoots, err = sipRoots("sip.tls.client_ca", c.SIP.TLS.ClientCA); err != nil {
		return err
	}
	if err := g.openPolicy(&fc); err != nil {
		return err
	}
	if g.flows, err = flow.New(fc); err != nil {
		return inUse("sip.listen", strings.Join(c.SIP.Listen, ", "), err)
	}
	g.bindings.Together(g.flows.Together) // the answers to the REGISTERs of one commit
	g.bindings.Watch(g.diskRefuses)
	if g.names, err = newNames(c.Domain, g.listening()); err != nil {
		return err
	}
	g.guard.names = g.names
	if err := g.openLoad(); err != nil {
		return err
	}
	g.usage = sipusage.NewService(g.peer, g.aorOf)
	g.publisher = sipusage.NewPublisher(g.peer, g.o.Self, g.o.Keyring)
	g.usage.Kept(g.publisher.Keeps)
	g.shown = sipusage.NewCertificates(g.peer, g.o.Self)
	g.shown.Check(g.verify)
	g.publisher.ShowCertificates(g.shown)
	g.published = &published{publisher: g.publisher, log: g.o.Log.With().Str("component", "trunk").Logger()}
	g.uncertified.log = g.o.Log.With().Str("component", "registrar").Logger()
	g.publisher.Watch(func(aor location.AOR, err error) {
		if !g.published.stored(aor, err) {
			g.uncertified.stored(aor, err)
		}
	})
	g.forwards.bindings, g.forwards.publisher = g.bindings, g.published
	layer := transaction.New(transaction.Config{}, g.flows)
	g.metrics = metrics.New(metrics.Sources{Version: g.o.Version, Overlay: g.peer.Stats, Gauges: g.gauges})
	g.locator = &locator{g.bindings, g.user, g.usage, g.metrics}
	h, err := g.core(layer)
	if err != nil {
		return err
	}
	if g.accounts != nil {
		g.guard.account = g.accounts.IsContact
	}
	layer.Serve(h)
	g.layer, g.guard.next = layer, layer
	if g.redirect != nil {
		g.guard.next = &stateless{next: layer, server: g.redirect, flows: g.flows, draining: &g.draining}
	}
	return nil
}

// openLoad makes the overload control, which watches the first listener for UDP.
func (g *Gateway) openLoad() (err error) {
	g.load = newOverload(g.inForce().config.SIP.QueueDelay, g.inForce().emergencyNumbers())
	g.load.ours, g.load.trusted = g.names.ours, g.vouched
	g.waits, err = newWaits(g.firstUDP())
	return err
}

// vouched reports whether a source is a trusted network, or a trunk.
func (g *Gateway) vouched(from location.Hop) bool {
	return g.trusts(from) || g.trunks != nil && g.trunks.At(from) != ""
}

// core makes what our role wants.
func (g *Gateway) core(sender sip.Sender) (*handler, error) {
	h := &handler{names: g.names, draining: &g.draining, answered: g.answered("gateway"), checked: g.guard.Checked, load: g.load}
	if g.o.Config.Role == RoleRedirect {
		g.usage.Remember(g.o.Config.Redirect.Cache)
		g.redirect = redirect.New(redirect.Config{
			AOR: g.names.aor, Locator: g.callees(), Directory: g.usage, Now: time.Now, Outside: g.outside,
			Choices: g.o.Config.Redirect.Multiple == "300", UseProxy: g.o.Config.Redirect.UseProxy,
			Answered: g.redirected,
		})
		h.core = g.redirect
		return h, nil
	}
	resolver, err := resolve.New(g.o.DNS)
	if err != nil {
		return nil, err
	}
	g.openHealth(sender, resolver)
	g.openAccounts(sender, resolver)
	g.openTrunks()
	server := digest.NewServer(g.o.Config.Domain, g.user)
	secret, err := loadSecret(filepath.Join(g.o.Config.Data, "secret"))
	if err != nil {
		return nil, err
	}
	node := sipusage.NodeGR(g.peer.NodeID())
	gruus := location.NewGRUUs(secret, g.o.Config.Domain, node)
	g.makeRegistrar = func(f *inForce) *registrar.Registrar { return g.registrar(f, server, gruus) }
	g.inForce().registrar = g.makeRegistrar(g.inForce()) // nobody asks before the layer serves
	h.register = registering{g}
	g.events = g.notifier(sender, server, gruus)
	h.events = g.events
	g.proxy = proxy.New(proxy.Config{
		Sender: sender, Locator: g.callees(), Resolver: resolver, Domain: g.o.Config.Domain, NodeGR: node, GRUUs: gruus,
		Ours: g.names.ours, AOR: g.names.aor, Trusted: g.trusts, Secret: secret, Forward: g.forwards.to,
		Realms: g.o.Config.Security.Realms, Outside: g.outside,
		Authenticator: g.authenticator(server, message.ProxyAuthorization), Realm: g.o.Config.Domain, RequireAuth: !g.o.OpenCalls,
		Recurse: g.o.Config.Proxy.Recurse, History: g.o.Config.Proxy.HistoryInfo,
		Refused: func(r proxy.Refusal) { g.refused("proxy", r) }, Identity: g.identity(), Media: g.relay(),
		Trunks: g.trunks, Phones: g.guard.Phone, User: g.locator.isUser,
	})
	if p := g.o.Config.Registrar.Probe; p.Interval > 0 {
		g.prober = registrar.NewProber(registrar.ProbeConfig{
			All: g.bindings.All, Ask: g.proxy.Ask, Interval: p.Interval, Misses: p.Misses, Now: time.Now,
		})
	}
	h.core = g.proxy
	return h, nil
}

func (g *Gateway) registrar(f *inForce, server *digest.Server, gruus *location.GRUUs) *registrar.Registrar {
	c := f.config.Registrar
	if !c.GRUU {
		gruus = nil
	}
	return registrar.New(registrar.Config{
		Jitter: float64(c.Expires.Jitter) / 100, Random: rand.Float64, ServiceRoute: routes(c.ServiceRoute), StrictPath: c.Path == "strict", GRUUs: gruus,
		AOR: g.names.aor, Bindings: g.bindings, Publisher: g.forwards, Auth: g.authenticator(server, message.Authorization),
		Known: g.locator.ours, Trusted: within(f.registering), Alive: g.flows.Alive,
		DefaultExpires: c.Expires.Default, MinExpires: c.Expires.Min, MaxExpires: c.Expires.Max, MaxContacts: c.MaxContacts,
		PublishWait: c.PublishWait, Required: c.Publish == "required", Now: time.Now,
		Answered: g.answered("registrar"), Changed: g.bindingsChanged, Certified: g.certified,
		Unreachable: g.unreachable, Numbered: numbered(f.plan, g.o.Config.Domain),
	})
}

// notifier tells of registrations (RFC 3680). Networks that register without credentials may know.
func (g *Gateway) notifier(sender sip.Sender, server *digest.Server, gruus *location.GRUUs) *regevent.Notifier {
	if !g.o.Config.Registrar.GRUU {
		gruus = nil
	}
	return regevent.New(regevent.Config{
		Sender: sender, Bindings: g.bindings, AOR: g.names.aor, Auth: g.authenticator(server, message.Authorization), Trusted: g.registersFreely, GRUUs: gruus, Holds: g.holds(),
		Domain: g.o.Config.Domain, NodeGR: sipusage.NodeGR(g.peer.NodeID()), Now: time.Now, Answered: g.answered("registrar"),
		After: func(d time.Duration, f func()) func() {
			t := time.AfterFunc(d, f)
			return func() { t.Stop() }
		},
	})
}

// routes writes URIs as values of Service-Route (RFC 3608 §5).
func routes(uris []string) (out []string) {
	for _, u := range uris {
		out = append(out, "<"+u+">")
	}
	return out
}

func (g *Gateway) authenticator(server *digest.Server, field message.Name) *authenticator {
	return &authenticator{server: server, field: field, algorithms: g.algorithms, now: time.Now, refused: func(req *message.Message, err error) {
		g.guard.Wrong(req)
		g.refusals.Info().Str("component", "digest").Err(err).Msg("credentials refused")
	}}
}

// answered counts what a core answers, and logs refusals.
func (g *Gateway) answered(core string) func(sip.ServerTransaction, int, string) {
	return func(tx sip.ServerTransaction, status int, word string) {
		req := tx.Request()
		if word == "" {
			if req.Method == "REGISTER" && status == 200 {
				g.guard.Registered(tx.Source())
			}
			g.metrics.Response(core, req.Method, status, "")
			return
		}
		g.refused(core, proxy.Refusal{
			Code: word, Status: status, Method: req.Method, URI: req.RequestURI, From: req.Get(message.From), Source: tx.Source(),
		})
	}
}

// refused counts and logs a refusal: one line with its stable word. A challenge is the normal course of things.
func (g *Gateway) refused(core string, r proxy.Refusal) {
	g.metrics.Response(core, r.Method, r.Status, r.Code)
	level := zerolog.InfoLevel
	if r.Status == 401 || r.Status == 407 {
		level = zerolog.DebugLevel
	}
	g.refusals.WithLevel(level).Str("component", core).Str("code", r.Code).Int("status", r.Status).Str("method", r.Method).
		Str("transport", r.Source.Transport).Str("source", r.Source.Remote.String()).Msg("request refused")
}

// dialNode opens a connection to another gateway for the SIP stack (RFC 7904 §5.1).
func (g *Gateway) dialNode(ctx context.Context, gr string) (flow.NodeConn, error) {
	c, err := g.usage.Dial(ctx, gr)
	if err != nil {
		return flow.NodeConn{}, err
	}
	return nodeConn(c), nil
}

func nodeConn(c overlay.AppConn) flow.NodeConn {
	return flow.NodeConn{Conn: c.Conn, GR: sipusage.NodeGR(c.Peer.Node), Datagram: c.Datagram}
}

// certificateHosts are the names in a certificate that we make for ourselves.
func certificateHosts(c Config) []string {
	hosts := []string{c.Domain}
	for _, l := range c.SIP.Listen {
		if host, _, err := net.SplitHostPort(hostport(l)); err == nil && host != "0.0.0.0" && host != "::" && host != "" {
			hosts = append(hosts, host)
		}
	}
	if host, ok := bareHost(c.SIP.Advertise); ok && host != "" {
		hosts = append(hosts, host)
	}
	return hosts
}

// sipURIs are the addresses that a redirect peer may give to plain phones: one a transport. A phone in a browser opens the WebSocket that it
// was told of by its page, and no other.
func (g *Gateway) sipURIs() []string {
	var uris []string
	for _, a := range g.flows.Listeners() {
		if a.Transport == flow.WS || a.Transport == flow.WSS {
			continue
		}
		uris = append(uris, "sip:"+net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))+";transport="+strings.ToLower(a.Transport))
	}
	return uris
}

var _ location.Locator = (*locator)(nil)
