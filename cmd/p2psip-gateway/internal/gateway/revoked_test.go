package gateway

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ocsp"
)

// testCA is an authority with revocation lists.
type testCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	next int64
}

func newTestCA(t *testing.T, name string) *testCA {
	t.Helper()
	a := &testCA{t: t, next: 1}
	a.key = a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name)}
	a.cert = a.sign(template, template, a.key.Public())
	return a
}

func (a *testCA) newKey() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *testCA) sign(template, parent *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a *testCA) issue(name string) *x509.Certificate {
	a.next++
	return a.sign(&x509.Certificate{SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)},
		a.cert, a.newKey().Public())
}

// list is a revocation list in PEM that ended a minute ago.
func (a *testCA) list(revoked ...*x509.Certificate) []byte {
	a.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(-time.Minute)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// RFC 5280 §6.3: a certificate on the list of its own issuer is revoked; one on the list of somebody who has only the name is not. A new file counts
// when it has been looked at, one that can not be read does not.
//
// Feature: SEC-06
func TestRFC5280_6_3_RevokedCertificatesAreRefused(t *testing.T) {
	ca, namesake := newTestCA(t, "ca"), newTestCA(t, "ca")
	good, bad := ca.issue("good"), ca.issue("bad")
	file := filepath.Join(t.TempDir(), "crl.pem")
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file+".new", b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil { // another file, whatever the clock says
			t.Fatal(err)
		}
	}
	put(namesake.list(good, bad))
	var log strings.Builder
	r, err := openRevocations([]string{file}, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	want := func(cert *x509.Certificate, revoked bool) {
		t.Helper()
		if err := r.check([]*x509.Certificate{cert, ca.cert}, nil); errors.Is(err, errRevoked) != revoked {
			t.Errorf("%s: %v", cert.Subject, err)
		}
	}
	want(bad, false)
	put(append(namesake.list(good), ca.list(bad)...))
	r.refresh()
	want(bad, true)
	want(bad, true)
	want(good, false)
	if !strings.Contains(log.String(), codeRevoked) {
		t.Errorf("the log says %s", &log)
	}
	put([]byte("nonsense"))
	r.refresh()
	want(bad, true)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.refresh()
	r.refresh()
	want(bad, true)
	if n := strings.Count(log.String(), `"code":"`+codeCRL); n != 2 {
		t.Errorf("%d complaints about the file:\n%s", n, &log)
	}
	der, _ := pem.Decode(ca.list(good))
	put(der.Bytes)
	r.refresh()
	want(good, true)
	want(bad, false)
	for _, b := range []string{"", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"} {
		put([]byte(b))
		if _, err := openRevocations([]string{file}, zerolog.Nop()); err == nil || !strings.Contains(err.Error(), codeCRL) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// A file that nobody can read, here a pipe that nobody writes to, holds up neither handshakes nor who looks at it.
//
// Feature: SEC-06
func TestNoHandshakeWaitsForARevocationList(t *testing.T) {
	ca := newTestCA(t, "ca")
	bad := ca.issue("bad")
	file := filepath.Join(t.TempDir(), "crl.pem")
	if err := os.WriteFile(file, ca.list(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	r, err := openRevocations([]string{file}, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	checked := make(chan error)
	go func() {
		err := r.check([]*x509.Certificate{bad, ca.cert}, nil)
		r.refresh()
		checked <- err
	}()
	select {
	case err := <-checked:
		if !errors.Is(err, errRevoked) || !strings.Contains(log.String(), codeCRL) {
			t.Errorf("%v; the log says %s", err, &log)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the file")
	}
}

// A new list counts when it is there for a while, without anybody asking.
func TestARevocationListIsReadAgainWhenItHasChanged(t *testing.T) {
	ca := newTestCA(t, "ca")
	cert := ca.issue("cert")
	file := filepath.Join(t.TempDir(), "crl.pem")
	if err := os.WriteFile(file, ca.list(), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := openRevocations([]string{file}, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go r.run(ctx)
		if err := os.WriteFile(file, ca.list(cert), 0o600); err != nil {
			t.Fatal(err)
		}
		<-time.After(crlInterval + time.Millisecond)
		synctest.Wait()
		if err := r.check([]*x509.Certificate{cert, ca.cert}, nil); !errors.Is(err, errRevoked) {
			t.Errorf("after %v: %v", crlInterval, err)
		}
	})
}

// Feature: SEC-06
func TestRFC6066_8_AStapledOCSPResponseThatSaysRevokedCounts(t *testing.T) {
	ca, other := newTestCA(t, "ca"), newTestCA(t, "ca")
	cert := ca.issue("server")
	staple := func(by *testCA, status int, until time.Duration) []byte {
		t.Helper()
		b, err := ocsp.CreateResponse(by.cert, by.cert, ocsp.Response{Status: status, SerialNumber: cert.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour),
			NextUpdate: time.Now().Add(until), RevokedAt: time.Now().Add(-time.Hour)}, by.key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r, err := openRevocations(nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		staple  []byte
		revoked bool
	}{
		"none": {nil, false}, "nonsense": {[]byte("x"), false}, "good": {staple(ca, ocsp.Good, time.Hour), false},
		"revoked": {staple(ca, ocsp.Revoked, time.Hour), true}, "of yesterday": {staple(ca, ocsp.Revoked, -time.Minute), false},
		"of somebody else": {staple(other, ocsp.Revoked, time.Hour), false},
	} {
		if err := r.check([]*x509.Certificate{cert, ca.cert}, c.staple); errors.Is(err, errRevoked) != c.revoked {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSuitesAreNamed(t *testing.T) {
	const good = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
	if ids, err := suites([]string{good}); err != nil || len(ids) != 1 || ids[0] != 0xc02b {
		t.Errorf("%v, %v", ids, err)
	}
	for _, c := range []TLSConfig{{MinVersion: "1.1"}, {MinVersion: "1.2", Suites: List{"TLS_RSA_WITH_RC4_128_SHA"}}, {MinVersion: "1.2", Suites: List{"TLS_AES_128_GCM_SHA256"}},
		{MinVersion: "1.3", Suites: List{good}}} {
		n := 0
		c.check(func(string, string, ...any) { n++ })
		if n != 1 {
			t.Errorf("%+v: %d complaints", c, n)
		}
	}
}
