package flow

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
)

// What was verified may be refused all the same: the certificate of a client, and that of a server.
//
// Feature: SEC-06
func TestARevokedCertificateMakesNoConnection(t *testing.T) {
	gone := errors.New("gone")
	revoked := func(chain []*x509.Certificate, _ []byte) error {
		if len(chain) == 0 {
			t.Errorf("a chain of %d", len(chain))
		}
		return gone
	}
	ca := newAuthority(t)
	config := func(refuse bool, clients tls.ClientAuthType) Config {
		c := Config{Certificate: ca.get, Roots: ca.roots, ClientRoots: ca.roots, ShowCertificate: true,
			Listen: []Listen{{Transport: TLS, Addr: loopback, AdvertiseHost: "gw.example.org", Clients: clients}}}
		if refuse {
			c.Revoked = revoked
		}
		return c
	}
	server, bin := newTable(t, config(true, tls.VerifyClientCertIfGiven))
	client, _ := newTable(t, config(false, tls.NoClientCert))
	check(t, client.Send(location.Hop{Transport: TLS, Remote: addr(server, 0), Host: "gw.example.org"}, []byte(request(plainVia, "")), nil))
	condition(t, "the client to be refused", func() bool { return server.Stats().Dropped["handshake_failed"] == 1 })
	bin.none(t)

	r, o := newReceipt()
	check(t, server.Send(location.Hop{Transport: TLS, Remote: addr(client, 0), Host: "gw.example.org"}, []byte(request(plainVia, "")), r))
	if err := o.failed(t); !errors.Is(err, gone) {
		t.Errorf("a server whose certificate was revoked: %v", err)
	}
}

// Feature: SEC-06
func TestVersionAndSuitesAreAsConfigured(t *testing.T) {
	const suite = tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	for _, c := range []struct {
		conf   Config
		client *tls.Config
		ok     bool
	}{
		{Config{MinTLS: tls.VersionTLS13}, &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		{Config{MinTLS: tls.VersionTLS13}, &tls.Config{}, true},
		{Config{Suites: []uint16{suite}}, &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{Config{Suites: []uint16{suite}}, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}, false},
	} {
		tb, _ := newTable(t, c.conf, TLS)
		c.client.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", addr(tb, 0).String(), c.client)
		if (err == nil) != c.ok {
			t.Errorf("%v, %v: %v", c.conf.MinTLS, c.conf.Suites, err)
		}
		if err == nil {
			if c.conf.Suites != nil && conn.ConnectionState().CipherSuite != suite {
				t.Errorf("suite %x", conn.ConnectionState().CipherSuite)
			}
			_ = conn.Close()
		}
	}
}
