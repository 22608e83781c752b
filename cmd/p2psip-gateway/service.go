package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// runService is `p2psip-gateway service`.
func runService(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "service", "ls | find NAME", "Lists the services that a running node offers in the overlay, or looks for the providers of one (RFC 7374).\nfind exits 1 when there is none.")
	operands, code, ok := q.parseAny(args)
	switch {
	case !ok:
		return code
	case len(operands) == 1 && operands[0] == "ls":
		return q.services(ctx)
	case len(operands) == 2 && operands[0] == "find":
		return q.service(ctx, operands[1])
	}
	return q.misuse()
}

func (q query) services(ctx context.Context) int {
	var r gateway.ServicesReport
	if err := q.get(ctx, "/api/v1/services", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tREGISTERED\tRECORDS\tERROR")
	for _, o := range r.Offered {
		when := "not yet"
		if o.Registered != nil {
			when = time.Since(*o.Registered).Round(time.Second).String() + " ago"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", o.Name, when, o.Records, o.Error)
	}
	return flush(w)
}

func (q query) service(ctx context.Context, name string) int {
	var r gateway.ServiceReport
	if err := q.get(ctx, "/api/v1/service?name="+url.QueryEscape(name), &r); err != nil {
		return q.fail(err)
	}
	code := exitOK
	if !r.Found {
		code = exitConfig
	}
	if *q.json {
		return code
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\t%d nodes of its tree asked in %.1f ms, at levels %s\n", r.Name, len(r.Levels), r.Millis, strings.Trim(fmt.Sprint(r.Levels), "[]"))
	for _, p := range r.Providers {
		word := "provider"
		if p.Node == r.Nearest {
			word = "nearest"
		}
		fmt.Fprintf(w, "%s\t%s %s\n", word, p.Node, strings.Join(p.Addresses, " "))
	}
	if !r.Found {
		fmt.Fprintln(w, "\tnobody provides it")
	}
	return max(code, flush(w))
}
