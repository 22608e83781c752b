package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"time"
)

// Certificate is what is kept of an X.509 certificate: its octets, and what is asked for again and again. A gateway has one for each of
// its users; parsed, it would take six times as much. It must not be modified.
type Certificate struct {
	Raw                 []byte // DER
	RawIssuer           []byte // of Raw
	NotBefore, NotAfter time.Time
	PublicKey           crypto.PublicKey // one for all certificates of a key, where many are kept
}

// NewCertificate returns what is kept of c, whose octets it shares.
func NewCertificate(c *x509.Certificate) *Certificate {
	return &Certificate{Raw: c.Raw, RawIssuer: c.RawIssuer, NotBefore: c.NotBefore, NotAfter: c.NotAfter, PublicKey: c.PublicKey}
}

// X509 parses the certificate, which takes some 10 µs.
func (c *Certificate) X509() *x509.Certificate {
	parsed, err := x509.ParseCertificate(c.Raw)
	if err != nil {
		return &x509.Certificate{} // not one that was parsed before
	}
	return parsed
}

// Equal reports whether both are the same certificate.
func (c *Certificate) Equal(other *Certificate) bool {
	return c == other || c != nil && other != nil && bytes.Equal(c.Raw, other.Raw)
}
