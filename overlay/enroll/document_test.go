package enroll

import (
	"bytes"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

func (w *world) get(change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, WellKnownPath, nil)
	for _, f := range change {
		f(r)
	}
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	return rec
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// F-26, F-43: what was signed is served, octet for octet.
//
// Conformance: F-43
func TestRFC6940_11_2_ServesTheDocument(t *testing.T) {
	w := newWorld(t)
	rec := w.get()
	h := rec.Header()
	if rec.Code != http.StatusOK || h.Get("Content-Type") != "application/p2p-overlay+xml" || !bytes.Equal(rec.Body.Bytes(), w.server.doc.Load().raw) ||
		h.Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%d %v", rec.Code, h)
	}
	etag := h.Get("ETag")
	if rec := w.get(header("If-None-Match", etag)); rec.Code != http.StatusNotModified || rec.Body.Len() != 0 || rec.Header().Get("ETag") != etag {
		t.Errorf("If-None-Match: %d %v", rec.Code, rec.Header())
	}
	if rec := w.get(func(r *http.Request) { r.Method = http.MethodHead }); rec.Code != http.StatusOK || rec.Body.Len() != 0 {
		t.Errorf("HEAD: %d", rec.Code)
	}
	w.config.Sequence++
	next := w.sign()
	if err := w.server.Publish(next); err != nil {
		t.Fatal(err)
	}
	rec = w.get(header("If-None-Match", etag))
	if rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), next) || rec.Header().Get("ETag") == etag {
		t.Errorf("the next document: %d %v", rec.Code, rec.Header())
	}
}

func TestDocumentIsCachedWhileItIsGood(t *testing.T) {
	w := newWorld(t, func(o *config.Overlay) { o.Expiration = time.Now().Add(time.Hour).UTC().Truncate(time.Second) })
	w.clock.add(time.Until(w.server.Overlay().Expiration) - 90*time.Second)
	cc := w.get().Header().Get("Cache-Control")
	if !strings.HasPrefix(cc, "public, max-age=") || len(cc) != len("public, max-age=90") {
		t.Error(cc)
	}
}

// RFC 6940 §11.1: "Any configuration file MUST be signed by one of the configuration-signer elements from the previous extant
// configuration."
//
// Conformance: F-43
func TestPublishRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.sign()
	stranger := newWorld(t)
	stranger.config.Sequence = 2
	w.config.Sequence = 2
	second := w.sign()
	w.config.InstanceName = "example.net"
	foreign := func() []byte {
		o := *stranger.config
		o.InstanceName = "example.net"
		s, err := trust.NewSigner("example.org", stranger.signer.Key(), stranger.signer.Identity().Cert.X509())
		if err != nil {
			t.Fatal(err)
		}
		doc, err := trust.SignDocument(&o, s)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}()
	w.config.InstanceName = overlayName
	w.config.Sequence, w.config.Expiration = 3, w.clock.now().Add(-time.Minute).UTC().Truncate(time.Second)
	expired := w.sign()
	before := w.server.doc.Load()
	for name, doc := range map[string][]byte{
		"XML": []byte("<overlay"), "empty": []byte(`<overlay xmlns="urn:ietf:params:xml:ns:p2p:config-base"/>`), "same sequence": append(bytes.Clone(good), '\n'),
		"another signer": stranger.sign(), "another overlay": foreign, "expired": expired,
		"changed": bytes.Replace(second, []byte("<no-ice>true"), []byte("<no-ice>1"), 1),
	} {
		if err := w.server.Publish(doc); !errors.Is(err, ErrPublish) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.server.doc.Load() != before {
		t.Error("a refused document is served")
	}
	if err := w.server.Publish(before.raw); err != nil {
		t.Error(err)
	}
	if err := w.server.Publish(second); err != nil {
		t.Error(err)
	}
}

// F-41, RFC 6940 §11.1: who can read a document with a shared secret can join.
//
// Conformance: F-41
func TestRFC6940_11_1_SharedSecretIsConfidential(t *testing.T) {
	w := newWorld(t, func(o *config.Overlay) { o.SharedSecret = "hush" })
	w.add(Account{Name: "alice"})
	code, err := w.accounts.NewCode("alice", w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	basic := func(name, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	for name, f := range map[string]func(*http.Request){"nobody": func(*http.Request) {}, "wrong": basic("alice", "wrong horse"),
		"unknown": basic("bob", password), "code": basic("alice", code)} {
		rec := w.get(f)
		if rec.Code != http.StatusUnauthorized || rec.Header().Get("WWW-Authenticate") == "" || strings.Contains(rec.Body.String(), "hush") ||
			rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", name, rec.Code, rec.Header())
		}
	}
	rec := w.get(basic("alice", password))
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "hush") || rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
}

// The certificate that the server makes itself is for the overlay and the hosts, and is replaced in time.
func TestServerCertificate(t *testing.T) {
	w := newWorld(t)
	c, err := NewServerCertificate(w.authority, []string{"127.0.0.1", "enroll.example.org", overlayName}, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	get := func() *x509.Certificate {
		cert, err := c.Get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert.Leaf
	}
	first := get()
	for _, host := range []string{overlayName, "enroll.example.org", "127.0.0.1"} {
		if err := first.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	w.clock.add(tlsLifetime * 6 / 10)
	if get() != first {
		t.Error("renewed early")
	}
	w.clock.add(tlsLifetime / 10)
	if next := get(); next == first || !next.NotAfter.After(first.NotAfter) {
		t.Error("not renewed")
	}
	if _, err := NewServerCertificate(w.authority, strings.Fields("a b c d e f g h i j k l m n o p"), nil); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}
