package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// command runs a subcommand through dispatch.
func runCommand(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = dispatch(t.Context(), stdio{strings.NewReader(""), &o, &e}, args)
	return code, o.String(), e.String()
}

func TestInitAndIdentityIssue(t *testing.T) {
	for _, kt := range []string{"p256", "rsa2048"} {
		t.Run(kt, func(t *testing.T) {
			tmp := t.TempDir()
			dir, out, users := filepath.Join(tmp, "overlay"), filepath.Join(tmp, "gw1"), filepath.Join(tmp, "users")
			if err := os.WriteFile(users, []byte("1001 secret\n1002 secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			code, text, errs := runCommand(t, "init", "--domain", "Example.org", "--dir", dir, "--key", kt,
				"--bootstrap", "127.0.0.1:6084", "--bootstrap", "[::1]:7000", "--bootstrap", "gw.example.org",
				"--chord-update-interval", "5s")
			if code != exitOK || errs != "" || !strings.Contains(text, "identity issue --dir "+dir) {
				t.Fatalf("init: %d\n%s%s", code, text, errs)
			}
			code, text, errs = runCommand(t, "identity", "issue", "--dir", dir, "--name", "gw1", "--out", out,
				"--users", users, "--user", "bob")
			if code != exitOK || errs != "" || !strings.Contains(text, "3 certificates") {
				t.Fatalf("identity issue: %d\n%s%s", code, text, errs)
			}
			o, _, err := identity.LoadDocument(filepath.Join(out, "overlay.xml"), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if o.InstanceName != "example.org" || len(o.Bootstrap) != 3 || o.Bootstrap[1].Address != "::1" || o.Bootstrap[1].Port != 7000 ||
				o.Bootstrap[2].Port != 6084 || o.ChordUpdateInterval != 5*time.Second || !o.NoICE {
				t.Errorf("%+v", o)
			}
			node, err := identity.LoadNode(out, o, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			bob, err := identity.OpenKeyring(out, o, node).Signer("bob@example.org")
			if err != nil {
				t.Fatal(err)
			}
			header := wire.Header{Overlay: o.ID(), Version: wire.Version, Fragment: wire.Unfragmented}
			m := &wire.Message{Header: header, Body: &wire.PingReq{}}
			raw, err := bob.Seal(m)
			if err != nil {
				t.Fatal(err)
			}
			if m, err = o.Schema().Parse(raw); err != nil {
				t.Fatal(err)
			}
			v, err := trust.NewVerifier(o).Verify(time.Now(), m, "")
			if err != nil || v.Sender().User != "bob@example.org" || v.Sender().Node != node.Identity().Node {
				t.Errorf("%+v %v", v.Sender(), err)
			}
			code, _, errs = runCommand(t, "init", "--domain", "example.org", "--dir", dir)
			if code != exitConfig || !strings.Contains(errs, identity.CodeExists) || !strings.Contains(errs, "try:") {
				t.Errorf("second init: %d %s", code, errs)
			}
		})
	}
}

// An overlay with ICE has the Kind of TURN servers, and a secret that each gateway gets.
//
// Conformance: A-02 D-50
func TestInitWithICE(t *testing.T) {
	tmp := t.TempDir()
	dir, out := filepath.Join(tmp, "overlay"), filepath.Join(tmp, "gw1")
	for _, args := range [][]string{{"init", "--domain", "example.org", "--dir", dir, "--ice"},
		{"identity", "issue", "--dir", dir, "--name", "gw1", "--out", out}} {
		if code, text, errs := runCommand(t, args...); code != exitOK {
			t.Fatalf("%v: %d\n%s%s", args, code, text, errs)
		}
	}
	o, warnings, err := identity.LoadDocument(filepath.Join(out, "overlay.xml"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	kind, ok := o.Kind(wire.KindTURNService)
	if o.NoICE || o.TurnDensity == 0 || !ok || kind.MaxCount != 1 || len(warnings) > 0 {
		t.Errorf("%+v %v", o, warnings)
	}
	ours, err := os.ReadFile(filepath.Join(dir, "turn.secret"))
	if err != nil || len(ours) < 17 {
		t.Fatalf("%q, %v", ours, err)
	}
	path := filepath.Join(out, "turn.secret")
	theirs, err := os.ReadFile(path)
	info, staterr := os.Stat(path)
	if err != nil || staterr != nil || string(theirs) != string(ours) || info.Mode() != 0o600 {
		t.Errorf("%q, %v, %v", theirs, err, info)
	}
}

func TestInitAndIdentityUsage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "overlay")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"init --help", exitOK, "--domain"},
		{"init", exitUsage, "--domain and --dir"},
		{"init --domain a_b.example --dir " + dir + " x", exitUsage, `"x"`},
		{"init --nothing", exitUsage, "nothing"},
		{"init --domain a..b --dir " + dir, exitUsage, "--domain"},
		{"init --domain a --dir " + dir + " --key dsa", exitUsage, "p256 or rsa2048"},
		{"init --domain a --dir " + dir + " --bootstrap h:0", exitUsage, "h:0"},
		{"init --domain a --dir " + dir + " --reliability-timer 100ms", exitUsage, "overlay-reliability-timer"},
		{"init --domain a --dir " + dir + " --chord-ping-interval 1500ms", exitUsage, "whole seconds"},
		{"identity", exitUsage, "issue"},
		{"identity --help", exitOK, "issue"},
		{"identity issue --help", exitOK, "--out"},
		{"identity issue --dir " + dir, exitUsage, "--name"},
		{"identity issue --dir " + dir + " --name a --out b --lifetime 0", exitUsage, "--lifetime"},
		{"identity issue --dir " + dir + " --name a --out b", exitConfig, identity.CodeUnreadable},
		{"identity issue --dir " + dir + " --name a --out b --users " + dir, exitConfig, identity.CodeUnreadable},
	} {
		code, out, errs := runCommand(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: %d\n%s%s", c.args, code, out, errs)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refused init made the directory")
	}
}
