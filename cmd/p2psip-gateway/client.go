package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// The commands that ask a running node. Each takes --admin and --json.

const (
	defaultAdmin = "127.0.0.1:8060"
	adminWait    = 20 * time.Second
	adminBodyMax = 64 << 20
)

type query struct {
	std   stdio
	flags *flag.FlagSet
	admin *string
	json  *bool
	trust *adminTrust
}

func newQuery(std stdio, name, args, about string) query {
	fs := newFlags(std, name, strings.TrimSpace(args+" [flags]"), about)
	return query{std, fs, fs.String("admin", defaultAdmin, "`address` of the node's admin server; https:// in front of it when that has TLS"),
		fs.Bool("json", false, "print JSON"), newAdminTrust(fs)}
}

// parse reads the flags, which may stand before and behind the n operands. When ok is false the command ends with code.
func (q query) parse(args []string, n int) (operands []string, code int, ok bool) {
	operands, code, ok = q.parseAny(args)
	if ok && len(operands) != n {
		return nil, q.misuse(), false
	}
	return operands, code, ok
}

// parseAny does so for any number of operands.
func (q query) parseAny(args []string) (operands []string, code int, ok bool) {
	return parseOperands(q.std, q.flags, args)
}

// misuse repeats how the command is used.
func (q query) misuse() int {
	var page strings.Builder
	q.flags.SetOutput(&page)
	q.flags.Usage()
	line, _, _ := strings.Cut(page.String(), "\n")
	fmt.Fprintf(q.std.err, "%s\n      try: p2psip-gateway %s --help\n", line, q.flags.Name())
	return exitUsage
}

// get asks the admin server and decodes its answer into v. With --json the answer is printed as it is.
func (q query) get(ctx context.Context, path string, v any) error {
	return q.ask(ctx, http.MethodGet, path, v)
}

// ask is get with any method.
func (q query) ask(ctx context.Context, method, path string, v any) error {
	return q.send(ctx, method, path, nil, v)
}

// send is ask with a body.
func (q query) send(ctx context.Context, method, path string, body io.Reader, v any) error {
	ctx, cancel := context.WithTimeout(ctx, adminWait)
	defer cancel()
	base := *q.admin
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return err
	}
	client, err := q.trust.client(req)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no node answers at %s: %w\n      try: --admin ADDRESS, as `admin.listen` of its configuration says", *q.admin, errors.Unwrap(err))
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, adminBodyMax))
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		var e gateway.ErrorReport
		if json.Unmarshal(answer, &e) != nil {
			e.Error = res.Status
		}
		return errors.New(e.Error)
	}
	if *q.json {
		_, err = q.std.out.Write(answer)
		if err != nil {
			return err
		}
	}
	return json.Unmarshal(answer, v)
}

func (q query) fail(err error) int {
	fmt.Fprintln(q.std.err, "p2psip-gateway:", err)
	return exitConfig
}

func runStatus(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "status", "", "Shows whether a running node is ready, where it listens, its place in the overlay, how many phones it has, and until when its\ncertificates are good. Exits 1 when it does not answer.")
	ready := q.flags.Bool("ready", false, "print nothing; exit 0 when the node is ready, else 1")
	if _, code, ok := q.parse(args, 0); !ok {
		return code
	}
	var s gateway.StatusReport
	if err := q.get(ctx, "/api/v1/status", &s); err != nil {
		return q.fail(err)
	}
	if *ready {
		if s.Ready {
			return exitOK
		}
		return exitConfig
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "node\t%s (%s, version %s, up %v)\n", s.NodeID, s.Role, s.Version, time.Duration(s.UptimeSeconds)*time.Second)
	fmt.Fprintf(w, "domain\t%s\n", s.Domain)
	for _, l := range s.SIP {
		fmt.Fprintf(w, "sip\t%s %s\n", l.Transport, l.Address)
	}
	fmt.Fprintf(w, "overlay\t%s at %s, %s, %d links, about %d peers\n", s.Overlay.Name, strings.Join(s.Overlay.Listen, " "), s.State, s.Overlay.Links, s.Overlay.SizeEstimate)
	if s.Overlay.Tuning != nil {
		fmt.Fprintf(w, "tuning\t%v\n", s.Overlay.Tuning)
	}
	fmt.Fprintf(w, "phones\t%d registered here\n", s.Registrations)
	if s.Ready {
		fmt.Fprintln(w, "health\tready")
	} else {
		fmt.Fprintf(w, "health\tnot ready: %s\n", strings.Join(s.NotReady, ", "))
	}
	for _, p := range s.Published {
		fmt.Fprintf(w, "numbers\t%s: %s %s\n", p.AOR, p.State, p.Code)
	}
	for _, line := range s.Remarks() {
		fmt.Fprintf(w, "\t%s\n", line)
	}
	return flush(w)
}

func runReload(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "reload", "", "Has a running node read its configuration, users and certificates again. Exits 1, and nothing has changed, when a file has a mistake.")
	if _, code, ok := q.parse(args, 0); !ok {
		return code
	}
	var r gateway.ReloadReport
	if err := q.ask(ctx, http.MethodPost, "/api/v1/reload", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, list := range []struct {
		word    string
		changes []gateway.ChangeReport
	}{{"changed", r.Changed}, {"needs a restart", r.Restart}} {
		for _, c := range list.changes {
			fmt.Fprintf(w, "%s\t%s\t%s -> %s\n", list.word, c.Key, c.Before, c.After)
		}
	}
	fmt.Fprintf(w, "users\t%s\n", r.Users)
	return flush(w)
}

func runDrain(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "drain", "", `Has a running node refuse what is new with 503, let what is under way end, leave the overlay, and stop: as SIGTERM does.`)
	if _, code, ok := q.parse(args, 0); !ok {
		return code
	}
	var s gateway.StatusReport
	if err := q.ask(ctx, http.MethodPost, "/api/v1/drain", &s); err != nil {
		return q.fail(err)
	}
	if !*q.json {
		fmt.Fprintf(std.out, "draining: %d transactions under way\n", s.Transactions)
	}
	return exitOK
}

func runReg(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "reg", "ls", "Lists the phones that are registered at a running node.")
	operands, code, ok := q.parse(args, 1)
	if !ok {
		return code
	}
	if operands[0] != "ls" {
		return q.misuse()
	}
	var r gateway.RegistrationsReport
	if err := q.get(ctx, "/api/v1/registrations", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AOR\tCONTACT\tSOURCE\tEXPIRES\tFLOW\tOVERLAY\tUSER AGENT")
	for _, r := range r.Registrations {
		fmt.Fprintf(w, "%s\t%s\t%s %s\t%ds\t%s\t%s\t%s\n", r.AOR, r.Contact, strings.ToLower(r.Transport), r.Source, r.ExpiresInSeconds, r.Flow, r.State, r.UserAgent)
	}
	return flush(w)
}

func runLookup(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "lookup", "AOR", "Asks a running node where an address-of-record is registered. Exits 1 when it is nowhere.")
	explain := q.flags.Bool("explain", false, "follow the forwardings, and list each place that they lead to")
	save := q.flags.String("proof", "", "write a proof of it to `file`, which verify checks without any node; - for standard output")
	operands, code, ok := q.parse(args, 1)
	if !ok {
		return code
	}
	if *save != "" {
		return q.saveProof(ctx, operands[0], *save)
	}
	path := "/api/v1/lookup?aor=" + url.QueryEscape(operands[0])
	if *explain {
		path += "&explain=1"
	}
	var r gateway.LookupReport
	if err := q.get(ctx, path, &r); err != nil {
		return q.fail(err)
	}
	if !r.Found {
		code = exitConfig
	}
	if *q.json {
		return code
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tresource %s, overlay asked in %.1f ms\n", r.AOR, r.ResourceID, r.Millis)
	if r.Range != "" {
		fmt.Fprintf(w, "range\t%s: nobody has the number itself\n", r.Range)
	}
	for _, l := range r.Local {
		fmt.Fprintf(w, "here\t%s over %s from %s, %d s left\n", l.Contact, strings.ToLower(l.Transport), l.Source, l.ExpiresInSeconds)
	}
	for _, rec := range r.Records {
		where := "uri " + rec.URI
		if rec.URI == "" {
			where = "gateway " + strings.Join(rec.Route, ",")
		}
		if rec.Serial != "" {
			rec.Signer += " (certificate " + rec.Serial + ")"
		}
		fmt.Fprintf(w, "record\t%s, signed by %s, %d s left %s\n", where, rec.Signer, rec.ExpiresInSeconds, strings.Join(rec.Addresses, " "))
	}
	printForwards(w, r)
	if !r.Found {
		fmt.Fprintln(w, "\tnot registered anywhere")
	}
	return max(code, flush(w))
}

func runRing(ctx context.Context, std stdio, args []string) int {
	q := newQuery(std, "ring", "", "Shows the part of the ring that a running node sees.")
	if _, code, ok := q.parse(args, 0); !ok {
		return code
	}
	var r gateway.RingReport
	if err := q.get(ctx, "/api/v1/ring", &r); err != nil {
		return q.fail(err)
	}
	if *q.json {
		return exitOK
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "self\t%s\t%s, about %d peers\n", r.Self, r.State, r.SizeEstimate)
	if r.Alone {
		fmt.Fprint(w, "alone\tnobody was here since the start: registrations are published as soon as somebody comes\t\n")
	}
	if r.Tuning != nil {
		fmt.Fprintf(w, "tuning\t%v\t\n", r.Tuning)
	}
	for _, l := range []struct {
		name string
		ids  []string
	}{{"predecessor", r.Predecessors}, {"successor", r.Successors}, {"finger", r.Fingers}} {
		for i, id := range l.ids {
			fmt.Fprintf(w, "%s\t%s\t%d\n", l.name, id, i+1)
		}
	}
	for _, l := range r.Links {
		word := "ready"
		if !l.Ready {
			word = "client, or not joined yet"
		}
		fmt.Fprintf(w, "link\t%s\t%s, %.1f ms\n", l.Peer, word, l.RTTms)
	}
	return flush(w)
}

func flush(w *tabwriter.Writer) int {
	if w.Flush() != nil {
		return exitFatal
	}
	return exitOK
}
