package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/registrar"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Feature: REG-17
func TestRFC3261_26_3_2_1_UsersThatACertificateNames(t *testing.T) {
	n, err := newNames("example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{}
	for _, s := range []string{"sip:alice@Example.org", "sips:bob@example.org", "sip:example.org", "sip:eve@example.com", "https://example.org/x", "sip:%61l@example.org"} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		cert.URIs = append(cert.URIs, u)
	}
	if got := n.users(cert); !slices.Equal(got, []location.AOR{"alice@example.org", "bob@example.org", "al@example.org"}) {
		t.Errorf("%q", got)
	}
}

// Feature: REG-25
func TestAPhoneIsAskedAndItsRoundTripIsShown(t *testing.T) {
	g := ring(t, 1, 1)[0]
	p := newPhone(t, "1001", g)
	p.register(300)
	g.prober = registrar.NewProber(registrar.ProbeConfig{All: g.bindings.All, Ask: g.proxy.Ask, Interval: 120 * time.Millisecond, Misses: 1, Now: time.Now})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.prober.Run(ctx) }()
	req, _ := p.take("OPTIONS", 486)
	if from := req.Get(message.From); from == "" || req.RequestURI != "sip:1001@"+p.at() {
		t.Errorf("asked %s from %s", req.RequestURI, from)
	}
	eventually(t, "the round trip", func() error {
		if r := g.registrations().Registrations; len(r) != 1 || r[0].RTTms <= 0 || r[0].Flow != "live" {
			return errors.New("none shown")
		}
		return nil
	})
	stop()
	<-done
}

// Feature: REG-17
func TestRFC3261_26_3_2_1_AClientCertificateRegisters(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse("sip:1001@" + testDomain)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{uri}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "clients.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	o := ring(t, 1, 2)[0].o // another gateway with the same material, in an overlay of its own
	o.Config.Data, o.Config.Admin.Listen, o.Config.Overlay.Listen = t.TempDir(), "127.0.0.1:0", List{"tls://127.0.0.1:0"}
	o.Config.SIP.Listen, o.Config.SIP.TLS.ClientCA = List{"tls://127.0.0.1:0?clients=optional"}, roots
	g, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	start(t, g)
	<-g.Joined()
	conf := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	for user, want := range map[string]int{"1001": 200, "1002": 403} {
		c, err := tls.Dial("tcp", g.flows.Listeners()[0].Local.String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		p := &phone{t: t, user: user, conn: &octets{c, message.NewReader(c)}, transport: "TLS"}
		if res := p.register(300); res.StatusCode != want || p.nonce != "" {
			t.Errorf("%s: %d %s, challenged: %v", user, res.StatusCode, res.Get(message.Warning), p.nonce != "")
		}
	}
}
