package gateway

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// TrunkConfig is a PBX or provider.
type TrunkConfig struct {
	Targets       List              `yaml:"targets"`        // where calls to it go: sip:host:port, or <sip:host:port>;weight=2
	AcceptFrom    List              `yaml:"accept_from"`    // addresses and networks that its requests come from; empty: those of the targets
	Certificate   List              `yaml:"certificate"`    // names, one of which its TLS certificate must hold
	Header        map[string]string `yaml:"header"`         // fields that its requests must have
	TrustIdentity bool              `yaml:"trust_identity"` // take and give P-Asserted-Identity
	Health        HealthConfig      `yaml:"health"`
	Register      AccountConfig     `yaml:"register"`
	RegisteredAs  Dial              `yaml:"registered_as"` // user as whom it registers here: its bindings are the targets
	MaxCalls      int               `yaml:"max_calls"`
	LoadShare     string            `yaml:"load_share"` // ordered | weighted
	Domain        string            `yaml:"domain"`     // host in Request-URI, From and To of calls to it
	Timeout       time.Duration     `yaml:"timeout"`    // without any response; then the next target
	Country       Dial              `yaml:"country"`    // country code of national numbers
	Inbound       []NumberConfig    `yaml:"inbound"`    // translation of the numbers that it calls
	Outbound      []NumberConfig    `yaml:"outbound"`   // of those that are called over it
	Prefixes      DialList          `yaml:"prefixes"`   // the only numbers that may be called over it
}

func (c *TrunkConfig) defaults() {
	*c = TrunkConfig{LoadShare: "ordered", Timeout: trunk.DefaultTimeout, Health: HealthConfig{Down: 3, Up: 2}, Register: AccountConfig{Expires: time.Hour, Called: "to"}}
}

// HealthConfig is the watching of a trunk by OPTIONS.
type HealthConfig struct {
	Options time.Duration `yaml:"options"` // 0: none
	Down    int           `yaml:"down"`
	Up      int           `yaml:"up"`
}

// AccountConfig is an account at a provider.
type AccountConfig struct {
	Server     string        `yaml:"server"` // host, or URI
	User       Dial          `yaml:"user"`
	AuthUser   Dial          `yaml:"auth_user"` // empty: user
	Secret     string        `yaml:"secret"`
	SecretFile string        `yaml:"secret_file"`
	Realm      string        `yaml:"realm"` // empty: host of server
	Expires    time.Duration `yaml:"expires"`
	Called     string        `yaml:"called"` // to | p-called-party-id: where calls from it say what was dialled
	Owner      Dial          `yaml:"owner"`  // user of this domain that stands for it in the overlay; empty: the name of the trunk; none: no other gateway has it
}

// NumberConfig is one rule of a translation.
type NumberConfig struct {
	Match   Dial   `yaml:"match"`
	Strip   int    `yaml:"strip"`
	Prepend Dial   `yaml:"prepend"`
	Format  string `yaml:"format"`
	To      Dial   `yaml:"to"`
}

// RouteConfig leads numbers to trunks.
type RouteConfig struct {
	Match     Dial     `yaml:"match"`
	To        DialList `yaml:"to"`
	Publish   bool     `yaml:"publish"` // visible from every gateway
	Strip     int      `yaml:"strip"`
	Prepend   Dial     `yaml:"prepend"`
	Format    string   `yaml:"format"`
	Require   string   `yaml:"require"` // "" | auth | none
	Emergency bool     `yaml:"emergency"`
	Allow     DialList `yaml:"allow"` // callers
}

// CapsConfig limits what one user may spend.
type CapsConfig struct {
	Calls int `yaml:"calls"` // at a time; 0: no limit
	Daily int `yaml:"daily"` // begun in a day
}

// Limits of trunks.
const (
	minProbeTrunk  = 5 * time.Second
	maxTrunkWait   = 32 * time.Second // Timer B
	minTrunkWait   = 500 * time.Millisecond
	minAccountTime = time.Minute
)

// badKey reports what is wrong with a key.
type badKey func(key, format string, args ...any)

// trunking is what the trunks and routes of a configuration mean, without secrets. What is wrong goes to bad.
func (c *Config) trunking(bad badKey) trunk.Config {
	out := trunk.Config{Domain: c.Domain, Identity: string(c.OutboundIdentity), Caps: trunk.Caps{Calls: c.Caps.Calls, Daily: c.Caps.Daily}}
	if c.Caps.Calls < 0 || c.Caps.Daily < 0 {
		bad("caps", "a limit below 0")
	}
	if strings.ContainsAny(string(c.OutboundIdentity), " @<>:;") {
		bad("outbound_identity", "%q: want a number", c.OutboundIdentity)
	}
	if len(c.Trunks) > trunk.MaxTrunks {
		bad("trunks", "%d of them: want at most %d", len(c.Trunks), trunk.MaxTrunks)
	}
	if c.Role == RoleRedirect && len(c.Trunks)+len(c.Routes) > 0 {
		bad("trunks", "a redirect peer has none: want role: gateway, or proxy")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Trunks)) {
		t := c.Trunks[name]
		bad := func(key, format string, args ...any) { bad("trunks."+name+"."+key, format, args...) }
		trunk := t.trunk(name, bad)
		if trunk.Register != nil {
			trunk.Register.Owner = t.Register.owner(name, c.Domain, bad)
		}
		out.Trunks = append(out.Trunks, trunk)
	}
	if len(c.Routes) > trunk.MaxRoutes {
		bad("routes", "%d of them: want at most %d", len(c.Routes), trunk.MaxRoutes)
	}
	for i := range c.Routes {
		at := fmt.Sprintf("routes[%d].", i)
		out.Routes = append(out.Routes, c.Routes[i].route(c, func(key, format string, args ...any) { bad(at+key, format, args...) }))
	}
	return out
}

func (c *TrunkConfig) trunk(name string, bad badKey) trunk.Trunk {
	t := trunk.Trunk{Name: name, Certificate: c.Certificate, TrustIdentity: c.TrustIdentity, RegisteredAs: string(c.RegisteredAs), MaxCalls: c.MaxCalls,
		Domain: c.Domain, Timeout: c.Timeout, Country: string(c.Country), Weighted: c.LoadShare == "weighted",
		Health: trunk.HealthConfig{Options: c.Health.Options, Down: c.Health.Down, Up: c.Health.Up}}
	if c.LoadShare != "ordered" && c.LoadShare != "weighted" {
		bad("load_share", "%q is none of ordered, weighted", c.LoadShare)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		t.Headers = append(t.Headers, trunk.Header{Name: name, Value: c.Header[name]})
	}
	c.ranges(bad)
	c.account(&t, bad)
	c.targets(&t, bad)
	c.sources(&t, bad)
	t.Inbound, t.Outbound = numbers(c.Inbound, "inbound", bad), numbers(c.Outbound, "outbound", bad)
	t.Prefixes = patterns(c.Prefixes, "prefixes", bad)
	return t
}

// ranges looks at the numbers.
func (c *TrunkConfig) ranges(bad badKey) {
	if c.MaxCalls < 0 {
		bad("max_calls", "%d: want 0 or more", c.MaxCalls)
	}
	if c.Timeout < minTrunkWait || c.Timeout > maxTrunkWait {
		bad("timeout", "%v: want %v to %v", c.Timeout, minTrunkWait, maxTrunkWait)
	}
	if h := c.Health; h.Options != 0 && h.Options < minProbeTrunk || h.Down < 1 || h.Up < 1 {
		bad("health", "want options of 0 or %v and more, and down and up of 1 or more", minProbeTrunk)
	}
	if strings.Trim(string(c.Country), "0123456789") != "" {
		bad("country", "%q: want the digits of a country code", c.Country)
	}
	if strings.ContainsAny(c.Domain, " @:;<>/") {
		bad("domain", "%q: want a host", c.Domain)
	}
	if strings.ContainsAny(string(c.RegisteredAs), " @:;<>") {
		bad("registered_as", "%q: want a user of this domain", c.RegisteredAs)
	}
}

// account looks at the account. Its server is the target when there is no other.
func (c *TrunkConfig) account(t *trunk.Trunk, bad badKey) {
	a := c.Register
	if a == (AccountConfig{Expires: a.Expires, Called: a.Called}) {
		return
	}
	r := &trunk.RegisterConfig{Server: a.Server, User: string(a.User), AuthUser: string(a.AuthUser), Secret: a.Secret, Realm: a.Realm, Expires: a.Expires}
	t.Register = r
	if r.CalledParty = a.Called == "p-called-party-id"; !r.CalledParty && a.Called != "to" {
		bad("register.called", "%q is none of to, p-called-party-id", a.Called)
	}
	if r.AuthUser == "" {
		r.AuthUser = r.User
	}
	if r.Server != "" && !strings.HasPrefix(r.Server, "sip:") && !strings.HasPrefix(r.Server, "sips:") {
		r.Server = "sip:" + r.Server
	}
	u, err := message.ParseURI(r.Server)
	if r.Server != "" && (err != nil || u.Host == "") {
		bad("register.server", "%q: want a host, or a URI such as sip:sip.itsp.example;transport=tls", a.Server)
	}
	if r.Realm == "" {
		r.Realm = u.Host
	}
	switch {
	case r.User == "":
		bad("register.user", "there is no user")
	case a.Secret == "" && a.SecretFile == "", a.Secret != "" && a.SecretFile != "":
		bad("register.secret", "want either secret or secret_file")
	case r.Realm == "":
		bad("register.realm", "want a realm, or a server: credentials are for nobody else")
	case a.Expires < minAccountTime:
		bad("register.expires", "%v: want %v or more", a.Expires, minAccountTime)
	}
}

func (c *TrunkConfig) targets(t *trunk.Trunk, bad badKey) {
	for _, s := range c.Targets {
		target, err := trunk.ParseTarget(s)
		if err != nil {
			bad("targets", "%v", err)
		}
		t.Targets = append(t.Targets, target)
	}
	if len(c.Targets) > trunk.MaxTargets {
		bad("targets", "%d of them: want at most %d", len(c.Targets), trunk.MaxTargets)
	}
	switch registrar := t.Register; {
	case len(t.Targets) > 0 && c.RegisteredAs != "":
		bad("registered_as", "its bindings are the targets: there are to be no others")
	case len(t.Targets) > 0 || c.RegisteredAs != "":
	case registrar != nil && registrar.Server != "":
		t.Targets = []trunk.Target{{URI: registrar.Server, Weight: 1}}
	default:
		bad("targets", "want targets, register.server or registered_as: calls to it have to go somewhere")
	}
}

// sources works out where its requests come from.
func (c *TrunkConfig) sources(t *trunk.Trunk, bad badKey) {
	var err error
	if t.AcceptFrom, err = parsePrefixes(c.AcceptFrom); err != nil {
		bad("accept_from", "%v", err)
	}
	if len(c.AcceptFrom) > 0 || len(c.Certificate) > 0 {
		return
	}
	for _, target := range t.Targets {
		u, err := message.ParseURI(target.URI)
		if a, ok := message.Addr(u.Host); err == nil && ok {
			t.AcceptFrom = append(t.AcceptFrom, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		}
	}
	if len(c.Header) > 0 && len(t.AcceptFrom) == 0 {
		bad("header", "anybody can write a header field: want accept_from or certificate too")
	}
}

func (c *RouteConfig) route(all *Config, bad badKey) trunk.Route {
	r := trunk.Route{Publish: c.Publish, Emergency: c.Emergency, Allow: patterns(c.Allow, "allow", bad),
		Change: NumberConfig{Strip: c.Strip, Prepend: c.Prepend, Format: c.Format}.change("", bad)}
	r.Match = pattern(c.Match, "match", bad)
	for _, name := range c.To {
		if _, ok := all.Trunks[string(name)]; !ok {
			bad("to", "there is no trunk %q; %s", name, suggest(string(name), slices.Sorted(maps.Keys(all.Trunks))))
		}
		r.To = append(r.To, string(name))
	}
	if len(c.To) == 0 {
		bad("to", "want the name of a trunk")
	}
	words := map[string]trunk.Require{"": trunk.RequireKnown, "known": trunk.RequireKnown, "auth": trunk.RequireAuth, "none": trunk.RequireNone}
	var ok bool
	if r.Require, ok = words[c.Require]; !ok {
		bad("require", "%q is none of known, auth, none", c.Require)
	}
	if c.Publish && !r.Match.Ours() {
		bad("publish", "only users of this domain can be published, not those of another")
	}
	if _, ok := PublishedName(r.Match, "ours"); c.Publish && r.Match.Ours() && !ok {
		bad("publish", "%q can not be published: want a number, or a range with a prefix of digits, such as 2xx or +49301234*", c.Match)
	}
	return r
}

func numbers(list []NumberConfig, key string, bad badKey) trunk.Numbers {
	var rules []trunk.Rule
	if len(list) > trunk.MaxRules {
		bad(key, "%d rules: want at most %d", len(list), trunk.MaxRules)
	}
	for i, n := range list {
		at := fmt.Sprintf("%s[%d].", key, i)
		rules = append(rules, trunk.Rule{Match: pattern(n.Match, at+"match", bad), Change: n.change(at, bad)})
	}
	return trunk.NewNumbers(rules)
}

func (c NumberConfig) change(at string, bad badKey) trunk.Change {
	f, ok := trunk.Formats[c.Format]
	if !ok {
		bad(at+"format", "%q is none of %s", c.Format, strings.Join(slices.Sorted(maps.Keys(trunk.Formats))[1:], ", "))
	}
	if c.Strip < 0 {
		bad(at+"strip", "%d: want 0 or more", c.Strip)
	}
	for key, v := range map[string]Dial{"prepend": c.Prepend, "to": c.To} {
		if strings.ContainsAny(string(v), " @:;<>\"") {
			bad(at+key, "%q: want a part of a number, or a user", v)
		}
	}
	return trunk.Change{Strip: c.Strip, Prepend: string(c.Prepend), Format: f, To: string(c.To)}
}

func pattern(d Dial, key string, bad badKey) trunk.Pattern {
	p, err := trunk.ParsePattern(string(d))
	if err != nil {
		bad(key, "%q: %v", d, err)
	}
	return p
}

func patterns(list DialList, key string, bad badKey) (out []trunk.Pattern) {
	for _, d := range list {
		out = append(out, pattern(d, key, bad))
	}
	return out
}

// plan is what the trunks and routes mean, with their secrets.
func (c *Config) plan() (*trunk.Plan, error) {
	var errs []error
	t := c.trunking(func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("E0104 %s: %s", key, fmt.Sprintf(format, args...)))
	})
	for i := range t.Trunks {
		file := c.Trunks[t.Trunks[i].Name].Register.SecretFile
		if file == "" {
			continue
		}
		b, err := os.ReadFile(file)
		secret, _, _ := strings.Cut(string(b), "\n")
		if secret = strings.TrimSuffix(secret, "\r"); err == nil && secret == "" {
			err = fmt.Errorf("%s is empty: want the secret in its first line", file)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("E0106 trunks.%s.register.secret_file: %w", t.Trunks[i].Name, err))
			continue
		}
		t.Trunks[i].Register.Secret = secret
	}
	return trunk.NewPlan(t), errors.Join(errs...)
}

func sortedKeys(m reflect.Value) (keys []string) {
	for _, k := range m.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}
