package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// scrape reads the sources at each scrape.
type scrape struct{ s Sources }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("p2psip_"+name, help, labels, nil)
}

var (
	descJoined       = desc("overlay_joined", "1 when the peer is part of the ring.")
	descLinks        = desc("overlay_links", "Overlay links that are up.")
	descTransports   = desc("overlay_transport_links", "Overlay links that are up, by what carries them.", "transport")
	descInbox        = desc("overlay_inbox_depth", "Inputs that wait for the event loop.")
	descMessages     = desc("overlay_messages_total", "RELOAD messages.", "direction", "method")
	descDropped      = desc("overlay_dropped_messages_total", "RELOAD messages and values that were dropped or refused.", "reason")
	descRequests     = desc("overlay_requests_total", "Requests of this node to the overlay that ended.", "method", "result")
	descHops         = desc("overlay_request_hops_total", "Answered requests of this node, by the length of the answer's path.", "hops")
	descEvents       = desc("overlay_events_total", "Events of the peer.", "event")
	descReasons      = desc("overlay_refusals_total", "What this peer refused or could not do, by event and reason.", "event", "reason")
	descRefused      = desc("overlay_refused_connections_total", "Connections to the peer that were refused.", "reason")
	descApps         = desc("overlay_app_connections_total", "Connections for SIP between gateways.", "result")
	descSessions     = desc("overlay_ice_sessions_total", "Sessions of ICE that ended, by how.", "outcome")
	descPairs        = desc("overlay_ice_pairs_total", "Candidate pairs that were chosen, by the types of their ends.", "local", "remote")
	descTURN         = desc("overlay_turn_allocations", "Allocations at this node's TURN server.")
	descTURNEvents   = desc("overlay_turn_events_total", "Events of this node's TURN server.", "event")
	descTURNOctets   = desc("overlay_turn_octets_total", "Octets that this node's TURN server has relayed, from and to peers of its clients.", "direction")
	descQueueFull    = desc("overlay_link_queue_full_total", "Messages for which a link's queue had no room.")
	descStored       = desc("overlay_stored_values", "Values held for the overlay.", "kind")
	descExpiry       = desc("overlay_certificate_expiry_timestamp_seconds", "When the node's certificate ends, in seconds since 1970.")
	descBindings     = desc("location_bindings", "Bindings of phones at this node.")
	descPublished    = desc("location_records", "Addresses-of-record of this node, by the state of their record in the overlay.", "state")
	descTargetUp     = desc("trunk_target_up", "1 when a target of a trunk that is watched takes calls.", "trunk", "target")
	descTrunkCalls   = desc("trunk_calls", "Calls over a trunk that are under way, both ways together.", "trunk")
	descTrunkResults = desc("trunk_requests_total", "Requests to a trunk, by what became of them at one of its targets, and calls received from it.", "trunk", "result")
	descFailovers    = desc("trunk_failovers_total", "Requests that went on to another target, or trunk.", "trunk")
	descProbes       = desc("trunk_probes_total", "OPTIONS sent to targets of trunks, by what became of them.", "result")
	descAccount      = desc("trunk_account", "1 for the state of each account at a provider.", "trunk", "state")
	descTransactions = desc("sip_transactions", "SIP transactions that have not ended.")
	descFinished     = desc("sip_finished_octets", "Memory for what is kept of finished SIP transactions, outside of the heap.")
	descConnections  = desc("sip_connections", "TCP and TLS connections of the SIP side.")
	descCallers      = desc("callers_total", "Requests outside of dialogs that were forwarded, by what is known of who sent them.", "caller")
	descFlow         = desc("sip_transport_events_total", "Events of the SIP transports.", "event")
	descTransaction  = desc("sip_transaction_events_total", "Events of the SIP transactions.", "event")
)

// Describe sends nothing: the collector is unchecked, its label values come and go.
func (c scrape) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c scrape) Collect(out chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	o, g := c.s.Overlay(), c.s.Gauges()
	for k, n := range o.Messages {
		count(descMessages, n, k.Direction, k.Method)
	}
	for k, n := range o.Requests {
		count(descRequests, n, k.Method, k.Result)
	}
	for k, n := range o.Reasons {
		count(descReasons, n, k.Event, k.Reason)
	}
	for k, n := range o.Hops {
		count(descHops, n, strconv.Itoa(k))
	}
	for d, m := range map[*prometheus.Desc]map[string]uint64{descDropped: o.Dropped, descEvents: o.Events, descRefused: o.Refused, descApps: o.AppConns,
		descSessions: o.Sessions, descTURNEvents: turnEvents(o.TURN),
		descCallers: g.Callers, descFlow: g.Flow, descTransaction: g.Transaction} {
		for label, n := range m {
			count(d, n, label)
		}
	}
	for k, n := range o.Pairs {
		count(descPairs, n, k.Local, k.Remote)
	}
	count(descTURNOctets, o.TURN.Received, "in")
	count(descTURNOctets, o.TURN.Sent, "out")
	gauge(descTURN, float64(o.TURN.Allocations))
	count(descQueueFull, o.LinkQueueFull)
	gauge(descLinks, float64(o.Links))
	for transport, n := range o.Transports {
		gauge(descTransports, float64(n), transport)
	}
	gauge(descInbox, float64(o.InboxDepth))
	joined := 0.0
	if g.Joined {
		joined = 1
	}
	gauge(descJoined, joined)
	for kind, n := range g.Stored {
		gauge(descStored, float64(n), kind)
	}
	for state, n := range g.Published {
		gauge(descPublished, float64(n), state)
	}
	collectTrunks(&g, count, gauge)
	if g.Media != nil {
		collectMedia(g.Media, count, gauge)
	}
	gauge(descExpiry, float64(g.CertificateExpiry.Unix()))
	gauge(descBindings, float64(g.Bindings))
	gauge(descTransactions, float64(g.Transactions))
	gauge(descFinished, float64(g.Finished))
	gauge(descConnections, float64(g.Connections))
}

// turnEvents are the counters of a TURN server, by name.
func turnEvents(t overlay.TURNStats) map[string]uint64 {
	return map[string]uint64{"allocated": t.Made, "unauthorized": t.Unauthorized, "over_quota": t.OverQuota, "bad_peer": t.BadPeer,
		"no_port": t.NoPort}
}

// collectTrunks collects what is known of trunks.
func collectTrunks(g *Gauges, count func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	for t, up := range g.TargetsUp {
		v := 0.0
		if up {
			v = 1
		}
		gauge(descTargetUp, v, t.Trunk, t.URI)
	}
	for trunk, state := range g.Accounts {
		gauge(descAccount, 1, trunk, state)
	}
	for trunk, t := range g.Trunks {
		gauge(descTrunkCalls, float64(t.Calls), trunk)
		count(descFailovers, t.Failovers, trunk)
		for result, n := range t.Results {
			count(descTrunkResults, n, trunk, result)
		}
	}
	count(descProbes, g.ProbesAnswered, "answered")
	count(descProbes, g.ProbesMissed, "missed")
}
