package chord

import "time"

// Specification constants.
const (
	// Bits is the size of a position: "the size of the Resource-ID is 128 bits" (RFC 6940 §10.2).
	Bits = 128
	// Neighbors is how many predecessors, and how many successors, a peer attempts to maintain (RFC 6940 §10.7: "at
	// least three predecessors and three successors").
	Neighbors = 3
	// Replicas is how many successors hold a copy of what a peer is responsible for (RFC 6940 §10.4).
	Replicas = 2
	// FingerGoal is the number of fingers up to which a peer looks for more (RFC 6940 §10.7.4.3).
	FingerGoal = 16
	// MaxFingers is how many fingers "an implementation SHOULD be capable of" (RFC 6940 §10.7.4.3).
	MaxFingers = 128
	// MinStabilization is the lower limit of the stabilization interval (RFC 7363 §6.6).
	MinStabilization = 15 * time.Second
)

// Implementation limits.
const (
	// MaxPeers bounds the routing table: MaxLinks, and as many again that made us their finger.
	MaxPeers = 2 * MaxLinks
	// DefaultLinks is how many peers a peer is linked with: rings of so many are a full mesh. MaxLinks is the most that it
	// can be told, and MaxNear bounds the successor list and the predecessor list.
	DefaultLinks = 200
	MaxLinks     = 400
	MaxNear      = 40
	// maxEstimate caps SizeEstimate and Density, which divide by a measured distance that may be tiny.
	maxEstimate = 1 << 30
	// minTold is how many far peers have to have said who their predecessor is for the overlay to be counted by that.
	minTold = 8
	// minHistory is how many failures are remembered at least: a quarter of a small routing table is nothing to measure by.
	minHistory = 4
)
