package gateway

import (
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/resolve"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// Codes of what happens to trunks, in log lines.
const (
	codeTargetDown = "E0601"
	codeTargetUp   = "E0602"
)

// openHealth makes what watches the targets of trunks. Nothing is watched before watchTrunks.
func (g *Gateway) openHealth(sender sip.Sender, resolver *resolve.Resolver) {
	g.health = trunk.NewHealth(trunk.HealthOptions{Sender: sender, Resolve: resolver.Resolve, Domain: g.o.Config.Domain, Changed: g.targetChanged,
		Answered: func(h location.Hop) { g.proxy.Back(h) }})
}

// watchTrunks has those trunks watched that are in force.
func (g *Gateway) watchTrunks() {
	if g.health != nil {
		g.health.Watch(g.inForce().plan.Trunks())
	}
}

// targetChanged logs that a target went down or came up: one line for each.
func (g *Gateway) targetChanged(c trunk.HealthChange) {
	log := g.o.Log.With().Str("component", "trunk").Str("trunk", c.Trunk).Str("target", c.Target).Logger()
	if c.Address != "" {
		log = log.With().Str("address", c.Address).Logger()
	}
	if c.Down {
		log.Warn().Str("code", codeTargetDown).Str("reason", c.Reason).Dur("up_for", c.After).Msg("a target of the trunk is down")
		return
	}
	log.Info().Str("code", codeTargetUp).Str("reason", c.Reason).Dur("down_for", c.After).Msg("a target of the trunk is up again")
}

// trunkGauges adds how trunks stand.
func (g *Gateway) trunkGauges(m *metrics.Gauges) {
	if g.health == nil {
		return
	}
	m.TargetsUp = map[metrics.Target]bool{}
	for _, t := range g.health.Report() {
		m.TargetsUp[metrics.Target{Trunk: t.Trunk, URI: t.Target}] = !t.Down
	}
	m.Trunks = map[string]metrics.Trunk{}
	for _, st := range g.trunks.Status() {
		m.Trunks[st.Name] = metrics.Trunk{Calls: st.Calls, Results: st.Results, Failovers: st.Failovers}
	}
	m.ProbesAnswered, m.ProbesMissed = g.health.Probes()
}
