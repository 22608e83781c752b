package enroll

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Token is the reason of a refusal, as it goes over the wire (RFC 6940 §11.3).
type Token string

// The tokens of RFC 6940 §11.3.
const (
	FailedAuthentication Token = "failed_authentication"
	UsernameNotAvailable Token = "username_not_available"
	NodeIDsNotAvailable  Token = "Node-IDs_not_available"
	BadCSR               Token = "bad_CSR"
)

var tokens = []Token{FailedAuthentication, UsernameNotAvailable, NodeIDsNotAvailable, BadCSR}

// RefusedError is a certificate that the enrollment server does not issue. At the server Err says why; it is not sent.
type RefusedError struct {
	Token Token // empty: the server said something else, which Text holds
	Text  string
	Err   error
}

func (e *RefusedError) Error() string {
	switch {
	case e.Token == "":
		// RFC 6940 §11.3: "If the client receives an unknown token in the body, it SHOULD treat it as a failure for an unknown
		// reason."
		return fmt.Sprintf("enroll: refused for an unknown reason: %q", e.Text)
	case e.Err != nil:
		return fmt.Sprintf("enroll: %s: %v", e.Token, e.Err)
	}
	return "enroll: the server refused: " + string(e.Token)
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

func refuse(t Token, format string, args ...any) *RefusedError {
	return &RefusedError{Token: t, Err: fmt.Errorf(format, args...)}
}

// StatusError is an answer of a configuration or enrollment server that is neither a result nor a refusal.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // 0: not said
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("enroll: the server answered %d %s", e.Status, http.StatusText(e.Status))
}

// Errors of a client.
var (
	// ErrServerCertificate: the certificate of the HTTPS server has the wrong name or comes from nobody who is trusted.
	ErrServerCertificate = errors.New("enroll: the server's certificate is not acceptable")
	// ErrDocument: what the configuration server handed out is not the document of the overlay. The old one stays.
	ErrDocument = errors.New("enroll: not a usable configuration document")
	// ErrNoServer: the configuration document names no enrollment server.
	ErrNoServer = errors.New("enroll: the configuration document names no enrollment server")
	// ErrCertificate: what the enrollment server handed out is not the certificate that was asked for.
	ErrCertificate = errors.New("enroll: not the certificate that was asked for")
	// ErrBusy: too many certificates are being asked for already.
	ErrBusy = errors.New("enroll: too many requests under way")
	// ErrNotFound: neither SRV records nor an address lead to a configuration server.
	ErrNotFound = errors.New("enroll: no configuration server found")
)

// Errors of Accounts.
var (
	ErrExists   = errors.New("enroll: there is such an account already")
	ErrUnknown  = errors.New("enroll: there is no such account")
	ErrInvalid  = errors.New("enroll: not a valid account")
	ErrDamaged  = errors.New("enroll: the file is damaged")
	ErrTooLarge = errors.New("enroll: too many entries")
)

// ErrPublish: a document that a Server must not hand out.
var ErrPublish = errors.New("enroll: document refused")
