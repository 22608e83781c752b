package trust

import (
	"crypto"
	_ "crypto/sha1" // identity hashes (RFC 6940 §6.3.4)
	"crypto/sha256"
	_ "crypto/sha512" // identity hashes
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Verifier checks against an overlay's configuration: the one that it was made for, or the last that it was told to
// Follow.
type Verifier struct {
	current atomic.Pointer[basis]
	made    *cache[struct{}] // signatures of values that this program has made lately
}

// NewVerifier returns a verifier for o.
func NewVerifier(o *config.Overlay) *Verifier {
	v := &Verifier{made: newCache[struct{}](maxMade)}
	v.Follow(o)
	return v
}

// Follow has the verifier check against o from now on: what was found good before is looked at again, so that nodes
// which o names bad are believed no more (RFC 6940 §11.1).
func (v *Verifier) Follow(o *config.Overlay) {
	b := newBasis(o)
	b.made = v.made
	v.current.Store(b)
}

// basis is what one configuration says about certificates. Those that were found good are remembered in a bounded cache by
// the hash of their octets; so are signatures of values, which come again with each Fetch.
type basis struct {
	overlay *config.Overlay
	length  int // octets of a Node-ID
	roots   *x509.CertPool
	bad     map[wire.NodeID]bool
	cache   *cache[known]
	keys    *cache[crypto.PublicKey] // of those certificates, by the hash of their octets
	serial  uint64                   // above that of any basis before
	good    *cache[struct{}]         // signatures of values
	made    *cache[struct{}]         // the Verifier\'s; nil without one
}

var serials atomic.Uint64

func newBasis(o *config.Overlay) *basis {
	v := &basis{overlay: o, length: o.Schema().NodeIDLen, roots: x509.NewCertPool(), bad: map[wire.NodeID]bool{}}
	v.cache, v.good = newCache[known](maxCached), newCache[struct{}](maxRemembered)
	v.keys, v.serial = newCache[crypto.PublicKey](maxKeys), serials.Add(1)
	for _, c := range o.RootCerts {
		v.roots.AddCert(c)
	}
	for _, n := range o.BadNodes {
		v.bad[n] = true
	}
	return v
}

// Verify checks the signature of m and of every stored value in it (RFC 6940 §6.3.4, §7.1). asked is the Resource-ID of the
// FetchReq that m answers: the signature of a value covers it and a FetchAns does not carry it; it is not used for other
// messages. The error, about the message itself, is a *RefusalError.
func (v *Verifier) Verify(now time.Time, m *wire.Message, asked wire.ResourceID) (Verified, error) {
	b := &bucket{v: v.current.Load(), now: now, certs: m.Security.Certificates}
	sig := m.Security.Signature
	// RFC 6940 §6.3.4: "The signature is computed over the payload and parts of the forwarding header."
	sender, err := b.check(sig, func() []byte { return m.SignedOctets(nil, sig.Identity) }, checkSignature)
	if err != nil {
		return Verified{}, err
	}
	return Verified{m: m, sender: sender, values: b.values(m.Body, asked)}, nil
}

// values checks each stored value of body.
func (b *bucket) values(body wire.Body, asked wire.ResourceID) []ValueSigner {
	var out []ValueSigner
	switch body := body.(type) {
	case *wire.StoreReq:
		for _, k := range body.Kinds {
			for i := range k.Values {
				out = append(out, b.value(body.Resource, k.Kind, &k.Values[i]))
			}
		}
	case *wire.FetchAns:
		for _, k := range body.Kinds {
			for i := range k.Values {
				out = append(out, b.value(asked, k.Kind, &k.Values[i]))
			}
		}
	}
	return out
}

func (b *bucket) value(res wire.ResourceID, kind wire.KindID, d *wire.StoredData) ValueSigner {
	if !d.Value.Exists && d.Signature.Identity.Type == wire.IdentityNone {
		return ValueSigner{} // RFC 6940 §7.4.2.2: a nonexistent value made up by the storing peer is not signed
	}
	sig := d.Signature
	id, err := b.check(sig, func() []byte { return d.SignedOctets(nil, res, kind, sig.Identity) }, b.v.remembered)
	return ValueSigner{Identity: id, Err: err}
}

// bucket is the certificates that came with one message, read when they are needed. RFC 6940 §6.3.4: "This is the only
// location in the message which contains certificates".
type bucket struct {
	v             *basis
	now           time.Time
	certs         []wire.Certificate
	intermediates *x509.CertPool                // made when a chain has to be built
	few           [2]found                      // the first signers that were looked for: most messages have no more
	found         map[wire.SignerIdentity]found // the others
	by            *Signer                       // this program's, whose signatures need no check; nil for messages that came from elsewhere
}

// found is what became of one SignerIdentity: the values of a message often share their signer.
type found struct {
	name wire.SignerIdentity // Type 0: none was looked for
	id   Identity
	err  error
}

// check finds the certificate of sig, checks it, and then by verify the signature over covered. The error is a *RefusalError.
func (b *bucket) check(sig wire.Signature, covered func() []byte, verify verification) (Identity, error) {
	if sig.Identity.Type == wire.IdentityNone || len(sig.Value) == 0 {
		return Identity{}, &RefusalError{Unsigned, errors.New("no signature")}
	}
	id, err := b.signer(sig.Identity)
	if err != nil {
		return Identity{}, err
	}
	if b.by != nil && sig.Identity == b.by.name {
		return id, nil
	}
	if err := verify(id.Cert, sig, covered()); err != nil {
		return Identity{}, &RefusalError{BadSignature, fmt.Errorf("signature of %s: %w", id.User, err)}
	}
	return id, nil
}

// verification checks sig over covered by the key of cert.
type verification func(cert *Certificate, sig wire.Signature, covered []byte) error

// remembered is checkSignature for what comes again and again: what was found good costs a hash the next time. The certificate
// is looked at each time.
func (v *basis) remembered(cert *Certificate, sig wire.Signature, covered []byte) error {
	key := nameOf(cert, sig, covered)
	if _, ok := v.good.get(key); ok {
		return nil
	}
	if v.made != nil {
		if _, ok := v.made.get(key); ok {
			return nil
		}
	}
	err := checkSignature(cert, sig, covered)
	if err == nil {
		v.good.put(key, struct{}{})
	}
	return err
}

// nameOf is what a signature over covered is remembered by.
func nameOf(cert *Certificate, sig wire.Signature, covered []byte) hashKey {
	h := sha256.New()
	var lengths [12]byte
	binary.BigEndian.PutUint32(lengths[:], uint32(len(covered)))
	binary.BigEndian.PutUint32(lengths[4:], uint32(len(sig.Value)))
	lengths[8], lengths[9] = sig.Hash, sig.Algorithm
	for _, part := range [][]byte{lengths[:], covered, sig.Value, cert.Raw} {
		h.Write(part)
	}
	return hashKey(h.Sum(nil))
}

// signer is the holder of the certificate that n names.
func (b *bucket) signer(n wire.SignerIdentity) (Identity, error) {
	for i := range b.few {
		f := &b.few[i]
		if f.name.Type == 0 {
			f.name = n
			f.id, f.err = b.find(n)
		}
		if f.name == n {
			return f.id, f.err
		}
	}
	f, ok := b.found[n]
	if !ok {
		f.id, f.err = b.find(n)
		if b.found == nil {
			b.found = map[wire.SignerIdentity]found{}
		}
		b.found[n] = f
	}
	return f.id, f.err
}

// find finds and checks the certificate that n names (RFC 6940 §6.3.4).
func (b *bucket) find(n wire.SignerIdentity) (Identity, error) {
	if b.by != nil && n == b.by.name {
		return b.v.own(b.now, b.by, nil)
	}
	for i, c := range b.certs {
		if i == maxBucket {
			break
		}
		if c.Type != wire.CertificateX509 {
			continue
		}
		if n.Type == wire.IdentityCertHash && hashIs(n, nil, c.Data) {
			return b.named(n, c.Data, wire.NodeID{})
		}
		if n.Type == wire.IdentityCertHashNodeID {
			if node, ok := b.nodeOf(n, c.Data); ok {
				return b.named(n, c.Data, node)
			}
		}
	}
	return Identity{}, &RefusalError{UnknownSigner, fmt.Errorf("no certificate matches the signer identity %x", n.CertHash)}
}

// nodeOf looks for the Node-ID of the certificate der with which n was made.
func (b *bucket) nodeOf(n wire.SignerIdentity, der []byte) (wire.NodeID, bool) {
	k, ok := b.v.cache.get(sha256.Sum256(der))
	if !ok {
		var err error
		if k.id, _, err = b.v.parse(der, nil); err != nil {
			return wire.NodeID{}, false
		}
	}
	for _, node := range k.id.Nodes {
		if hashIs(n, node.Bytes(), der) {
			return node, true
		}
	}
	return wire.NodeID{}, false
}

// named checks the certificate der, found as n. The number of its Node-IDs says which type n must have (RFC 6940 §6.3.4).
func (b *bucket) named(n wire.SignerIdentity, der []byte, node wire.NodeID) (Identity, error) {
	id, err := b.v.certificate(b.now, der, nil, b.pool)
	if err != nil {
		return Identity{}, err
	}
	if (len(id.Nodes) > 1) != (n.Type == wire.IdentityCertHashNodeID) {
		return Identity{}, &RefusalError{BadSignature,
			fmt.Errorf("signer identity of type %d for a certificate of %d Node-IDs", n.Type, len(id.Nodes))}
	}
	if !node.IsZero() {
		id.Node = node
	}
	return id, nil
}

func (b *bucket) pool() *x509.CertPool {
	if b.intermediates == nil {
		b.intermediates = x509.NewCertPool()
		for i, c := range b.certs {
			if i == maxBucket {
				break
			}
			if cert, err := x509.ParseCertificate(c.Data); err == nil && cert.IsCA {
				b.intermediates.AddCert(cert)
			}
		}
	}
	return b.intermediates
}

// identityHashes are the hashes by which a SignerIdentity may name a certificate. SHA-1 is among them: it names, and the
// signature itself is checked with SHA-256.
var identityHashes = map[uint8]crypto.Hash{
	wire.HashSHA1: crypto.SHA1, wire.HashSHA256: crypto.SHA256, wire.HashSHA384: crypto.SHA384, wire.HashSHA512: crypto.SHA512,
}

// hashIs reports whether n is the hash of prefix and der.
func hashIs(n wire.SignerIdentity, prefix, der []byte) bool {
	hash, ok := identityHashes[n.Hash]
	if !ok {
		return false
	}
	h := hash.New()
	h.Write(prefix)
	h.Write(der)
	return string(h.Sum(nil)) == n.CertHash
}

// VerifyLink checks the certificates of a TLS or DTLS peer (RFC 6940 §6.5.1.13, §13.6.2). The error is a *RefusalError.
func (v *Verifier) VerifyLink(now time.Time, certs []*x509.Certificate) (Identity, error) {
	if len(certs) == 0 || len(certs) > maxBucket {
		return Identity{}, &RefusalError{BadCertificate, fmt.Errorf("%d certificates", len(certs))}
	}
	return v.current.Load().certificate(now, certs[0].Raw, certs[0], poolOf(certs[1:]))
}

// VerifyCertificate checks one DER certificate with the intermediates in pool (RFC 6940 §11.3). The error is a
// *RefusalError.
func (v *Verifier) VerifyCertificate(now time.Time, der []byte, intermediates [][]byte) (Identity, error) {
	b := bucket{}
	for _, i := range intermediates {
		b.certs = append(b.certs, wire.Certificate{Data: i})
	}
	return v.current.Load().certificate(now, der, nil, b.pool)
}
