package trust

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Identity is what a certificate of the overlay says of its holder (RFC 6940 §11.3). Nodes and Cert must not be modified.
type Identity struct {
	// Node is the Node-ID meant: the SignerIdentity's, or the only one of the certificate. It is zero while a certificate
	// with several has not said which.
	Node  wire.NodeID
	Nodes []wire.NodeID // every Node-ID of the certificate
	User  string        // rfc822Name, "alice@example.org"
	Cert  *Certificate
}

// ReloadURI is the URI that stands for node in a certificate (RFC 6940 §14.15).
func ReloadURI(overlay string, node wire.NodeID) string {
	return "reload://" + hex.EncodeToString(wire.NewDestinationList(wire.ToNode(node))) + "@" + overlay + "/"
}

// ParseIdentity reads the identity that cert gives its holder in overlay. It checks the form of RFC 6940 §11.3 and no
// signature. Names of other types are ignored: they give their holder nothing here.
func ParseIdentity(overlay string, cert *x509.Certificate) (Identity, error) {
	names, err := alternativeNames(cert)
	if err != nil {
		return Identity{}, err
	}
	return identityOf(overlay, cert, names)
}

// identityOf is ParseIdentity for the alternative names of cert.
func identityOf(overlay string, cert *x509.Certificate, names []asn1.RawValue) (id Identity, err error) {
	id.Cert = NewCertificate(cert)
	for _, n := range names {
		switch {
		case n.Tag == nameURI && isReload(string(n.Bytes)):
			node, err := parseReloadURI(overlay, string(n.Bytes))
			if err != nil {
				return Identity{}, err
			}
			if slices.Contains(id.Nodes, node) {
				return Identity{}, fmt.Errorf("Node-ID %s twice in one certificate", node)
			}
			id.Nodes = append(id.Nodes, node)
		case n.Tag == nameRFC822 && id.User != "":
			// RFC 6940 §11.3: "A single name (the "user name") that this user is allowed to use in the overlay"
			return Identity{}, errors.New("certificate with several user names")
		case n.Tag == nameRFC822:
			if id.User, err = checkUserName(string(n.Bytes)); err != nil {
				return Identity{}, err
			}
		}
	}
	if id.User == "" {
		return Identity{}, errors.New("certificate without a user name (rfc822Name)")
	}
	if len(id.Nodes) == 0 || len(id.Nodes) > maxNodeIDs {
		return Identity{}, fmt.Errorf("certificate with %d Node-IDs", len(id.Nodes))
	}
	if len(id.Nodes) == 1 {
		id.Node = id.Nodes[0]
	}
	return id, nil
}

// OverlayOf is the name of the overlay that a node's certificate is for, as its Node-ID says (RFC 6940 §14.15): with it one finds
// the overlay among others before its configuration is known. It is empty when the certificate holds no Node-ID.
func OverlayOf(cert *x509.Certificate) string {
	names, err := alternativeNames(cert)
	if err != nil {
		return ""
	}
	for _, n := range names {
		if n.Tag != nameURI || !isReload(string(n.Bytes)) {
			continue
		}
		if _, overlay, ok := strings.Cut(string(n.Bytes), "@"); ok {
			return strings.TrimSuffix(overlay, "/")
		}
	}
	return ""
}

// checkForm holds a certificate that we issue or use to the letter of RFC 6940 §11.3: "The SubjectAltName field in the
// certificate MUST NOT contain any identities other than those listed above. The subject distinguished name in the
// certificate MUST be empty."
func checkForm(cert *x509.Certificate, names []asn1.RawValue) error {
	if !bytes.Equal(cert.RawSubject, []byte{0x30, 0}) {
		return fmt.Errorf("certificate with the subject %q; it must be empty", cert.Subject)
	}
	for _, n := range names {
		if n.Tag != nameRFC822 && (n.Tag != nameURI || !isReload(string(n.Bytes))) {
			return fmt.Errorf("certificate with another name beside Node-IDs and the user name (type %d)", n.Tag)
		}
	}
	return nil
}

// GeneralName choices (RFC 5280 §4.2.1.6).
const (
	nameRFC822 = 1
	nameURI    = 6
)

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// alternativeNames reads the extension itself: crypto/x509 leaves types out that it does not know.
func alternativeNames(cert *x509.Certificate) ([]asn1.RawValue, error) {
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	if i < 0 {
		return nil, errors.New("certificate without subjectAltName")
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(cert.Extensions[i].Value, &names); err != nil || len(rest) > 0 {
		return nil, errors.New("malformed subjectAltName")
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific {
			return nil, errors.New("malformed subjectAltName")
		}
	}
	return names, nil
}

const reloadScheme = "reload://"

func isReload(uri string) bool {
	return len(uri) >= len(reloadScheme) && strings.EqualFold(uri[:len(reloadScheme)], reloadScheme)
}

// parseReloadURI reads the Node-ID of a RELOAD URI (RFC 6940 §14.15: destination "@" overlay "/"). RFC 6940 §11.3: each
// "MUST contain a Destination List with a single entry of type "node_id"".
func parseReloadURI(overlay, uri string) (wire.NodeID, error) {
	dest, name, ok := strings.Cut(uri[len(reloadScheme):], "@")
	if !ok || !strings.EqualFold(strings.TrimSuffix(name, "/"), overlay) {
		return wire.NodeID{}, fmt.Errorf("certificate for %q, which is not of overlay %s", uri, overlay)
	}
	octets, err := hex.DecodeString(dest)
	if err != nil || len(octets) < 2 {
		return wire.NodeID{}, fmt.Errorf("malformed RELOAD URI %q", uri)
	}
	node, err := wire.NodeIDFromBytes(octets[2:])
	if err != nil || !bytes.Equal(octets, wire.NewDestinationList(wire.ToNode(node))) {
		return wire.NodeID{}, fmt.Errorf("RELOAD URI %q does not hold one node destination", uri)
	}
	// RFC 6940 §3 keeps both of them from naming a node: all ones is the wildcard, and zero never goes on the wire.
	if node.IsWildcard() || bytes.Count(octets[2:], []byte{0}) == node.Len() {
		return wire.NodeID{}, fmt.Errorf("reserved Node-ID %s", node)
	}
	return node, nil
}

// checkUserName refuses what no usage can mean. RFC 6940 §11.3: "only legal characters in the name (e.g., no embedded
// NULs)".
func checkUserName(s string) (string, error) {
	if s == "" || len(s) > maxUserName {
		return "", fmt.Errorf("user name of %d octets", len(s))
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return "", fmt.Errorf("user name %q holds an illegal character", s)
		}
	}
	user, domain, ok := strings.Cut(s, "@")
	if !ok || user == "" || domain == "" || strings.Contains(domain, "@") {
		return "", fmt.Errorf("user name %q is not of the form user@domain", s)
	}
	return s, nil
}
