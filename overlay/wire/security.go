package wire

// CertificateX509 is the only certificate type that RELOAD uses (RFC 6940 §6.3.4, from RFC 6091).
const CertificateX509 uint8 = 0

// TLS HashAlgorithm and SignatureAlgorithm code points, as RFC 6940 §6.3.4 takes them from TLS 1.2 (RFC 5246
// §7.4.1.4.1).
const (
	HashNone   uint8 = 0
	HashSHA1   uint8 = 2
	HashSHA256 uint8 = 4
	HashSHA384 uint8 = 5
	HashSHA512 uint8 = 6

	SignatureAnonymous uint8 = 0
	SignatureRSA       uint8 = 1 // RSASSA-PKCS1-v1_5
	SignatureECDSA     uint8 = 3
)

// Signer identity types (RFC 6940 §6.3.4).
const (
	IdentityCertHash       uint8 = 1 // of a certificate with one Node-ID
	IdentityCertHashNodeID uint8 = 2 // of a certificate with more
	IdentityNone           uint8 = 3 // not signed
)

// SecurityBlock carries certificates and the signature of the message (RFC 6940 §6.3.4).
//
//	certificates v16 · signature
type SecurityBlock struct {
	Certificates []Certificate
	Signature    Signature
}

// Certificate is a GenericCertificate: type 0 is X.509, DER (RFC 6940 §6.3.4).
//
//	type u8 · certificate v16
type Certificate struct {
	Type uint8
	Data []byte
}

// Signature is hash and signature algorithm, who signed, and the value (RFC 6940 §6.3.4).
//
//	hash u8 · signature u8 · identity · signature_value v16
type Signature struct {
	Hash      uint8 // TLS HashAlgorithm: 4 is SHA-256
	Algorithm uint8 // TLS SignatureAlgorithm: 1 rsa, 3 ecdsa
	Identity  SignerIdentity
	Value     []byte
}

// SignerIdentity names the certificate that signed (RFC 6940 §6.3.4). It is comparable.
//
//	identity_type u8 · length u16 · hash_alg u8 · certificate_hash v8
type SignerIdentity struct {
	Type     uint8  // 1 cert_hash, 2 cert_hash_node_id, 3 none
	Hash     uint8  // TLS HashAlgorithm of CertHash
	CertHash string // raw octets; empty for none. The whole identity of an unknown type
}

// Unsigned is the empty signature of a value that does not exist: identity none, algorithms {0, 0}, no value
// (RFC 6940 §7.4.2.2).
func Unsigned() Signature { return Signature{Identity: SignerIdentity{Type: IdentityNone}} }

func (c *cursor) securityBlock() (s SecurityBlock) {
	outer := c.open(2, "SecurityBlock.certificates")
	for c.more() {
		s.Certificates = append(s.Certificates, c.certificate())
	}
	c.shut(outer, "SecurityBlock.certificates")
	s.Signature = c.signature()
	return s
}

// AppendTo appends the encoded structure.
func (s *SecurityBlock) AppendTo(b []byte) []byte {
	b, at := begin(b, 2)
	for _, g := range s.Certificates {
		b = g.appendTo(b)
	}
	b = finish(b, at, 2, "SecurityBlock.certificates")
	return s.Signature.AppendTo(b)
}

func (c *cursor) certificate() Certificate {
	return Certificate{Type: c.u8("GenericCertificate.type"), Data: c.vec(2, "GenericCertificate.certificate")}
}

func (g Certificate) appendTo(b []byte) []byte {
	return appendVec(append(b, g.Type), 2, g.Data, "GenericCertificate.certificate")
}

// ParseSecurityBlock reads a SecurityBlock that stands alone: the signature of a configuration document is one
// (RFC 6940 §11.1). It aliases b. The error is a *SyntaxError.
func ParseSecurityBlock(b []byte) (SecurityBlock, error) {
	c := newCursor(b)
	s := c.securityBlock()
	return s, c.done("SecurityBlock")
}

func (c *cursor) signature() (s Signature) {
	s.Hash = c.u8("Signature.algorithm")
	s.Algorithm = c.u8("Signature.algorithm")
	s.Identity = c.signerIdentity()
	s.Value = c.vec(2, "Signature.signature_value")
	return s
}

// AppendTo appends the encoded structure.
func (s *Signature) AppendTo(b []byte) []byte {
	b = append(b, s.Hash, s.Algorithm)
	b = s.Identity.AppendTo(b)
	return appendVec(b, 2, s.Value, "Signature.signature_value")
}

func (c *cursor) signerIdentity() (id SignerIdentity) {
	id.Type = c.u8("SignerIdentity.identity_type")
	outer := c.open(2, "SignerIdentity.length")
	switch id.Type {
	case IdentityCertHash, IdentityCertHashNodeID:
		id.Hash = c.u8("SignerIdentity.hash_alg")
		id.CertHash = c.str(1, "SignerIdentity.certificate_hash")
	case IdentityNone:
	default:
		// RFC 6940 §6.3.4: "This structure may be extended with new types if necessary".
		id.CertHash = string(c.rest("SignerIdentity.identity"))
	}
	c.shut(outer, "SignerIdentity.identity")
	return id
}

// AppendTo appends the encoded structure, as the message and data signatures cover it.
func (id SignerIdentity) AppendTo(b []byte) []byte {
	b, at := begin(append(b, id.Type), 2)
	switch id.Type {
	case IdentityCertHash, IdentityCertHashNodeID:
		b = appendVec(append(b, id.Hash), 1, id.CertHash, "SignerIdentity.certificate_hash")
	case IdentityNone:
	default:
		b = append(b, id.CertHash...)
	}
	return finish(b, at, 2, "SignerIdentity.length")
}
