package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// aNode makes an overlay, the identity of a gateway, users, and a configuration of free ports; it returns the file.
func aNode(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	overlay, users := filepath.Join(dir, "overlay"), filepath.Join(dir, "users.txt")
	write(t, users, "1001 secret-1001\n")
	for _, args := range [][]string{
		{"init", "--domain", "p2psip.test", "--dir", overlay, "--bootstrap", "127.0.0.1:6084"},
		{"identity", "issue", "--dir", overlay, "--name", "gw1", "--out", filepath.Join(dir, "identity"), "--users", users},
	} {
		if code, out, errs := runCommand(t, args...); code != exitOK {
			t.Fatalf("%q: %d\n%s%s", args, code, out, errs)
		}
	}
	file := filepath.Join(dir, "gateway.yaml")
	write(t, file, `domain: p2psip.test
sip:
  listen: [udp://127.0.0.1:0, tcp://127.0.0.1:0]
overlay:
  listen: tls://127.0.0.1:0
  first: true
registrar:
  users: users.txt
admin:
  listen: 127.0.0.1:0
`)
	return file
}

// Feature: CFG-03
func TestCheckFindsWhatIsWrongBeforeTheStart(t *testing.T) {
	file := aNode(t)
	if code, out, errs := runCommand(t, "check", "-c", file); code != exitOK || !strings.HasSuffix(out, "good, 0 warnings\n") || errs != "" {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	busy, dir := taken.Addr().String(), filepath.Dir(file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "no.pem"), "nothing")
	write(t, filepath.Join(dir, "more.txt"), "1001 secret\n9999 secret\n")
	for name, c := range map[string]struct {
		old, new string
		args     []string
		code     int
		want     string // with bars between
	}{
		"key":          {"domain:", "domian:", nil, exitConfig, file + `:1:1 E0102 unknown key "domian"|1 problems`},
		"two":          {"p2psip.test\n", "p2psip.test\nrole: king\nlog: {level: loud}\n", nil, exitConfig, file + ":2:7 E0104 role|" + file + ":3:14 E0104 log.level|2 problems"},
		"no YAML":      {"admin:", "admin: [", nil, exitConfig, "E0101"},
		"no users":     {"users.txt", "none.txt", nil, exitConfig, file + ":8:10 E0203 registrar.users: "},
		"SIP port":     {"tcp://127.0.0.1:0", "tcp://" + busy, nil, exitConfig, file + ":3:11 E0201 sip.listen: can not listen on " + busy},
		"overlay port": {"tls://127.0.0.1:0", "tls://" + busy, nil, exitConfig, file + ":5:11 E0201 overlay.listen"},
		"admin port":   {"listen: 127.0.0.1:0", "listen: " + busy, nil, exitOK, "warning: " + file + ":10:11 E0109 admin.listen"},
		"wildcard":     {"udp://127.0.0.1:0", "udp://0.0.0.0:0", nil, exitConfig, file + ":3:11 E0202 sip.advertise"},
		"identity":     {"", "", []string{"--set", "overlay.identity=" + dir}, exitConfig, "flag --set: E030"},
		"no key pair":  {"", "", []string{"--set", "sip.tls.cert=" + dir + "/no.pem", "--set", "sip.tls.key=" + dir + "/no.pem"}, exitConfig, "flag --set: E0106 sip.tls: "},
		"no roots":     {"", "", []string{"--set", "sip.tls.ca=" + dir + "/no.pem"}, exitConfig, "flag --set: E0106 sip.tls.ca: "},
		"more users":   {"", "", []string{"--set", "registrar.users=" + dir + "/more.txt"}, exitOK, "warning: flag --set: E0117 registrar.users: 1 without a certificate, other gateways will not find them: 9999"},
		"no directory": {"", "", []string{"--set", "data=" + dir + "/no.pem"}, exitConfig, "flag --set: E0106 data: "},
		"no name":      {"", "", []string{"--advertise", "none.invalid"}, exitOK, `warning: flag --advertise: E0108 sip.advertise: "none.invalid" leads nowhere`},
		"no peer":      {"", "", []string{"--bootstrap", "gw1"}, exitConfig, `flag --bootstrap: E0104 overlay.bootstrap: "gw1": want host:port`},
		"no file":      {"", "", []string{"-c", dir + "/none.yaml"}, exitConfig, "no such file|try: p2psip-gateway run -c"},
		"bad flag":     {"", "", []string{"--set", "domain"}, exitUsage, "want key=value"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, file, strings.Replace(string(text), c.old, c.new, 1))
			code, out, errs := runCommand(t, append([]string{"check", "-c", file}, c.args...)...)
			if code != c.code {
				t.Errorf("exit %d, want %d\n%s%s", code, c.code, out, errs)
			}
			for want := range strings.SplitSeq(c.want, "|") {
				if !strings.Contains(errs, want) {
					t.Errorf("no %q in\n%s", want, errs)
				}
			}
		})
	}
}

// A key or a secret that others can read or write is told of, and no reason not to start; a group that can is fine.
//
// Feature: CFG-03 SEC-11
func TestCheckWarnsOfKeysThatOthersCanRead(t *testing.T) {
	file := aNode(t)
	dir := filepath.Dir(file)
	secret := filepath.Join(dir, "secret.txt")
	write(t, secret, "0123456789abcdef0123456789abcdef\n")
	token := []string{"--set", "admin.token_file=" + secret}
	for name, c := range map[string]struct {
		path string
		mode os.FileMode
		args []string
		want string // "": no warning
	}{
		"of the node":        {filepath.Join(dir, "identity", "node.key"), 0o644, nil, file + ": E0118 overlay.identity: " + dir + "/identity/node.key"},
		"a group":            {filepath.Join(dir, "identity", "node.key"), 0o660, nil, ""},
		"written by others":  {filepath.Join(dir, "identity", "node.key"), 0o602, nil, "E0118 overlay.identity: "},
		"a certificate":      {filepath.Join(dir, "identity", "node.crt"), 0o644, nil, ""},
		"a token":            {secret, 0o604, token, "flag --set: E0118 admin.token_file: " + secret},
		"a token of a group": {secret, 0o640, token, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(c.path, c.mode); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Chmod(c.path, 0o600) }()
			code, out, errs := runCommand(t, append([]string{"check", "-c", file}, c.args...)...)
			if code != exitOK || !strings.Contains(errs, c.want) || (c.want == "") != (errs == "") {
				t.Errorf("%d\n%s%s", code, out, errs)
			}
		})
	}
}

// Feature: CFG-04 SEC-11
func TestConfigShowNamesTheOriginAndMasksSecrets(t *testing.T) {
	file := aNode(t)
	t.Setenv("P2PSIP_GATEWAY_LOG_LEVEL", "debug")
	args := []string{"config", "show", "-c", file, "--domain", "x.test", "--set", "overlay.turn.servers=[{address: 192.0.2.1:3478, user: u, password: verysecret}]"}
	code, out, errs := runCommand(t, append(args, "--effective", "--origin")...)
	if code != exitOK || errs != "" || strings.Contains(out, "verysecret") {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	lines := map[string]string{}
	for line := range strings.Lines(out) {
		key, rest, _ := strings.Cut(line, ":")
		lines[key] = strings.Join(strings.Fields(rest), " ")
	}
	for key, want := range map[string]string{
		"domain": "x.test # flag --domain", "log.level": "debug # env P2PSIP_GATEWAY_LOG_LEVEL", "overlay.first": "true # " + file + ":6:10",
		"registrar.max_contacts": "10 # default", "registrar.users": filepath.Join(filepath.Dir(file), "users.txt") + " # " + file + ":8:10",
	} {
		if lines[key] != want {
			t.Errorf("%s: %q, want %q", key, lines[key], want)
		}
	}
	var r gateway.ConfigReport
	code, out, _ = runCommand(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil || len(r.Settings) != 8 || strings.Contains(out, "verysecret") {
		t.Errorf("%d, %v\n%s", code, err, out)
	}
}
