package ice

import "time"

// Specification constants.
const (
	prefHost  = 126 // RFC 5245 §4.1.2.2
	prefSrflx = 100
	prefRelay = 0
	component = 1 // RFC 6940 §6.5.1.5: "RELOAD utilizes a single component"

	keepalive = 15 * time.Second // RFC 5245 §10: Tr "SHOULD have a default of 15 seconds"

	minUfrag, maxUfrag       = 4, 256 // RFC 5245 §15.4
	minPassword, maxPassword = 22, 256

	stunRTO      = 500 * time.Millisecond // RFC 8489 §6.2.1
	stunRequests = 7                      // RFC 8489 §6.2.1: Rc
	minSTUN      = 20                     // octets of a STUN header

	minDTLS, maxDTLS = 20, 63 // RFC 7983 §7: the first octet of a DTLS record
	dtlsHeader       = 13     // octets

	// MaxDensity is the largest d of a TURN-SERVICE entry. RFC 6940 §9: "NODE-MULTIPLE, with a maximum iteration of
	// counter 20".
	MaxDensity = 20
)

// Implementation limits.
const (
	maxSessions = 512 // on one socket: more than a peer has links
	// RFC 5245 §5.7.3: "an agent MUST limit the total number of connectivity checks the agent performs": 8 local candidates
	// with 12 of the other side's are 96 pairs.
	maxHosts    = 6
	maxServers  = 4 // STUN servers that are asked for one session
	maxRelays   = 2 // TURN allocations of one session
	maxRemote   = 12
	checkPace   = 300 * time.Millisecond // between checks of one pair
	checkCopies = 30                     // of a check: an answer to Attach may take seconds to arrive, and both sides must try then

	gatherTimeout  = 3 * time.Second  // for STUN and TURN servers; who has not answered by then gives no candidate
	connectTimeout = 15 * time.Second // until a pair is nominated

	maxPort    = 64  // datagrams that wait for one session
	maxRest    = 256 // that wait for the reader of Rest
	maxOut     = 64  // that wait for a permission of a TURN server
	maxChecks  = 256 // checks of one local candidate whose answer is awaited
	maxQueries = 64  // Binding requests of ours at a time
	maxRoutes  = 4   // sessions that share one remote address
	maxLearned = 256 // peers whose view of our address is remembered
	maxPicked  = 4   // STUN servers that are chosen among them

	datagramSize = 8192                 // the largest that is read, as large as the largest DTLS record of package link
	readPause    = 5 * time.Millisecond // after an error of the socket

	defaultAllocations = 1024 // of one TURN server
	defaultPerUser     = 128
	portTries          = 16 // to find a free port for a relayed address
	// turnMTU is the largest datagram that a client may send for relaying; the library's own limit of 1600 octets holds for
	// those that come back.
	turnMTU = 1600

	// credentialLife is how long a credential can be used for a new allocation; an existing one goes on.
	credentialLife = 24 * time.Hour
	// maxCredential is how far ahead a credential may end: one that was made and kept for later is worth nothing.
	maxCredential = 2 * credentialLife
	maxUser       = 64 // octets of a user name in a credential
	minSecret     = 16 // octets
)
