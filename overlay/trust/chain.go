package trust

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // RFC 6940 §11.3.1 names it
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// known is a certificate whose chain was verified, with the time in which all of the chain is valid.
type known struct {
	id                  Identity
	notBefore, notAfter time.Time
}

// certificate checks der: its form, its chain, its Node-IDs, and its dates at now. cert is what der says, where the caller has
// parsed it already, else nil. intermediates is called when the certificate is not known yet. The error is a *RefusalError.
func (v *basis) certificate(now time.Time, der []byte, cert *x509.Certificate, intermediates func() *x509.CertPool) (Identity, error) {
	sum := sha256.Sum256(der)
	k, ok := v.cache.get(sum)
	if !ok {
		id, cert, err := v.parse(der, cert)
		if err != nil {
			return Identity{}, &RefusalError{BadCertificate, err}
		}
		if k, err = v.examine(now, id, cert, intermediates); err != nil {
			return Identity{}, err
		}
		k.id.Cert.PublicKey = v.shared(cert)
		v.cache.put(sum, k)
	}
	return k.at(now)
}

// at is who the certificate belongs to, if it is good at now. RFC 6940 §7.1: "When signatures are verified, the current time MUST be
// compared to the certificate validity period."
func (k *known) at(now time.Time) (Identity, error) {
	if now.Before(k.notBefore) || now.After(k.notAfter) {
		return Identity{}, &RefusalError{Expired, fmt.Errorf("certificate of %s is valid from %s to %s", k.id.User,
			k.notBefore.Format(time.RFC3339), k.notAfter.Format(time.RFC3339))}
	}
	return k.id, nil
}

// shared is the public key of cert; many certificates of one key, those of the users of a gateway, have it once.
func (v *basis) shared(cert *x509.Certificate) crypto.PublicKey {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	if key, ok := v.keys.get(sum); ok {
		return key
	}
	v.keys.put(sum, cert.PublicKey)
	return cert.PublicKey
}

// parse reads the certificate der. cert is as in certificate. Nothing that it returns is of der, which may be a part of a
// message: one certificate that is remembered would hold all of it.
func (v *basis) parse(der []byte, cert *x509.Certificate) (Identity, *x509.Certificate, error) {
	if len(der) > maxCertificate {
		return Identity{}, nil, fmt.Errorf("certificate of %d octets, at most %d are read", len(der), maxCertificate)
	}
	if cert == nil {
		var err error
		if cert, err = x509.ParseCertificate(bytes.Clone(der)); err != nil {
			return Identity{}, nil, err
		}
	}
	id, err := ParseIdentity(v.overlay.InstanceName, cert)
	if err == nil {
		err = v.checkLength(id)
	}
	return id, cert, err
}

func (v *basis) checkLength(id Identity) error {
	for _, n := range id.Nodes {
		if n.Len() != v.length {
			return fmt.Errorf("Node-ID of %d octets in an overlay of %d", n.Len(), v.length)
		}
	}
	return nil
}

// examine checks what does not change with time. Nothing that fails is remembered: it costs its sender as much as us.
func (v *basis) examine(now time.Time, id Identity, cert *x509.Certificate, intermediates func() *x509.CertPool) (known, error) {
	if _, err := algorithmOf(cert.PublicKey); err != nil {
		return known{}, &RefusalError{BadCertificate, err}
	}
	if err := v.checkNodes(id); err != nil {
		return known{}, err
	}
	if v.overlay.SelfSignedPermitted && selfSigned(cert) {
		if err := checkSelfSigned(v.overlay.SelfSignedDigest, id, cert.RawSubjectPublicKeyInfo); err != nil {
			return known{}, &RefusalError{BadCertificate, err}
		}
		return known{id, cert.NotBefore, cert.NotAfter}, nil
	}
	if v.named(cert) {
		if k, err := v.chain(now, id, cert, nil); err == nil {
			return k, nil
		}
	}
	return v.chain(now, id, cert, intermediates())
}

// checkNodes refuses nodes that the overlay's configuration names bad.
func (v *basis) checkNodes(id Identity) error {
	for _, n := range id.Nodes {
		// RFC 6940 §11.1: "the certificate with this Node-ID MUST NOT be considered valid"
		if v.bad[n] {
			return &RefusalError{BadNode, fmt.Errorf("node %s of %s was declared bad", n, id.User)}
		}
	}
	return nil
}

// chain builds the path to a root-cert. RFC 6940 §11.3: "The client MUST check that the returned certificate chains back to
// one of the certificates received in the "root-cert" list of the overlay configuration data (including PKIX
// BasicConstraints checks)."
func (v *basis) chain(now time.Time, id Identity, cert *x509.Certificate, intermediates *x509.CertPool) (known, error) {
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: v.roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		reason := WrongCA
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			reason = Expired
		}
		return known{}, &RefusalError{reason, fmt.Errorf("certificate of %s: %w", id.User, err)}
	}
	best := known{id: id}
	for _, chain := range chains {
		k := known{id, chain[0].NotBefore, chain[0].NotAfter}
		for _, c := range chain[1:] {
			k.notBefore = latest(k.notBefore, c.NotBefore)
			k.notAfter = earliest(k.notAfter, c.NotAfter)
		}
		if k.notAfter.After(best.notAfter) {
			best = k
		}
	}
	return best, nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// selfSigned reports whether cert was signed with its own key.
func selfSigned(cert *x509.Certificate) bool {
	return cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}

// checkSelfSigned compares the Node-IDs with the key. RFC 6940 §11.3.1: "When accepting a self-signed certificate, nodes
// MUST check that the Node-ID and public keys match."
func checkSelfSigned(digest string, id Identity, spki []byte) error {
	for i := range id.Nodes {
		want := SelfSignedNodeID(digest, spki, selfSignedIndex(i, len(id.Nodes)), id.Nodes[i].Len())
		if !slices.Contains(id.Nodes, want) {
			return fmt.Errorf("Node-IDs of %s do not follow from its key", id.User)
		}
	}
	return nil
}

// selfSignedIndex is 0, for none, with a single Node-ID, and counts from 1 otherwise.
func selfSignedIndex(i, n int) uint32 {
	if n == 1 {
		return 0
	}
	return uint32(i) + 1
}

// SelfSignedNodeID is the Node-ID of length octets that follows from the subjectPublicKeyInfo spki in an overlay of
// self-signed certificates (RFC 6940 §11.3.1). digest is config.DigestSHA1 or config.DigestSHA256. index is 0 for a
// certificate with one Node-ID; with several "the index of the Node-ID (from 1 to the number of Node-IDs needed) must be
// prepended as a 4-byte big-endian integer".
func SelfSignedNodeID(digest string, spki []byte, index uint32, length int) wire.NodeID {
	covered := spki
	if index > 0 {
		covered = append(binary.BigEndian.AppendUint32(nil, index), spki...)
	}
	sum256 := sha256.Sum256(covered)
	sum := sum256[:]
	if digest == config.DigestSHA1 {
		sum1 := sha1.Sum(covered) //nolint:gosec // as above
		sum = sum1[:]
	}
	id, _ := wire.NodeIDFromBytes(sum[:length]) // zero for an impossible length
	return id
}
