package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/proof"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// proofFiles makes an overlay, and in a directory its document, its root, and a proof that alice is registered; the proof and when it was made come back.
func proofFiles(t *testing.T) (dir string, file []byte, made time.Time) {
	t.Helper()
	const name = "p2psip.test"
	made = time.Now().Truncate(time.Millisecond)
	ov, err := identity.New(identity.Template(name), trust.P256, made.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	self, err := identity.NewNode(ov.Authority, "gw@"+name, made)
	if err != nil {
		t.Fatal(err)
	}
	by, err := identity.IssuingKeyring(ov.Authority, self).Signer("alice@" + name)
	if err != nil {
		t.Fatal(err)
	}
	node := self.Identity().Node
	reg := wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: wire.NewDestinationList(wire.ToNode(node))}
	d := wire.StoredData{StorageTime: uint64(made.UnixMilli()), Lifetime: 600,
		Value: wire.StoredValue{Model: wire.Dictionary, Key: string(node.Bytes()), Exists: true, Data: reg.AppendTo(nil)}}
	if err := by.SignValue(wire.ResourceIDOf("alice@"+name), wire.KindSIPRegistration, &d); err != nil {
		t.Fatal(err)
	}
	file, err = proof.Seal(proof.Observation{Overlay: name, AOR: "alice@" + name, Fetched: made, Responsible: node,
		Values: []wire.StoredData{d}, Certificates: by.Certificates()}, self)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ov.Authority.Certificate().Raw})
	for name, b := range map[string][]byte{"overlay.xml": ov.Document, "root.pem": root, "empty.pem": {}, "proof.json": file} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, file, made
}

func TestVerifyChecksAProofWithoutANode(t *testing.T) {
	dir, file, made := proofFiles(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	changed := bytes.Clone(file)
	changed[len(changed)-20] ^= 1
	if err := os.WriteFile(in("changed.json"), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	late := made.Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		args []string
		exit int
		want string // a regular expression in what is printed
	}{
		{[]string{in("proof.json"), "--document", in("overlay.xml")}, exitOK, `(?m)^certificate +ok +serial [0-9a-f]+, issued by `},
		{[]string{"--ca", in("root.pem"), in("proof.json")}, exitOK, `valid +alice@p2psip.test was registered so at `},
		{[]string{"-", "--ca", in("root.pem")}, exitOK, `(?m)^node +ok +node [0-9a-f]{32} is in certificate, key and route$`},
		{[]string{in("proof.json"), "--ca", in("root.pem"), "--at", late}, exitConfig, `(?m)^time +E0508 +ended at `},
		{[]string{in("changed.json"), "--ca", in("root.pem")}, exitConfig, `E050[13]`},
		{[]string{in("root.pem"), "--ca", in("root.pem")}, exitConfig, `(?m)^form +E0501 `},
		{[]string{in("proof.json"), "--ca", in("empty.pem")}, exitConfig, `no certificate in PEM`},
		{[]string{in("proof.json"), "--ca", in("nothing")}, exitConfig, `no such file`},
		{[]string{in("nothing"), "--ca", in("root.pem")}, exitConfig, `no such file`},
		{[]string{in("proof.json")}, exitUsage, `--document or --ca`},
		{[]string{in("proof.json"), "--ca", "a", "--document", "b"}, exitUsage, `--document or --ca`},
		{[]string{"--ca", "a"}, exitUsage, `want one file`},
		{[]string{in("proof.json"), "--ca", "a", "--at", "noon"}, exitUsage, `noon`},
	} {
		var out bytes.Buffer
		code := runVerify(t.Context(), stdio{bytes.NewReader(file), &out, &out}, c.args)
		if code != c.exit || !regexp.MustCompile(c.want).MatchString(out.String()) {
			t.Errorf("%q: exit %d, want %d and %s\n%s", c.args, code, c.exit, c.want, &out)
		}
		if c.exit == exitUsage || strings.Contains(c.want, "no ") {
			continue
		}
		out.Reset()
		if again := runVerify(t.Context(), stdio{bytes.NewReader(file), &out, &out}, append([]string{"--json"}, c.args...)); again != code {
			t.Errorf("%q --json: exit %d", c.args, again)
		}
		var r VerifyReport
		d := json.NewDecoder(&out)
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil || r.Valid != (code == exitOK) || r.Valid == (r.Code != "") || len(r.Checks) == 0 {
			t.Errorf("%q --json: %+v, %v", c.args, r, err)
		}
	}
}

func TestLookupWritesAProof(t *testing.T) {
	dir, file, _ := proofFiles(t)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("aor") != "alice" {
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(gateway.ErrorReport{Error: "not registered anywhere"})
			return
		}
		_, _ = w.Write(file)
	}))
	defer node.Close()
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := dispatch(t.Context(), stdio{nil, &out, &out}, append([]string{"lookup", "--admin", node.Listener.Addr().String()}, args...))
		return out.String(), code
	}
	to := filepath.Join(dir, "written.json")
	text, code := run("alice", "--proof", to)
	if !regexp.MustCompile(`(?s)record +to [0-9a-f]{32}, signed by alice@p2psip.test, certificate [0-9a-f]+ of .*held by .*seen by .*written`).MatchString(text) || code != exitOK {
		t.Errorf("exit %d:\n%s", code, text)
	}
	if b, err := os.ReadFile(to); err != nil || !bytes.Equal(b, file) {
		t.Errorf("written %v\n%s", err, b)
	}
	if text, code := run("alice", "--proof", "-"); code != exitOK || text != string(file) {
		t.Errorf("exit %d:\n%s", code, text)
	}
	if text, code := run("bob", "--proof", to); code != exitConfig || !strings.Contains(text, "not registered anywhere") {
		t.Errorf("exit %d:\n%s", code, text)
	}
	if _, code := run("alice", "--proof", dir); code != exitConfig {
		t.Errorf("exit %d", code)
	}
}
