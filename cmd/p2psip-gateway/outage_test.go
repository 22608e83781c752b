package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// enrolledRing is a ring of processes whose identities come from a process `enroll serve`.
type enrolledRing struct {
	*ring
	server  *process
	overlay string // directory
	args    []string
}

// newEnrolledRing makes an overlay with an enrollment server and n gateways that have joined through it. They have no certificates of
// users: they get them when the users register.
func newEnrolledRing(t *testing.T, n int, users ...string) *enrolledRing {
	t.Helper()
	base := freePorts(t)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	r := &enrolledRing{ring: &ring{program: program(t, ""), dir: t.TempDir()}}
	r.overlay = filepath.Join(r.dir, "overlay")
	url := "https://" + at(base+138)
	r.command(t, "init", "--domain", "p2psip.test", "--dir", r.overlay, "--bootstrap", at(base+100), "--enrollment-server", url+"/")
	r.args = []string{"enroll", "serve", "--dir", r.overlay, "--listen", at(base + 138), "--host", "127.0.0.1"}
	r.serve(t)
	var lines strings.Builder
	for _, u := range users {
		fmt.Fprintln(&lines, u, "secret-"+u)
	}
	write(t, filepath.Join(r.dir, "users.txt"), lines.String())
	write(t, filepath.Join(r.dir, "password"), enrollPassword+"\n")
	for k := range n {
		name := fmt.Sprintf("gw%d", k)
		m := &ringNode{file: filepath.Join(r.dir, name+".yaml"), sip: at(base + 10*k), overlay: at(base + 100 + k), admin: at(base + 120 + k)}
		r.command(t, "enroll", "account", "add", name, "--dir", r.overlay, "--act-for", "*@p2psip.test", "--password-file", filepath.Join(r.dir, "password"))
		r.command(t, "join", url, "--account", name, "--password-file", filepath.Join(r.dir, "password"), "--ca", filepath.Join(r.overlay, "ca.crt"),
			"--out", filepath.Join(r.dir, name))
		write(t, m.file, fmt.Sprintf(gatewayFile, k, m.sip, filepath.Join(r.dir, name), m.overlay, k == 0, m.admin, "tls", "\n  refresh: 1s"))
		r.members = append(r.members, m)
	}
	return r
}

// serve starts the enrollment server.
func (r *enrolledRing) serve(t *testing.T) {
	t.Helper()
	r.server = start(t, r.program, nil, r.args...)
	eventually(t, "the enrollment server", func() error {
		if !strings.Contains(r.server.stderr.String(), "document sequence") {
			return fmt.Errorf("%s", r.server.stderr)
		}
		return nil
	})
}

// page is an admin page as text.
func page(address, path string) (string, error) {
	res, err := http.Get("http://" + address + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// The enrollment server is gone. Phones register and call as before; every way to ask the gateway says since when, and until when all
// goes on.
func TestProcessesGoOnWithoutTheEnrollmentServer(t *testing.T) {
	r := newEnrolledRing(t, 2, "2001", "2002")
	var phones []*softPhone
	for k, m := range r.members {
		r.start(t, m)
		p := newSoftPhone(t, fmt.Sprint(2001+k), m.sip)
		if err := p.register(600); err != nil {
			t.Fatal(err)
		}
		phones = append(phones, p)
	}
	for k, m := range r.members {
		eventually(t, "the other to be found", func() error { return homedAt(m, r.members[1-k], fmt.Sprint(2002-k)) })
	}
	m := r.members[0]
	status := func() (s gateway.StatusReport, err error) { return s, getJSON(m.admin, "/api/v1/status", &s) }
	eventually(t, "the server to have answered", func() error {
		if s, err := status(); err != nil || len(s.Servers) != 1 || s.Servers[0].Answered.IsZero() || !s.Servers[0].Since.IsZero() {
			return fmt.Errorf("%+v %w", s.Servers, err)
		}
		return nil
	})
	if text, err := page(m.admin, "/readyz"); err != nil || strings.Contains(text, "unreachable") || !strings.HasPrefix(text, "ready\ngood until ") {
		t.Errorf("%q %v", text, err)
	}
	stopped := time.Now()
	r.server.kill()
	var s gateway.StatusReport
	eventually(t, "the status to say that the server is gone", func() (err error) {
		if s, err = status(); err != nil || len(s.Servers) != 1 || s.Servers[0].Since.IsZero() {
			return fmt.Errorf("%+v %w", s.Servers, err)
		}
		return nil
	})
	if since := s.Servers[0].Since; since.Before(stopped) || since.After(time.Now()) || !s.Ready || s.Servers[0].Error == "" {
		t.Errorf("%+v", s)
	}
	// Both certificates are good for a year; that of the node came first.
	if len(s.Valid) != 2 || s.Valid[0].What != "certificate of this node" || s.Valid[0].Then == "" || s.Valid[1].What != "certificate of 2001@p2psip.test" ||
		s.Valid[0].Until.Before(time.Now().AddDate(0, 11, 0)) || s.Valid[0].Until.After(time.Now().AddDate(0, 13, 0)) {
		t.Errorf("%+v", s.Valid)
	}
	text, err := page(m.admin, "/readyz")
	code, shown, errs := runCommand(t, "status", "--admin", m.admin)
	if err != nil || code != exitOK {
		t.Fatal(err, errs)
	}
	for _, out := range []string{text, shown} {
		for _, want := range []string{"ready", "good until " + s.Valid[0].Until.Format(time.RFC3339), "then the other nodes close their links",
			"enrollment server " + s.Servers[0].Server + " unreachable since " + s.Servers[0].Since.Format(time.RFC3339), "everything goes on"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	}
	for k, p := range phones {
		if err := p.register(600); err != nil {
			t.Error(err)
		}
		if err := p.call(phones[1-k].aor()); err != nil {
			t.Error(err)
		}
	}
	// A node that starts again needs no server either.
	r.members[1].kill()
	r.start(t, r.members[1])
	eventually(t, "the phone of the one that has started again", func() error { return phones[0].call(phones[1].aor()) })
	r.serve(t)
	eventually(t, "the server to be back", func() error {
		if s, err := status(); err != nil || !s.Servers[0].Since.IsZero() {
			return fmt.Errorf("%+v %w", s.Servers, err)
		}
		return nil
	})
}

// A document that is published at the server only: the gateways fetch it, and write it down.
//
// Conformance: F-23 F-25
func TestProcessesFetchANewDocument(t *testing.T) {
	r := newEnrolledRing(t, 1)
	r.start(t, r.members[0])
	o, err := identity.Publish(r.overlay, func(o *config.Overlay) { o.ChordUpdateInterval = time.Minute }, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(r.overlay, identity.DocumentFile))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the document of the gateway to be the new one", func() error {
		got, err := os.ReadFile(filepath.Join(r.dir, "gw0", identity.DocumentFile))
		if err != nil || string(got) != string(want) {
			return fmt.Errorf("not sequence %d (%w)\n%s", o.Sequence, err, r.members[0].stderr)
		}
		return nil
	})
	// An expired one keeps a node from starting (RFC 6940 §11.1), until there is another one to be fetched.
	r.members[0].kill()
	file := filepath.Join(r.dir, "gw0", identity.DocumentFile)
	if _, err = identity.Publish(r.overlay, func(o *config.Overlay) { o.Expiration = time.Now().Add(3 * time.Second).UTC().Truncate(time.Second) }, time.Now()); err != nil {
		t.Fatal(err)
	}
	if want, err = os.ReadFile(filepath.Join(r.overlay, identity.DocumentFile)); err != nil {
		t.Fatal(err)
	}
	if err := identity.ReplaceDocument(file, want); err != nil {
		t.Fatal(err)
	}
	if _, err = identity.Publish(r.overlay, func(o *config.Overlay) { o.Expiration = time.Time{} }, time.Now()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server to have the last one", func() error {
		if !strings.Contains(r.server.stderr.String(), "sequence=4") {
			return fmt.Errorf("%s", r.server.stderr)
		}
		return nil
	})
	r.server.kill()
	eventually(t, "the document to expire", func() error {
		if _, _, err := identity.LoadDocument(file, time.Now()); err == nil {
			return fmt.Errorf("it has not")
		}
		return nil
	})
	p := start(t, r.program, nil, "run", "-c", r.members[0].file)
	if code := p.code(t, e2eWait); code != exitConfig || !strings.Contains(p.stderr.String(), "E0304") || !strings.Contains(p.stderr.String(), "expired") {
		t.Errorf("exit %d\n%s", code, p.stderr)
	}
	r.serve(t)
	r.start(t, r.members[0])
}

// A certificate that was put beside a running node is used from the SIGHUP on.
//
// Conformance: F-11
func TestProcessesTakeARenewedCertificateOnSIGHUP(t *testing.T) {
	r := newRing(t, program(t, ""), 2, []string{"2001"})
	for _, m := range r.members {
		r.start(t, m)
	}
	var before, after gateway.StatusReport
	m := r.members[1]
	if err := getJSON(m.admin, "/api/v1/status", &before); err != nil {
		t.Fatal(err)
	}
	r.command(t, "identity", "issue", "--dir", filepath.Join(r.dir, "overlay"), "--name", "gw1", "--out", filepath.Join(r.dir, "gw1"), "--lifetime", "48h", "--all-users")
	if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the renewed certificate", func() error {
		if err := getJSON(m.admin, "/api/v1/status", &after); err != nil || !after.Valid[0].Until.Before(before.Valid[0].Until) {
			return fmt.Errorf("%+v %w", after.Valid, err)
		}
		return nil
	})
	p := newSoftPhone(t, "2001", m.sip)
	if err := p.register(600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "2001 to be found", func() error { return homedAt(r.members[0], m, "2001") })
}
