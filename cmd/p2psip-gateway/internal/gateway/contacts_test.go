package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"net/url"
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
