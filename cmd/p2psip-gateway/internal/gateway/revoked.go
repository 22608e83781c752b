package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ocsp"

	"github.com/p2psip/p2psip-gateway/sip/flow"
)

// maxCRL bounds a file of revocation lists.
const maxCRL = 32 << 20

// crlInterval is between two looks at the files.
const crlInterval = 5 * time.Second

// Codes of revocation.
const (
	codeRevoked = "E0221" // a certificate of the other side was revoked
	codeCRL     = "E0222" // sip.tls.crl can not be used
)

// revocations are the lists of revoked certificates in files (RFC 5280 §5). run looks at the files, handshakes at what is in memory: a slow disk holds
// no connection up. It is safe for concurrent use.
type revocations struct {
	files []string
	now   func() time.Time
	log   zerolog.Logger
	seen  []fs.FileInfo // of run alone
	lists atomic.Pointer[revocationLists]
}

// revocationLists are by the name of the issuer, as DER.
type revocationLists map[string][]*revocationList

// revocationList is one list, and the issuers that are known to have signed it.
type revocationList struct {
	*x509.RevocationList
	serials map[string]struct{}

	mu sync.Mutex
	by []*x509.Certificate
}

// openRevocations reads the files, of which each must hold a list.
func openRevocations(files []string, log zerolog.Logger) (*revocations, error) {
	r := &revocations{files: files, now: time.Now, log: log, seen: make([]fs.FileInfo, len(files))}
	r.stat()
	lists, err := readLists(files)
	r.lists.Store(&lists)
	return r, err
}

// run reads the files again when they have changed, until ctx ends.
func (r *revocations) run(ctx context.Context) {
	if len(r.files) == 0 {
		return
	}
	t := time.NewTicker(crlInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.refresh()
		}
	}
}

// stat reports whether a file is another one than before.
func (r *revocations) stat() (changed bool) {
	for i, file := range r.files {
		info, err := os.Stat(file)
		if err != nil {
			info = nil
		}
		if !same(r.seen[i], info) {
			r.seen[i], changed = info, true
		}
	}
	return changed
}

func readLists(files []string) (revocationLists, error) {
	lists := revocationLists{}
	for _, file := range files {
		info, err := os.Stat(file)
		switch {
		case err != nil:
		case !info.Mode().IsRegular():
			err = fmt.Errorf("%s is no file", file) // a pipe would be waited for
		case info.Size() > maxCRL:
			err = fmt.Errorf("%s has more than %d octets", file, maxCRL)
		}
		if err != nil {
			return nil, fmt.Errorf("%s sip.tls.crl: %w", codeCRL, err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s sip.tls.crl: %w", codeCRL, err)
		}
		found, err := parseLists(b)
		if err != nil {
			return nil, fmt.Errorf("%s sip.tls.crl: %s: %w", codeCRL, file, err)
		}
		for _, l := range found {
			lists[string(l.RawIssuer)] = append(lists[string(l.RawIssuer)], l)
		}
	}
	return lists, nil
}

// parseLists reads lists in PEM, or one as DER.
func parseLists(b []byte) (out []*revocationList, err error) {
	ders := [][]byte{b}
	if bytes.Contains(b, []byte("-----BEGIN ")) {
		ders = nil
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "X509 CRL" {
				ders = append(ders, block.Bytes)
			}
		}
	}
	for _, der := range ders {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, err
		}
		serials := make(map[string]struct{}, len(l.RevokedCertificateEntries))
		for _, e := range l.RevokedCertificateEntries {
			serials[e.SerialNumber.String()] = struct{}{}
		}
		out = append(out, &revocationList{RevocationList: l, serials: serials})
	}
	if len(out) == 0 {
		return nil, errors.New("there is no list of revoked certificates in it")
	}
	return out, nil
}

// refresh reads the files again when one has changed. Lists that can not be read leave those before in force.
func (r *revocations) refresh() {
	if !r.stat() {
		return
	}
	lists, err := readLists(r.files)
	if err != nil {
		r.log.Error().Str("code", codeCRL).Err(err).Msg("the new lists of revoked certificates can not be used; those before stay")
		return
	}
	r.lists.Store(&lists)
	r.log.Info().Strs("files", r.files).Msg("new lists of revoked certificates")
}

var errRevoked = errors.New("the certificate was revoked")

// check is flow.Config.Revoked: each certificate of a verified chain, but for the root, against the lists of its issuer, and the first also against the
// OCSP response that came with it (RFC 6066 §8). A list that has ended still counts: what was revoked stays so.
func (r *revocations) check(chain []*x509.Certificate, staple []byte) error {
	for i := range len(chain) - 1 {
		if r.listed(chain[i], chain[i+1]) || i == 0 && revokedBy(staple, chain[0], chain[1], r.now()) {
			r.log.Warn().Str("code", codeRevoked).Str("subject", chain[i].Subject.String()).Str("serial", chain[i].SerialNumber.Text(16)).Msg("a revoked certificate was shown")
			return fmt.Errorf("%s %w: %s", codeRevoked, errRevoked, chain[i].Subject)
		}
	}
	return nil
}

func (r *revocations) listed(cert, issuer *x509.Certificate) bool {
	for _, l := range (*r.lists.Load())[string(cert.RawIssuer)] {
		if _, ok := l.serials[cert.SerialNumber.String()]; ok && l.signedBy(issuer) {
			return true
		}
	}
	return false
}

// signedBy reports whether the list is issuer's: a name is no proof.
func (l *revocationList) signedBy(issuer *x509.Certificate) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.by, issuer.Equal) {
		return true
	}
	if l.CheckSignatureFrom(issuer) != nil {
		return false
	}
	l.by = append(l.by, issuer)
	return true
}

// revokedBy reports whether an OCSP response, if it is one for this certificate and in time, says that it was revoked.
func revokedBy(staple []byte, cert, issuer *x509.Certificate, now time.Time) bool {
	if len(staple) == 0 {
		return false
	}
	res, err := ocsp.ParseResponseForCert(staple, cert, issuer)
	if err != nil || now.Before(res.ThisUpdate) || !res.NextUpdate.IsZero() && now.After(res.NextUpdate) {
		return false
	}
	return res.Status == ocsp.Revoked
}

// tlsVersions are the words of sip.tls.min_version.
var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// suites are the numbers of suites of TLS 1.2; only those that are not known to be weak.
func suites(names []string) (ids []uint16, err error) {
	for _, name := range names {
		at := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
			return s.Name == name && slices.Contains(s.SupportedVersions, tls.VersionTLS12)
		})
		if at < 0 {
			var known []string
			for _, s := range tls.CipherSuites() {
				if slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
					known = append(known, s.Name)
				}
			}
			return nil, fmt.Errorf("%q is none of %s", name, strings.Join(known, ", "))
		}
		ids = append(ids, tls.CipherSuites()[at].ID)
	}
	return ids, nil
}

// check finds what is wrong with versions and suites.
func (c *TLSConfig) check(bad func(key, format string, args ...any)) {
	if _, ok := tlsVersions[c.MinVersion]; !ok {
		bad("sip.tls.min_version", "%q is none of 1.2, 1.3", c.MinVersion)
	}
	if _, err := suites(c.Suites); err != nil {
		bad("sip.tls.suites", "%v", err)
	}
	if c.MinVersion == "1.3" && len(c.Suites) > 0 {
		bad("sip.tls.suites", "they are of TLS 1.2, which min_version leaves out; those of 1.3 can not be chosen")
	}
}

// openPolicy sets which versions, suites and certificates SIP over TLS may have.
func (g *Gateway) openPolicy(fc *flow.Config) (err error) {
	c := g.o.Config.SIP.TLS
	fc.MinTLS = tlsVersions[c.MinVersion]
	if fc.Suites, err = suites(c.Suites); err != nil {
		return fmt.Errorf("sip.tls.suites: %w", err)
	}
	r, err := openRevocations(c.CRL, g.refusals.With().Str("component", "tls").Logger())
	if err != nil {
		return err
	}
	fc.Revoked, g.revoked = r.check, r
	return nil
}
