package gateway

import (
	"net/netip"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/proxy"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// SecurityConfig says who may call, and how much strangers may ask for.
type SecurityConfig struct {
	Trusted List      `yaml:"trusted"` // CIDRs that call as users of the domain without credentials, and without limits
	Allow   List      `yaml:"allow"`   // the only CIDRs that may use the SIP listeners; empty: all
	Deny    List      `yaml:"deny"`    // CIDRs that may not
	Rate    float64   `yaml:"rate"`    // requests a second from one address where no phone is registered; 0: no limit
	Burst   float64   `yaml:"burst"`   // requests at once from there
	Stealth bool      `yaml:"stealth"` // strangers from the Internet get no answer to OPTIONS, and do not learn which users exist
	Realms  List      `yaml:"realms"`  // of others, whose challenges phones may see and answer
	Ban     BanConfig `yaml:"ban"`
	// TrustedIdentity has the P-Asserted-Identity of those who are trusted believed and sent on. ForgedFrom is what becomes of requests over the overlay
	// whose caller the other gateway can not prove: mark | pass | refuse.
	TrustedIdentity bool   `yaml:"trusted_identity"`
	ForgedFrom      string `yaml:"forged_from"`
}

// BanConfig is when an address on the Internet is banned, and for how long.
type BanConfig struct {
	Failures int           `yaml:"failures"` // wrong passwords within Window, over UDP four times as many; 0: no bans
	Window   time.Duration `yaml:"window"`
	Time     time.Duration `yaml:"time"`
}

func defaultSecurity() SecurityConfig {
	return SecurityConfig{ForgedFrom: forgedMark, Rate: 10, Burst: 100, Stealth: true, Ban: BanConfig{Failures: 10, Window: 10 * time.Minute, Time: time.Hour}}
}

func (c *SecurityConfig) check(bad func(key, format string, args ...any)) {
	if c.Rate < 0 || c.Rate > 0 && c.Burst < 1 {
		bad("security.rate", "want rate and burst above 0, or a rate of 0 for no limit")
	}
	if c.Ban.Failures < 0 || c.Ban.Failures > 0 && (c.Ban.Window <= 0 || c.Ban.Time <= 0) {
		bad("security.ban", "want failures, window and time above 0, or failures: 0 for no bans")
	}
}

// guardConfig is what the guard goes by.
func (g *Gateway) guardConfig(f *inForce) guardConfig {
	c := f.config.Security
	return guardConfig{
		rate: c.Rate, burst: c.Burst, failures: float64(c.Ban.Failures), window: c.Ban.Window, ban: c.Ban.Time, stealth: c.Stealth,
		trusted: append(slices.Clip(f.trusted), trunkSources(f.plan)...), now: time.Now, log: g.refusals, refused: g.turnedAway,
	}
}

func (g *Gateway) openGuard() {
	g.guard = newGuard(g.guardConfig(g.inForce()))
	g.guard.send = func(m *message.Message, from location.Hop, b []byte) {
		if via, err := m.TopVia(); err == nil {
			_ = g.flows.Send(g.flows.ResponseHop(from, via), b, nil) // the next one is told
		}
	}
}

// trunkSources are the networks of trunks that need nothing else to be one: a PBX that comes back after a power cut registers all of its extensions at once.
func trunkSources(p *trunk.Plan) (list []netip.Prefix) {
	for _, t := range p.Trunks() {
		if len(t.Certificate) == 0 && len(t.Headers) == 0 {
			list = append(list, t.AcceptFrom...)
		}
	}
	return list
}

// outside reports whether a source is on the Internet, as far as it matters: nobody vouches for what comes from there.
func (g *Gateway) outside(from location.Hop) bool {
	a := from.Remote.Addr()
	return g.inForce().config.Security.Stealth && from.Node == "" && !private(a) && !g.guard.isTrusted(a)
}

// turnedAway counts and logs what the guard let no further.
func (g *Gateway) turnedAway(r *sip.Refusal, m *message.Message, from location.Hop) {
	g.refused("guard", proxy.Refusal{Code: r.Word, Status: r.Status, Method: m.Method, Source: from})
}
