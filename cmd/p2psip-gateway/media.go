package main

import (
	"cmp"
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// runMedia is `p2psip-gateway media`.
func runMedia(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "media", "ls", "Lists the calls whose media a running node relays: a line for each stream and side. * marks an address that packets come from.")
	operands, code, ok := q.parse(args, 1)
	if !ok {
		return code
	}
	if operands[0] != "ls" {
		return q.misuse()
	}
	var r gateway.MediaReport
	if err := q.get(ctx, "/api/v1/media", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CALL-ID\tSTATE\tAGE\tQUIET\tMEDIA\tSIDE\tTOLD\tSENDS TO\tPACKETS\tDROPPED")
	for _, c := range r.Calls {
		for _, st := range c.Streams {
			for i, s := range []gateway.MediaSideReport{st.Caller, st.Callee} {
				to := cmp.Or(s.Remote, "-")
				if s.Latched {
					to += " *"
				}
				fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%s\t%s\t%s\t%s\t%d\t%d\n", c.CallID, mediaState(c), time.Duration(c.AgeSeconds)*time.Second,
					time.Duration(c.QuietSeconds)*time.Second, st.Media, [...]string{"caller", "callee"}[i], s.Local, to, s.Packets, s.Dropped)
			}
		}
	}
	fmt.Fprintf(w, "relay %s, %d of %d pairs of ports\n", r.Relay, r.Ports, r.PortsTotal)
	return flush(w)
}

func mediaState(c gateway.MediaCallReport) string {
	switch {
	case !c.Answered:
		return "ringing"
	case c.Hold:
		return "hold"
	}
	return "talking"
}
