package link

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/pion/dtls/v2"
	"github.com/pion/dtls/v2/pkg/crypto/clientcertificate"
	"github.com/pion/dtls/v2/pkg/crypto/prf"
	"github.com/pion/dtls/v2/pkg/protocol"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
	"golang.org/x/crypto/chacha20poly1305"
)

// This file is the only importer of the DTLS library. What the library leaves open is closed here and in guard.go:
// its AES-GCM draws record nonces at random (CVE-2026-26014), so the suites that are offered first are two of our own,
// with ChaCha20-Poly1305, whose nonce is the record number; AES-GCM gets a record budget. Neither CBC nor CCM is
// offered, nor pre-shared keys, renegotiation or resumption.

// ErrBusy means that a server under load wants the client to start over, and will then take it.
var ErrBusy = errors.New("link: the server asks to start the handshake over")

// ErrMixedRSA means that a node has an RSA key and a certificate that was not signed with RSA (PKCS #1 v1.5): the DTLS
// library of the other side could not check the key. Any other mix of keys in an overlay works.
var ErrMixedRSA = errors.New("link: DTLS needs an RSA root certificate for a node with an RSA key")

// DTLS makes the DTLS 1.2 associations of one node (RFC 6940 §6.6.4, §6.6.6). It is safe for concurrent use.
type DTLS struct {
	certificate atomic.Pointer[tls.Certificate]
	verifier    *trust.Verifier
	gcm         bool
	flight      time.Duration // after which a flight of the handshake is sent again
	budget      uint64        // records per direction under one AES-GCM key
}

// NewDTLS returns the DTLS side of self, which checks others with v. With gcm, AES-GCM is offered and accepted for
// peers that have nothing better. The error is ErrMixedRSA.
func NewDTLS(self *trust.Signer, v *trust.Verifier, gcm bool) (*DTLS, error) {
	d := &DTLS{verifier: v, gcm: gcm, flight: flightInterval, budget: gcmRecords}
	if err := d.Use(self); err != nil {
		return nil, err
	}
	return d, nil
}

// Use has handshakes from now on present the certificate of self: one that was renewed. The error is ErrMixedRSA.
func (d *DTLS) Use(self *trust.Signer) error {
	leaf := self.Identity().Cert.X509()
	if leaf.PublicKeyAlgorithm == x509.RSA && !slices.Contains(rsaSignatures, leaf.SignatureAlgorithm) {
		return ErrMixedRSA
	}
	d.certificate.Store(presented(self))
	return nil
}

// rsaSignatures are the ones in a certificate with an RSA key that the library goes on with, although they are those of
// the issuer and say nothing of the key.
var rsaSignatures = []x509.SignatureAlgorithm{x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA}

// Association is one DTLS association. A Write, of up to MaxPayload octets, is one record and one datagram; a Read is one
// record, and needs room for maxRecord octets.
type Association struct {
	net.Conn
	suite  string
	budget uint64 // records per direction after which the association is to be replaced; 0: any number
	guard  *guard
	chain  []*x509.Certificate
}

// PeerCertificates are those that the other side has shown, its own first. They must not be modified.
func (a *Association) PeerCertificates() []*x509.Certificate { return a.chain }

// Suite names the cipher suite: "ChaCha20-Poly1305" or "AES-GCM".
func (a *Association) Suite() string { return a.suite }

// Read reads one record.
func (a *Association) Read(p []byte) (int, error) {
	for {
		n, err := a.Conn.Read(p)
		if err == nil {
			a.guard.settle()
			return n, nil
		}
		if !harmless(err) {
			return n, err
		}
	}
}

// Close sends a closure alert and ends the association.
func (a *Association) Close() error {
	a.guard.closing.Store(true)
	defer func() { _ = a.SetDeadline(time.Time{}) }() // or the library's goroutine waits for it to pass
	return a.Conn.Close()
}

// Dial makes an association with address, "host:port", on a UDP socket of its own, so that the kernel reports hard
// ICMP errors. It is the DTLS client; see Client for the rest. A server under load is tried a second time.
func (d *DTLS) Dial(ctx context.Context, address string, want wire.NodeID) (*Association, trust.Identity, error) {
	dial := func() (*Association, trust.Identity, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "udp", address)
		if err != nil {
			return nil, trust.Identity{}, fmt.Errorf("link: %w", err)
		}
		return d.Client(ctx, conn, want)
	}
	a, peer, err := dial()
	if errors.Is(err, ErrBusy) {
		return dial()
	}
	return a, peer, err
}

// Client does the handshake of the client on under, which keeps datagrams apart, within HandshakeTimeout. RFC 6940
// §6.5.1.13: the node that answered an Attach is the client. Unless want is the zero Node-ID, the peer's certificate
// must hold it, and it becomes the identity's. On error under is closed.
func (d *DTLS) Client(ctx context.Context, under net.Conn, want wire.NodeID) (*Association, trust.Identity, error) {
	h := handshake{verifier: d.verifier, want: want}
	asked := false
	c := d.config(&h)
	c.GetClientCertificate = func(*dtls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		return d.certificate.Load(), nil
	}
	g := newGuard(under)
	a, err := d.associate(ctx, g, c, dtls.ClientWithContext)
	switch {
	case err != nil && g.busy.Load():
		return nil, trust.Identity{}, ErrBusy
	case err != nil:
		return nil, trust.Identity{}, err
	case !asked:
		// RFC 6940 §6.5.1.13: "The server MUST request TLS client authentication."
		_ = a.Close()
		return nil, trust.Identity{}, ErrNotAsked
	}
	g.settle() // the server's last flight has come: nothing in clear text is expected any more
	a.chain = h.chain
	return a, h.peer, nil
}

// Server does the handshake of the server on under, which keeps datagrams apart, within HandshakeTimeout. RFC 6940
// §6.5.1.13: the node that sent an Attach is the server. want is as in Client. On error under is closed.
func (d *DTLS) Server(ctx context.Context, under net.Conn, want wire.NodeID) (*Association, trust.Identity, error) {
	return d.server(ctx, newGuard(under), want)
}

func (d *DTLS) server(ctx context.Context, g *guard, want wire.NodeID) (*Association, trust.Identity, error) {
	h := handshake{verifier: d.verifier, want: want}
	c := d.config(&h)
	c.Certificates = []tls.Certificate{*d.certificate.Load()}
	// RFC 6940 §6.5.1.13: "The server MUST request TLS client authentication." RFC 6940 §13.2 wants both sides known.
	c.ClientAuth = dtls.RequireAnyClientCert
	a, err := d.associate(ctx, g, c, dtls.ServerWithContext)
	if err != nil {
		return nil, trust.Identity{}, err
	}
	a.chain = h.chain
	return a, h.peer, nil
}

func (d *DTLS) config(h *handshake) *dtls.Config {
	c := &dtls.Config{
		CipherSuites:         []dtls.CipherSuiteID{},
		ExtendedMasterSecret: dtls.RequireExtendedMasterSecret,
		// RELOAD knows peers by Node-ID, not by host name: h.check takes the place of the library's verification. The
		// library has found by then that the peer holds the key.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			chain := make([]*x509.Certificate, len(raw))
			for i, der := range raw {
				var err error
				if chain[i], err = x509.ParseCertificate(der); err != nil {
					return fmt.Errorf("link: %w", err)
				}
			}
			return h.check(tls.ConnectionState{PeerCertificates: chain})
		},
		MTU:            handshakeMTU,
		FlightInterval: d.flight,
		KeyLogWriter:   keyLog(),
		// RFC 6940 §6.4.2.1 wants DTLS replay protection: the library's window, of 64 records, is on by default.
	}
	if d.gcm {
		c.CipherSuites = []dtls.CipherSuiteID{dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384}
	}
	return c
}

type connect func(context.Context, net.Conn, *dtls.Config) (*dtls.Conn, error)

func (d *DTLS) associate(ctx context.Context, g *guard, c *dtls.Config, do connect) (*Association, error) {
	ctx, cancel := context.WithTimeout(ctx, HandshakeTimeout)
	defer cancel()
	ours := new(atomic.Bool)
	if !captured {
		c.CustomCipherSuites = func() []dtls.CipherSuite {
			return []dtls.CipherSuite{&chacha{id: 0xcca9, certificate: clientcertificate.ECDSASign, chosen: ours},
				&chacha{id: 0xcca8, certificate: clientcertificate.RSASign, chosen: ours}}
		}
	}
	conn, err := do(ctx, g, c)
	if err != nil {
		_ = g.Close()
		return nil, fmt.Errorf("link: handshake: %w", err)
	}
	g.complete()
	if ours.Load() {
		return &Association{Conn: conn, guard: g, suite: "ChaCha20-Poly1305"}, nil
	}
	return &Association{Conn: conn, guard: g, suite: "AES-GCM", budget: d.budget}, nil
}

// harmless reports whether an association goes on after err: a warning alert that is no closure.
func harmless(err error) bool {
	var alert interface{ IsFatalOrCloseNotify() bool }
	return errors.As(err, &alert) && !alert.IsFatalOrCloseNotify()
}

// chacha is a cipher suite of RFC 7905: ECDHE with ChaCha20-Poly1305 and SHA-256.
type chacha struct {
	id          dtls.CipherSuiteID
	certificate clientcertificate.Type
	chosen      *atomic.Bool
	keys        atomic.Pointer[chachaKeys]
}

type chachaKeys struct {
	local, remote     cipher.AEAD
	localIV, remoteIV [chacha20poly1305.NonceSize]byte
}

var errRecord = errors.New("link: bad DTLS record")

func (c *chacha) String() string                          { return fmt.Sprintf("CHACHA20_POLY1305 %#x", uint16(c.id)) }
func (c *chacha) ID() dtls.CipherSuiteID                  { return c.id }
func (c *chacha) CertificateType() clientcertificate.Type { return c.certificate }
func (c *chacha) HashFunc() func() hash.Hash              { return sha256.New }
func (c *chacha) ECC() bool                               { return true }
func (c *chacha) IsInitialized() bool                     { return c.keys.Load() != nil }

func (c *chacha) AuthenticationType() dtls.CipherSuiteAuthenticationType {
	return dtls.CipherSuiteAuthenticationTypeCertificate
}

func (c *chacha) KeyExchangeAlgorithm() dtls.CipherSuiteKeyExchangeAlgorithm {
	return dtls.CipherSuiteKeyExchangeAlgorithmEcdhe
}

// Init derives the keys: no MAC key, a key of 32 octets and an IV of 12 for each direction (RFC 7905 §2).
func (c *chacha) Init(master, clientRandom, serverRandom []byte, isClient bool) error {
	k, err := prf.GenerateEncryptionKeys(master, clientRandom, serverRandom, 0, chacha20poly1305.KeySize,
		chacha20poly1305.NonceSize, sha256.New)
	if err != nil {
		return fmt.Errorf("link: key derivation: %w", err)
	}
	if !isClient {
		k.ClientWriteKey, k.ServerWriteKey = k.ServerWriteKey, k.ClientWriteKey
		k.ClientWriteIV, k.ServerWriteIV = k.ServerWriteIV, k.ClientWriteIV
	}
	var keys chachaKeys
	if keys.local, err = chacha20poly1305.New(k.ClientWriteKey); err != nil {
		return fmt.Errorf("link: key derivation: %w", err)
	}
	if keys.remote, err = chacha20poly1305.New(k.ServerWriteKey); err != nil {
		return fmt.Errorf("link: key derivation: %w", err)
	}
	copy(keys.localIV[:], k.ClientWriteIV)
	copy(keys.remoteIV[:], k.ServerWriteIV)
	c.keys.Store(&keys)
	c.chosen.Store(true)
	return nil
}

// Encrypt protects raw, a record in clear text with its header, in its place if there is room behind it for the tag: the
// library makes raw for us.
func (c *chacha) Encrypt(p *recordlayer.RecordLayer, raw []byte) ([]byte, error) {
	k := c.keys.Load()
	if k == nil {
		return nil, errRecord
	}
	text := raw[recordlayer.HeaderSize:]
	nonce, data := protect(&p.Header, k.localIV, len(text))
	out := raw[:recordlayer.HeaderSize]
	if cap(raw) < len(raw)+chacha20poly1305.Overhead {
		out = make([]byte, recordlayer.HeaderSize, len(raw)+chacha20poly1305.Overhead)
		copy(out, raw)
	}
	out = k.local.Seal(out, nonce[:], text, data[:])
	binary.BigEndian.PutUint16(out[recordlayer.HeaderSize-2:], uint16(len(out)-recordlayer.HeaderSize))
	return out, nil
}

// Decrypt returns the record in clear text with its header, in the place of in.
func (c *chacha) Decrypt(in []byte) ([]byte, error) {
	k := c.keys.Load()
	var h recordlayer.Header
	if err := h.Unmarshal(in); err != nil || k == nil {
		return nil, errRecord
	}
	if h.ContentType == protocol.ContentTypeChangeCipherSpec {
		return in, nil
	}
	sealed := in[recordlayer.HeaderSize:]
	if len(sealed) < chacha20poly1305.Overhead {
		return nil, errRecord
	}
	nonce, data := protect(&h, k.remoteIV, len(sealed)-chacha20poly1305.Overhead)
	text, err := k.remote.Open(sealed[:0], nonce[:], sealed, data[:])
	if err != nil {
		return nil, errRecord
	}
	return in[:recordlayer.HeaderSize+len(text)], nil
}

// protect is the nonce of a record, epoch and sequence number XORed into the IV (RFC 7905 §2), and its additional data:
// these two, type, version and length of the clear text (RFC 6347 §4.1.2.1).
func protect(h *recordlayer.Header, iv [12]byte, n int) (nonce [12]byte, data [13]byte) {
	binary.BigEndian.PutUint64(data[:], uint64(h.Epoch)<<48|h.SequenceNumber)
	nonce = iv
	for i, b := range data[:8] {
		nonce[4+i] ^= b
	}
	data[8], data[9], data[10] = byte(h.ContentType), h.Version.Major, h.Version.Minor
	binary.BigEndian.PutUint16(data[11:], uint16(n))
	return nonce, data
}
