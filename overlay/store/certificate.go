package store

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// certificate is a certificate that stored values need, held once however many values need it.
type certificate struct {
	wire.Certificate
	sum  [32]byte
	own  bool // the octets are those of a certificate that was read, and of no message
	uses int
}

// bucket is the certificate bucket of one message (RFC 6940 §6.3.4).
type bucket struct {
	certs  []wire.Certificate
	sums   [][32]byte
	sender int // index of the certificate that signed the message, or -1
}

func newBucket(m *wire.Message, sender trust.Identity) bucket {
	b := bucket{certs: m.Security.Certificates}
	b.sums = make([][32]byte, len(b.certs))
	for i, c := range b.certs {
		b.sums[i] = sha256.Sum256(c.Data)
	}
	b.sender = b.find(m.Security.Signature.Identity, sender.Node)
	return b
}

// find is the index of the certificate that id names, or -1. It hashes whatever octets the bucket holds.
func (b *bucket) find(id wire.SignerIdentity, node wire.NodeID) int {
	for i, c := range b.certs {
		var sum []byte
		switch {
		case id.Type == wire.IdentityCertHash && id.Hash == wire.HashSHA256:
			sum = b.sums[i][:]
		case id.Type == wire.IdentityCertHash:
			sum = hashOf(id.Hash, c.Data)
		case id.Type == wire.IdentityCertHashNodeID: // RFC 6940 §6.3.4: cert_hash_node_id is the hash of the Node-ID and the certificate
			sum = hashOf(id.Hash, append(node.Bytes(), c.Data...))
		}
		if sum != nil && string(sum) == id.CertHash {
			return i
		}
	}
	return -1
}

// hashOf hashes with a TLS HashAlgorithm; nil for one that is not known.
func hashOf(alg uint8, data []byte) []byte {
	switch alg {
	case wire.HashSHA1:
		h := sha1.Sum(data)
		return h[:]
	case wire.HashSHA256:
		h := sha256.Sum256(data)
		return h[:]
	case wire.HashSHA384:
		h := sha512.Sum384(data)
		return h[:]
	case wire.HashSHA512:
		h := sha512.Sum512(data)
		return h[:]
	}
	return nil
}

// needed lists what a reader needs to verify a value: the signer's certificate and the intermediates above it.
func (b *bucket) needed(d *wire.StoredData, signer trust.Identity) []*certificate {
	i := b.find(d.Signature.Identity, signer.Node)
	if i < 0 {
		return nil
	}
	out := []*certificate{{Certificate: b.certs[i], sum: b.sums[i]}}
	if signer.Cert != nil && bytes.Equal(signer.Cert.Raw, b.certs[i].Data) {
		out[0].Data, out[0].own = signer.Cert.Raw, true
	}
	if signer.Cert == nil || len(b.certs) == 1 {
		return out
	}
	issuer := signer.Cert.RawIssuer
	for len(out) <= maxIntermediates {
		j, ca := b.authority(issuer, out)
		if j < 0 {
			break
		}
		out = append(out, &certificate{Certificate: b.certs[j], sum: b.sums[j]})
		issuer = ca.RawIssuer
	}
	return out
}

// authority finds the CA certificate named issuer that is not among used.
func (b *bucket) authority(issuer []byte, used []*certificate) (int, *x509.Certificate) {
	for j, c := range b.certs {
		taken := func(u *certificate) bool { return u.sum == b.sums[j] }
		if j == b.sender || !bytes.Contains(c.Data, issuer) || slices.ContainsFunc(used, taken) {
			continue
		}
		if x, err := x509.ParseCertificate(c.Data); err == nil && x.IsCA && bytes.Equal(x.RawSubject, issuer) {
			return j, x
		}
	}
	return -1, nil
}

// retain makes e's certificates those that the store holds.
func (s *Store) retain(e *entry) {
	for i, c := range e.certs {
		held, ok := s.certs[c.sum]
		if !ok {
			held = c
			if !held.own {
				held.Data = bytes.Clone(c.Data) // the message's octets are not ours to keep
			}
			s.certs[c.sum] = held
		}
		held.uses++
		e.certs[i] = held
		if bytes.Equal(e.data.Value.Data, held.Data) {
			e.data.Value.Data = held.Data // a certificate that its holder has stored (RFC 6940 §8)
		}
	}
}

// release forgets the certificates that only e needed.
func (s *Store) release(e *entry) {
	for _, c := range e.certs {
		if c.uses--; c.uses == 0 {
			delete(s.certs, c.sum)
		}
	}
}

// collector gathers the certificates of an answer, each once, in order of first use.
type collector struct {
	certs []wire.Certificate
	seen  map[[32]byte]bool
}

func (c *collector) add(e *entry) {
	for _, have := range e.certs {
		if c.seen[have.sum] {
			continue
		}
		if c.seen == nil {
			c.seen = make(map[[32]byte]bool)
		}
		c.seen[have.sum] = true
		c.certs = append(c.certs, have.Certificate)
	}
}
