package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// An overlay without authority: four nodes, two with each type of key, make their own certificates, the later ones after a look whether
// the name is free. Everybody calls everybody.
//
// Conformance: F-09
func TestProcessesOfASelfSignedOverlayCall(t *testing.T) {
	for digest, scheme := range map[string]string{config.DigestSHA256: "tls", config.DigestSHA1: "dtls"} {
		t.Run(digest+" over "+scheme, func(t *testing.T) {
			users := []string{"2001", "2002", "2003", "2004"}
			r := ringPlan{scheme: scheme, program: program(t, ""), nodes: len(users), users: users, init: []string{"--self-signed", "--digest", digest},
				made: func(r *ring, k int, out string) {
					args := []string{"identity", "self-sign", "--document", filepath.Join(r.dir, "overlay", "overlay.xml"), "--name", fmt.Sprintf("gw%d", k),
						"--out", out, "--key", []string{"p256", "rsa2048"}[k%2]}
					want := "free in the overlay"
					if k == 0 {
						want = "could not be asked for"
					}
					if code, text, errs := runCommand(t, args...); code != exitOK || !strings.Contains(text, want) {
						t.Fatalf("self-sign: %d, want %q\n%s%s", code, want, text, errs)
					}
					r.start(t, r.members[k])
				}}.make(t)
			phones := r.homes(t, users)
			for _, from := range phones {
				for _, to := range phones {
					if from == to {
						continue
					}
					if err := from.call(to.aor()); err != nil {
						t.Error(err)
					}
				}
			}
			if log := r.members[0].stderr.String(); !strings.Contains(log, "any of its nodes can take any user name") {
				t.Errorf("no warning:\n%s", log)
			}
			// The Node-ID is the hash of the key, and everybody can see so.
			o, _, err := identity.LoadDocument(filepath.Join(r.dir, "gw1", "overlay.xml"), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			s, err := identity.LoadNode(filepath.Join(r.dir, "gw1"), o, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if want := trust.SelfSignedNodeID(digest, s.Identity().Cert.X509().RawSubjectPublicKeyInfo, 0, 16); s.Identity().Node != want || r.members[1].id != want.String() {
				t.Errorf("Node-ID %s of a node that runs as %s, want %s", s.Identity().Node, r.members[1].id, want)
			}
			r.takenName(t)
		})
	}
}

// takenName has another node want the name of gw1: RFC 6940 §11.3.1 has it look, and choose another.
func (r *ring) takenName(t *testing.T) {
	t.Helper()
	again := []string{"identity", "self-sign", "--document", filepath.Join(r.dir, "overlay", "overlay.xml"), "--name", "gw1"}
	eventually(t, "the name of gw1 to be taken", func() error {
		code, text, errs := runCommand(t, append(again, "--out", filepath.Join(t.TempDir(), "other"))...)
		if code != exitConfig || !strings.Contains(errs, identity.CodeUserName) || !strings.Contains(errs, r.members[1].id) {
			return fmt.Errorf("%d\n%s%s", code, text, errs)
		}
		return nil
	})
	// The node itself renews its certificate.
	code, text, errs := runCommand(t, append(again, "--out", filepath.Join(r.dir, "gw1"), "--user", "2002")...)
	if code != exitOK || !strings.Contains(text, r.members[1].id) || !strings.Contains(text, "renewed") || !strings.Contains(text, "certificates") {
		t.Errorf("renewal: %d\n%s%s", code, text, errs)
	}
}

// A ring in which nodes with RSA and with P-256 keys are mixed, under an authority with either. Over DTLS that takes an authority with
// an RSA key: see link.ErrMixedRSA.
func TestProcessesWithMixedKeysCall(t *testing.T) {
	for authority, scheme := range map[string]string{"p256": "tls", "rsa2048": "dtls"} {
		t.Run(authority+" over "+scheme, func(t *testing.T) {
			users := []string{"2001", "2002", "2003", "2004"}
			r := ringPlan{scheme: scheme, program: program(t, ""), nodes: len(users), users: users, init: []string{"--key", authority},
				issue: func(k int) []string { return []string{"--key", []string{"p256", "rsa2048"}[k%2]} }}.make(t)
			phones := r.homes(t, users)
			for k, p := range phones {
				for _, to := range []int{1, 2} { // another type of key, and the same
					if err := p.call(phones[(k+to)%len(phones)].aor()); err != nil {
						t.Error(err)
					}
				}
			}
			o, _, err := identity.LoadDocument(filepath.Join(r.dir, "gw1", "overlay.xml"), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for k, want := range []trust.KeyType{trust.P256, trust.RSA2048} {
				s, err := identity.LoadNode(filepath.Join(r.dir, fmt.Sprintf("gw%d", k)), o, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if got, err := trust.KeyTypeOf(s.Key().Public()); err != nil || got != want {
					t.Errorf("node %d has a key of type %s", k, got)
				}
			}
		})
	}
}

func TestSelfSignRefused(t *testing.T) {
	dir := t.TempDir()
	closed, open := filepath.Join(dir, "closed"), filepath.Join(dir, "open")
	for _, args := range []string{"init --domain p2psip.test --dir " + closed, "init --domain p2psip.test --self-signed --dir " + open} {
		if code, _, errs := runCommand(t, strings.Fields(args)...); code != exitOK {
			t.Fatal(errs)
		}
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"init --domain a.test --dir " + dir + "/x --self-signed --enrollment-server https://a.test/", exitUsage, "--enrollment-server"},
		{"init --domain a.test --dir " + dir + "/x --self-signed --digest md5", exitUsage, "sha1 or sha256"},
		{"identity", exitUsage, "self-sign"},
		{"identity self-sign --name gw1", exitUsage, "--document"},
		{"identity self-sign --document " + open + "/overlay.xml --name gw1 --out " + dir + "/x --key dsa", exitUsage, "p256 or rsa2048"},
		{"identity self-sign --document " + open + "/overlay.xml --name gw1 --out " + dir + "/x --lifetime 0", exitUsage, "--lifetime"},
		{"identity self-sign --document " + closed + "/overlay.xml --name gw1 --out " + dir + "/x", exitConfig, identity.CodeDocument},
		{"identity self-sign --document " + open + "/overlay.xml --name sip:x --out " + dir + "/x", exitConfig, identity.CodeUserName},
		{"identity self-sign --document " + open + "/overlay.xml --name gw1 --out " + dir + "/x --user sip:x", exitConfig, identity.CodeUserName},
		{"identity issue --dir " + closed + " --name gw1 --out " + dir + "/x --key dsa", exitUsage, "p256 or rsa2048"},
		{"identity issue --dir " + open + " --name gw1 --out " + dir + "/y", exitConfig, identity.CodeUnreadable},
	} {
		code, out, errs := runCommand(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: %d, want %d and %q\n%s%s", c.args, code, c.code, c.want, out, errs)
		}
	}
}
