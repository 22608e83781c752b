package wire

import (
	"errors"
	"strconv"
)

// What may be wrong with octets: the Err of a SyntaxError.
var (
	ErrTruncated = errors.New("truncated")
	ErrTrailing  = errors.New("octets left over")
	// ErrToken means that the octets are not RELOAD (RFC 6940 §6.3.2).
	ErrToken = errors.New("wrong relo_token")
	// ErrLength means that the header's length is not the number of octets that came (RFC 6940 §6.3.2).
	ErrLength = errors.New("not the length of the message")
	// ErrFragment means that a whole message was wanted (RFC 6940 §6.7).
	ErrFragment = errors.New("not a whole message")
	ErrBoolean  = errors.New("neither 0 nor 1")
	// ErrSelector means an unknown variant of a structure that cannot be skipped: "the whole message SHOULD be
	// discarded with no response" (RFC 6940 §6.3.1.1).
	ErrSelector = errors.New("unknown type")
	ErrNodeID   = errors.New("not a Node-ID of this overlay")
	ErrResource = errors.New("not a Resource-ID")
	// ErrResourcePlace means a resource in a Via List or before the end of a Destination List (RFC 6940 §6.3.2.2).
	ErrResourcePlace = errors.New("resource in a place where there must be none")
	ErrDestination   = errors.New("length does not fit the destination type")
	ErrAddress       = errors.New("length does not fit the address type")
	ErrSize          = errors.New("too long")
	// ErrTwoLengths means an ext_length that is not the length of the list behind it (RFC 7851 §5.1, §5.2).
	ErrTwoLengths = errors.New("two lengths that differ")
)

// SyntaxError says where octets are not what they should be.
type SyntaxError struct {
	Struct string // as the RFC names it, "StoredData"
	Field  string // "value"; may be empty
	Offset int    // octets from the start of what was parsed
	Err    error  // one of the errors above
}

// Error reads "wire: StoredData.value: truncated at byte 34".
func (e *SyntaxError) Error() string {
	name := e.Struct
	if e.Field != "" {
		name += "." + e.Field
	}
	return "wire: " + name + ": " + e.Err.Error() + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns Err.
func (e *SyntaxError) Unwrap() error { return e.Err }
