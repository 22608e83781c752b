package flow

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/location"
)

func TestRFC5922_7_1_SIPIdentities(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		check(t, err)
		return u
	}
	for name, c := range map[string]struct {
		cert x509.Certificate
		want []string
	}{
		"URI before DNS":          {x509.Certificate{URIs: []*url.URL{uri("SIP:Example.net")}, DNSNames: []string{"other.example"}}, []string{"example.net"}},
		"a user is no domain":     {x509.Certificate{URIs: []*url.URL{uri("sip:alice@example.net")}, DNSNames: []string{"A.example"}}, []string{"a.example"}},
		"sips is none":            {x509.Certificate{URIs: []*url.URL{uri("sips:example.net")}}, nil},
		"common name alone":       {x509.Certificate{Subject: pkix.Name{CommonName: "Old.example"}}, []string{"old.example"}},
		"not beside a name":       {x509.Certificate{Subject: pkix.Name{CommonName: "old.example"}, DNSNames: []string{"new.example"}}, []string{"new.example"}},
		"not beside another kind": {x509.Certificate{Subject: pkix.Name{CommonName: "old.example"}, EmailAddresses: []string{"a@b"}}, nil},
	} {
		if d := cmp.Diff(c.want, Identities(&c.cert)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func TestRFC5922_7_2_NamesAreComparedWhole(t *testing.T) {
	c := &x509.Certificate{DNSNames: []string{"example.com", "*.example.net", ".example.org"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}}
	for host, want := range map[string]bool{
		"example.com": true, "EXAMPLE.com": true, "foo.example.com": false, "foo.example.net": false, "foo.example.org": false,
		"192.0.2.1": true, "192.0.2.2": false, "com": false,
	} {
		if proves(c, host, false) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
	if !proves(c, "foo.example.net", true) || proves(c, "a.b.example.net", true) {
		t.Error("wildcards")
	}
}

// mutual are two tables with TLS listeners, of which b asks clients for a certificate and a has one.
func mutual(t *testing.T, clients tls.ClientAuthType, show bool) (a, b *Table, ain, bin inbox) {
	ca := newAuthority(t)
	b, bin = newTable(t, Config{Certificate: ca.get, Roots: ca.roots, ClientRoots: ca.roots,
		Listen: []Listen{{Transport: TLS, Addr: loopback, Clients: clients}}})
	a, ain = newTable(t, Config{Certificate: ca.get, Roots: ca.roots, ShowCertificate: show,
		Listen: []Listen{{Transport: TLS, Addr: loopback, AdvertiseHost: "gw.example.org"}}})
	return a, b, ain, bin
}

// RFC 5923 §8: requests to the address in the Via go over the connection, as the certificate of the client proves it.
//
// Feature: NAT-05
func TestRFC5923_8_TheOtherWayOverAnAuthenticatedConnection(t *testing.T) {
	for name, c := range map[string]struct {
		clients tls.ClientAuthType
		show    bool
		reused  bool
	}{
		"proven": {tls.VerifyClientCertIfGiven, true, true}, "no certificate asked for": {tls.NoClientCert, true, false},
		"none shown": {tls.VerifyClientCertIfGiven, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, ain, bin := mutual(t, c.clients, c.show)
			to := location.Hop{Transport: TLS, Remote: addr(b, 0)}
			via := a.Via(to, "z9hG4bKa")
			if !c.show {
				via += ";alias" // says so and proves nothing
			} else if !strings.HasSuffix(via, ";alias") {
				t.Fatalf("Via %q", via)
			}
			check(t, a.Send(to, []byte(request(via, "")), nil))
			from := bin.next(t).from
			if peer := b.Peer(from); (peer != nil) != c.reused {
				t.Fatalf("certificate %v", peer)
			}
			back := location.Hop{Transport: TLS, Remote: addr(a, 0), Host: "gw.example.org"}
			check(t, b.Send(back, []byte(request(plainVia, "")), nil))
			ain.next(t)
			if opened := b.Stats().Opened["dialled"]; (opened == 0) != c.reused {
				t.Errorf("%d connections opened", opened)
			}
			// A name that the certificate does not hold is another place.
			back.Host = "evil.example.org"
			r, o := newReceipt()
			check(t, b.Send(back, []byte(request(plainVia, "")), r))
			var bad x509.HostnameError
			if err := o.failed(t); !errors.As(err, &bad) {
				t.Error(err)
			}
		})
	}
}

// Feature: SEC-06
func TestTLSClientsMayHaveToHaveACertificate(t *testing.T) {
	a, b, _, bin := mutual(t, tls.RequireAndVerifyClientCert, true)
	check(t, a.Send(location.Hop{Transport: TLS, Remote: addr(b, 0)}, []byte(request(plainVia, "")), nil))
	bin.next(t)
	stranger := newAuthority(t)
	for name, certs := range map[string][]tls.Certificate{"none": nil, "of a stranger": {stranger.cert}} {
		c, err := tls.Dial("tcp", addr(b, 0).String(), &tls.Config{RootCAs: b.cfg.Roots, ServerName: "gw.example.org", Certificates: certs})
		if err == nil { // TLS 1.3 tells the client with the first octets
			_, err = io.ReadAll(c)
			_ = c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "tls: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	condition(t, "the refused to be counted", func() bool { return b.Stats().Dropped["handshake_failed"] == 2 })
	bin.none(t)
}

func TestTLS11IsRefused(t *testing.T) {
	tb, _ := newTable(t, Config{}, TLS)
	_, err := tls.Dial("tcp", addr(tb, 0).String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Error(err)
	}
}
