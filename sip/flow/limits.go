package flow

import "time"

// Constants of the specifications.
const (
	defaultPort    = 5060             // RFC 3261 §18.2.2, §19.1.2: UDP and TCP
	defaultTLSPort = 5061             // RFC 3261 §19.1.2: TLS
	defaultWSPort  = 80               // RFC 7118 §5.5
	defaultWSSPort = 443              // RFC 7118 §5.5
	maxDatagram    = 65535            // RFC 3261 §18.1.1: "MUST be able to handle messages up to the maximum datagram packet size"
	congestionSafe = 1300             // RFC 3261 §18.1.1: octets up to which a request may go over UDP when the path MTU is unknown
	pongWait       = 10 * time.Second // RFC 5626 §4.4.1: no CRLF within 10 seconds of the ping: the flow has failed
	pingInterval   = 25 * time.Second // RFC 6940 §6.5.2.1 sends at this pace on an idle link; RFC 5626 §4.4.1 allows it
	askAfter       = time.Second      // of silence after a request over DTLS, when a keep-alive asks whether anybody is there
	pingAgain      = time.Second      // to the next copy over DTLS, doubled each time: three copies within pongWait
)

// Implementation limits.
const (
	// maxNodeDatagram is room for what may come over DTLS, and maxNodeMessage the longest message that is sent there: see
	// NodeConn. RFC 3261 §18.1.1 wants a congestion-controlled transport for requests of more than 1300 octets. Where the
	// overlay has one it is taken for all of them; where it has DTLS only, IP cuts them.
	maxNodeDatagram = 8192
	maxNodeMessage  = 8000

	batchSize       = 8                     // datagrams for one system call: 512 kB of buffers for a socket. 32 gain nothing more, 1 costs 10 %
	udpQueue        = 4096                  // datagrams that wait while the kernel's buffer is full; later ones are lost, as UDP may
	udpSpared       = 1 << 17               // octets of a queue that was written whose memory is kept for the next one
	udpCorked       = 64                    // answers held back while a batch is worked off; a longer queue is written at once
	busyAfter       = 4 * time.Millisecond  // without a pause of the reader until it has help: two thirds of a processor
	helperQueue     = 4                     // batches that wait for the helper
	udpKernelBuffer = 4 << 20               // asked of the kernel for each direction: rides out a burst while Go's scheduler is away
	yieldAfter      = 6 * time.Millisecond  // the monitor looks every 10 ms, and a batch may have waited for 3
	gatherUDP       = 3 * time.Millisecond  // datagrams gather for so long; a call setup waits for it some four times
	gatherStream    = 4 * time.Millisecond  // messages of one connection: to read it costs more
	gatherLeast     = 2                     // where so many are to be expected in that time
	gatherGapMax    = 10 * time.Millisecond // between two messages, as far as the smoothed gap is concerned
	gatherSmooth    = 8
	maxSources      = 64               // addresses of this host whose control message is kept ready
	streamQueue     = 1024             // messages that wait for a slow peer
	streamQueueSize = 1 << 20          // octets likewise
	coalesce        = 16 << 10         // octets written at once: one TLS record
	writeStuck      = 10 * time.Second // a peer that takes no octet for so long is gone or hostile
	messageDeadline = 30 * time.Second // from the first octet of a message to its last (TRN-01: slow loris)
	firstMessage    = 30 * time.Second // an accepted connection has to say something by then
	acceptedIdle    = 65 * time.Minute // longer than the usual registration of 3600 s: a phone's connection is its address
	dialledIdle     = 10 * time.Minute // a connection of ours that nobody used; a new one is dialled when needed
	nodeIdle        = 180 * time.Second
	connectTimeout  = 4 * time.Second
	nodeTimeout     = 25 * time.Second // AppAttach: 15 s for the answer and 10 s for the link
	handshakeLimit  = 10 * time.Second
	maxHandshakes   = 256                  // TLS handshakes of accepted connections at once: each costs a millisecond of CPU
	maxDials        = 256                  // connections being opened at once
	dialQueue       = 64                   // messages that wait for one connection to open
	acceptPause     = 5 * time.Millisecond // after an error of accept, doubled up to acceptPauseMax
	acceptPauseMax  = time.Second
	largeLines      = time.Minute      // the log has one line in each about large requests; the counter has them all
	refusalRate     = 50               // answers to malformed requests in a second: the source may be forged
	upgradeLimit    = 10 * time.Second // from the start of a connection for WebSocket, or the end of its TLS handshake, to its HTTP request
	maxUpgrade      = 16 << 10         // octets of that request
	wsBuffer        = 4 << 10          // octets of each of the two buffers of a WebSocket
	maxAliases      = 16               // addresses that a certificate proves to be at one connection: hosts of a cluster
	maxPings        = 16               // keep-alives answered from one read

	roomForOthers      = 16 // one part in so many of all connections is not for those that come in
	defaultConnections = 20000
	defaultPerAddress  = 1000 // a NAT with a company behind it
)
