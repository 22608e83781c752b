package gateway

import (
	"context"
	"errors"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/sip/resolve"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// codeAccountFailed: an account is not registered. codeNoOwner: this gateway can not take part in who uses it. codeNoLeases: nobody can, the document
// of the overlay has to say how.
const (
	codeAccountFailed = "E0611"
	codeNoOwner       = "E0612"
	codeNoLeases      = "E0115"
)

// openAccounts makes what registers accounts at providers. None is before registerAccounts.
func (g *Gateway) openAccounts(sender sip.Sender, resolver *resolve.Resolver) {
	leases := sipusage.NewLeases(g.peer, g.o.Keyring, g.shown.OfferFirst)
	g.accounts = trunk.NewAccounts(trunk.AccountOptions{
		Sender: sender, Resolve: resolver.Resolve, Domain: g.o.Config.Domain, Owner: owner{leases}, Changed: g.accountChanged,
	})
}

// registerAccounts has those accounts registered that are in force.
func (g *Gateway) registerAccounts() {
	if g.accounts == nil || g.draining.Load() {
		return
	}
	plan := g.inForce().plan
	if !HasLeases(g.Overlay()) {
		for _, a := range sharedAccounts(plan) {
			g.o.Log.Warn().Str("component", "trunk").Str("trunk", a.Trunk).Str("code", codeNoLeases).
				Msg("the document of the overlay has no Kind 0xf0000002: no gateway can own the account, it stays standby")
		}
	}
	g.accounts.Set(plan.Trunks())
}

// HasLeases reports whether the document of an overlay has what gateways need to agree who uses an account.
func HasLeases(o *config.Overlay) bool {
	_, ok := o.Kind(wire.KindAccountLease)
	return ok
}

// SharedAccount is the account of a trunk that other gateways may have as well.
type SharedAccount struct {
	Trunk string
	Owner location.AOR // stands for it in the overlay
}

func sharedAccounts(p *trunk.Plan) (list []SharedAccount) {
	for _, t := range p.Trunks() {
		if r := t.Register; r != nil && r.Server != "" && r.Owner != "" {
			list = append(list, SharedAccount{t.Name, location.AOR(r.Owner)})
		}
	}
	return list
}

// SharedAccounts are those of a configuration, in a domain.
func (c *Config) SharedAccounts(domain string) []SharedAccount {
	inside := *c
	inside.Domain = domain
	return sharedAccounts(trunk.NewPlan(inside.trunking(func(string, string, ...any) {})))
}

// closeAccounts un-registers all of them and gives them back, so that other gateways take them over.
func (g *Gateway) closeAccounts(ctx context.Context) {
	if g.accounts != nil {
		g.accounts.Close(ctx)
	}
}

// owner has the gateways of the overlay agree who uses an account.
type owner struct{ leases *sipusage.Leases }

// Claim implements trunk.Owner.
func (o owner) Claim(name string, changed func()) trunk.Claim {
	return o.leases.Claim(location.AOR(name), changed)
}

// accountChanged logs that the state of an account changed: one line for each.
func (g *Gateway) accountChanged(r trunk.AccountReport) {
	log := g.o.Log.With().Str("component", "trunk").Str("trunk", r.Trunk).Str("state", string(r.State)).Logger()
	switch {
	case r.State == trunk.AccountFailed && r.Problem != nil:
		log.Warn().Str("code", codeNoOwner).Err(r.Problem).Msg("the account can not be claimed")
	case r.State == trunk.AccountFailed:
		log.Warn().Str("code", codeAccountFailed).Str("reason", r.Reason).Msg("the account is not registered")
	case r.State == trunk.AccountStandby && r.Holder != "":
		log.Info().Str("owner", g.ownerName(r.Holder)).Msg("the account is another gateway's")
	case r.State == trunk.AccountRegistered:
		log.Info().Time("until", r.Until).Msg("the account is registered")
	default:
		log.Debug().Msg("the account is not registered here")
	}
}

// ownerName is the Node-ID to which a gr value leads, for people.
func (g *Gateway) ownerName(gr string) string {
	dest, err := sipusage.ParseGR(gr, g.peer.NodeID().Len())
	if err != nil {
		return gr
	}
	n, _ := sipusage.Terminal(dest)
	return n.Short()
}

// accountWords is how each account stands, for people, by trunk.
func (g *Gateway) accountWords() map[string]string {
	words := map[string]string{}
	for _, r := range g.accounts.Report() {
		word := string(r.State)
		switch {
		case r.State == trunk.AccountFailed:
			word += " (" + r.Reason + ")"
		case r.State == trunk.AccountStandby && r.Holder != "":
			word += " (owner " + g.ownerName(r.Holder) + ")"
		case errors.Is(r.Problem, location.ErrNotOffered):
			word += " (" + codeNoLeases + ")"
		}
		words[r.Trunk] = word
	}
	return words
}

// accountGauges adds how accounts stand.
func (g *Gateway) accountGauges(m *metrics.Gauges) {
	if g.accounts == nil {
		return
	}
	m.Accounts = map[string]string{}
	for _, r := range g.accounts.Report() {
		m.Accounts[r.Trunk] = string(r.State)
	}
}

// owner is the user name that stands for an account in the overlay, "" when no other gateway has it.
func (c AccountConfig) owner(trunk, domain string, bad badKey) string {
	name := string(c.Owner)
	switch {
	case name == "none":
		return ""
	case name == "":
		name = trunk
	case strings.ContainsAny(name, " @:;<>"):
		bad("register.owner", "%q: want a user of this domain, or none", name)
	}
	return message.CanonicalUser(name) + "@" + domain
}

// over is a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
