package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/proof"
)

// saveProof is `lookup AOR --proof FILE`.
func (q query) saveProof(ctx context.Context, aor, path string) int {
	*q.json = false // the file is JSON, and is written as it is
	var raw json.RawMessage
	if err := q.get(ctx, "/api/v1/proof?aor="+url.QueryEscape(aor), &raw); err != nil {
		return q.fail(err)
	}
	b := append(raw, '\n')
	p, err := proof.Parse(b)
	if err != nil {
		return q.fail(err)
	}
	if path == "-" {
		if _, err := q.std.out.Write(b); err != nil {
			return q.fail(err)
		}
		return exitOK
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return q.fail(err)
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tresource %s of overlay %s\n", p.AOR, p.ResourceID, p.Overlay)
	printRecords(w, p)
	fmt.Fprintf(w, "written\t%s, %d octets; p2psip-gateway verify checks it\n", path, len(b))
	return flush(w)
}

func printRecords(w io.Writer, p *proof.Proof) {
	for _, r := range p.Records() {
		to := r.URI
		for _, n := range r.Route {
			to += " " + n.String()
		}
		signer := "no certificate"
		if c := r.Certificate; c != nil {
			signer = fmt.Sprintf("signed by %s, certificate %x of %s", p.AOR, c.SerialNumber, c.Issuer.CommonName)
		}
		fmt.Fprintf(w, "record\tto %s, %s, stored %s, until %s\n", strings.TrimSpace(to), signer, r.Stored.Format(time.RFC3339), r.Until.Format(time.RFC3339))
	}
	fmt.Fprintf(w, "held by\t%s, and as replicas %s\n", p.Responsible, strings.Join(p.Replicas, " "))
	fmt.Fprintf(w, "seen by\t%s at %s\n", p.FetchedBy, p.Fetched)
}

// VerifyReport is what `verify --json` prints.
type VerifyReport struct {
	Valid   bool          `json:"valid"`
	Code    string        `json:"code,omitempty"`  // of the first failure
	Error   string        `json:"error,omitempty"` // what it is
	AOR     string        `json:"aor,omitempty"`
	Overlay string        `json:"overlay,omitempty"`
	At      time.Time     `json:"at"`
	Checks  []CheckReport `json:"checks"`
}

// CheckReport is one thing that was looked at.
type CheckReport struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	Code  string `json:"code,omitempty"`
	Text  string `json:"text"`
}

const verifyAbout = `Checks a proof file of ` + "`lookup AOR --proof FILE`" + ` without any node: each signature, each certificate up to a root that you name, whose
certificate it is, for which node, and the time. FILE is - for standard input. Exits 1 when the proof does not hold.`

// verifier is one run of `verify`.
type verifier struct {
	document, ca string
	at           time.Time
}

func runVerify(_ context.Context, std stdio, args []string) int {
	fs := newFlags(std, "verify", "FILE --document overlay.xml|--ca root.pem [flags]", verifyAbout)
	v := verifier{at: time.Now()}
	fs.StringVar(&v.document, "document", "", "configuration document `file` of the overlay, whose root certificates are believed")
	fs.StringVar(&v.ca, "ca", "", "PEM `file` of root certificates to be believed instead")
	fs.Func("at", "`time` to ask about, as 2026-03-14T15:09:26Z; now unless given", func(s string) (err error) {
		if v.at, err = time.Parse(time.RFC3339, s); err != nil {
			return errors.New("want a time such as 2026-03-14T15:09:26Z")
		}
		return nil
	})
	q := query{std: std, flags: fs, json: fs.Bool("json", false, "print JSON")}
	files, code, ok := q.parseAny(args)
	switch {
	case !ok:
		return code
	case len(files) != 1 || (v.document == "") == (v.ca == ""):
		return usageError(std, fs, errors.New("want one file, and --document or --ca"))
	}
	r, warnings, err := v.verify(std, files[0])
	for _, w := range warnings {
		fmt.Fprintln(std.err, "p2psip-gateway verify:", w)
	}
	if err != nil {
		return failed(std, fs, err)
	}
	return q.printVerify(r)
}

// verify looks at everything. The error is one that has nothing to do with the proof.
func (v *verifier) verify(std stdio, path string) (r VerifyReport, warnings []string, err error) {
	r = VerifyReport{At: v.at.UTC(), Checks: []CheckReport{}}
	b, err := readProof(std, path)
	if err != nil {
		return r, nil, err
	}
	p, err := proof.Parse(b)
	if err != nil {
		r.Checks = append(r.Checks, CheckReport{Check: "form", Text: errors.Unwrap(err).Error(), Code: proof.CodeForm})
		r.Code, r.Error = proof.CodeForm, err.Error()
		return r, nil, nil
	}
	o, warnings, err := v.overlay(p.Overlay)
	if err != nil {
		return r, warnings, err
	}
	r.AOR, r.Overlay = p.AOR, p.Overlay
	r.Checks = append(r.Checks, CheckReport{Check: "form", OK: true, Text: fmt.Sprintf("%d values, %d certificates", len(p.Values), len(p.Certificates))})
	result := p.Verify(v.at, o)
	for _, c := range result.Checks {
		r.Checks = append(r.Checks, CheckReport{c.What, c.OK, c.Code, c.Text})
	}
	var f *proof.Failure
	if r.Valid = !errors.As(result.Err(), &f); !r.Valid {
		r.Code, r.Error = f.Code, f.Error()
	}
	return r, warnings, nil
}

func readProof(std stdio, path string) ([]byte, error) {
	from := std.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	return io.ReadAll(io.LimitReader(from, proof.MaxSize+1))
}

// overlay is what is believed: the document, or roots for whatever overlay the proof is about.
func (v *verifier) overlay(name string) (*config.Overlay, []string, error) {
	if v.document != "" {
		return identity.LoadDocument(v.document, v.at)
	}
	b, err := os.ReadFile(v.ca)
	if err != nil {
		return nil, nil, err
	}
	o := config.New(name)
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", v.ca, err)
		}
		o.RootCerts = append(o.RootCerts, cert)
	}
	if len(o.RootCerts) == 0 {
		return nil, nil, fmt.Errorf("%s: no certificate in PEM", v.ca)
	}
	return o, nil, nil
}

func (q query) printVerify(r VerifyReport) int {
	code := exitOK
	if !r.Valid {
		code = exitConfig
	}
	if *q.json {
		enc := json.NewEncoder(q.std.out)
		enc.SetIndent("", "  ")
		if enc.Encode(r) != nil {
			return exitFatal
		}
		return code
	}
	w := tabwriter.NewWriter(q.std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tRESULT\tWHAT WAS FOUND")
	for _, c := range r.Checks {
		result := "ok"
		if !c.OK {
			result = c.Code
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Check, result, c.Text)
	}
	if r.Valid {
		fmt.Fprintf(w, "\nvalid\t\t%s was registered so at %s\n", r.AOR, r.At.Format(time.RFC3339))
	} else {
		fmt.Fprintf(w, "\nnot valid\t\tp2psip-gateway explain %s says more\n", r.Code)
	}
	return max(code, flush(w))
}
