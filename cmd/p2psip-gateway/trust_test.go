package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a self-signed one for 127.0.0.1 in dir and returns its files.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	octets, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: octets})))
	return cert, key
}

// The admin server over TLS: whoever has the token, or a certificate, may ask; and a token that is replaced counts from the next reload on.
//
// Feature: SEC-12
func TestAdminServerWithTLSTokenAndCertificates(t *testing.T) {
	r := newRing(t, program(t, ""), 1, []string{"2001"})
	m := r.members[0]
	cert, key := certificate(t, r.dir, "admin")
	mine, myKey := certificate(t, r.dir, "operator")
	other, otherKey := certificate(t, r.dir, "stranger")
	token, wrong := filepath.Join(r.dir, "token"), filepath.Join(r.dir, "wrong")
	write(t, token, "0123456789abcdef\n")
	write(t, wrong, "fedcba9876543210\n")
	admin := "https://" + m.admin
	m.process = start(t, r.program, []string{"P2PSIP_GATEWAY_ADMIN_TOKEN_FILE=" + token}, "run", "-c", m.file, "--set", "admin.tls.cert="+cert, "--set", "admin.tls.key="+key,
		"--set", "admin.tls.client_ca="+mine)
	ask := func(command string, args ...string) (int, string) {
		t.Helper()
		code, out, errs := runCommand(t, append([]string{command, "--admin", admin}, args...)...)
		return code, out + errs
	}
	eventually(t, "the node to be ready", func() error {
		if code, out := ask("status", "--token-file", token, "--ca", cert, "--ready"); code != exitOK {
			return errors.New(out + m.stderr.String())
		}
		return nil
	})
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"certificate":         {[]string{"--ca", cert, "--cert", mine, "--key", myKey}, exitOK, "health"},
		"nothing":             {[]string{"--ca", cert}, exitConfig, "E0208"},
		"wrong token":         {[]string{"--ca", cert, "--token-file", wrong}, exitConfig, "E0208"},
		"wrong certificate":   {[]string{"--ca", cert, "--cert", other, "--key", otherKey}, exitConfig, "certificate"},
		"an unknown server":   {[]string{"--token-file", token}, exitConfig, "certificate"},
		"no such token file":  {[]string{"--token-file", token + "x"}, exitConfig, "--token-file"},
		"no key pair":         {[]string{"--cert", token, "--key", token}, exitConfig, "--cert, --key"},
		"roots that are none": {[]string{"--ca", token}, exitConfig, "--ca: "},
	} {
		if code, out := ask("status", c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	if code, _, errs := runCommand(t, "status", "--admin", "192.0.2.1:1", "--token-file", token); code != exitConfig || !strings.Contains(errs, "readable on the way") {
		t.Errorf("a token in the clear: %d %s", code, errs)
	}
	if res, err := http.Get("http://" + m.admin + "/api/v1/status"); err == nil {
		_ = res.Body.Close()
		if res.StatusCode == 200 {
			t.Error("answered without TLS")
		}
	}
	write(t, token, "a token that is none\n")
	if code, out := ask("reload", "--cert", mine, "--key", myKey, "--ca", cert); code != exitConfig || !strings.Contains(out, "E0106 admin.token_file") {
		t.Errorf("%d %s", code, out)
	}
	write(t, token, "0123456789abcdef0\n")
	if code, out := ask("reload", "--cert", mine, "--key", myKey, "--ca", cert); code != exitOK {
		t.Errorf("%d %s", code, out)
	}
	if code, out := ask("status", "--token-file", token, "--ca", cert); code != exitOK {
		t.Errorf("%d %s", code, out)
	}
	if s := m.stderr.String(); strings.Contains(s, "0123456789abcdef") || strings.Contains(s, "fedcba9876543210") {
		t.Errorf("a token is in the log:\n%s", s)
	}
}
