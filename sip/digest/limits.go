package digest

import "time"

// Implementation limits.
const (
	// NonceLife is how long a nonce may be used. Longer saves challenges, shorter narrows what a stolen one is good for.
	NonceLife = 300 * time.Second
	// MaxCredentials is the number of sets of credentials of our realm that are tried in one request: a phone that
	// follows a redirect sends two, and each costs three hashes.
	MaxCredentials = 4
	// MaxUsers is the number of users in a file.
	MaxUsers = 1 << 20

	maxLine    = 4096             // octets of a line of the users file
	nonceStep  = 32 * time.Second // for so long a request may be repeated: Timer F (RFC 3261 §17.1.2.2)
	clockSlack = time.Second      // that a nonce may seem to come from the future: clocks are set back
	perGen     = 1 << 17          // nonces remembered in each of two generations: about 10 MB when full
	windowBits = 64               // counts below the highest that may still come: requests overtake each other on UDP
	keyLen     = 32               // octets of the key of the nonces
	macLen     = 16               // octets of a nonce's code: RFC 2104 §5 allows half of the hash
)
