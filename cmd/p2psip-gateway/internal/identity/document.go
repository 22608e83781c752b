package identity

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// OpenDocument is LoadDocument for a node that hands the document on to others (RFC 6940 §6.5.4): it returns the octets too.
func OpenDocument(path string, now time.Time) (o *config.Overlay, document []byte, warnings []string, err error) {
	if document, err = ReadDocument(path); err != nil {
		return nil, nil, nil, err
	}
	o, warnings, err = readDocument(path, document, now)
	return o, document, warnings, err
}

// ReadDocument reads the octets of a configuration document and checks nothing.
func ReadDocument(path string) ([]byte, error) {
	return read(path, "the overlay's configuration document",
		"`p2psip-gateway init` makes one; `p2psip-gateway identity issue` puts a copy beside each identity")
}

// ReplaceDocument puts a document in the place of the one at path, in one step; it is on the disk when it returns.
func ReplaceDocument(path string, document []byte) error { return put(path, document, certMode, true) }
