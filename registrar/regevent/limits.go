package regevent

import "time"

// Numbers of the specification.
const (
	defaultExpires = 3761 * time.Second // RFC 3680 §4.4
	pace           = 5 * time.Second    // RFC 3680 §4.10: notifications of one subscription are no closer than this
)

// Implementation limits.
const (
	minExpires       = time.Minute
	maxExpires       = 2 * time.Hour
	maxSubscriptions = 10000 // about 2 kB each
	maxForAOR        = 16    // somebody's phones, a PBX, and some room
	maxChecks        = 64    // questions about certificates under way
	checkWait        = 500 * time.Millisecond
)
