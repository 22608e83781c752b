package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// KeyType is a kind of key pair that an overlay uses throughout.
type KeyType string

// The key types.
const (
	P256    KeyType = "p256"    // ECDSA with P-256 and SHA-256
	RSA2048 KeyType = "rsa2048" // the algorithm that RFC 6940 §6.3.4 makes mandatory
)

// ErrKeyType is the error for an unknown KeyType.
var ErrKeyType = errors.New("trust: unknown key type")

// GenerateKey makes a key pair.
func GenerateKey(t KeyType) (crypto.Signer, error) {
	switch t {
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return nil, fmt.Errorf("%w %q", ErrKeyType, t)
}

// KeyTypeOf tells the type of a public key.
func KeyTypeOf(key crypto.PublicKey) (KeyType, error) {
	algo, err := algorithmOf(key)
	if err != nil {
		return "", fmt.Errorf("trust: %w", err)
	}
	if algo == wire.SignatureECDSA {
		return P256, nil
	}
	return RSA2048, nil
}

// Authority issues the certificates of one overlay (RFC 6940 §11.3, §13.3): the enrollment server without its network. The
// accounts behind user names are its caller's business. It is safe for concurrent use once set up.
type Authority struct {
	// Lifetime is how long issued certificates are valid; DefaultLifetime unless set before the first one is issued. A
	// certificate never outlives the authority's own.
	Lifetime time.Duration

	overlay string
	key     crypto.Signer
	cert    *x509.Certificate
	rand    io.Reader
}

// NewAuthority makes a new authority with a key pair and a self-issued certificate for the overlay named overlay. Node-IDs
// and serial numbers are read from random, crypto/rand's when it is nil; it must be safe for concurrent use if the
// authority is.
func NewAuthority(overlay string, t KeyType, now time.Time, random io.Reader) (*Authority, error) {
	key, err := GenerateKey(t)
	if err != nil {
		return nil, err
	}
	a := &Authority{Lifetime: DefaultLifetime, overlay: overlay, key: key, rand: orSystem(random)}
	serial, err := a.serial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "RELOAD CA " + overlay},
		NotBefore:             now.Add(-clockSkew).Truncate(time.Second).UTC(),
		NotAfter:              now.Add(authorityLifetime).Truncate(time.Second).UTC(),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true, // RFC 6940 §11.3: "including PKIX BasicConstraints checks"
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if a.cert, err = a.create(template, template, key.Public()); err != nil {
		return nil, err
	}
	return a, nil
}

// OpenAuthority is the authority whose key and certificate were kept.
func OpenAuthority(overlay string, key crypto.Signer, cert *x509.Certificate) (*Authority, error) {
	if pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("trust: the authority's certificate belongs to another key")
	}
	if !cert.IsCA {
		return nil, errors.New("trust: the authority's certificate is not one of a certification authority")
	}
	return &Authority{Lifetime: DefaultLifetime, overlay: overlay, key: key, cert: cert, rand: rand.Reader}, nil
}

// Certificate is what goes into root-cert.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Key is the private key, for keeping it.
func (a *Authority) Key() crypto.Signer { return a.key }

// Overlay is the name of the overlay.
func (a *Authority) Overlay() string { return a.overlay }

// IssueNode certifies pub for user with a new Node-ID.
func (a *Authority) IssueNode(now time.Time, user string, pub crypto.PublicKey) (*x509.Certificate, error) {
	node, err := a.NewNodeID()
	if err != nil {
		return nil, err
	}
	return a.IssueUser(now, user, node, pub)
}

// NewNodeID chooses a Node-ID. RFC 6940 §11.3: Node-IDs "MUST be cryptographically random" and "unpredictable to the
// requesting user".
func (a *Authority) NewNodeID() (wire.NodeID, error) {
	for {
		b := make([]byte, config.DefaultNodeIDLength)
		if _, err := io.ReadFull(a.rand, b); err != nil {
			return wire.NodeID{}, fmt.Errorf("trust: choosing a Node-ID: %w", err)
		}
		node, err := wire.NodeIDFromBytes(b)
		if err != nil {
			return wire.NodeID{}, err
		}
		if _, err := parseReloadURI(a.overlay, ReloadURI(a.overlay, node)); err == nil { // not a reserved value
			return node, nil
		}
	}
}

// IssueUser certifies pub for user with the Node-ID node: a gateway's certificate again, with a later date, or the
// certificate with which a gateway acts for the address-of-record user.
func (a *Authority) IssueUser(now time.Time, user string, node wire.NodeID, pub crypto.PublicKey) (*x509.Certificate, error) {
	return a.IssueNodes(now, user, []wire.NodeID{node}, pub)
}

// IssueNodes certifies pub for user with the Node-IDs nodes, at least one. RFC 6940 §11.3: "if the same user returns ... the
// enrollment server should return the same Node-IDs": which ones those are is the caller's knowledge.
func (a *Authority) IssueNodes(now time.Time, user string, nodes []wire.NodeID, pub crypto.PublicKey) (*x509.Certificate, error) {
	if err := checkRange(user); err != nil {
		return nil, fmt.Errorf("trust: certificate for %s: %w", user, err)
	}
	template := &x509.Certificate{ // the subject is empty, which makes the subjectAltName critical (RFC 5280 §4.2.1.6)
		EmailAddresses: []string{user},
	}
	for _, node := range nodes {
		template.URIs = append(template.URIs, reloadURL(a.overlay, node))
	}
	cert, err := a.issue(now, a.Lifetime, template, pub)
	if err == nil {
		_, err = ParseIdentity(a.overlay, cert)
	}
	if err != nil {
		return nil, fmt.Errorf("trust: certificate for %s: %w", user, err)
	}
	return cert, nil
}

// ErrRange is the error for a user name that looks like a number range and is none.
var ErrRange = errors.New(`no number range: it must be a prefix of digits, with + in front or not, and behind it one * or as many x as digits follow`)

// checkRange refuses names with a wildcard that nobody would look up: certificates are issued for users and for number ranges.
func checkRange(user string) error {
	name, domain, _ := strings.Cut(user, "@")
	if _, ok := numbers.Parse(name); !ok && numbers.Looks(name) || strings.Contains(domain, "*") {
		return ErrRange
	}
	return nil
}

// IssueServer certifies pub for an HTTPS server with hosts, DNS names and IP addresses, for lifetime: the configuration and
// enrollment server of an overlay that has no certificate of a public authority. It names no user and no Node-ID, so that
// nothing in the overlay takes it for a node's.
func (a *Authority) IssueServer(now time.Time, lifetime time.Duration, hosts []string, pub crypto.PublicKey) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "enrollment server of " + a.overlay},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, err := a.issue(now, lifetime, template, pub)
	if err != nil {
		return nil, fmt.Errorf("trust: certificate for a server: %w", err)
	}
	return cert, nil
}

// issue fills in the serial number and the dates of template, and signs it.
func (a *Authority) issue(now time.Time, lifetime time.Duration, template *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	if _, err := algorithmOf(pub); err != nil {
		return nil, err
	}
	var err error
	if template.SerialNumber, err = a.serial(); err != nil {
		return nil, err
	}
	template.NotBefore = latest(now.Add(-skew(lifetime)), a.cert.NotBefore).Truncate(time.Second).UTC()
	template.NotAfter = earliest(now.Add(lifetime), a.cert.NotAfter).Truncate(time.Second).UTC()
	return a.create(template, a.cert, pub)
}

// skew is how far in the past a certificate of this lifetime begins. It must be the smaller part of the whole: who renews when two thirds
// are over would begin at once, and never end.
func skew(lifetime time.Duration) time.Duration { return min(clockSkew, lifetime/4) }

func (a *Authority) create(template, parent *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (a *Authority) serial() (*big.Int, error) { return serialNumber(a.rand) }

// serialNumber is one of 120 random bits (RFC 5280 §4.1.2.2: positive, at most 20 octets).
func serialNumber(random io.Reader) (*big.Int, error) {
	b := make([]byte, 15)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("trust: choosing a serial number: %w", err)
	}
	return new(big.Int).Add(new(big.Int).SetBytes(b), big.NewInt(1)), nil
}

func reloadURL(overlay string, node wire.NodeID) *url.URL {
	u, err := url.Parse(ReloadURI(overlay, node))
	if err != nil {
		return &url.URL{} // refused when the certificate is read back
	}
	return u
}

func orSystem(r io.Reader) io.Reader {
	if r == nil {
		return rand.Reader
	}
	return r
}
