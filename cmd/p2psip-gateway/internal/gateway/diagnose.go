package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// PeersReport is GET /api/v1/peers.
type PeersReport struct {
	Self  string       `json:"self"`
	Peers []PeerReport `json:"peers"` // one for each link, by Node-ID
}

// PeerReport is one overlay link and the node at its other end.
type PeerReport struct {
	Peer      string `json:"peer"`
	Address   string `json:"address"`
	Transport string `json:"transport"` // tls | dtls | dtls-ice
	// Pair is the candidate pair that ICE has chosen: "srflx 192.0.2.1:4000 (10.0.0.2:6084) -> relay 203.0.113.1:50000".
	Pair            string    `json:"pair,omitempty"`
	Direction       string    `json:"direction"` // out: this node connected; in
	Ready           bool      `json:"ready"`     // the peer is part of the ring: it may be routed through
	RTTms           float64   `json:"rtt_ms"`    // 0 before the first measurement
	Since           time.Time `json:"since"`
	SinceSecondsAgo int64     `json:"since_seconds_ago"`
}

// TargetReport says what a diagnostic request is about.
type TargetReport struct {
	Asked      string `json:"asked"`                 // as the request has it
	NodeID     string `json:"node_id,omitempty"`     // when it is a node
	AOR        string `json:"aor,omitempty"`         // when it is an address-of-record
	ResourceID string `json:"resource_id,omitempty"` // of the address-of-record
}

// PingReport is GET /api/v1/ping?to=.
type PingReport struct {
	Target TargetReport `json:"target"`
	Hop    HopReport    `json:"hop"` // the node that answered
}

// TraceReport is GET /api/v1/trace?to=.
type TraceReport struct {
	Target TargetReport `json:"target"`
	Hops   []HopReport  `json:"hops"` // this node first
	// Reached says that the last hop is the node that was asked for, or responsible for the resource.
	Reached bool   `json:"reached"`
	Error   string `json:"error,omitempty"` // why the walk ended behind the last hop
}

// HopReport is one node on the way.
type HopReport struct {
	Node          string  `json:"node"`
	Next          string  `json:"next,omitempty"` // where it would send to; itself when it is responsible
	Millis        float64 `json:"ms"`             // from here to there and back
	Links         int     `json:"links"`          // overlay links that the request crossed; -1 when the node does not tell
	UptimeSeconds int64   `json:"uptime_seconds"` // -1 when the node does not tell
	RoutingTable  int     `json:"routing_table"`  // peers; -1 when the node does not tell
}

// target is where a diagnostic request goes.
type target struct {
	report TargetReport
	dest   wire.Destination
}

// target reads a Node-ID in hexadecimal, or else an address-of-record.
func (g *Gateway) target(s string) (target, error) {
	if id, err := wire.ParseNodeID(strings.ToLower(s)); err == nil && !id.IsWildcard() {
		return target{TargetReport{Asked: s, NodeID: id.String()}, wire.ToNode(id)}, nil
	}
	aor, err := g.canonical(s)
	if err != nil {
		return target{}, err
	}
	res := wire.ResourceIDOf(string(aor))
	return target{TargetReport{Asked: s, AOR: string(aor), ResourceID: res.String()}, wire.ToResource(res)}, nil
}

func (g *Gateway) peers() PeersReport {
	r := PeersReport{Self: g.peer.NodeID().String(), Peers: []PeerReport{}}
	for _, l := range g.peer.Links() {
		p := PeerReport{Peer: l.Peer.String(), Address: l.Address, Transport: l.Transport, Direction: "in", Ready: l.Ready,
			RTTms: millis(l.RTT), Since: l.Since.UTC(), SinceSecondsAgo: int64(time.Since(l.Since).Seconds())}
		if l.Pair.Local.Type != "" {
			p.Pair = l.Pair.String()
		}
		if l.Dialed {
			p.Direction = "out"
		}
		r.Peers = append(r.Peers, p)
	}
	slices.SortStableFunc(r.Peers, func(a, b PeerReport) int { return cmp.Compare(a.Peer, b.Peer) })
	return r
}

func (g *Gateway) ping(ctx context.Context, to target) (PingReport, error) {
	h, err := g.peer.Diagnose(ctx, wire.NewDestinationList(to.dest))
	if err != nil {
		return PingReport{}, err
	}
	return PingReport{Target: to.report, Hop: hopReport(h)}, nil
}

func (g *Gateway) trace(ctx context.Context, to target) TraceReport {
	hops, err := g.peer.Trace(ctx, to.dest)
	r := TraceReport{Target: to.report, Hops: []HopReport{}}
	for _, h := range hops {
		r.Hops = append(r.Hops, hopReport(h))
	}
	switch {
	case err != nil:
		r.Error = err.Error()
	case to.dest.Type == wire.DestNode && hops[len(hops)-1].Node != to.dest.Node:
		r.Error = "no such node: the last hop is responsible for its place and has no link with it"
	default:
		r.Reached = true
	}
	return r
}

func hopReport(h overlay.Hop) HopReport {
	r := HopReport{Node: h.Node.String(), Millis: millis(h.RTT), Links: h.Links, UptimeSeconds: -1, RoutingTable: h.RoutingTable}
	if !h.Next.IsZero() {
		r.Next = h.Next.String()
	}
	if h.Uptime >= 0 {
		r.UptimeSeconds = int64(h.Uptime.Seconds())
	}
	return r
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
