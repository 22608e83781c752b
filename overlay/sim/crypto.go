package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// TLS code points (RFC 6940 §6.3.4).
const (
	hashSHA256     = 4
	algorithmECDSA = 3
	certHash       = 1 // SignerIdentityType
)

// identity is a certificate that nobody signed, with the identity that it is taken to prove.
type identity struct {
	trust.Identity
	der    []byte
	name   wire.SignerIdentity
	signer *trust.Signer // stands for the identity in an OpStore; it cannot sign
	// padding follows a signature, to make it as long as a real one.
	padding []byte
}

// authority knows every certificate of a world.
type authority struct {
	byHash   map[string]*identity
	bySigner map[*trust.Signer]*identity
	realSize bool
	covered  []byte // what is being signed or checked, used again and again
	encoded  []byte // what is being sealed
}

// Octets of a certificate that our authority issues for an ECDSA key, about, and of a signature of it.
const (
	realCertificate = 470
	realSignature   = 71
)

func newAuthority(realSize bool) *authority {
	return &authority{realSize: realSize, byHash: make(map[string]*identity), bySigner: make(map[*trust.Signer]*identity)}
}

func (a *authority) issue(user string, id wire.NodeID) *identity {
	der := []byte("certificate of " + user + " at " + id.String())
	padding := 0
	if a.realSize {
		der = append(der, make([]byte, max(0, realCertificate-len(der)))...)
		padding = realSignature - signatureOctets
	}
	sum := sha256.Sum256(der)
	if i := a.byHash[string(sum[:])]; i != nil {
		return i
	}
	i := &identity{
		Identity: trust.Identity{Node: id, Nodes: []wire.NodeID{id}, User: user},
		der:      der,
		name:     wire.SignerIdentity{Type: certHash, Hash: hashSHA256, CertHash: string(sum[:])},
		signer:   new(trust.Signer),
		padding:  make([]byte, padding),
	}
	a.byHash[string(sum[:])] = i
	a.bySigner[i.signer] = i
	return i
}

const signatureOctets = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sign makes the value of a signature: a checksum, so that what was changed on the way is found.
func sign(covered []byte) []byte {
	sum := crc32.Update(0, castagnoli, covered)
	b := make([]byte, signatureOctets, realSignature)
	binary.BigEndian.PutUint32(b, sum)
	binary.BigEndian.PutUint32(b[4:], sum*0x9e37_79b1^uint32(len(covered)))
	return b
}

func (i *identity) signature(covered []byte) wire.Signature {
	return wire.Signature{Hash: hashSHA256, Algorithm: algorithmECDSA, Identity: i.name, Value: append(sign(covered), i.padding...)}
}

// signedBlob is the signature over a part of a document.
func (i *identity) signedBlob(blob []byte) []byte {
	block := wire.SecurityBlock{Certificates: []wire.Certificate{{Data: i.der}}, Signature: i.signature(blob)}
	return block.AppendTo(nil)
}

// seal signs and encodes a message.
func (i *identity) seal(m *wire.Message) []byte {
	m.Security.Certificates = trust.AppendCertificates(m.Security.Certificates, wire.Certificate{Data: i.der})
	m.Security.Signature = i.signature(m.SignedOctets(nil, i.name))
	return m.AppendTo(nil)
}

// seal carries out a Seal effect.
func (a *authority) seal(h *Host, s node.Seal) []byte {
	by := h.gateway
	if s.By != nil {
		by = a.bySigner[s.By]
	}
	m := s.Message
	if h.Tamper != nil {
		h.Tamper(m)
	}
	m.Security.Certificates = trust.AppendCertificates(m.Security.Certificates, wire.Certificate{Data: by.der})
	a.covered = m.SignedOctets(a.covered[:0], by.name)
	m.Security.Signature = by.signature(a.covered)
	if h.Garble {
		m.Security.Signature.Value = []byte("garbled")
	}
	a.encoded = m.AppendTo(a.encoded[:0])
	return slices.Clone(a.encoded) // as long as it has to be: nodes keep it
}

// signValue signs a stored value.
func (i *identity) signValue(res wire.ResourceID, kind wire.KindID, d *wire.StoredData) {
	d.Signature = i.signature(d.SignedOctets(nil, res, kind, i.name))
}

var (
	errUnknown  = errors.New("sim: no such certificate in the bucket")
	errChecksum = errors.New("sim: signature does not fit")
)

// check finds the signer of a signature among the certificates of a message.
func (a *authority) check(m *wire.Message, s wire.Signature, covered []byte) (trust.Identity, error) {
	i := a.byHash[s.Identity.CertHash]
	if i == nil || !hasCertificate(m, i.der) {
		return trust.Identity{}, &trust.RefusalError{Reason: trust.UnknownSigner, Err: errUnknown}
	}
	if len(s.Value) < signatureOctets || !bytes.Equal(s.Value[:signatureOctets], sign(covered)) {
		return trust.Identity{}, &trust.RefusalError{Reason: trust.BadSignature, Err: errChecksum}
	}
	return i.Identity, nil
}

func hasCertificate(m *wire.Message, der []byte) bool {
	for _, c := range m.Security.Certificates {
		if bytes.Equal(c.Data, der) {
			return true
		}
	}
	return false
}

// verify carries out a Verify effect.
func (a *authority) verify(v node.Verify) (trust.Verified, error) {
	m := v.Message
	if v.By != nil {
		by := a.bySigner[v.By]
		m.Security.Certificates = trust.AppendCertificates(m.Security.Certificates, wire.Certificate{Data: by.der})
		m.Security.Signature = by.signature(m.SignedOctets(nil, by.name))
	}
	a.covered = m.SignedOctets(a.covered[:0], m.Security.Signature.Identity)
	sender, err := a.check(m, m.Security.Signature, a.covered)
	if err != nil {
		return trust.Verified{}, err
	}
	var values []trust.ValueSigner
	switch body := m.Body.(type) {
	case *wire.StoreReq:
		for _, k := range body.Kinds {
			values = a.values(values, m, signed{body.Resource, k.Kind, k.Values})
		}
	case *wire.FetchAns:
		for _, k := range body.Kinds {
			values = a.values(values, m, signed{v.Asked, k.Kind, k.Values})
		}
	}
	return trust.Assume(m, sender, values...), nil
}

type signed struct {
	resource wire.ResourceID
	kind     wire.KindID
	values   []wire.StoredData
}

func (a *authority) values(out []trust.ValueSigner, m *wire.Message, s signed) []trust.ValueSigner {
	for i := range s.values {
		d := &s.values[i]
		if d.Signature.Identity.Type != certHash { // made up for a value that does not exist
			out = append(out, trust.ValueSigner{})
			continue
		}
		a.covered = d.SignedOctets(a.covered[:0], s.resource, s.kind, d.Signature.Identity)
		id, err := a.check(m, d.Signature, a.covered)
		out = append(out, trust.ValueSigner{Identity: id, Err: err})
	}
	return out
}
