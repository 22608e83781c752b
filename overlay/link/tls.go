package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ErrNotAsked means that a TLS server let us in without a certificate: the link would be authenticated on one side only.
var ErrNotAsked = errors.New("link: the server did not request a certificate")

// ErrWrongNode means that the peer's certificate is good and of another node than the one that was to be reached.
var ErrWrongNode = errors.New("link: certificate of another node")

// TLS makes the TLS connections of one node. It is safe for concurrent use.
type TLS struct {
	certificate atomic.Pointer[tls.Certificate]
	verifier    *trust.Verifier
}

// NewTLS returns the TLS side of self, which checks others with v.
func NewTLS(self *trust.Signer, v *trust.Verifier) *TLS {
	t := &TLS{verifier: v}
	t.Use(self)
	return t
}

// Use has handshakes from now on present the certificate of self: one that was renewed.
func (t *TLS) Use(self *trust.Signer) { t.certificate.Store(presented(self)) }

// presented is what a handshake shows of s.
func presented(s *trust.Signer) *tls.Certificate {
	c := &tls.Certificate{PrivateKey: s.Key(), Leaf: s.Identity().Cert.X509()}
	for _, cert := range s.Chain() {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// Client does the handshake of the connecting side on conn, within HandshakeTimeout. Unless want is the zero Node-ID,
// the peer's certificate must hold it, and it becomes the identity's. On error conn is closed.
func (t *TLS) Client(ctx context.Context, conn net.Conn, want wire.NodeID) (*tls.Conn, trust.Identity, error) {
	h := handshake{verifier: t.verifier, want: want}
	asked := false
	c := h.config()
	// RELOAD knows peers by Node-ID, not by host name: h.check takes the place of the library's verification.
	c.InsecureSkipVerify = true
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return t.certificate.Load(), nil
	}
	tc := tls.Client(conn, c)
	if err := h.do(ctx, tc); err != nil {
		return nil, trust.Identity{}, err
	}
	// RFC 6940 §6.5.1.13: "The server MUST request TLS client authentication."
	if !asked {
		_ = tc.Close()
		return nil, trust.Identity{}, ErrNotAsked
	}
	return tc, h.peer, nil
}

// Server does the handshake of the accepting side on conn, within HandshakeTimeout. On error conn is closed.
func (t *TLS) Server(ctx context.Context, conn net.Conn) (*tls.Conn, trust.Identity, error) {
	h := handshake{verifier: t.verifier}
	c := h.config()
	c.Certificates = []tls.Certificate{*t.certificate.Load()}
	// RFC 6940 §6.5.1.13: "The server MUST request TLS client authentication." RFC 6940 §13.2 wants both sides known.
	c.ClientAuth = tls.RequireAnyClientCert
	tc := tls.Server(conn, c)
	if err := h.do(ctx, tc); err != nil {
		return nil, trust.Identity{}, err
	}
	return tc, h.peer, nil
}

// handshake is one handshake; the identity it found is in peer, and what that was read from in chain.
type handshake struct {
	verifier *trust.Verifier
	want     wire.NodeID
	peer     trust.Identity
	chain    []*x509.Certificate
}

func (h *handshake) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // RFC 6940 §6.6 names TLS 1.2 [RFC5246]
		// A resumed connection would not be checked against certificates that have expired or were listed as bad since.
		SessionTicketsDisabled: true,
		VerifyConnection:       h.check,
		KeyLogWriter:           keyLog(),
	}
}

// check runs inside the handshake, so that a peer that is refused gets an alert and no octet more.
func (h *handshake) check(state tls.ConnectionState) error {
	// RFC 6940 §6.5.1.13: "The nodes MUST verify that the certificate presented in the handshake matches the identity
	// of the other peer as found in the Attach message."
	id, err := h.verifier.VerifyLink(time.Now(), state.PeerCertificates)
	if err != nil {
		return err
	}
	if !h.want.IsZero() {
		if !slices.Contains(id.Nodes, h.want) {
			return ErrWrongNode
		}
		id.Node = h.want
	}
	h.peer, h.chain = id, state.PeerCertificates
	return nil
}

func (h *handshake) do(ctx context.Context, tc *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = tc.NetConn().Close()
		return fmt.Errorf("link: handshake: %w", err)
	}
	return nil
}
