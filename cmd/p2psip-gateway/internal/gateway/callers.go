package gateway

import (
	"context"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/proxy"
)

// Who may see the asserted identity of a caller (RFC 3325): values of proxy.identity.
const (
	identityPhones   = "phones"
	identityGateways = "gateways"
	identityNone     = "none"
)

// What becomes of requests over the overlay whose caller is not proven: values of security.forged_from.
const (
	forgedMark   = "mark"
	forgedPass   = "pass"
	forgedRefuse = "refuse"
)

// codeCaller is of the log line of a call whose caller is not proven.
const codeCaller = "SEC-CALLER"

// identity is what the proxy does with the identity of callers.
func (g *Gateway) identity() proxy.Identity {
	c := g.o.Config
	g.vouchers = g.newVouchers()
	id := proxy.Identity{
		Assert: c.Proxy.Identity != identityNone, Phones: c.Proxy.Identity == identityPhones, Trusted: c.Security.TrustedIdentity,
		Mark: c.Security.ForgedFrom == forgedMark, Refuse: c.Security.ForgedFrom == forgedRefuse, Callers: g.usage, Told: g.called, Proved: g.vouchers.proved,
	}
	if c.SIP.TLS.Clients != "none" && c.SIP.TLS.ClientCA != "" {
		// A certificate names a user only if somebody whom we chose has checked that: the roots of the system check names of hosts.
		id.Certified = func(from location.Hop) []location.AOR {
			if from.Flow == 0 {
				return nil
			}
			return g.certified(from)
		}
	}
	return id
}

// holds asks whether a gateway may know the registrations of a user; nil: each is believed. What an operator chose for calls whose caller is not
// proven counts for this as well: who refuses those tells only gateways that hold the user's certificate.
func (g *Gateway) holds() func(ctx context.Context, node string, aor location.AOR) (location.Holding, error) {
	if g.o.Config.Security.ForgedFrom != forgedRefuse {
		return nil
	}
	return g.usage.Holds
}

// called logs who calls over the overlay.
func (g *Gateway) called(c proxy.Caller) {
	e := g.refusals.Debug()
	if c.Verdict == proxy.Unverified {
		e = g.refusals.Info().Str("code", codeCaller).Bool("late", c.Late)
	}
	if !e.Enabled() {
		return
	}
	if dest, err := sipusage.ParseGR(c.Node, g.peer.NodeID().Len()); err == nil {
		peer, _ := sipusage.Terminal(dest)
		e = e.Str("peer_id", peer.Short())
	}
	e.Str("component", "proxy").Str("caller", c.Verdict.String()).Str("method", c.Method).Str("aor", string(c.AOR)).Msg("call from another gateway")
}

// verdicts are what was found of callers, for the metrics.
func (g *Gateway) verdicts() map[string]uint64 {
	m := map[string]uint64{}
	if g.proxy != nil {
		for _, n := range g.proxy.Stats().Callers {
			m[n.Label] = n.N
		}
	}
	return m
}
