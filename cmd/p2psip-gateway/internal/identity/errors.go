package identity

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// The codes of this package's errors.
const (
	CodeExists      = "E0301" // there is something already that must not be overwritten
	CodeUnreadable  = "E0302"
	CodeMalformed   = "E0303" // unreadable content, or files that do not belong together
	CodeDocument    = "E0304" // a configuration document that cannot be used
	CodeCertificate = "E0305" // a certificate that the overlay would refuse
	CodeUnwritable  = "E0306"
	CodeUserName    = "E0307" // a name that cannot be certified
)

// ErrNoCertificate means that a gateway holds no certificate for an address-of-record.
var ErrNoCertificate = errors.New("no certificate for this address-of-record")

// ExpiredError means that a document was good until the time.
type ExpiredError struct{ At time.Time }

func (e *ExpiredError) Error() string { return e.At.Format(time.RFC3339) }

// Error is a failure in words for the operator: what, where, why, and what to do.
type Error struct {
	Code string
	What string
	Path string // file or directory
	Err  error  // why; may be nil
	Try  string // what to do; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s)", e.Code, e.What, e.Path)
	if e.Err != nil {
		why := e.Err
		var path *fs.PathError
		if errors.As(e.Err, &path) {
			why = path.Err // the path has been named
		}
		fmt.Fprintf(&b, ": %v", why)
	}
	if e.Try != "" {
		fmt.Fprintf(&b, "\n      try: %s", e.Try)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
