package trust

import "time"

// What we set.
const (
	// maxBucket is how many certificates of one message are looked at. A Fetch of one address-of-record carries one per
	// gateway that serves it.
	maxBucket = 256
	// maxNodeIDs is how many Node-IDs one certificate may hold; each costs a hash per look-up.
	maxNodeIDs = 64
	// maxCertificate is the largest certificate that is parsed, in octets. Ours have 400 to 900.
	maxCertificate = 8192
	// maxUserName bounds a user name in octets: the local and the domain part of a mailbox (RFC 5321 §4.5.3.1).
	maxUserName = 64 + 1 + 255
	// maxCached is how many certificates a Verifier remembers, 1 KB each: the users of one large gateway and its neighbours.
	maxCached = 8192
	// maxKeys is how many public keys of those it remembers: one for each gateway.
	maxKeys = 1024
	// maxRemembered is how many signatures of values a Verifier remembers to be good, some 200 octets each: the records that the
	// phones of one gateway call again and again.
	maxRemembered = 16384
	// maxMade is how many signatures of values that this program has made a Verifier knows: those of Stores that are under way.
	maxMade = 1024

	minRSABits = 2048
	maxRSABits = 4096 // what checking one signature may cost

	authorityLifetime = 20 * 365 * 24 * time.Hour
	// DefaultLifetime is how long certificates of an Authority are valid unless it is told otherwise.
	DefaultLifetime = 365 * 24 * time.Hour
	// clockSkew is how far notBefore lies in the past, at most: the clocks of an overlay differ.
	clockSkew = time.Hour
)
