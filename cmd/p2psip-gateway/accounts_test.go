package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// An account that several gateways have wants a Kind in the document, which enroll publish adds to one that is older than accounts, and a certificate.
//
// Feature: TRK-05
func TestCheckOfAccounts(t *testing.T) {
	tmp := t.TempDir()
	dir, out, file := filepath.Join(tmp, "overlay"), filepath.Join(tmp, "gw1"), filepath.Join(tmp, "gateway.yaml")
	run := func(args ...string) {
		t.Helper()
		if code, text, errs := runCommand(t, args...); code != exitOK {
			t.Fatalf("%v: %d\n%s%s", args, code, text, errs)
		}
	}
	run("init", "--domain", "example.org", "--dir", dir)
	old := func(c *config.Overlay) {
		c.Kinds = slices.DeleteFunc(slices.Clone(c.Kinds), func(k config.Kind) bool { return k.ID == wire.KindAccountLease })
	}
	if _, err := identity.Publish(dir, old, time.Now()); err != nil {
		t.Fatal(err)
	}
	run("identity", "issue", "--dir", dir, "--name", "gw1", "--out", out, "--user", "itsp")
	write(t, filepath.Join(tmp, "users"), "1001 secret\n")
	check := func(owner string) (int, string) {
		t.Helper()
		write(t, file, "data: "+filepath.Join(tmp, "data")+"\nsip: {listen: [udp://127.0.0.1:0]}\nadmin: {listen: 127.0.0.1:0}\n"+
			"registrar: {users: "+filepath.Join(tmp, "users")+"}\noverlay: {identity: "+out+", listen: [tls://127.0.0.1:0]}\n"+
			"trunks: {itsp: {register: {server: \"sip:192.0.2.1\", user: \"49301234\", secret: s3cret"+owner+"}}}\n")
		code, text, errs := runCommand(t, "check", "-c", file)
		return code, text + errs
	}
	if code, text := check(""); code != exitConfig || !strings.Contains(text, "E0115 trunks.itsp.register:") || !strings.Contains(text, "enroll publish --accounts") ||
		strings.Contains(text, "E0612") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := check(", owner: none"); code != exitOK {
		t.Errorf("owner: none: %d %s", code, text)
	}
	run("enroll", "publish", "--dir", dir, "--push=false", "--accounts")
	document, err := os.ReadFile(filepath.Join(dir, identity.DocumentFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(out, identity.DocumentFile), string(document))
	if code, text := check(""); code != exitOK {
		t.Errorf("with the Kind: %d %s", code, text)
	}
	if code, text := check(", owner: other"); code != exitConfig || !strings.Contains(text, "E0612 trunks.itsp.register: no certificate for other@example.org") {
		t.Errorf("%d %s", code, text)
	}
}
