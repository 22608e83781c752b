package main

import (
	"crypto/tls"
	"os"
	"sync"

	"github.com/rs/zerolog"
)

// certificateFiles is the certificate of an HTTPS server in two files, read again when they have changed. What is there stays when
// they can not be read.
type certificateFiles struct {
	cert, key, overlay string
	log                zerolog.Logger

	mu              sync.Mutex
	loaded          *tls.Certificate
	certAt, keyedAt os.FileInfo
}

// get is for tls.Config.GetCertificate.
func (c *certificateFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, err1 := os.Stat(c.cert)
	key, err2 := os.Stat(c.key)
	if c.loaded != nil && (err1 != nil || err2 != nil || unchanged(c.certAt, cert) && unchanged(c.keyedAt, key)) {
		return c.loaded, nil
	}
	next, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		if c.loaded == nil {
			return nil, err
		}
		c.log.Error().Err(err).Str("file", c.cert).Msg("the new certificate of the server cannot be used; the old one stays")
		c.certAt, c.keyedAt = cert, key
		return c.loaded, nil
	}
	// RFC 6940 §11.3: "The server certificate MUST match the overlay name".
	if err := next.Leaf.VerifyHostname(c.overlay); err != nil {
		c.log.Warn().Err(err).Msg("the certificate does not match the name of the overlay: clients that find the server by DNS refuse it")
	}
	c.loaded, c.certAt, c.keyedAt = &next, cert, key
	return c.loaded, nil
}
