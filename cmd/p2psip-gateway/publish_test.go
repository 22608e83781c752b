package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// The document that is published goes to one bootstrap node, and from it to all; the others go on without one that it names bad.
//
// Conformance: F-43
func TestProcessesGetWhatIsPublished(t *testing.T) {
	users := []string{"2001", "2002", "2003"}
	r := newRing(t, program(t, ""), len(users), users)
	phones := r.homes(t, users)
	dir := filepath.Join(r.dir, "overlay")
	publish := func(args ...string) string {
		t.Helper()
		code, out, errs := runCommand(t, append([]string{"enroll", "publish", "--dir", dir}, args...)...)
		if code != exitOK || errs != "" {
			t.Fatalf("publish: %d\n%s%s", code, out, errs)
		}
		return out
	}
	spread := func(nodes int) {
		t.Helper()
		want, err := os.ReadFile(filepath.Join(dir, identity.DocumentFile))
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "all to have the document", func() error {
			for k := range nodes {
				if b, err := os.ReadFile(filepath.Join(r.dir, fmt.Sprintf("gw%d", k), identity.DocumentFile)); err != nil || !bytes.Equal(b, want) {
					return fmt.Errorf("node %d has another document (%w)", k, err)
				}
			}
			return nil
		})
	}
	if out := publish("--expires", "48h"); !strings.Contains(out, "taken by node ") || !strings.Contains(out, "sequence 2") {
		t.Error(out)
	}
	spread(3)
	if text, err := page(r.members[1].admin, "/api/v1/status"); err != nil || !strings.Contains(text, `"what": "configuration document"`) {
		t.Errorf("%v\n%s", err, text)
	}
	r.callAround(t, -1, phones)
	if out := publish("--bad-node", r.members[2].id); !strings.Contains(out, "taken by node ") {
		t.Error(out)
	}
	spread(2)
	r.callAround(t, 2, phones)
	if out := publish("--push=false"); strings.Contains(out, "overlay  ") {
		t.Error(out)
	}
}

// RFC 6940 §11.1: "forcing an avalanche restart of the overlay with a configuration change that requires rejoining the overlay may
// result in serious performance problems, including total collapse of the network".
//
// Conformance: F-42
func TestRFC6940_11_1_PublishWarnsOfWhatMakesNodesLeave(t *testing.T) {
	tmp := t.TempDir()
	dir, edited := filepath.Join(tmp, "overlay"), filepath.Join(tmp, "edited.xml")
	if code, _, errs := runCommand(t, "init", "--domain", "p2psip.test", "--dir", dir); code != exitOK {
		t.Fatal(errs)
	}
	raw, err := os.ReadFile(filepath.Join(dir, identity.DocumentFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, old, new string
		args           string
		code           int
		want           string
	}{
		{"a timer", "chord-update-interval>600<", "chord-update-interval>60<", "", exitOK, "sequence 2"},
		{"links", "<overlay-link-protocol>TLS", "<overlay-link-protocol>DTLS</overlay-link-protocol><overlay-link-protocol>TLS", "", exitConfig, "overlay-link-protocol: every node leaves"},
		{"links, wanted", "<overlay-link-protocol>TLS", "<overlay-link-protocol>DTLS</overlay-link-protocol><overlay-link-protocol>TLS", "--disruptive", exitOK, "warning: overlay-link-protocol"},
		{"another overlay", `instance-name="p2psip.test"`, `instance-name="other.test"`, "--disruptive", exitConfig, "it is of overlay other.test"},
		{"what we can not do", "no-ice>true<", "no-ice>maybe<", "", exitConfig, "no-ice"},
	} {
		text := strings.Replace(string(raw), c.old, c.new, 1)
		if text == string(raw) {
			t.Fatalf("%s changes nothing", c.name)
		}
		write(t, edited, text)
		code, out, errs := runCommand(t, append([]string{"enroll", "publish", "--dir", dir, "--from", edited}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: %d, want %d and %q\n%s%s", c.name, code, c.code, c.want, out, errs)
		}
	}
	for args, want := range map[string]string{"--bad-node x": "--bad-node", "--expires -1h": "--expires", "--from " + tmp + "/absent": "no such file"} {
		code, _, errs := runCommand(t, append([]string{"enroll", "publish", "--dir", dir}, strings.Fields(args)...)...)
		if code == exitOK || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", args, code, errs)
		}
	}
	// One that has expired can be followed by another.
	if _, err := identity.Publish(dir, func(o *config.Overlay) {
		o.Expiration = time.Now().Add(time.Second).UTC().Truncate(time.Second).Add(time.Second)
	}, time.Now()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the document to expire", func() error {
		if _, _, err := identity.LoadDocument(filepath.Join(dir, identity.DocumentFile), time.Now()); err == nil {
			return fmt.Errorf("it has not")
		}
		return nil
	})
	if code, _, errs := runCommand(t, "enroll", "publish", "--dir", dir, "--expires", "24h"); code != exitOK {
		t.Error(errs)
	}
}
