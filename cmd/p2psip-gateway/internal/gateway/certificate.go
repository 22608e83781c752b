package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// madeCertificateLife is how long a certificate that nobody signed is good for: phones that pinned it keep it until the next start anyway.
const madeCertificateLife = 365 * 24 * time.Hour

// sipCertificate is the certificate of the tls:// SIP listeners: the configured one, or one made now.
func sipCertificate(c TLSConfig, hosts []string, log zerolog.Logger) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	if c.Cert == "" {
		cert, err := makeCertificate(hosts, time.Now())
		return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }, err
	}
	files := &CertificateFiles{Cert: c.Cert, Key: c.Key, Log: log}
	if _, err := files.Get(nil); err != nil {
		return nil, fmt.Errorf("sip.tls: %w\n      try: PEM files; the certificate of the server first, then its issuers; or no sip.tls at all, for a certificate that nobody signed", err)
	}
	return files.Get, nil
}

// makeCertificate makes a self-signed certificate for the given host names and addresses.
func makeCertificate(hosts []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(madeCertificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// sipRoots are the authorities that the certificate of another may come from; nil: the system's.
func sipRoots(key, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errors.New(key + ": " + path + " holds no PEM certificate")
	}
	return pool, nil
}
