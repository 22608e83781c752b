package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// runUser is `p2psip-gateway user`.
func runUser(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "user", "forward [AOR [URI]]", `Forwards the calls of a user that would ring at a running node: to another user, or to a SIP URI anywhere.
The user's phones at that node do not ring then; those at other nodes do. Without URI it shows what is set,
without AOR everything that is set at the node.`)
	off := q.flags.Bool("off", false, "end the forwarding")
	operands, code, ok := q.parseAny(args)
	if !ok {
		return code
	}
	if len(operands) == 0 || operands[0] != "forward" || len(operands) > 3 || *off && len(operands) != 2 {
		return q.misuse()
	}
	switch {
	case *off:
		return q.changeForward(ctx, http.MethodDelete, operands[1], nil)
	case len(operands) == 3:
		body, err := json.Marshal(gateway.ForwardRequest{URI: operands[2]})
		if err != nil {
			return q.fail(err)
		}
		return q.changeForward(ctx, http.MethodPut, operands[1], bytes.NewReader(body))
	}
	return q.forwards(ctx, operands[1:])
}

// forwards lists what is set at the node, or for one user.
func (q query) forwards(ctx context.Context, aors []string) int {
	var r gateway.ForwardsReport
	if err := q.get(ctx, "/api/v1/forwards", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AOR\tFORWARDED TO\tSINCE\tOVERLAY")
	for _, f := range r.Forwards {
		user, _, _ := strings.Cut(f.AOR, "@")
		if len(aors) > 0 && aors[0] != f.AOR && aors[0] != user {
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.AOR, f.URI, f.Since.Format("2006-01-02 15:04"), f.State)
	}
	return flush(w)
}

func (q query) changeForward(ctx context.Context, method, aor string, body io.Reader) int {
	var r gateway.ForwardReport
	if err := q.send(ctx, method, "/api/v1/forwards/"+url.PathEscape(aor), body, &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	if r.URI == "" {
		fmt.Fprintf(q.std.out, "%s: not forwarded\n", r.AOR)
	} else {
		fmt.Fprintf(q.std.out, "%s: forwarded to %s, record %s\n", r.AOR, r.URI, r.State)
	}
	if r.Error != "" {
		fmt.Fprintf(q.std.out, "      the overlay has not taken it yet, and is asked again: %s\n", r.Error)
	}
	return exitOK
}

// printForwards shows what a lookup found of forwardings.
func printForwards(w io.Writer, r gateway.LookupReport) {
	if r.Forwarded != "" {
		fmt.Fprintf(w, "forwarded\tto %s by this node\n", r.Forwarded)
	}
	for _, s := range r.Steps {
		at := ""
		if len(s.Gateways) > 0 {
			at = ", at " + strings.Join(s.Gateways, ", ")
		}
		fmt.Fprintf(w, "step %d\t%s forwards to %s: %s%s\n", s.Depth, s.AOR, s.URI, s.Result, at)
	}
}
