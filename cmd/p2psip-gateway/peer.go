package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// peerCommands are the subcommands of peer, by name, and how many operands each takes.
var peerCommands = map[string]struct {
	operands int
	run      func(ctx context.Context, q query, operands []string) int
}{
	"ls":    {0, runPeerList},
	"ping":  {1, runPeerPing},
	"trace": {1, runPeerTrace},
}

func runPeer(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "peer", "ls | ping TARGET | trace TARGET", `Looks at the overlay through a running node. TARGET is a Node-ID in hexadecimal or an address-of-record.
  ls     lists the node's links
  ping   asks the node TARGET, or the one that is responsible for it, for an answer. Exits 1 when there is none.
  trace  shows the way to it, a line for each hop. Exits 1 when it does not get there.`)
	operands, code, ok := q.parseAny(args)
	if !ok {
		return code
	}
	if len(operands) > 0 {
		if c, known := peerCommands[operands[0]]; known && len(operands) == c.operands+1 {
			return c.run(ctx, q, operands[1:])
		}
	}
	return q.misuse()
}

func runPeerList(ctx context.Context, q query, _ []string) int {
	var r gateway.PeersReport
	if err := q.get(ctx, "/api/v1/peers", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PEER\tADDRESS\tTRANSPORT\tDIRECTION\tREADY\tRTT\tUP\tPAIR")
	for _, p := range r.Peers {
		ready := "yes"
		if !p.Ready {
			ready = "no" // a client, or not joined yet
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f ms\t%v\t%s\n", p.Peer, p.Address, p.Transport, p.Direction, ready, p.RTTms,
			time.Duration(p.SinceSecondsAgo)*time.Second, cmp.Or(p.Pair, "-"))
	}
	return flush(w)
}

func runPeerPing(ctx context.Context, q query, operands []string) int {
	var r gateway.PingReport
	if err := q.get(ctx, "/api/v1/ping?to="+url.QueryEscape(operands[0]), &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%.1f ms\t%s\n", r.Hop.Node, r.Hop.Millis, hopDetails(r.Hop))
	return flush(w)
}

func runPeerTrace(ctx context.Context, q query, operands []string) int {
	var r gateway.TraceReport
	if err := q.get(ctx, "/api/v1/trace?to="+url.QueryEscape(operands[0]), &r); err != nil {
		return q.fail(err)
	}
	code := exitOK
	if !r.Reached {
		code = exitConfig
	}
	if *q.json {
		return code
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	for i, h := range r.Hops {
		fmt.Fprintf(w, "%d\t%s\t%.1f ms\t%s\n", i, h.Node, h.Millis, hopDetails(h))
	}
	if !r.Reached {
		next := ""
		if n := len(r.Hops); n > 0 && r.Hops[n-1].Next != r.Hops[n-1].Node {
			next = r.Hops[n-1].Next
		}
		fmt.Fprintf(w, "%d\t%s\t*\t%s\n", len(r.Hops), next, r.Error)
	}
	return max(code, flush(w))
}

// hopDetails is what a node tells of itself.
func hopDetails(h gateway.HopReport) string {
	s := ""
	if h.Links >= 0 {
		s = count(h.Links, "link") + " away"
	}
	if h.UptimeSeconds >= 0 {
		s += fmt.Sprintf(", up %v", time.Duration(h.UptimeSeconds)*time.Second)
	}
	if h.RoutingTable >= 0 {
		s += fmt.Sprintf(", knows %d peers", h.RoutingTable)
	}
	if h.Next == h.Node && h.Next != "" {
		s += ", responsible"
	}
	return s
}
