package trust_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const (
	nodeHex = "00112233445566778899aabbccddeeff"
	uri     = "reload://0110" + nodeHex + "@example.org/"
	uri2    = "reload://0110ff112233445566778899aabbccddeeff@example.org/"
)

// Conformance: F-02
func TestRFC6940_14_15_ReloadURI(t *testing.T) {
	if got := trust.ReloadURI("dht.example.org", mustNode(t, nodeHex)); got != "reload://0110"+nodeHex+"@dht.example.org/" {
		t.Error(got)
	}
}

// Conformance: B-13 F-02
func TestRFC6940_11_3_IdentityOfACertificate(t *testing.T) {
	k := key(t, trust.P256, 0)
	parse := func(c *x509.Certificate) (trust.Identity, error) {
		return trust.ParseIdentity(overlayName, create(t, c, c, k.Public(), k))
	}
	for name, c := range map[string]*x509.Certificate{
		"as the RFC has it":   template("a@x", uri),
		"upper case hex":      template("a@x", strings.ToUpper(uri[:len("reload://")])+"0110"+strings.ToUpper(nodeHex)+"@example.org/"),
		"no final slash":      template("a@x", strings.TrimSuffix(uri, "/")),
		"overlay in capitals": template("a@x", "reload://0110"+nodeHex+"@EXAMPLE.Org/"),
		"another URI":         template("a@x", "https://example.org/", uri),
	} {
		id, err := parse(c)
		if err != nil || id.User != "a@x" || id.Node.String() != nodeHex || len(id.Nodes) != 1 || id.Cert == nil {
			t.Errorf("%s: %+v %v", name, id, err)
		}
	}
	for name, c := range map[string]*x509.Certificate{
		"no name at all":     template(""),
		"no Node-ID":         template("a@x"),
		"no user name":       template("", uri),
		"no domain":          template("alice", uri),
		"two @":              template("a@b@c", uri),
		"space":              template("a b@c", uri),
		"NUL":                template("a\x00@c", uri),
		"long":               template(strings.Repeat("a", 400)+"@c", uri),
		"other overlay":      template("a@x", "reload://0110"+nodeHex+"@example.com/"),
		"overlay among ours": template("a@x", uri, "reload://0110"+nodeHex+"@example.com/"),
		"bare Node-ID":       template("a@x", "reload://"+nodeHex+"@example.org/"),
		"resource":           template("a@x", "reload://021110"+nodeHex+"@example.org/"),
		"two destinations":   template("a@x", "reload://0110"+nodeHex+"0110"+nodeHex+"@example.org/"),
		"short Node-ID":      template("a@x", "reload://0104aabbccdd@example.org/"),
		"length is wrong":    template("a@x", "reload://0111"+nodeHex+"@example.org/"),
		"not hex":            template("a@x", "reload://zz@example.org/"),
		"wildcard":           template("a@x", "reload://0110"+strings.Repeat("f", 32)+"@example.org/"),
		"zero":               template("a@x", "reload://0110"+strings.Repeat("0", 32)+"@example.org/"),
		"the same twice":     template("a@x", uri, uri),
	} {
		if id, err := parse(c); err == nil {
			t.Errorf("%s: accepted as %+v", name, id)
		}
	}
	two := template("a@x", uri)
	two.EmailAddresses = append(two.EmailAddresses, "b@x")
	if _, err := parse(two); err == nil {
		t.Error("two user names: accepted")
	}
	several, err := parse(template("a@x", uri, uri2))
	if err != nil || len(several.Nodes) != 2 || !several.Node.IsZero() {
		t.Errorf("two Node-IDs: %+v %v", several, err)
	}
}

// RFC 6940 §11.3: "The SubjectAltName field in the certificate MUST NOT contain any identities other than those listed
// above. The subject distinguished name in the certificate MUST be empty." Such a certificate of ours is refused; one of
// another node is taken for what it rightly says.
//
// Conformance: F-01
func TestRFC6940_11_3_NoOtherIdentities(t *testing.T) {
	w := newWorld(t, trust.P256)
	dns, ip, subject := template("a@example.org", uri), template("a@example.org", uri), template("a@example.org", uri)
	dns.DNSNames = []string{"host.example.org"}
	ip.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)}
	subject.Subject = pkix.Name{CommonName: "Alice"}
	for name, c := range map[string]*x509.Certificate{"DNS name": dns, "address": ip, "subject": subject} {
		k := key(t, trust.P256, 1)
		cert := w.certify(t, c, k.Public())
		if _, err := trust.NewSigner(overlayName, k, cert); err == nil {
			t.Errorf("%s: used for signing", name)
		}
		if id, err := trust.NewVerifier(w.overlay).VerifyLink(now, []*x509.Certificate{cert}); err != nil || id.User != "a@example.org" {
			t.Errorf("%s: %+v %v", name, id, err)
		}
	}
}

func TestNewSignerRefuses(t *testing.T) {
	w := newWorld(t, trust.P256)
	cert := w.node.Identity().Cert.X509()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa3, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() (*trust.Signer, error){
		"no certificate":  func() (*trust.Signer, error) { return trust.NewSigner(overlayName, key(t, trust.P256, 0)) },
		"another key":     func() (*trust.Signer, error) { return trust.NewSigner(overlayName, key(t, trust.P256, 1), cert) },
		"another overlay": func() (*trust.Signer, error) { return trust.NewSigner("other.org", key(t, trust.P256, 0), cert) },
		"P-384": func() (*trust.Signer, error) {
			return trust.NewSigner(overlayName, p384, w.certify(t, template("a@x", uri), p384.Public()))
		},
		"RSA 1024": func() (*trust.Signer, error) {
			return trust.NewSigner(overlayName, rsa3, w.certify(t, template("a@x", uri), rsa3.Public()))
		},
		"not ours at all": func() (*trust.Signer, error) {
			return trust.NewSigner(overlayName, key(t, trust.P256, 0), w.authority.Certificate())
		},
	} {
		if s, err := f(); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for name, pub := range map[string]crypto.PublicKey{"P-384": p384.Public(), "RSA 1024": rsa3.Public()} {
		link := []*x509.Certificate{w.certify(t, template("a@x", uri), pub)}
		_, err := trust.NewVerifier(w.overlay).VerifyLink(now, link)
		wantReason(t, err, trust.BadCertificate)
		if _, err := w.authority.IssueNode(now, "a@x", pub); err == nil {
			t.Errorf("certificate issued for %s", name)
		}
	}
}

func TestSignerChain(t *testing.T) {
	w := newWorld(t, trust.P256)
	s := newSigner(t, w.node.Key(), w.node.Identity().Cert.X509(), w.authority.Certificate())
	if len(s.Chain()) != 1 || len(s.Certificates()) != 1 || s.Certificates()[0].Type != wire.CertificateX509 {
		t.Error("the root is part of the chain")
	}
}
