package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// enrollServer is a running `enroll serve` over an overlay that init made.
type enrollServer struct {
	dir, url, password string // dir of the overlay; URL; file
	out, err           *buffer
	stop               func() int
}

const enrollPassword = "correct horse battery"

// startEnroll makes the overlay p2psip.test with the account gw1, which acts for all of its users, and serves it.
func startEnroll(t *testing.T, args ...string) *enrollServer {
	t.Helper()
	tmp := t.TempDir()
	port := freePorts(t)
	s := &enrollServer{dir: filepath.Join(tmp, "overlay"), url: fmt.Sprintf("https://127.0.0.1:%d", port), password: filepath.Join(tmp, "password")}
	write(t, s.password, enrollPassword+"\n")
	for _, c := range []string{
		"init --domain p2psip.test --dir " + s.dir + " --enrollment-server " + s.url + "/",
		"enroll account add gw1 --dir " + s.dir + " --act-for *@p2psip.test --password-file " + s.password,
	} {
		if code, out, errs := runCommand(t, strings.Fields(c)...); code != exitOK || errs != "" {
			t.Fatalf("%s: %d\n%s%s", c, code, out, errs)
		}
	}
	s.run(t, append([]string{"--host", "127.0.0.1"}, args...)...)
	return s
}

func (s *enrollServer) run(t *testing.T, args ...string) {
	t.Helper()
	s.out, s.err = &buffer{}, &buffer{}
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	all := append([]string{"enroll", "serve", "--dir", s.dir, "--listen", strings.TrimPrefix(s.url, "https://")}, args...)
	go func() { code <- dispatch(ctx, stdio{strings.NewReader(""), s.out, s.err}, all) }()
	s.stop = func() int { cancel(); c := <-code; code <- c; return c }
	t.Cleanup(func() {
		if c := s.stop(); c != exitOK {
			t.Errorf("enroll serve: %d\n%s", c, s.err)
		}
	})
	eventually(t, "the enrollment server", func() error {
		if strings.Contains(s.out.String(), "document sequence") || len(code) > 0 {
			return nil
		}
		return errors.New("not yet")
	})
}

func (s *enrollServer) join(t *testing.T, out string, args ...string) (code int, text, errs string) {
	t.Helper()
	return runCommand(t, append([]string{"join", s.url, "--account", "gw1", "--password-file", s.password, "--ca", filepath.Join(s.dir, "ca.crt"),
		"--out", out, "--wait", "10s"}, args...)...)
}

// sealed checks that a message of aor, sealed with the identity in dir, is believed.
func sealed(t *testing.T, dir, aor string) wire.NodeID {
	t.Helper()
	o, warnings, err := identity.LoadDocument(filepath.Join(dir, identity.DocumentFile), time.Now())
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	node, err := identity.LoadNode(dir, o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := identity.OpenKeyring(dir, o, node).Signer(aor)
	if err != nil {
		t.Fatal(err)
	}
	m := &wire.Message{Header: wire.Header{Overlay: o.ID(), Version: wire.Version, Fragment: wire.Unfragmented}, Body: &wire.PingReq{}}
	raw, err := signer.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = o.Schema().Parse(raw); err != nil {
		t.Fatal(err)
	}
	v, err := trust.NewVerifier(o).Verify(time.Now(), m, "")
	if err != nil || v.Sender().User != aor || v.Sender().Node != node.Identity().Node {
		t.Errorf("%+v %v", v.Sender(), err)
	}
	return node.Identity().Node
}

// init -> enroll serve -> join -> a message that the overlay believes; and again.
//
// Conformance: F-20
func TestJoin(t *testing.T) {
	s := startEnroll(t)
	out, users := filepath.Join(t.TempDir(), "gw1"), filepath.Join(t.TempDir(), "users")
	write(t, users, "1001 secret\n1002 secret\n")
	code, text, errs := s.join(t, out, "--users", users, "--user", "1003")
	if code != exitOK || errs != "" || !strings.Contains(text, "identity gw1@p2psip.test of overlay p2psip.test") || !strings.Contains(text, "3 certificates") {
		t.Fatalf("join: %d\n%s%s", code, text, errs)
	}
	node := sealed(t, out, "1003@p2psip.test")
	if info, err := os.Stat(filepath.Join(out, "enrollment.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	// Again, with nothing but the directory: everything is renewed, key and Node-ID stay.
	before, err := os.ReadFile(filepath.Join(out, "users", "1001@p2psip.test.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if code, text, errs := runCommand(t, "join", "--out", out); code != exitOK || !strings.Contains(text, "3 certificates") {
		t.Fatalf("join again: %d\n%s%s", code, text, errs)
	}
	after, err := os.ReadFile(filepath.Join(out, "users", "1001@p2psip.test.crt"))
	if err != nil || string(before) == string(after) || sealed(t, out, "1001@p2psip.test") != node {
		t.Error("not renewed", err)
	}
	code, text, _ = runCommand(t, "enroll", "ls", "--dir", s.dir)
	if code != exitOK || strings.Count(text, node.String()) != 4 || !strings.Contains(text, "1002@p2psip.test") {
		t.Errorf("enroll ls: %d\n%s", code, text)
	}
	code, text, _ = runCommand(t, "enroll", "ls", "--dir", s.dir, "--json", "--account", "gw1")
	var issued struct{ User, Serial string }
	if line, _, _ := strings.Cut(text, "\n"); code != exitOK || json.Unmarshal([]byte(line), &issued) != nil || issued.Serial == "" {
		t.Errorf("enroll ls --json: %d\n%s", code, text)
	}
	// A second gateway, with a code; the document spreads.
	for _, c := range []string{"enroll account add gw2 --act-for *@p2psip.test --dir " + s.dir,
		"enroll publish --dir " + s.dir + " --bootstrap 192.0.2.1:6084"} {
		if code, text, errs := runCommand(t, strings.Fields(c)...); code != exitOK {
			t.Fatalf("%s: %d\n%s%s", c, code, text, errs)
		}
	}
	eventually(t, "the next document", func() error {
		if strings.Contains(s.err.String(), "document published") {
			return nil
		}
		return errors.New("not yet")
	})
	_, text, _ = runCommand(t, "enroll", "code", "gw2", "--dir", s.dir)
	pin, _, _ := strings.Cut(text, "\n")
	gw2 := filepath.Join(t.TempDir(), "gw2")
	code, text, errs = runCommand(t, "join", s.url, "--account", "gw2", "--code", pin, "--ca", filepath.Join(s.dir, "ca.crt"), "--out", gw2, "--user", "1001")
	if code != exitOK {
		t.Fatalf("join with a code: %d\n%s%s", code, text, errs)
	}
	if sealed(t, gw2, "1001@p2psip.test") == node {
		t.Error("two gateways have one Node-ID for one user")
	}
	if code, _, errs := runCommand(t, "join", "--out", gw2); code != exitOK {
		t.Errorf("join again with a code: %s", errs)
	}
	o, _, err := identity.LoadDocument(filepath.Join(gw2, identity.DocumentFile), time.Now())
	if err != nil || o.Sequence != 2 || len(o.Bootstrap) != 1 {
		t.Errorf("%+v %v", o, err)
	}
	// F-20: what was logged.
	if log := s.err.String(); strings.Contains(log, enrollPassword) || strings.Contains(log, pin) || !strings.Contains(log, "certificate issued") {
		t.Errorf("the log:\n%s", log)
	}
}

// Conformance: F-20
func TestJoinRefused(t *testing.T) {
	s := startEnroll(t)
	tmp := t.TempDir()
	bad, other := filepath.Join(tmp, "bad"), filepath.Join(tmp, "other.pem")
	write(t, bad, "wrong horse battery\n")
	made, err := identity.New(identity.Template("p2psip.test"), trust.P256, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write(t, other, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Authority.Certificate().Raw})))
	ca := " --ca " + filepath.Join(s.dir, "ca.crt") + " --wait 1s --out " + filepath.Join(tmp, "x")
	good := " --account gw1 --password-file " + s.password + ca
	if code, _, errs := s.join(t, filepath.Join(tmp, "mine")); code != exitOK {
		t.Fatal(errs)
	}
	if code, _, errs := runCommand(t, "enroll", "account", "add", "gw2", "--dir", s.dir, "--password-file", s.password); code != exitOK {
		t.Fatal(errs)
	}
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"join --help", exitOK, []string{"--account"}},
		{"join", exitUsage, []string{"--out"}},
		{"join --out " + tmp + "/x", exitUsage, []string{"--account"}},
		{"join " + s.url + " --account a --out " + tmp + "/x", exitUsage, []string{"--password-file or --code"}},
		{"join http://127.0.0.1/" + good, exitUsage, []string{"https"}},
		{"join a b", exitUsage, []string{`"b"`}},
		{"join " + s.url + " --account gw1 --password-file " + bad + ca, exitConfig, []string{codeRefused, "failed_authentication", "code is good for one key"}},
		{"join " + s.url + " --account gw1 --code ABCDE-12345" + ca, exitConfig, []string{codeRefused, "failed_authentication"}},
		{"join " + s.url + " --account gw1 --password-file " + tmp + "/absent" + ca, exitConfig, []string{codePassword, "no such file"}},
		{"join " + s.url + " --user 1001@other.example" + good, exitConfig, []string{codeRefused, "username_not_available", "enroll account ls"}},
		{"join " + s.url + " --user sip:x" + good, exitConfig, []string{identity.CodeUserName}},
		{"join " + s.url + good + " --ca " + other, exitConfig, []string{codeServerCert, "unknown authority", "--ca"}},
		{"join " + s.url + good + " --ca " + bad, exitConfig, []string{identity.CodeMalformed, "CERTIFICATE"}},
		{"join " + s.url + good + " --ca " + tmp + "/absent", exitConfig, []string{identity.CodeUnreadable}},
		{"join " + s.url + "/nothing" + good, exitConfig, []string{codeUnreachable, "404"}},
		{"join https://127.0.0.1:1" + good, exitConfig, []string{codeUnreachable, "refused"}},
		{"join " + s.url + " --account gw2 --password-file " + s.password + ca + " --out " + tmp + "/mine", exitConfig,
			[]string{identity.CodeExists, "another identity"}},
		{"enroll", exitUsage, []string{"serve"}},
		{"enroll --help", exitOK, []string{"publish"}},
		{"enroll x", exitUsage, []string{"account"}},
		{"enroll account add gw1 --dir " + s.dir, exitConfig, []string{codeAccount, "already"}},
		{"enroll account add --dir " + s.dir, exitUsage, []string{"NAME"}},
		{"enroll account add u --dir " + s.dir + " --user gw1", exitConfig, []string{codeAccount, "belongs to the account gw1"}},
		{"enroll account add u --dir " + s.dir + " --act-for @x", exitConfig, []string{codeAccount, "user@domain"}},
		{"enroll account rm u --dir " + s.dir, exitConfig, []string{codeAccount, "no such account", "account ls"}},
		{"enroll account ls", exitUsage, []string{"--dir"}},
		{"enroll code u --dir " + s.dir, exitConfig, []string{codeAccount}},
		{"enroll code u --dir " + tmp, exitConfig, []string{identity.CodeUnreadable, "init"}},
		{"enroll ls --dir " + s.dir + " x", exitUsage, []string{`"x"`}},
		{"enroll publish --dir " + s.dir + " --bootstrap h:0", exitUsage, []string{"h:0"}},
		{"enroll publish --dir " + s.dir + " --enrollment-server http://x/", exitConfig, []string{identity.CodeDocument, "https"}},
		{"enroll serve --dir " + s.dir + " --listen " + strings.TrimPrefix(s.url, "https://"), exitConfig, []string{codeListen, "in use"}},
		{"enroll serve --dir " + s.dir + " --tls-cert x", exitUsage, []string{"--tls-key"}},
		{"enroll serve --dir " + s.dir + " --tls-cert x --tls-key y", exitConfig, []string{codeListen, "no such file"}},
		{"enroll serve --dir " + s.dir + " --lifetime 0", exitUsage, []string{"--lifetime"}},
		{"enroll serve --dir " + s.dir + " --log-format xml", exitUsage, []string{"--log-format"}},
		{"enroll serve", exitUsage, []string{"--dir"}},
	} {
		code, out, errs := runCommand(t, strings.Fields(c.args)...)
		for _, w := range c.want {
			if code != c.code || !strings.Contains(out+errs, w) {
				t.Errorf("%s: %d, want %d and %q\n%s%s", c.args, code, c.code, w, out, errs)
			}
		}
	}
	if log := s.err.String(); strings.Contains(log, "wrong horse") || strings.Contains(log, "ABCDE-12345") || strings.Count(log, "failed_authentication") < 2 {
		t.Errorf("the log:\n%s", log)
	}
	code, text, _ := runCommand(t, "enroll", "account", "rm", "gw1", "--dir", s.dir)
	if code != exitOK || !regexp.MustCompile(`node +[0-9a-f]{32} keeps`).MatchString(text) {
		t.Errorf("%d %s", code, text)
	}
	if code, text, _ = runCommand(t, "enroll", "account", "ls", "--dir", s.dir); code != exitOK || strings.Contains(text, "gw1") || !strings.Contains(text, "gw2@p2psip.test") {
		t.Errorf("%d %s", code, text)
	}
	if code, _, errs := s.join(t, filepath.Join(tmp, "mine")); code != exitConfig || !strings.Contains(errs, codeRefused) {
		t.Errorf("an account that was removed: %d %s", code, errs)
	}
	if code, _, errs := runCommand(t, "init", "--domain", "a.example", "--dir", filepath.Join(tmp, "bare")); code != exitOK {
		t.Fatal(errs)
	}
	code, _, errs := runCommand(t, "enroll", "serve", "--dir", filepath.Join(tmp, "bare"))
	if code != exitConfig || !strings.Contains(errs, codeNoServer) || !strings.Contains(errs, "enroll publish") {
		t.Errorf("a document without enrollment server: %d %s", code, errs)
	}
	write(t, filepath.Join(s.dir, "accounts.json"), "{")
	if code, _, errs := runCommand(t, "enroll", "account", "ls", "--dir", s.dir); code != exitConfig || !strings.Contains(errs, codeAccounts) {
		t.Errorf("damaged accounts: %d %s", code, errs)
	}
}

// A certificate in files is read again when it was replaced, and the old one stays when the new one is none.
func TestEnrollServeCertificateFiles(t *testing.T) {
	s := startEnroll(t)
	if c := s.stop(); c != exitOK {
		t.Fatal(c)
	}
	a, _, err := identity.LoadAuthority(s.dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	serial := func() string {
		k, err := trust.GenerateKey(trust.P256)
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.IssueServer(time.Now(), time.Hour, []string{"127.0.0.1"}, k.Public())
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
		return c.SerialNumber.String()
	}
	first := serial()
	s.run(t, "--tls-cert", cert, "--tls-key", key)
	if !strings.Contains(s.err.String(), "wanted to match p2psip.test") {
		t.Errorf("no warning:\n%s", s.err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	shown := func() string {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{RootCAs: pool})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	if shown() != first {
		t.Error("another certificate")
	}
	second := serial()
	if shown() != second {
		t.Error("the certificate was not read again")
	}
	write(t, cert, "x")
	if shown() != second {
		t.Error("the old certificate went with a damaged one")
	}
}

// A gateway that was made by join gets the certificate of a user when the user registers first.
func TestRunGetsCertificates(t *testing.T) {
	s := startEnroll(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "identity")
	if code, _, errs := s.join(t, out); code != exitOK {
		t.Fatal(errs)
	}
	o, _, err := identity.LoadDocument(filepath.Join(out, identity.DocumentFile), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	node, err := identity.LoadNode(out, o, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys, renew, err := openIdentity(out, o, node, newLog(gateway.LogConfig{Level: "info", Format: "text"}, s.err))
	if err != nil || renew == nil {
		t.Fatal(err)
	}
	stop := renew.start(t.Context())
	defer stop()
	if _, err := keys.Signer("1001@p2psip.test"); err != nil {
		t.Fatal(err)
	}
	sealed(t, out, "1001@p2psip.test") // it was kept
	if _, err := keys.Signer("1001@other.example"); !errors.Is(err, identity.ErrNoCertificate) {
		t.Errorf("a user of another domain: %v", err)
	}
	// The server is down: what is there goes on.
	if c := s.stop(); c != exitOK {
		t.Fatal(c)
	}
	again, _, err := openIdentity(out, o, node, newLog(gateway.LogConfig{Level: "info", Format: "text"}, s.err))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Signer("1001@p2psip.test"); err != nil {
		t.Error(err)
	}
}
