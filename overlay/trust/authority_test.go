package trust_test

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: F-01
func TestRFC6940_11_3_IssuedCertificates(t *testing.T) {
	bothKeyTypes(t, func(t *testing.T, w *world) {
		ca := w.authority.Certificate()
		if !ca.IsCA || !ca.BasicConstraintsValid || ca.Subject.CommonName == "" || ca.CheckSignatureFrom(ca) != nil {
			t.Errorf("authority: %+v", ca)
		}
		if kt, err := trust.KeyTypeOf(ca.PublicKey); err != nil || kt != w.kt {
			t.Errorf("key type %s %v", kt, err)
		}
		for _, s := range []*trust.Signer{w.node, w.alice} {
			cert := s.Identity().Cert.X509()
			// RFC 6940 §11.3: "The subject distinguished name in the certificate MUST be empty."
			others := len(cert.Subject.Names) + len(cert.DNSNames) + len(cert.IPAddresses)
			if others != 0 || len(cert.URIs) != 1 || len(cert.EmailAddresses) != 1 {
				t.Errorf("%+v", cert)
			}
			critical := false
			for _, e := range cert.Extensions {
				if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
					critical = e.Critical // RFC 5280 §4.2.1.6, because the subject is empty
				}
			}
			if !critical || cert.IsCA || cert.CheckSignatureFrom(ca) != nil || len(cert.Raw) > 1000 {
				t.Errorf("critical %v, %d octets", critical, len(cert.Raw))
			}
			if cert.NotBefore.After(now.Add(-time.Minute)) || !cert.NotAfter.Equal(now.Add(trust.DefaultLifetime)) {
				t.Errorf("valid from %s to %s", cert.NotBefore, cert.NotAfter)
			}
		}
		// The adapter's certificates: the user's name, the gateway's Node-ID and key.
		n, a := w.node.Identity(), w.alice.Identity()
		if a.User != "alice@example.org" || a.Node != n.Node || a.Cert.X509().SerialNumber.Cmp(n.Cert.X509().SerialNumber) == 0 {
			t.Errorf("%+v", a)
		}
	})
}

// RFC 6940 §11.3: Node-IDs "MUST be cryptographically random".
//
// Conformance: F-03
func TestRFC6940_11_3_NodeIDsDiffer(t *testing.T) {
	w := newWorld(t, trust.P256)
	seen := map[wire.NodeID]bool{}
	for range 200 {
		cert, err := w.authority.IssueNode(now, "a@example.org", w.node.Key().Public())
		if err != nil {
			t.Fatal(err)
		}
		id, err := trust.ParseIdentity(overlayName, cert)
		if err != nil || seen[id.Node] {
			t.Fatalf("%s again, %v", id.Node, err)
		}
		seen[id.Node] = true
	}
}

// Conformance: B-13
func TestReservedNodeIDsAreNotIssued(t *testing.T) {
	serial := bytes.Repeat([]byte{1}, 15)
	random := io.MultiReader(bytes.NewReader(serial), bytes.NewReader(make([]byte, 16)), bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)),
		bytes.NewReader(bytes.Repeat([]byte{0xab}, 16)), bytes.NewReader(serial))
	a, err := trust.NewAuthority(overlayName, trust.P256, now, random)
	if err != nil {
		t.Fatal(err)
	}
	k := key(t, trust.P256, 0)
	cert, err := a.IssueNode(now, "a@example.org", k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if id := newSigner(t, k, cert).Identity(); id.Node.String() != "abababababababababababababababab" {
		t.Error(id.Node)
	}
	if _, err := a.IssueNode(now, "a@example.org", k.Public()); !errors.Is(err, io.EOF) {
		t.Errorf("without randomness: %v", err)
	}
}

func TestAuthorityRefuses(t *testing.T) {
	w := newWorld(t, trust.P256)
	pub, node := w.node.Key().Public(), w.node.Identity().Node
	for _, user := range []string{"", "alice", "a b@example.org", "ä@example.org", "a@b@c"} {
		if cert, err := w.authority.IssueUser(now, user, node, pub); err == nil {
			t.Errorf("%q: %v", user, cert.EmailAddresses)
		}
	}
	if _, err := w.authority.IssueUser(now, "a@example.org", wire.Wildcard(16), pub); err == nil {
		t.Error("wildcard issued")
	}
	if _, err := trust.NewAuthority(overlayName, "dsa", now, nil); !errors.Is(err, trust.ErrKeyType) {
		t.Error(err)
	}
}

func TestOpenAuthority(t *testing.T) {
	w := newWorld(t, trust.P256)
	a, err := trust.OpenAuthority(overlayName, w.authority.Key(), w.authority.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	a.Lifetime = 100 * 365 * 24 * time.Hour
	cert, err := a.IssueUser(now, "a@example.org", w.node.Identity().Node, w.node.Key().Public())
	if err != nil || !cert.NotAfter.Equal(a.Certificate().NotAfter) || a.Overlay() != overlayName {
		t.Errorf("%v %v", cert, err)
	}
	if _, err := trust.NewVerifier(w.overlay).VerifyLink(now, []*x509.Certificate{cert}); err != nil {
		t.Error(err)
	}
	if _, err := trust.OpenAuthority(overlayName, key(t, trust.P256, 0), w.authority.Certificate()); err == nil {
		t.Error("opened with another key")
	}
	if _, err := trust.OpenAuthority(overlayName, w.node.Key(), w.node.Identity().Cert.X509()); err == nil {
		t.Error("opened with a certificate that is not an authority's")
	}
}
