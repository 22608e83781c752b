package transaction

import "time"

// Constants of the specifications.
const (
	defaultT1 = 500 * time.Millisecond // RFC 3261 §17.1.1.1: round-trip time estimate
	defaultT2 = 4 * time.Second        // RFC 3261 §17.1.2.1: longest interval between retransmissions
	defaultT4 = 5 * time.Second        // RFC 3261 §17.1.2.2: how long a message may stay in the network
	timerD    = 32 * time.Second       // RFC 3261 §17.1.1.2: "a value of at least 32 seconds for unreliable transports"
	spans     = 64                     // Timers B, F, H, J, L, M are 64*T1

	cookie      = "z9hG4bK" // RFC 3261 §8.1.1.7
	maxForwards = "70"      // RFC 3261 §8.1.1.6
)

// Implementation limits.
const (
	tickLength = 20 * time.Millisecond // of the timer wheel
	wheelSlots = 2048                  // 41 s: most timers are of 32 s or less
	sweepTicks = 10                    // between two looks at what is left of finished transactions
	// tryingAfter leaves a tick and some of RFC 3261 §17.2.1: 100 "within 200 ms".
	tryingAfter = 200*time.Millisecond - 2*tickLength
	// longestWait ends an INVITE that nobody has said a word about for so long: the proxy's Timer C comes far before it.
	longestWait         = 10 * time.Minute
	viaRoom             = 80      // octets of a Via of ours, in the sum that decides between UDP and TCP
	shards              = 32      // of the table, so that cores do not wait for each other
	keyOctets           = 16      // of a key among the octets of a finished transaction
	maxCalls            = 256     // news that wait for the user of one transaction
	defaultTransactions = 1 << 18 // under way: each holds its request and what its user has for it
	defaultFinished     = 1 << 28 // octets of finished ones: 32 s of 30,000 calls a second
	remainsRoom         = 160     // octets that most of what is left of a finished transaction fits in, for a moment
	maxWire             = 8 << 10 // octets of the wire form of a message whose memory is used again
	retryAfter          = "10"    // seconds, in a 503 of ours
	drainPoll           = 20 * time.Millisecond
)
