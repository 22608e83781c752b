// Package trust says who said it: certificates, identities and signatures (RFC 6940 §6.3.4, §7.1, §11.1, §11.3, §13.3). A
// Signer seals what this program sends, a Verifier checks what it receives, an Authority issues certificates. The workers
// of a peer, its links and the commands that make an overlay call it. All of it is safe for concurrent use; it has no I/O
// and takes the time as an argument.
package trust

import "github.com/p2psip/p2psip-gateway/overlay/wire"

// Reason is why something was not believed: a closed set, used as a metric label.
type Reason string

// The reasons.
const (
	BadSignature   Reason = "bad_signature"
	UnknownSigner  Reason = "unknown_signer" // no certificate in the bucket matches the SignerIdentity
	WrongCA        Reason = "wrong_ca"
	Expired        Reason = "expired"      // or not yet valid
	OtherSigner    Reason = "other_signer" // of a Kind that another node has signed before
	Documented     Reason = "documented"   // a Kind that the configuration document describes otherwise
	BadNode        Reason = "bad_node"
	BadCertificate Reason = "bad_certificate" // not of the form of RFC 6940 §11.3, or of another overlay
	Unsigned       Reason = "unsigned"
)

// RefusalError says why a message, a value or a link was not believed.
type RefusalError struct {
	Reason Reason
	Err    error
}

func (e *RefusalError) Error() string { return "trust: " + string(e.Reason) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *RefusalError) Unwrap() error { return e.Err }

// ValueSigner is who signed one stored value, or why that is not believed. A value that does not exist and is not
// signed (RFC 6940 §7.4.2.2) has neither.
type ValueSigner struct {
	Identity Identity
	Err      error // nil or *RefusalError
}

// Verified is a message whose signature was checked. It can not be built by hand.
type Verified struct {
	m      *wire.Message
	sender Identity
	values []ValueSigner
}

// Message is the message that was checked.
func (v Verified) Message() *wire.Message { return v.m }

// Sender is who signed the message.
func (v Verified) Sender() Identity { return v.sender }

// Values holds one entry for each stored value of a StoreReq or FetchAns, in the order of the message: kind by kind,
// value by value. It must not be modified.
func (v Verified) Values() []ValueSigner { return v.values }

// Assume takes a message as verified. It exists for the simulator and for tests; the tidy test refuses it elsewhere.
func Assume(m *wire.Message, sender Identity, values ...ValueSigner) Verified {
	return Verified{m, sender, values}
}
