package main

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// An overlay whose document names no bootstrap node. The configuration server is found on the local network, and so are the nodes, both
// of which may be the first: they make one ring. The network is loopback, and the name one that nobody else here has.
func TestProcessesFindEachOtherOnTheLocalNetwork(t *testing.T) {
	name := strings.ToLower(rand.Text()[:12]) + ".test"
	base := freePorts(t)
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	r := &ring{program: program(t, ""), dir: t.TempDir()}
	dir, password := filepath.Join(r.dir, "overlay"), filepath.Join(r.dir, "password")
	write(t, password, enrollPassword+"\n")
	write(t, filepath.Join(r.dir, "users.txt"), "2001 secret-2001\n")
	r.command(t, "init", "--domain", name, "--dir", dir, "--enrollment-server", "https://"+at(base+138)+"/")
	server := start(t, r.program, nil, "enroll", "serve", "--dir", dir, "--listen", at(base+138), "--discover", "lan:lo")
	eventually(t, "the enrollment server", func() error {
		if !strings.Contains(server.stderr.String(), "document sequence") {
			return fmt.Errorf("%s", server.stderr)
		}
		return nil
	})
	for k := range 2 {
		gw := fmt.Sprintf("gw%d", k)
		r.command(t, "enroll", "account", "add", gw, "--dir", dir, "--password-file", password)
		r.command(t, "join", name, "--discover", "lan:lo", "--account", gw, "--password-file", password, "--ca", filepath.Join(dir, "ca.crt"),
			"--out", filepath.Join(r.dir, gw))
		m := &ringNode{file: filepath.Join(r.dir, gw+".yaml"), sip: at(base + 10*k), overlay: at(base + 100 + k), admin: at(base + 120 + k)}
		text := fmt.Sprintf(gatewayFile, k, m.sip, filepath.Join(r.dir, gw), m.overlay, true, m.admin, "tls", "\n  discover: lan:lo")
		write(t, m.file, strings.Replace(text, "domain: p2psip.test", "domain: "+name, 1))
		r.members = append(r.members, m)
		r.start(t, m)
	}
	for k, m := range r.members {
		eventually(t, "the other node", func() error {
			var s gateway.RingReport
			if err := getJSON(m.admin, "/api/v1/ring", &s); err != nil {
				return err
			}
			if len(s.Successors) != 1 || s.Successors[0] != r.members[1-k].id {
				return fmt.Errorf("successors %v, want %s\n%s", s.Successors, r.members[1-k].id, m.stderr)
			}
			return nil
		})
	}
	if log := r.members[1].stderr.String(); !strings.Contains(log, "found on the local network") || strings.Contains(log, " first ") {
		t.Errorf("the second has not found the first:\n%s", log)
	}
	for args, want := range map[string]string{"join " + name + " --discover wan --account a --code b --out " + r.dir + "/x": "lan:INTERFACE",
		"enroll serve --dir " + dir + " --discover lan:": "lan:INTERFACE", "enroll serve --dir " + dir + " --listen 127.0.0.1:0 --discover lan:nowhere": "nowhere"} {
		if code, _, errs := runCommand(t, strings.Fields(args)...); code == exitOK || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", args, code, errs)
		}
	}
}
