package gateway

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"os"
	"sync"

	"github.com/rs/zerolog"
)

// CertificateFiles is the certificate of a server in two PEM files, looked at again at each handshake: a new one counts from the next
// handshake on, and open connections keep the old one. What is there stays when the files can not be read. It is safe for concurrent use.
type CertificateFiles struct {
	Cert, Key string
	Log       zerolog.Logger
	Check     func(*x509.Certificate) error // what it objects to is logged, and no reason not to use the certificate; may be nil

	mu              sync.Mutex
	loaded          *tls.Certificate
	certAt, keyedAt os.FileInfo
}

// Get is for tls.Config.GetCertificate.
func (c *CertificateFiles) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, err1 := os.Stat(c.Cert)
	key, err2 := os.Stat(c.Key)
	if c.loaded != nil && unchanged(c.certAt, cert) && unchanged(c.keyedAt, key) {
		return c.loaded, nil
	}
	next, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err = cmp.Or(err1, err2, err); err != nil {
		if c.loaded == nil {
			return nil, err
		}
		if !same(c.certAt, cert) || !same(c.keyedAt, key) {
			c.Log.Error().Str("code", "E0206").Err(err).Str("file", c.Cert).Msg("the new certificate of the server cannot be used; the old one stays")
		}
		c.certAt, c.keyedAt = cert, key
		return c.loaded, nil
	}
	if c.Check != nil {
		if err := c.Check(next.Leaf); err != nil {
			c.Log.Warn().Err(err).Str("file", c.Cert).Msg("the certificate of the server may not be the right one")
		}
	}
	if c.loaded != nil {
		c.Log.Info().Str("file", c.Cert).Time("not_after", next.Leaf.NotAfter).Msg("the server has a new certificate")
	}
	c.loaded, c.certAt, c.keyedAt = &next, cert, key
	return c.loaded, nil
}

func unchanged(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// same is unchanged for a file that may be missing, too.
func same(a, b fs.FileInfo) bool { return a == nil && b == nil || unchanged(a, b) }
