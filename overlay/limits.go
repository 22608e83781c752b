package overlay

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/link"
)

// Specification constants.
const (
	listenPriority = 126<<24 | 65535<<8 | 255 // RFC 5245 §4.1.2.1: of a host candidate, one component
	packetPriority = 126<<24 | 255            // the same with the least local preference
	fragmentOffset = 0xffffff                 // RFC 6940 §6.3.2: the low bits of the fragment field
)

// Implementation limits.
const (
	maxInbox    = 256  // inputs that wait for the loop; readers wait, callers get ErrOverload
	maxJobs     = 1024 // signatures to make or check that wait for a worker; past that they fail
	maxOps      = 4096 // local operations under way
	maxLinks    = 1024 // overlay links, and so 2048 goroutines
	maxGathers  = 32   // sessions of ICE that gather candidates at a time
	turnWalk    = 16   // peers that one look for TURN servers asks
	maxDead     = 64   // TURN servers that are left alone
	wantRelays  = 2    // TURN servers that are remembered
	maxServices = 32   // that one peer offers: each is a walk through a tree every few minutes
	maxFinders  = 64   // services of which it is known at which levels they were found
	maxDials    = 32   // connections being opened at a time
	// maxAppDialsOf is how many of the connections that are being opened for applications may lead to one node: one is enough for any number of calls.
	maxAppDialsOf = 4
	maxAddress    = 8   // addresses tried for one peer, and of a bootstrap node over each type of link
	maxParked     = 64  // application connections that came before the answer that explains them
	maxAppConns   = 256 // AppAttach requests of ours under way

	// MaxAppDatagram is the longest datagram on an AppConn, in octets: the DTLS library receives records of up to 8192. Past
	// some 1200 IP cuts it (RFC 6940 §6.7 lets RELOAD messages be cut so too).
	MaxAppDatagram = link.MaxPayload

	maxVisitInbox = 16 // messages that a Visitor has not looked at yet

	// maxUnsaved is how many changed records may wait for the disk; past that everything is written anew, which costs no more.
	maxUnsaved = 65536
	// saveInterval is how often what is held for the overlay is written at most: a commit waits for the disk twice, and writes a page for nearly
	// each record in it, whose places are random. Until then the replicas have them, and whoever stored them stores them again.
	saveInterval = time.Second
	minSavePause = time.Second // after a commit that failed; it doubles
	maxSavePause = time.Minute
	maxUptime    = 1e9 // seconds that are believed of an APP_UPTIME

	// certificateCheck is how often the certificates of connections are looked at besides when one ends, and minCertificateCheck
	// the least pause between two looks. minReplace is the least time between two attempts to replace one link.
	certificateCheck    = 10 * time.Second
	minCertificateCheck = 100 * time.Millisecond
	minReplace          = time.Second

	dialTimeout    = 10 * time.Second       // all candidates of one peer together, TLS included
	meetTimeout    = 25 * time.Second       // connectivity checks and the DTLS handshake
	turnLifetime   = 20 * time.Minute       // of a TURN-SERVICE entry; a server that is gone is not found for longer
	turnTimeout    = 20 * time.Second       // to store all entries, or to find one
	turnRefresh    = 10 * time.Minute       // between looks for TURN servers when there are enough, and earlier when one fails
	turnAvoid      = 5 * time.Minute        // that a TURN server which gave nothing is left alone
	turnWithdraw   = 3 * time.Second        // for entries to be taken out when the peer is to leave; a Store may wait 1 s for a replica
	turnFirst      = time.Second            // that a session waits for the first look to end
	turnPause      = time.Second            // after a look that found nothing; it doubles
	turnRetry      = 30 * time.Second       // the longest such pause
	serviceTimeout = 40 * time.Second       // for one walk of a registration: some eight requests
	servicePause   = time.Second            // until a service is looked at that is not ready
	serviceRetry   = 30 * time.Second       // after a registration that failed
	appWait        = 10 * time.Second       // from an AppAttach's answer to the connection
	replicaTimeout = 3 * time.Second        // for the replicas of a value to say that they hold it
	hopTimeout     = 7 * time.Second        // for one hop of a Trace: the request and two more copies
	welcomeWait    = 10 * time.Second       // that the first who comes waits until he finds what he may look for: below the 15 s of his requests
	postTimeout    = 2 * time.Second        // a caller waits so long for room in the inbox
	leaveTimeout   = 3 * time.Second        // for the hand-over of what is stored
	statusTimeout  = 500 * time.Millisecond // then the previous snapshot does
)
