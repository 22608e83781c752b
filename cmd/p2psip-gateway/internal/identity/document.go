package identity

import (
	"path/filepath"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// OpenDocument is LoadDocument for a node that hands the document on to others (RFC 6940 §6.5.4): it returns the octets too. Of
// several configurations in the file it takes the one of the overlay named name, which may be empty when there is one only.
func OpenDocument(path, name string, now time.Time) (o *config.Overlay, document []byte, warnings []string, err error) {
	if document, err = ReadDocument(path); err != nil {
		return nil, nil, nil, err
	}
	c, err := examineDocument(path, name, document, now)
	if err != nil {
		return nil, nil, nil, err
	}
	// The others are nobody's business in this overlay. What is signed stays octet for octet.
	return c.Overlay, config.AppendDocument(nil, *c), c.Warnings, nil
}

// OverlayName is the name of the overlay that the identity in dir is for.
func OverlayName(dir string) (string, error) {
	certs, err := readCerts(filepath.Join(dir, nodeCertFile), "the gateway's certificate", tryIssue)
	if err != nil {
		return "", err
	}
	return trust.OverlayOf(certs[0]), nil
}

// ReadDocument reads the octets of a configuration document and checks nothing.
func ReadDocument(path string) ([]byte, error) {
	return read(path, "the overlay's configuration document",
		"`p2psip-gateway init` makes one; `p2psip-gateway identity issue` puts a copy beside each identity")
}

// ReplaceDocument puts a document in the place of the one at path, in one step; it is on the disk when it returns.
func ReplaceDocument(path string, document []byte) error { return put(path, document, certMode, true) }
