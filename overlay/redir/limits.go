package redir

import "time"

// Specification constants (RFC 7374).
const (
	MinBranching = 2 // §3: a tree node has as many children; with one there would be levels without end
	// StartLevel is the level at which walks start. §4.2: "It is RECOMMENDED that Lstart is set to 2."
	StartLevel = 2
	// Lifetime of a record. §4.4: "a default value of 10 minutes is RECOMMENDED".
	Lifetime = 10 * time.Minute
	// Refresh is how long after a registration the next one begins. §4.4: "e.g., when 90% of the refresh interval has passed".
	Refresh = Lifetime * 9 / 10

	remembered = 16      // §4.2: "record the levels at which the last 16 service lookups completed"
	maxNodes   = 1 << 16 // §4.1: the position of a tree node is a uint16
)

// Implementation limits.
const (
	// MaxBranching is where the second level begins to have more nodes than can be numbered.
	MaxBranching = maxNodes
	// MaxNamespace is the longest name of a service, in octets: a record is to fit the max-size of its Kind.
	MaxNamespace = 64
)
