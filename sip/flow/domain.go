package flow

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Identities are the SIP domain identities of a certificate (RFC 5922 §7.1), in lower case: the hosts of its "sip:" URIs, else its
// DNS names, and the common name when it has no subjectAltName at all.
func Identities(c *x509.Certificate) []string {
	var hosts []string
	for _, u := range c.URIs {
		// "If the scheme of the URI is not "sip", then the implementation MUST NOT accept the value"; nor one with a user part: it
		// "identifies an individual user, not a domain".
		uri, err := message.ParseURI(u.String())
		if err == nil && strings.EqualFold(uri.Scheme, "sip") && uri.User == "" && !strings.Contains(u.Opaque, "@") {
			hosts = append(hosts, strings.ToLower(uri.Host))
		}
	}
	if len(hosts) > 0 {
		return hosts
	}
	for _, name := range c.DNSNames {
		hosts = append(hosts, strings.ToLower(name))
	}
	if len(c.URIs)+len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) == 0 && c.Subject.CommonName != "" {
		hosts = append(hosts, strings.ToLower(c.Subject.CommonName))
	}
	return hosts
}

// proves reports whether a certificate is for a host: RFC 5922 §7.2 compares whole names, "MUST NOT match any form of wildcard".
// An address has to be in it as one.
func proves(c *x509.Certificate, host string, wildcards bool) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		for _, ip := range c.IPAddresses {
			if ip.Equal(net.IP(a.AsSlice())) {
				return true
			}
		}
		return false
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, have := range Identities(c) {
		if have == host {
			return true
		}
	}
	return wildcards && c.VerifyHostname(host) == nil
}

// dialled makes the TLS side of a connection to a server that has to prove name.
func (t *Table) dialled(c net.Conn, name string) *tls.Conn {
	conf := t.policy(&tls.Config{ServerName: name, RootCAs: t.cfg.Roots})
	// The library's own check takes wildcards and knows no "sip:" URIs, so it is off, and this one on.
	conf.InsecureSkipVerify = true
	if name != location.AnyHost {
		conf.VerifyConnection = func(s tls.ConnectionState) error { return t.verify(s, name) }
	}
	if t.cfg.ShowCertificate {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return t.cfg.Certificate(&tls.ClientHelloInfo{})
		}
	}
	return tls.Client(c, conf)
}

// verify is RFC 5922 §7.3: the chain by RFC 5280, then the name. "If the server is not authenticated, the client MUST close the
// connection immediately."
func (t *Table) verify(s tls.ConnectionState, name string) error {
	chain := s.PeerCertificates
	o := x509.VerifyOptions{Roots: t.cfg.Roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := chain[0].Verify(o)
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	if !proves(chain[0], name, t.cfg.Wildcards) {
		return fmt.Errorf("flow: the certificate of the other side: %w", x509.HostnameError{Certificate: chain[0], Host: name})
	}
	return t.revoked(chains, s.OCSPResponse)
}

// policy adds to c what all connections have in common.
func (t *Table) policy(c *tls.Config) *tls.Config {
	c.MinVersion, c.CipherSuites = max(t.cfg.MinTLS, tls.VersionTLS12), t.cfg.Suites
	return c
}

// revoked tells why none of the chains may be used. Without a chain nothing was proved, and nothing is revoked.
func (t *Table) revoked(chains [][]*x509.Certificate, staple []byte) (err error) {
	if t.cfg.Revoked == nil {
		return nil
	}
	for _, chain := range chains {
		if err = t.cfg.Revoked(chain, staple); err == nil {
			return nil
		}
	}
	return err
}

// Peer is the certificate that the client on an accepted connection, or the server on a dialled one, proved to have, verified; nil when
// there is none. RFC 5922 §7.4: "If the client does not present a certificate, the client MUST NOT be considered authenticated."
func (t *Table) Peer(of location.Hop) *x509.Certificate {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byFlow[of.Flow]; s != nil {
		return s.peer
	}
	return nil
}

// alias has requests to where the sender of m is advertised go over the connection that m came on (RFC 5923 §8): m's Via says
// alias, and the sender's certificate holds the host in that Via. Otherwise, as §9.1 has it, nothing is changed.
func (t *Table) alias(m *message.Message, from location.Hop) {
	if from.Transport != TLS || from.Flow == 0 {
		return
	}
	via, err := m.TopVia()
	if err != nil {
		return
	}
	if _, asked := message.Param(via.Params, "alias"); !asked {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byFlow[from.Flow]
	if s == nil || s.class != accepted || s.peer == nil || len(s.keys) >= maxAliases || !proves(s.peer, via.Host, t.cfg.Wildcards) {
		return
	}
	key := keyOf(t.ResponseHop(location.Hop{Transport: TLS, Remote: from.Remote}, via))
	if t.byKey[key] == nil {
		s.keys = append(s.keys, key)
		t.byKey[key] = s
	}
}
