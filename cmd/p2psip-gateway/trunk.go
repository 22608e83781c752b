package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// runTrunk is `p2psip-gateway trunk`.
func runTrunk(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "trunk", "ls | test NAME", "Lists the trunks of a running node and how they stand, or asks the targets of one now by OPTIONS.\ntest exits 1 when none of them answers.")
	operands, code, ok := q.parseAny(args)
	switch {
	case !ok:
		return code
	case len(operands) == 1 && operands[0] == "ls":
		return q.trunks(ctx)
	case len(operands) == 2 && operands[0] == "test":
		return q.testTrunk(ctx, operands[1])
	}
	return q.misuse()
}

func (q query) trunks(ctx context.Context) int {
	var r gateway.TrunksReport
	if err := q.get(ctx, "/api/v1/trunks", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TRUNK\tSTATE\tACCOUNT\tCALLS\tTARGET\tSTATE\tRTT\tLAST ERROR")
	for _, t := range r.Trunks {
		calls, last := fmt.Sprint(t.Calls), ""
		if t.MaxCalls > 0 {
			calls += fmt.Sprintf("/%d", t.MaxCalls)
		}
		if t.LastError != "" {
			last = fmt.Sprintf("%s, %d s ago", t.LastError, t.ErrorAge)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.Name, t.State, t.Account, calls, targetColumns(t.Targets, 0, last))
		for i := 1; i < len(t.Targets); i++ {
			fmt.Fprintf(w, "\t\t\t\t%s\n", targetColumns(t.Targets, i, ""))
		}
	}
	if code := flush(w); code != exitOK || len(r.Published) == 0 {
		return code
	}
	fmt.Fprintln(w, "\nPUBLISHED\tSTATE\tCODE")
	for _, p := range r.Published {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p.AOR, p.State, p.Code)
	}
	return flush(w)
}

func targetColumns(targets []gateway.TrunkTargetReport, i int, last string) string {
	if i >= len(targets) {
		return "\t\t\t" + last
	}
	t, rtt := targets[i], ""
	for _, a := range t.Addresses {
		switch {
		case a.State == "down":
			rtt += a.Reason + " "
		case a.RTTms > 0:
			rtt += fmt.Sprintf("%.1f ms ", a.RTTms)
		}
	}
	return t.URI + "\t" + t.State + "\t" + strings.TrimSpace(rtt) + "\t" + last
}

func (q query) testTrunk(ctx context.Context, name string) int {
	var r gateway.TrunkTestReport
	if err := q.ask(ctx, http.MethodPost, "/api/v1/trunks/"+url.PathEscape(name)+"/test", &r); err != nil {
		return q.fail(err)
	}
	code := exitConfig
	if slices.ContainsFunc(r.Answers, func(a gateway.TrunkAnswerReport) bool { return a.Status > 0 }) {
		code = exitOK
	}
	if *q.json {
		return code
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	for _, a := range r.Answers {
		said := a.Error
		if a.Status > 0 {
			said = fmt.Sprintf("%d in %.1f ms", a.Status, a.Millis)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", a.Target, a.Address, said)
	}
	if len(r.Answers) == 0 {
		fmt.Fprintf(w, "%s\tis not registered\n", name)
	}
	return max(code, flush(w))
}

// runRoute is `p2psip-gateway route`.
func runRoute(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "route", "explain NUMBER", `Tells, step by step, where a number leads and why: as a running node decides it, or, with -c, as the routes of a file do, which
knows neither users nor which targets answer. Exits 1 when the number leads nowhere.`)
	from := q.flags.String("from", "", "`caller`: a user, trunk:NAME, or overlay for another gateway; empty: nobody known")
	file := q.flags.String("c", "", "configuration `file`, instead of a running node")
	operands, code, ok := q.parse(args, 2)
	if !ok {
		return code
	}
	if operands[0] != "explain" {
		return q.misuse()
	}
	var r gateway.RouteReport
	if *file != "" {
		l, err := gateway.Load(gateway.Source{File: *file})
		if err != nil {
			return q.fail(err)
		}
		s, err := l.OfflineTrunks(domainOf(l))
		if err != nil {
			return q.fail(err)
		}
		if r, err = gateway.ExplainRoute(s, operands[1], *from); err != nil {
			return q.fail(err)
		}
	} else if err := q.get(ctx, "/api/v1/route?number="+url.QueryEscape(operands[1])+"&from="+url.QueryEscape(*from), &r); err != nil {
		return q.fail(err)
	}
	if !r.Allowed {
		code = exitConfig
	}
	if *q.json && *file == "" {
		return code
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, s := range r.Steps {
		fmt.Fprintf(w, "%s\t%s\n", s.Step, s.Text)
	}
	return max(code, flush(w))
}

// domainOf is the SIP domain of a configuration that may leave it to the overlay's document, which a check of routes does not need.
func domainOf(l *gateway.Loaded) string {
	if l.Config.Domain != "" {
		return l.Config.Domain
	}
	return "example.invalid"
}

// dialTable writes what becomes of numbers: which route decides, how each of its trunks sees them, and what they become when a trunk calls them.
func dialTable(out io.Writer, l *gateway.Loaded, numbers []string) int {
	s, err := l.OfflineTrunks(domainOf(l))
	if err != nil {
		fmt.Fprintln(out, err)
		return exitConfig
	}
	p := s.Plan()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DIALLED\tROUTE\tTRUNK\tSENT AS\tRECEIVED FROM IT AS")
	for _, n := range numbers {
		route, sent, ok := p.Translate(n)
		if !ok {
			fmt.Fprintf(w, "%s\tnone\t\t\t\n", n)
		}
		for i, number := range sent {
			name := route.To[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n, route.Match, name, number, p.Trunk(name).Received(n))
		}
	}
	return flush(w)
}
