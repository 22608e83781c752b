package message

// Specification constants.
const (
	// MaxSeq is the first CSeq number that is too large (RFC 3261 §8.1.1.5: "MUST be less than 2**31").
	MaxSeq = 1 << 31
	// DefaultExpires is what a malformed expiry counts as, in seconds (RFC 3261 §20.10: "Malformed values SHOULD be
	// treated as equivalent to 3600").
	DefaultExpires = 3600
	// DefaultQ is the preference of a contact without q, in thousandths.
	DefaultQ = 1000

	minStatus      = 100 // RFC 3261 §7.2
	maxStatus      = 699
	maxMaxForwards = 255 // RFC 3261 §20.22
)

// Implementation limits.
const (
	// MaxMessage is the largest message in octets, header and body: what a UDP datagram can hold, on every transport.
	MaxMessage = 65535
	// MaxRequestURI is the longest Request-URI in octets: longer ones are keys and log lines for an attacker to fill
	// memory with.
	MaxRequestURI = 512
	// MaxFields is the largest number of header field lines: a long path adds a Via and a Record-Route for each of 70
	// hops.
	MaxFields = 256

	maxCompared = 1024 // octets of a URI that is compared by parts: the work grows with the square of their number
	maxComment  = 1024 // octets of a comment: looking for the end of one that has none is work for each parenthesis
	smallBuffer = 4096 // what an idle stream keeps: most messages fit
	emptyReads  = 100  // of a source that neither reads nor fails, before it counts as broken
	usualFields = 10   // what is parsed or copied with no more is one piece of memory
	spareFields = 4    // room for Via, Record-Route and the like, which are added on the way through
)
