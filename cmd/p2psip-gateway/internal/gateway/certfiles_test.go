package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// writeCertificate puts a certificate for host and its key into two files.
func writeCertificate(t *testing.T, host, cert, key string) {
	t.Helper()
	c, err := makeCertificate([]string{host}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: k}} {
		// As tools for certificates do it: a new file takes the name of the old one.
		if err := os.WriteFile(name+".new", pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
}

// A new file counts from the next handshake on, an open connection goes on with the old one, and a bad file changes nothing.
//
// Feature: TRN-03
func TestNewCertificatesAreUsedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	writeCertificate(t, "one.test", cert, key)
	var log bytes.Buffer
	files := &CertificateFiles{Cert: cert, Key: key, Log: zerolog.New(&log)}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: files.Get})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = c.Write([]byte("x")) }()
		}
	}()
	name := func() (string, net.Conn) {
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].DNSNames[0], c
	}
	want := func(host string) {
		t.Helper()
		have, c := name()
		_ = c.Close()
		if have != host {
			t.Errorf("certificate of %s, want %s", have, host)
		}
	}
	_, open := name()
	defer func() { _ = open.Close() }()
	writeCertificate(t, "two.test", cert, key)
	want("two.test")
	if n, err := open.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the open connection: %v", err)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("two.test")
	want("two.test")
	if n := strings.Count(log.String(), `"code":"E0206"`); n != 1 {
		t.Errorf("%d complaints in the log:\n%s", n, log.String())
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	want("two.test")
	writeCertificate(t, "three.test", cert, key)
	want("three.test")
}

func TestOptionsOfOneListener(t *testing.T) {
	c := DefaultConfig().SIP
	c.Advertise, c.TLS.Clients = "sip.example.org", "optional"
	l, err := sipListener("tls://0.0.0.0:5062?clients=required&advertise=192.0.2.9&allow=192.0.2.0/24,2001:db8::/32&deny=192.0.2.66", c)
	if err != nil || l.Clients != tls.RequireAndVerifyClientCert || l.AdvertiseHost != "192.0.2.9" || len(l.Allow) != 2 || l.Deny[0].String() != "192.0.2.66/32" {
		t.Errorf("%+v, %v", l, err)
	}
	l, err = sipListener("tls://0.0.0.0:5062", c)
	if err != nil || l.Clients != tls.VerifyClientCertIfGiven || l.AdvertiseHost != "sip.example.org" || l.Allow != nil {
		t.Errorf("%+v, %v", l, err)
	}
	for _, s := range []string{"tls://0.0.0.0:5062?client=required", "tls://0.0.0.0:5062?clients=sure", "udp://0.0.0.0:5060?allow=lan", "sctp://0.0.0.0:5060"} {
		if _, err := sipListener(s, c); err == nil {
			t.Errorf("%s passed", s)
		}
	}
}
