package enroll

import (
	"crypto/x509"
	"strconv"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// readRequest reads a certificate signing request (PKCS #10, RFC 2986). Of what it asks for, only the key and the user name
// matter: subject and other names, Node-IDs among them, have no say (RFC 6940 §11.3: Node-IDs "MUST be chosen by the
// enrollment server").
func readRequest(der []byte) (csr *x509.CertificateRequest, user string, err error) {
	if len(der) > maxRequest {
		return nil, "", refuse(BadCSR, "%d octets, at most %d are read", len(der), maxRequest)
	}
	if csr, err = x509.ParseCertificateRequest(der); err != nil {
		return nil, "", refuse(BadCSR, "%w", err)
	}
	// Before the signature: a large key makes checking it expensive.
	if _, err := trust.KeyTypeOf(csr.PublicKey); err != nil {
		return nil, "", refuse(BadCSR, "%w", err)
	}
	// RFC 2986 §3: the signature proves that who asks has the private key.
	if err := csr.CheckSignature(); err != nil {
		return nil, "", refuse(BadCSR, "%w", err)
	}
	// RFC 6940 §11.3 speaks of "the requested user name in the CSR" and does not say where it stands. As in the certificate, we
	// take the rfc822Name of a subjectAltName, which an extensionRequest attribute holds (RFC 2985 §5.4.2).
	switch len(csr.EmailAddresses) {
	case 0:
		return csr, "", nil
	case 1:
		return csr, csr.EmailAddresses[0], nil
	}
	return nil, "", refuse(BadCSR, "%d user names; a certificate has one", len(csr.EmailAddresses))
}

// readNodeIDs reads how many Node-IDs are wanted. RFC 6940 §11.3: "If more than one Node-ID is required, there MUST be a form
// parameter of "nodeids"".
func readNodeIDs(s string) (int, error) {
	if s == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, refuse(NodeIDsNotAvailable, "nodeids %q: it must be a number, at least 1", s)
	}
	return int(n), nil
}
