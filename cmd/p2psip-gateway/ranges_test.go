package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/numbers"
)

// TestRangesAreIssuedOnce makes an overlay with number ranges, and has two gateways ask for the same numbers.
//
// Feature: TRK-02
func TestRangesAreIssuedOnce(t *testing.T) {
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "overlay")
	run := func(want int, args ...string) string {
		t.Helper()
		code, text, errs := runCommand(t, args...)
		if code != want {
			t.Fatalf("%v: %d\n%s%s", args, code, text, errs)
		}
		return text + errs
	}
	issue := func(want int, name string, args ...string) string {
		t.Helper()
		return run(want, append([]string{"identity", "issue", "--dir", dir, "--name", name, "--out", filepath.Join(tmp, name)}, args...)...)
	}
	run(exitOK, "init", "--domain", "example.org", "--dir", dir, "--ranges", "2xx,+49301234*")
	o, _, err := identity.LoadDocument(filepath.Join(dir, "overlay.xml"), time.Now())
	if d := cmp.Diff(numbers.Plan{{Prefix: 9, Digits: numbers.AnyDigits}, {Prefix: 1, Digits: 2}}, o.Ranges); err != nil || d != "" {
		t.Fatal(d, err)
	}
	if text := issue(exitOK, "gw2", "--user", "2xx", "--user", "+49301234*", "--user", "1001"); strings.Contains(text, "remark") {
		t.Error(text)
	}
	node, err := identity.LoadNode(filepath.Join(tmp, "gw2"), o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"2xx@example.org", "+49301234*@example.org"} {
		if s, err := identity.OpenKeyring(filepath.Join(tmp, "gw2"), o, node).Signer(name); err != nil || s.Identity().User != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if text := issue(exitConfig, "gw3", "--user", "23x"); !strings.Contains(text, "E0308") || !strings.Contains(text, "2xx@example.org belongs to gw2@example.org") {
		t.Error(text)
	}
	if text := issue(exitOK, "gw3", "--share", "--user", "23x"); !strings.Contains(text, "nobody looks for ranges like 23x") {
		t.Error(text)
	}
	issue(exitOK, "gw2", "--all-users")
	for _, name := range []string{"2*3", "2XX", "al*", "*"} {
		if text := issue(exitConfig, "gw2", "--user", name); !strings.Contains(text, "E0307") || !strings.Contains(text, "no number range") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if text := run(exitConfig, "enroll", "account", "add", "gw4", "--dir", dir, "--act-for", "+493012*"); !strings.Contains(text, "E0308") {
		t.Error(text)
	}
	run(exitOK, "enroll", "publish", "--dir", dir, "--push=false", "--ranges", "23x")
	if o, _, err = identity.LoadDocument(filepath.Join(dir, "overlay.xml"), time.Now()); err != nil || len(o.Ranges) != 3 {
		t.Error(o.Ranges, err)
	}
	if text := run(exitOK, "enroll", "ranges", "--dir", dir); strings.Count(text, "gw2@example.org") != 2 || strings.Count(text, "gw3@example.org") != 1 {
		t.Error(text)
	}
	run(exitUsage, "init", "--domain", "example.org", "--dir", filepath.Join(tmp, "other"), "--ranges", "2xx,alice")
}

// TestCheckOfPublishedRanges: a route that publishes what the gateway has no certificate for is an error, one that nobody looks for a warning.
func TestCheckOfPublishedRanges(t *testing.T) {
	tmp := t.TempDir()
	dir, out, file := filepath.Join(tmp, "overlay"), filepath.Join(tmp, "gw1"), filepath.Join(tmp, "gateway.yaml")
	for _, args := range [][]string{{"init", "--domain", "example.org", "--dir", dir, "--ranges", "2xx"},
		{"identity", "issue", "--dir", dir, "--name", "gw1", "--out", out, "--user", "2xx", "--user", "3xxx", "--user", "1001"}} {
		if code, text, errs := runCommand(t, args...); code != exitOK {
			t.Fatalf("%v: %d\n%s%s", args, code, text, errs)
		}
	}
	check := func(routes string) (int, string) {
		text := "domain: example.org\ndata: " + filepath.Join(tmp, "data") + "\nsip: {listen: [udp://127.0.0.1:0]}\nadmin: {listen: 127.0.0.1:0}\n" +
			"registrar: {users: " + filepath.Join(tmp, "users") + "}\noverlay: {identity: " + out + ", document: " + filepath.Join(out, "overlay.xml") + ", listen: [tls://127.0.0.1:0]}\n" +
			"trunks: {pbx: {targets: [sip:192.0.2.1]}}\nroutes: [" + routes + "]\n"
		for path, text := range map[string]string{file: text, filepath.Join(tmp, "users"): "1001 secret\n"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, said, errs := runCommand(t, "check", "-c", file)
		return code, said + errs
	}
	if code, text := check(`{match: "2xx", to: pbx, publish: true}`); code != exitOK || strings.Contains(text, "E011") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := check(`{match: "4xx", to: pbx, publish: true}`); code != exitConfig || !strings.Contains(text, "E0112 routes: 4xx@example.org") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := check(`{match: "3xxx", to: pbx, publish: true}`); code != exitOK || !strings.Contains(text, "warning: ") || !strings.Contains(text, "E0113") {
		t.Errorf("%d %s", code, text)
	}
}
