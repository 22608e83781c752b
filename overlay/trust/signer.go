package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Signer signs messages and stored values with one certificate. A gateway has one for itself and one per AOR, all with
// the same key and Node-ID.
type Signer struct {
	id     Identity
	key    crypto.Signer
	chain  []*Certificate     // leaf first, without roots
	bucket []wire.Certificate // chain, encoded
	name   wire.SignerIdentity
	algo   uint8
	// checked is the serial number of the basis of a verifier that has found the certificate good, but for its dates.
	checked atomic.Uint64
}

// NewSigner checks that key belongs to chain[0], whose identity is read for the overlay named overlay. The rest of chain
// are intermediates; roots among them are left out. Of a certificate with several Node-IDs the first is used.
func NewSigner(overlay string, key crypto.Signer, chain ...*x509.Certificate) (*Signer, error) {
	if len(chain) == 0 {
		return nil, errors.New("trust: signer without a certificate")
	}
	names, err := alternativeNames(chain[0])
	if err == nil {
		err = checkForm(chain[0], names)
	}
	var id Identity
	if err == nil {
		id, err = identityOf(overlay, chain[0], names)
	}
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	algo, err := algorithmOf(chain[0].PublicKey)
	if err != nil {
		return nil, fmt.Errorf("trust: certificate of %s: %w", id.User, err)
	}
	if pub, ok := chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("trust: the certificate of %s belongs to another key", id.User)
	}
	id.Node, id.Cert.PublicKey = id.Nodes[0], key.Public()
	s := &Signer{id: id, key: key, algo: algo, name: signerIdentity(id)}
	for i, c := range chain {
		// RFC 6940 §6.3.4: the bucket holds all certificates "except for those certificates in a root-cert element".
		if i > 0 && string(c.RawIssuer) == string(c.RawSubject) {
			continue
		}
		kept := id.Cert
		if i > 0 {
			kept = NewCertificate(c)
		}
		s.chain = append(s.chain, kept)
		s.bucket = append(s.bucket, wire.Certificate{Type: wire.CertificateX509, Data: c.Raw})
	}
	return s, nil
}

// signerIdentity names the certificate of id. RFC 6940 §6.3.4: one Node-ID makes it a cert_hash, several a
// cert_hash_node_id, the hash of Node-ID and certificate.
func signerIdentity(id Identity) wire.SignerIdentity {
	n := wire.SignerIdentity{Type: wire.IdentityCertHash, Hash: wire.HashSHA256}
	covered := id.Cert.Raw
	if len(id.Nodes) > 1 {
		n.Type = wire.IdentityCertHashNodeID
		covered = append(id.Node.Bytes(), id.Cert.Raw...)
	}
	sum := sha256.Sum256(covered)
	n.CertHash = string(sum[:])
	return n
}

// Identity is who the signer is.
func (s *Signer) Identity() Identity { return s.id }

// Chain is the certificate and its intermediates, leaf first: what a TLS or DTLS handshake presents. It must not be modified.
func (s *Signer) Chain() []*Certificate { return s.chain }

// Key is the private key, for TLS and DTLS handshakes.
func (s *Signer) Key() crypto.Signer { return s.key }

// Certificates is the certificate and its intermediates as they go into a message's bucket. It must not be modified.
func (s *Signer) Certificates() []wire.Certificate { return s.bucket }

// Seal adds the signer's certificates to m's bucket (without duplicates), signs m and returns its octets (RFC 6940 §6.3.4).
// m.Header and m.Body must be complete. It is slow: call it on a worker.
func (s *Signer) Seal(m *wire.Message) ([]byte, error) {
	m.Security.Certificates = AppendCertificates(slices.Clip(m.Security.Certificates), s.bucket...)
	sig, err := s.sign(func(id wire.SignerIdentity) []byte { return m.SignedOctets(nil, id) })
	if err != nil {
		return nil, fmt.Errorf("trust: sealing a message: %w", err)
	}
	m.Security.Signature = sig
	return m.AppendTo(nil), nil
}

// SignValue sets d.Signature over d as a value of kind at res (RFC 6940 §7.1).
func (s *Signer) SignValue(res wire.ResourceID, kind wire.KindID, d *wire.StoredData) error {
	sig, err := s.sign(func(id wire.SignerIdentity) []byte { return d.SignedOctets(nil, res, kind, id) })
	if err != nil {
		return fmt.Errorf("trust: signing a value of Kind 0x%x: %w", uint32(kind), err)
	}
	d.Signature = sig
	return nil
}

// AppendCertificates appends those of add that bucket does not hold. RFC 6940 §6.3.4: "allowing only a single copy of each
// certificate to be sent".
func AppendCertificates(bucket []wire.Certificate, add ...wire.Certificate) []wire.Certificate {
	for _, a := range add {
		same := func(c wire.Certificate) bool { return c.Type == a.Type && string(c.Data) == string(a.Data) }
		if !slices.ContainsFunc(bucket, same) {
			bucket = append(bucket, a)
		}
	}
	return bucket
}

// sign signs what covered makes of the signer's name.
func (s *Signer) sign(covered func(wire.SignerIdentity) []byte) (wire.Signature, error) {
	sum := sha256.Sum256(covered(s.name))
	value, err := s.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	return wire.Signature{Hash: wire.HashSHA256, Algorithm: s.algo, Identity: s.name, Value: value}, err
}

// algorithmOf is the SignatureAlgorithm that goes with a public key. RFC 6940 §6.3.4: "All implementations MUST support
// RSASSA-PKCS1-v1_5 signatures with SHA-256 hashes"; ECDSA with P-256 is an addition of the TLS registry.
func algorithmOf(key crypto.PublicKey) (uint8, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return 0, fmt.Errorf("RSA key of %d bits; %d to %d are used", n, minRSABits, maxRSABits)
		}
		return wire.SignatureRSA, nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return 0, fmt.Errorf("ECDSA key on %s; P-256 is used", key.Curve.Params().Name)
		}
		return wire.SignatureECDSA, nil
	}
	return 0, fmt.Errorf("keys of type %T are not used", key)
}

// checkSignature checks sig by the key of cert over covered.
func checkSignature(cert *Certificate, sig wire.Signature, covered []byte) error {
	key := cert.PublicKey
	algo, err := algorithmOf(key)
	if err != nil {
		return err
	}
	if sig.Hash != wire.HashSHA256 || sig.Algorithm != algo {
		return fmt.Errorf("signature algorithm %d with hash %d does not go with the key", sig.Algorithm, sig.Hash)
	}
	sum := sha256.Sum256(covered)
	if pub, ok := key.(*rsa.PublicKey); ok {
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], sig.Value)
	}
	if pub, ok := key.(*ecdsa.PublicKey); ok && ecdsa.VerifyASN1(pub, sum[:], sig.Value) {
		return nil
	}
	return errors.New("ECDSA verification error")
}
