package trust

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ErrSelfSigned means that an overlay does not take certificates that nodes make for themselves.
var ErrSelfSigned = errors.New("trust: the overlay does not permit self-signed certificates")

// SelfSign makes a certificate for user that key signs itself, good for lifetime. RFC 6940 §11.3.1: "If the
// "self-signed-permitted" element is present in the configuration and is set to "true", then a node MUST generate its own
// self-signed certificate to join the overlay." The Node-ID follows from the key, so all certificates of a key have the same. The
// user name is anybody's choice: nothing keeps two nodes from choosing the same.
func SelfSign(o *config.Overlay, key crypto.Signer, user string, now time.Time, lifetime time.Duration) (*Signer, error) {
	if !o.SelfSignedPermitted {
		return nil, ErrSelfSigned
	}
	fail := func(err error) (*Signer, error) { return nil, fmt.Errorf("trust: certificate for %s: %w", user, err) }
	if _, err := algorithmOf(key.Public()); err != nil {
		return fail(err)
	}
	node, err := ownNodeID(o, key.Public())
	if err != nil {
		return fail(err)
	}
	serial, err := serialNumber(rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{ // the subject is empty, which makes the subjectAltName critical (RFC 5280 §4.2.1.6)
		SerialNumber:   serial,
		EmailAddresses: []string{user},
		URIs:           []*url.URL{reloadURL(o.InstanceName, node)},
		NotBefore:      now.Add(-skew(lifetime)).Truncate(time.Second).UTC(),
		NotAfter:       now.Add(lifetime).Truncate(time.Second).UTC(),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	return NewSigner(o.InstanceName, key, cert)
}

// ownNodeID is the Node-ID that follows from a key.
func ownNodeID(o *config.Overlay, pub crypto.PublicKey) (wire.NodeID, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return wire.NodeID{}, err
	}
	return SelfSignedNodeID(o.SelfSignedDigest, spki, 0, o.NodeIDLength), nil
}

// SelfSigned reports whether s has signed its certificate itself.
func SelfSigned(s *Signer) bool { return selfSigned(s.Identity().Cert.X509()) }
