package route

import "time"

// Specification constants.
const (
	// Transmissions is how often a request is sent: "MAY be retransmitted up to 4 times, for a total of 5 messages"
	// (RFC 6940 §6.2.1).
	Transmissions = 5
	// MaxRequestLifetime is for how long the receiver of a request must answer a copy of it alike (RFC 6940 §3, §6.2.1).
	MaxRequestLifetime = 15 * time.Second
	// MinFragmentBody is the least that a fragment carries of a message body, in octets (RFC 6940 §6.7).
	MinFragmentBody = 256
	// opaqueSlots and opaqueCounters are how the 15 bits of a short opaque ID may be split (RFC 6940 §6.3.2.2).
	opaqueSlots    = 1 << 12
	opaqueCounters = 1 << 3
	// viaRoom is what a fragment leaves free, in octets, for the Via List to grow (RFC 6940 §6.7).
	viaRoom = 32
)

// Implementation limits.
const (
	// MaxDestinations bounds the entries of a Destination List that is looked at: a source route of ours has two, an answer as
	// many as the request had hops, which the TTL bounds at 100.
	MaxDestinations = 110
	// maxPairwise is the length up to which a Destination List is compared entry by entry, before a map is made.
	maxPairwise = 8

	// maxUnpacked bounds how many opaque IDs are replaced in one Destination List, where one may stand for a list with others,
	// and maxUnpackedOctets what comes of it.
	maxUnpacked       = 8
	maxUnpackedOctets = 8192
	// maxOpaqueOctets bounds the lists that opaque IDs stand for.
	maxOpaqueOctets = 2 << 20

	// neighbourOctets bounds the fragments held for one neighbour, besides one message of the largest size: a neighbour that
	// forwards for many may have dozens of messages under way at a time.
	neighbourOctets = 1 << 20
	// totalQuotas bounds the fragments held in all: so many neighbours can fill what one of them may have.
	totalQuotas = 8
	// setCost and pieceCost are what an incomplete message takes besides its body, and a piece of it besides its octets, about.
	setCost   = 1024
	pieceCost = 64
)
