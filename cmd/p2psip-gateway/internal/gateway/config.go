package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Role is what a node does for plain SIP.
type Role string

// The roles (RFC 7890 §3).
const (
	RoleProxy    Role = "proxy"    // registrar and proxy: proxy peer
	RoleRedirect Role = "redirect" // redirect peer
	RoleGateway  Role = "gateway"  // gateway peer: a proxy peer in front of trunks, which needs no users
)

// What a gateway is in the overlay (RFC 6940 §4.2).
const (
	RolePeer   = "peer"
	RoleClient = "client"
)

// Config is the configuration file of `run`. Relative paths are relative to the file.
type Config struct {
	Role   Role   `yaml:"role"`
	Domain string `yaml:"domain"` // SIP domain; the overlay's name when empty
	Data   string `yaml:"data"`   // directory of durable state
	// DrainTimeout is how long what is under way may take to end once the node is told to stop.
	DrainTimeout time.Duration   `yaml:"drain_timeout"`
	SIP          SIPConfig       `yaml:"sip"`
	Overlay      OverlayConfig   `yaml:"overlay"`
	Registrar    RegistrarConfig `yaml:"registrar"`
	Proxy        ProxyConfig     `yaml:"proxy"`
	Redirect     RedirectConfig  `yaml:"redirect"`
	Security     SecurityConfig  `yaml:"security"`
	NAT          NATConfig       `yaml:"nat"`
	Media        MediaConfig     `yaml:"media"`
	Admin        AdminConfig     `yaml:"admin"`
	Log          LogConfig       `yaml:"log"`
	// Trunks are PBXs and providers by name, Routes which numbers lead there: see trunks.go.
	Trunks           map[string]TrunkConfig `yaml:"trunks"`
	Routes           []RouteConfig          `yaml:"routes"`
	OutboundIdentity Dial                   `yaml:"outbound_identity"` // number that calls to trunks come from
	Caps             CapsConfig             `yaml:"caps"`
}

// SIPConfig is the SIP front end.
type SIPConfig struct {
	Listen    List      `yaml:"listen"`    // udp://, tcp://, tls://, ws://, wss://, host:port, and ?options
	Advertise string    `yaml:"advertise"` // host name or IP address that phones are told; empty: the listener's own
	TLS       TLSConfig `yaml:"tls"`
	// QueueDelay is how long messages may wait before new requests are refused (503); 0: as long as it takes. Emergency lists user parts
	// that are served all the same.
	QueueDelay time.Duration `yaml:"queue_delay"`
	Emergency  List          `yaml:"emergency"`
	DSCP       int           `yaml:"dscp"`              // mark of what phones are sent, 0 to 63
	Origins    List          `yaml:"websocket_origins"` // hosts whose pages may open a WebSocket, besides our own; * in a name stands for anything
}

// TLSConfig names PEM files. Without them a tls:// listener uses a certificate that is made at the start and signed by nobody.
type TLSConfig struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	CA       string `yaml:"ca"`        // roots for connections that we open; empty: the system's
	Clients  string `yaml:"clients"`   // certificates of phones and trunks: none | optional | required
	ClientCA string `yaml:"client_ca"` // roots for those; empty: the system's
	// Lowest version, 1.2 or 1.3, and the suites of 1.2 that may be used, by their IANA names; none: Go's own choice.
	MinVersion string `yaml:"min_version"`
	Suites     List   `yaml:"suites"`
	CRL        List   `yaml:"crl"`       // files with lists of revoked certificates, of phones and of servers
	Wildcards  bool   `yaml:"wildcards"` // take *.example.org in the certificate of a server, against RFC 5922 §7.2
}

// OverlayConfig is the peer.
type OverlayConfig struct {
	Join         string     `yaml:"join"`          // name of the overlay that the identity has to be of; empty: any
	Document     string     `yaml:"document"`      // overlay configuration document; empty: overlay.xml in identity
	Identity     string     `yaml:"identity"`      // directory made by `identity issue`
	Listen       List       `yaml:"listen"`        // tls://host:port, dtls://host:port
	SIPListen    List       `yaml:"sip_listen"`    // the same for SIP from other gateways; empty: host of each of listen, any port
	Advertise    List       `yaml:"advertise"`     // host:port that peers dial, with tls:// or dtls:// when they differ; empty: listen
	SIPAdvertise List       `yaml:"sip_advertise"` // the same for sip_listen
	Role         string     `yaml:"role"`          // peer | client, which stores and routes nothing for others (RFC 6940 §4.2)
	Bootstrap    List       `yaml:"bootstrap"`     // host:port of peers, besides the document's
	TURN         TURNConfig `yaml:"turn"`          // for an overlay with ICE
	First        bool       `yaml:"first"`         // may be the first peer of the overlay (RFC 6940 §6.4.2.1)
	// Discover is "lan", or "lan:" and interfaces with commas between: find nodes there, and be found; empty: do not.
	Discover string `yaml:"discover"`
	// Refresh is how often a node that was enrolled over the network looks for a newer configuration document; 0: never.
	Refresh time.Duration `yaml:"refresh"`
	// Services are what this gateway is found for, and calls by name, in an overlay with the Kind REDIR (RFC 7374).
	Services ServicesConfig `yaml:"services"`
}

// RegistrarConfig is the registrar.
type RegistrarConfig struct {
	Users       string        `yaml:"users"` // file of users
	Expires     ExpiresConfig `yaml:"expires"`
	MaxContacts int           `yaml:"max_contacts"`
	Publish     string        `yaml:"publish"` // best-effort | required
	PublishWait time.Duration `yaml:"publish_wait"`
	Digest      List          `yaml:"digest"`  // challenge algorithms: md5, sha-256
	Trusted     List          `yaml:"trusted"` // CIDRs that register without credentials
	Path        string        `yaml:"path"`    // of phones that do not know it: accept | strict (RFC 3327)
	GRUU        bool          `yaml:"gruu"`    // given to phones that know them (RFC 5627)
	// ServiceRoute is the route that phones are to use for their own requests, first hop first: URIs (RFC 3608).
	ServiceRoute List        `yaml:"service_route"`
	Probe        ProbeConfig `yaml:"probe"`
}

// ProbeConfig is the asking of contacts by OPTIONS whether they are there.
type ProbeConfig struct {
	Interval time.Duration `yaml:"interval"` // 0: nobody is asked
	Misses   int           `yaml:"misses"`   // in a row, and a contact is unreachable
}

// ExpiresConfig bounds the lifetime of a binding.
type ExpiresConfig struct {
	Default time.Duration `yaml:"default"`
	Min     time.Duration `yaml:"min"`
	Max     time.Duration `yaml:"max"`
	Jitter  Percent       `yaml:"jitter"` // up to which part of it is taken off at random
}

// ProxyConfig is the proxy.
type ProxyConfig struct {
	Recurse     bool `yaml:"recurse"`      // redirections are followed here instead of passed to the caller
	HistoryInfo bool `yaml:"history_info"` // History-Info is written (RFC 7044)
	// Identity says who sees P-Asserted-Identity of those who proved who they are: phones | gateways | none (RFC 3325).
	Identity string `yaml:"identity"`
}

// RedirectConfig is the redirect server.
type RedirectConfig struct {
	Multiple string        `yaml:"multiple"`  // status when there are several places: 302 | 300
	UseProxy bool          `yaml:"use_proxy"` // the only gateway is named as a proxy, with 305
	Cache    time.Duration `yaml:"cache"`     // how long a redirect peer uses what it has found
}

// LogConfig is the log on standard error.
type LogConfig struct {
	Level  string `yaml:"level"`  // debug | info | warn | error
	Format string `yaml:"format"` // text | json
}

// DefaultConfig is what a file that says nothing means.
func DefaultConfig() Config {
	return Config{
		Role: RoleProxy,
		Data: "data", DrainTimeout: 30 * time.Second,
		SIP: SIPConfig{Listen: List{"udp://0.0.0.0:5060", "tcp://0.0.0.0:5060"}, DSCP: 24, QueueDelay: 200 * time.Millisecond,
			TLS: TLSConfig{Clients: "none", MinVersion: "1.2"}},
		Overlay: OverlayConfig{
			Role:     RolePeer,
			Identity: "identity",
			Listen:   List{"tls://0.0.0.0:6084"},
			TURN:     TURNConfig{Ports: "49152-65535"},
			Refresh:  time.Hour,
		},
		Registrar: RegistrarConfig{
			Expires:     ExpiresConfig{Default: time.Hour, Min: time.Minute, Max: 2 * time.Hour, Jitter: 10},
			MaxContacts: 10,
			Path:        "accept",
			GRUU:        true,
			Probe:       ProbeConfig{Misses: 3},
			Publish:     "best-effort",
			PublishWait: 300 * time.Millisecond,
			Digest:      List{"md5"},
		},
		Proxy:    ProxyConfig{Identity: identityPhones},
		Redirect: RedirectConfig{Multiple: "302", Cache: 5 * time.Second},
		Security: defaultSecurity(),
		NAT:      defaultNAT(),
		Media:    defaultMedia(),
		Caps:     CapsConfig{Calls: 4, Daily: 200},
		Admin:    AdminConfig{Listen: "127.0.0.1:8060"},
		Log:      LogConfig{Level: "info", Format: "text"},
	}
}

// check finds what a type can not say.
func (c *Config) check(bad func(key, format string, args ...any)) {
	oneOf := func(key, value string, words ...string) {
		for _, w := range words {
			if value == w {
				return
			}
		}
		bad(key, "%q is none of %s", value, strings.Join(words, ", "))
	}
	oneOf("role", string(c.Role), string(RoleProxy), string(RoleRedirect), string(RoleGateway))
	if c.Registrar.MaxContacts < 1 {
		bad("registrar.max_contacts", "%d: want 1 or more", c.Registrar.MaxContacts)
	}
	if c.DrainTimeout < 0 {
		bad("drain_timeout", "%v: want 0 or more", c.DrainTimeout)
	}
	oneOf("registrar.publish", c.Registrar.Publish, "best-effort", "required")
	if p := c.Registrar.Probe; p.Interval != 0 && p.Interval < minProbe || p.Misses < 1 {
		bad("registrar.probe", "want an interval of 0 or %v and more, and at least one miss, have %v, %d", minProbe, p.Interval, p.Misses)
	}
	if d := c.Redirect.Cache; d < minCache || d > maxCache {
		bad("redirect.cache", "%v: want %v to %v", d, minCache, maxCache)
	}
	oneOf("redirect.multiple", c.Redirect.Multiple, "302", "300")
	oneOf("proxy.identity", c.Proxy.Identity, identityPhones, identityGateways, identityNone)
	oneOf("security.forged_from", c.Security.ForgedFrom, forgedMark, forgedPass, forgedRefuse)
	oneOf("registrar.path", c.Registrar.Path, "accept", "strict")
	for _, r := range c.Registrar.ServiceRoute {
		if u, err := message.ParseURI(r); err != nil || !u.IsSIP() {
			bad("registrar.service_route", "%q: want a URI such as sip:proxy.example.org;lr", r)
		}
	}
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	for _, d := range c.Registrar.Digest {
		oneOf("registrar.digest", d, "md5", "sha-256")
	}
	c.SIP.check(bad)
	c.Overlay.checkRole(bad)
	c.Overlay.checkSockets(bad)
	c.Overlay.TURN.check(bad)
	c.Overlay.Services.check(bad)
	if _, ok := Discover(c.Overlay.Discover); c.Overlay.Discover != "" && !ok {
		bad("overlay.discover", "%q: want lan, or lan:INTERFACE,INTERFACE", c.Overlay.Discover)
	}
	if r := c.Overlay.Refresh; r != 0 && r < time.Second {
		bad("overlay.refresh", "%v: want at least a second, or 0 for never", r)
	}
	c.Security.check(bad)
	c.NAT.check(bad)
	c.checkMedia(bad)
	for key, list := range map[string]List{"nat.lan": c.NAT.LAN, "security.trusted": c.Security.Trusted, "security.allow": c.Security.Allow, "security.deny": c.Security.Deny,
		"registrar.trusted": c.Registrar.Trusted} {
		if _, err := parsePrefixes(list); err != nil {
			bad(key, "%v", err)
		}
	}
	if e := c.Registrar.Expires; e.Min > e.Default || e.Default > e.Max || e.Min <= 0 {
		bad("registrar.expires", "want 0 < min <= default <= max, have %v, %v, %v", e.Min, e.Default, e.Max)
	}
	if j := c.Registrar.Expires.Jitter; j > maxJitter {
		bad("registrar.expires.jitter", "%g%%: more than %d%% is no lifetime", float64(j), maxJitter)
	}
	if c.Role == RoleProxy && c.Registrar.Users == "" {
		bad("registrar.users", "a proxy needs a file of users: lines \"user password\"")
	}
	c.trunking(bad)
	c.Admin.check(bad)
}

// checkRole finds what is wrong with the role in the overlay.
func (c *OverlayConfig) checkRole(bad func(key, format string, args ...any)) {
	switch {
	case c.Role != RolePeer && c.Role != RoleClient:
		bad("overlay.role", "%q is none of %s, %s", c.Role, RolePeer, RoleClient)
	case c.Role == RoleClient && c.First:
		bad("overlay.first", "a client needs a peer; the first of an overlay has role peer")
	}
}

// Bounds of redirect.cache: below, everything is asked for again and again; above, callers are sent where nobody is any more.
const (
	minCache = time.Second
	maxCache = 10 * time.Minute
)

// minProbe: an OPTIONS that is not answered takes 32 s to fail.
const minProbe = 30 * time.Second

// maxJitter, in percent: half of a lifetime is enough to spread anything.
const maxJitter = 50

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.IsLoopback())
}

// splitListener reads scheme://host:port.
func splitListener(s string, schemes ...string) (scheme, hostport string, err error) {
	scheme, hostport, ok := strings.Cut(s, "://")
	if ok {
		for _, want := range schemes {
			if scheme == want {
				_, _, err := net.SplitHostPort(hostport)
				return scheme, hostport, err
			}
		}
	}
	return "", "", fmt.Errorf("%q: want %s://host:port", s, strings.Join(schemes, "|"))
}

func parsePrefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network like 192.168.0.0/16", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
