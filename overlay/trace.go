package overlay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ErrTraceLoop means that a walk came back to a node that it had passed.
var ErrTraceLoop = errors.New("overlay: the way goes round in a circle")

// Hop is a node that answered a diagnostic request (RFC 7851).
type Hop struct {
	Node wire.NodeID
	// Next is the node that Node would send to next, and Node itself at the end of the way. Zero for Diagnose.
	Next wire.NodeID
	RTT  time.Duration
	// Links is how many the request crossed. 0 when this node answered itself; -1 when the answer does not tell.
	Links int
	// Uptime of the program and number of peers in the routing table; -1 when they are not known.
	Uptime       time.Duration
	RoutingTable int
}

// hopFlags asks for what every node of an overlay may know of another.
var hopFlags = wire.DiagnosticRoutingTableSize.Flag() | wire.DiagnosticAppUptime.Flag()

// Diagnose is a Ping that also asks for diagnostic information (RFC 7851 §4.2). A node that does not know RFC 7851, or
// does not want to tell, answers it as a Ping.
func (p *Peer) Diagnose(ctx context.Context, dest wire.DestinationList) (h Hop, err error) {
	defer func() { p.count.request("ping", err) }()
	h, _, err = p.hop(ctx, func(flags uint64) node.Op {
		return node.OpPing{Destinations: dest, Diagnose: &node.Diagnose{Flags: flags}}
	})
	return h, err
}

// Trace walks the way to dest: it asks each node for its next hop, beginning with this one, until one says that it is
// responsible (RFC 7851 §4.3). Each request travels over the nodes found before, so that it is their links that are
// tried, and the answer comes back over them. On error the hops up to there are returned with it: the node that the last
// of them names as Next is the one that gave no answer. ctx should leave a few seconds for each hop.
func (p *Peer) Trace(ctx context.Context, dest wire.Destination) (hops []Hop, err error) {
	defer func() { p.count.request("path_track", err) }()
	seen := map[wire.NodeID]bool{}
	var path wire.DestinationList
	at := p.self
	for len(hops) <= int(p.Config().InitialTTL) {
		seen[at] = true
		list := path
		if at == p.self {
			list = wire.NewDestinationList(wire.ToNode(at))
		}
		h, err := p.pathTrack(ctx, list, dest)
		if err != nil {
			return hops, fmt.Errorf("overlay: %s: %w", at.Short(), err)
		}
		hops = append(hops, h)
		switch {
		case h.Next == h.Node:
			// RFC 7851 §4.3.1.2: "after receiving a PathTrackAns where the next_hop node ID equals the responding node
			// ID, the initiator MUST stop the iterative process".
			return hops, nil
		case seen[h.Next]:
			return hops, ErrTraceLoop
		}
		at = h.Next
		path = path.Append(wire.ToNode(at))
	}
	return hops, ErrTraceLoop
}

// pathTrack asks the last node of path.
func (p *Peer) pathTrack(ctx context.Context, path wire.DestinationList, dest wire.Destination) (Hop, error) {
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	h, done, err := p.hop(ctx, func(flags uint64) node.Op {
		return node.OpPathTrack{Hops: path, Destination: dest, Flags: flags}
	})
	if err != nil {
		return Hop{}, err
	}
	ans, ok := done.Answer.Message().Body.(*wire.PathTrackAns)
	if !ok || ans.NextHop.Type != wire.DestNode {
		return Hop{}, errUnexpected
	}
	h.Next = ans.NextHop.Node
	return h, nil
}

// hop carries out a diagnostic operation, and once more without any flag when the node refuses to tell: "the PathTrack
// request is only used for requesting the next hop information" then (RFC 7851 §4.3.1).
func (p *Peer) hop(ctx context.Context, op func(flags uint64) node.Op) (Hop, node.Done, error) {
	start := time.Now()
	done, err := p.do(ctx, op(hopFlags))
	if remote := new(RemoteError); errors.As(err, &remote) && remote.Code == wire.ErrorForbidden {
		start = time.Now()
		done, err = p.do(ctx, op(0))
	}
	if err != nil {
		return Hop{}, done, err
	}
	h := Hop{Node: done.Answer.Sender().Node, RTT: time.Since(start), Links: -1, Uptime: -1, RoutingTable: -1}
	d, err := done.Answer.Message().DiagnosticsResponse()
	if err != nil {
		return Hop{}, done, fmt.Errorf("overlay: %w", err)
	}
	if d == nil {
		return h, done, nil // RFC 7851 §4.2.1: "Senders MUST accept a response that lacks diagnostic information"
	}
	h.Links = int(p.Config().InitialTTL) - int(d.HopCounter)
	if h.Node != p.self {
		h.Links++ // the first link does not cost ttl
	}
	if v, ok := d.Number(wire.DiagnosticAppUptime); ok {
		h.Uptime = time.Duration(min(v, maxUptime)) * time.Second
	}
	if v, ok := d.Number(wire.DiagnosticRoutingTableSize); ok {
		h.RoutingTable = int(v)
	}
	return h, done, nil
}
