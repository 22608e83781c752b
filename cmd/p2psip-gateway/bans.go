package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

func runBans(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "bans", "ls | lift ADDRESS", `The addresses that a running node takes nothing from, because too many wrong passwords came from there.
  ls    lists them
  lift  ends the ban of ADDRESS; of IPv6 that of its /64. Exits 1 when there is none.`)
	operands, ok := q.parseAny(args)
	if !ok {
		return exitUsage
	}
	var r gateway.BansReport
	var err error
	switch {
	case len(operands) == 1 && operands[0] == "ls":
		err = q.get(ctx, "/api/v1/bans", &r)
	case len(operands) == 2 && operands[0] == "lift":
		err = q.ask(ctx, http.MethodDelete, "/api/v1/bans/"+url.PathEscape(operands[1]), &r)
	default:
		q.flags.Usage()
		return exitUsage
	}
	if err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tWHY\tENDS IN")
	for _, b := range r.Bans {
		fmt.Fprintf(w, "%s\t%s\t%v\n", b.Source, b.Code, time.Duration(b.EndsInSecs)*time.Second)
	}
	if more := r.Banned - len(r.Bans); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	return flush(w)
}
