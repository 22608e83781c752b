package enroll

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.Bytes())
	}
	return out
}

// F-13, F-14: "compatible with the existing certificate-handling tooling": OpenSSL makes the key and the request, curl is the
// client, OpenSSL checks the certificate.
//
// Conformance: F-13 F-14 F-18
func TestRFC6940_11_3_ExchangeWithOtherTools(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", ActsFor: []string{"*@example.org"}})
	port, dir, ca := w.serve(), t.TempDir(), w.caFile()
	file := func(name string) string { return filepath.Join(dir, name) }
	run(t, "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file("key"))
	run(t, "openssl", "req", "-new", "-key", file("key"), "-subj", "/CN=ignored", "-addext", "subjectAltName=email:1001@example.org", "-outform", "DER",
		"-out", file("csr"))
	curl := func(args ...string) []byte {
		return run(t, "curl", append([]string{"--silent", "--show-error", "--http1.1", "--cacert", ca, "--resolve", overlayName + ":" + port + ":127.0.0.1",
			"--max-time", "20"}, args...)...)
	}
	url := "https://" + overlayName + ":" + port
	curl("--dump-header", file("headers"), "--output", file("cert"), "-H", "Accept: "+TypeCertificate, "-F", "username=gw1", "-F", "password="+password,
		"-F", "csr=@"+file("csr")+";type="+TypeRequest, url+"/")
	got := headersOf(t, file("headers"))
	der, err := os.ReadFile(file("cert"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"HTTP/1.1 200 OK", "cache-control: no-store", "content-length: *", "content-type: application/pkix-cert", "date: *",
		"x-content-type-options: nosniff"}, got); d != "" {
		t.Error(d)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := trust.NewVerifier(w.server.Overlay()).VerifyLink(w.clock.now(), []*x509.Certificate{cert}); err != nil || id.User != "1001@example.org" {
		t.Errorf("%+v %v", id, err)
	}
	run(t, "openssl", "x509", "-inform", "DER", "-in", file("cert"), "-out", file("cert.pem"))
	run(t, "openssl", "verify", "-CAfile", ca, file("cert.pem"))

	// A refusal: one token and nothing else.
	body := curl("--dump-header", file("headers"), "-H", "Accept: "+TypeCertificate, "-F", "username=gw1", "-F", "password=wrong horse",
		"-F", "csr=@"+file("csr")+";type="+TypeRequest, url+"/enroll")
	if d := cmp.Diff([]string{"HTTP/1.1 403 Forbidden", "cache-control: no-store", "content-length: *", "content-type: text/plain; charset=utf-8", "date: *",
		"x-content-type-options: nosniff"}, headersOf(t, file("headers"))); d != "" || string(body) != "failed_authentication" {
		t.Errorf("%q\n%s", body, d)
	}

	doc := curl("--dump-header", file("headers"), "--etag-save", file("etag"), url+WellKnownPath)
	if !bytes.Equal(doc, w.server.doc.Load().raw) || headersOf(t, file("headers"))[0] != "HTTP/1.1 200 OK" {
		t.Errorf("document: %s", headersOf(t, file("headers")))
	}
	if again := curl("--dump-header", file("headers"), "--etag-compare", file("etag"), url+WellKnownPath); len(again) != 0 ||
		headersOf(t, file("headers"))[0] != "HTTP/1.1 304 Not Modified" {
		t.Errorf("document again: %s", headersOf(t, file("headers")))
	}
}

// headersOf is the status line and the header fields of curl's dump, sorted as they come, with what varies as "*".
func headersOf(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\r\n")
	for i, l := range lines {
		name, value, ok := strings.Cut(l, ": ")
		if !ok {
			continue
		}
		name = strings.ToLower(name)
		if name == "date" || name == "content-length" {
			value = "*"
		}
		lines[i] = name + ": " + value
	}
	out := []string{lines[0]}
	for _, want := range []string{"cache-control", "content-length", "content-type", "date", "etag", "x-content-type-options"} {
		for _, l := range lines[1:] {
			if strings.HasPrefix(l, want+": ") {
				out = append(out, l)
			}
		}
	}
	return out
}

// What our client sends is what the RFC says, as another server reads it.
//
// Conformance: F-13
func TestRFC6940_11_3_RequestOfOurClient(t *testing.T) {
	w := newWorld(t)
	csr, err := newRequest(w.key(), "1001@example.org")
	if err != nil {
		t.Fatal(err)
	}
	body, kind, err := newForm("gw1", "p w", 2, csr)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, "https://example.org/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string][]string{"username": {"gw1"}, "password": {"p w"}, "nodeids": {"2"}}, r.MultipartForm.Value); d != "" {
		t.Error(d)
	}
	f := r.MultipartForm.File["csr"]
	if len(f) != 1 || f[0].Header.Get("Content-Type") != "application/pkcs10" || f[0].Size != int64(len(csr)) {
		t.Errorf("%+v", f)
	}
	if _, kind, err := newForm("a", "b", 1, csr); err != nil || !strings.HasPrefix(kind, "multipart/form-data; boundary=") {
		t.Error(kind, err)
	}
}
