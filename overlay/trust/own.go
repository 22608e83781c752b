package trust

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// VerifyOwn checks the certificate of s, which this program signs with, as others will. certs is what s was made of, nil when that is not at
// hand. The one thing that it does not check is the signature of the authority, where the certificate names the key of one: nobody
// is kept out by it, since whoever is shown the certificate checks it, and it costs as much as all the rest of a
// registration's Store. VerifyLink does check it; see sipusage.Certificates, which shows certificates. The error is a *RefusalError.
func (v *Verifier) VerifyOwn(now time.Time, s *Signer, certs []*x509.Certificate) error {
	_, err := v.current.Load().own(now, s, certs)
	return err
}

// own is VerifyOwn. A signer that was found good is only looked at again in another configuration, but for its dates.
func (v *basis) own(now time.Time, s *Signer, certs []*x509.Certificate) (Identity, error) {
	k := known{s.id, s.id.Cert.NotBefore, s.id.Cert.NotAfter}
	if s.checked.Load() == v.serial {
		return k.at(now)
	}
	if certs == nil {
		for _, c := range s.chain {
			certs = append(certs, c.X509())
		}
	}
	if len(s.chain) > 1 || !v.named(certs[0]) {
		return v.certificate(now, certs[0].Raw, certs[0], poolOf(certs[1:]))
	}
	if err := v.checkLength(s.id); err != nil {
		return Identity{}, &RefusalError{BadCertificate, err}
	}
	if err := v.checkNodes(s.id); err != nil {
		return Identity{}, err
	}
	s.checked.Store(v.serial)
	return k.at(now)
}

// named reports whether cert names the key of a root-cert of the overlay (RFC 5280 §4.2.1.1) that lasts as long as cert does.
func (v *basis) named(cert *x509.Certificate) bool {
	return len(cert.AuthorityKeyId) > 0 && slices.ContainsFunc(v.overlay.RootCerts, func(r *x509.Certificate) bool {
		return bytes.Equal(cert.AuthorityKeyId, r.SubjectKeyId) && bytes.Equal(cert.RawIssuer, r.RawSubject) &&
			!cert.NotBefore.Before(r.NotBefore) && !cert.NotAfter.After(r.NotAfter)
	})
}

// poolOf makes a pool of intermediates when it is needed.
func poolOf(certs []*x509.Certificate) func() *x509.CertPool {
	return func() *x509.CertPool {
		pool := x509.NewCertPool()
		for _, c := range certs {
			pool.AddCert(c)
		}
		return pool
	}
}

// SignValue is by.SignValue for a value that may come back: as a replica to a peer that has stored it at another one. Its signature need not be checked.
func (v *Verifier) SignValue(by *Signer, res wire.ResourceID, kind wire.KindID, d *wire.StoredData) error {
	if err := by.SignValue(res, kind, d); err != nil {
		return err
	}
	v.made.put(nameOf(by.id.Cert, d.Signature, d.SignedOctets(nil, res, kind, by.name)), struct{}{})
	return nil
}

// VerifySigner checks the certificate of s, the authority's signature included. The error is a *RefusalError.
func (v *Verifier) VerifySigner(now time.Time, s *Signer) error {
	b := &bucket{v: v.current.Load(), now: now, certs: s.bucket}
	id, cert, err := b.v.parse(s.bucket[0].Data, nil)
	if err != nil {
		return &RefusalError{BadCertificate, err}
	}
	k, err := b.v.examine(now, id, cert, b.pool)
	if err == nil {
		_, err = k.at(now)
	}
	return err
}
