package trust_test

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Another implementation signed these messages and values: see overlay/wire's vectors_test.go.
//
// Conformance: B-28 B-29 D-06
func TestVectorsOfAnotherImplementation(t *testing.T) {
	type octets struct{ Hex string }
	var v struct {
		OverlayName       string `json:"overlay_name"`
		TestCertificate   octets `json:"test_certificate"`
		TestCACertificate octets `json:"test_ca_certificate"`
		Messages          []struct{ Name, Hex string }
	}
	b, err := os.ReadFile("../wire/testdata/reload-vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	decode := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ca, err := x509.ParseCertificate(decode(v.TestCACertificate.Hex))
	if err != nil {
		t.Fatal(err)
	}
	o := config.New(v.OverlayName)
	o.RootCerts = []*x509.Certificate{ca}
	verifier := trust.NewVerifier(o)
	now := ca.NotBefore.Add(time.Hour)
	values := 0
	for _, msg := range v.Messages {
		m, err := o.Schema().Parse(decode(msg.Hex))
		if err != nil {
			t.Errorf("%s: %v", msg.Name, err)
			continue
		}
		m.Security.Certificates = append(m.Security.Certificates, wire.Certificate{Data: decode(v.TestCertificate.Hex)})
		got, err := verifier.Verify(now, m, wire.ResourceIDOf("alice@example.org"))
		if strings.HasSuffix(msg.Name, "_none") {
			wantReason(t, err, trust.Unsigned)
			continue
		}
		if err != nil || got.Sender().User != "alice@example.org" || got.Sender().Node.String() != "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" {
			t.Errorf("%s: %+v %v", msg.Name, got.Sender(), err)
		}
		for i, value := range got.Values() {
			if values++; value.Err != nil {
				t.Errorf("%s, value %d: %v", msg.Name, i, value.Err)
			}
		}
	}
	if len(v.Messages) < 30 || values < 4 {
		t.Errorf("%d messages, %d values", len(v.Messages), values)
	}
}
