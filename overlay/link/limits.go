package link

import "time"

// Specification constants.
const (
	initialRTO = time.Second      // RFC 6298 §2.1
	minRTO     = time.Second      // RFC 6298 §2.4; RFC 6940 §6.6.5 lifts it for Simple Reliability only
	dataHeader = 8                // RFC 6940 §6.6.2: octets before the message in a data frame
	retention  = 30 * time.Second // RFC 6940 §6.6.5: how long a silent link is kept

	initialSRRTO = 500 * time.Millisecond // RFC 6940 §6.6.3.1: "the default value for RTO is 500 ms"
	maxSRRTO     = time.Minute            // RFC 6298 §2.5: "provided it is at least 60 seconds"
	maxCopies    = 5                      // RFC 6940 §6.6.3.1: "until a total of 5 requests have been sent"
	silentCopies = 3                      // RFC 6940 §6.6.3.1: before a link is taken out of the Routing Table
	maskReach    = 32                     // RFC 6940 §6.6.2: an ACK of N shows numbers that are "greater than N-32"
	overtaken    = 3                      // RFC 5681 §3.2: so many later numbers make a loss
	maxStride    = 2                      // RFC 3465: by which one ACK opens the window in slow start
)

// Implementation limits.
const (
	// HandshakeTimeout bounds TCP accept to TLS finished: a stranger holds a goroutine for no longer.
	HandshakeTimeout = 10 * time.Second
	// slack is what is taken of a message beyond max-message-size: the node, which can sign an Error_Message_Too_Large,
	// sees by it that the message is too long.
	slack = 4096

	maxQueue       = 256              // messages in a send queue: two seconds of a busy link
	maxQueueOctets = 1 << 20          // octets in a send queue
	maxAcks        = 1024             // ACKs that wait to be written; past that they are left out, later ones cover them
	maxFlight      = 256              // frames whose sending time is remembered
	maxBatch       = 32 << 10         // octets that go into one Write: two TLS records
	readBuffer     = 4 << 10          // holds some small frames; larger messages bypass it
	writeTimeout   = 10 * time.Second // a peer that takes no octets for this long is gone
	frameTimeout   = 30 * time.Second // a frame that started must end
	partWait       = 2 * time.Second  // for the answer to a message that is too long, before the link is closed without one
	flushTimeout   = time.Second      // for what is queued when a link is closed in order

	maxHalfOpen        = 128 // handshakes of accepted connections at a time
	maxHalfOpenAddress = 16  // of these from one address; gateways behind one NAT share it
	minAcceptDelay     = 5 * time.Millisecond
	maxAcceptDelay     = time.Second // between attempts while accepting fails, for example for want of descriptors

	// minSRRTO is the floor of a measured RTO. With the 1 ms that RFC 6940 §6.6.3.1 permits, five copies are out and the
	// link is closed 31 ms after a peer's process was not scheduled, or a garbage collection began.
	minSRRTO     = 200 * time.Millisecond
	recentFrames = 64 // transmissions that Simple Reliability remembers: a power of two, two windows for late ACKs
	maxWindow    = 32 // packets under way: as many as an ACK can show; 1.2 MB/s at a round trip time of 30 ms
	// initialWindow is below the 10 that RFC 6928 permits, and near RFC 3390, which has 4,380 octets: most messages are
	// shorter than a packet may be.
	initialWindow = 4
	maxBurst      = 4                // packets at once, RFC 8085; as many as the initial window
	paceUnit      = time.Millisecond // what timers can do: on a path this short the window is limit enough

	// handshakeMTU keeps handshake datagrams at 1175 octets: the library adds 25.
	handshakeMTU = 1150
	// pathMTU is how much RELOAD message a datagram carries without IP fragmentation: the least MTU of IPv6, 1280, less 40
	// octets of IPv6, 8 of UDP, 37 of DTLS (13 of header, 8 of nonce and 16 of tag with AES-GCM) and 8 of framing header.
	pathMTU = 1280 - 40 - 8 - 37 - 8
	// maxRecord is the largest record that the library receives: it reads datagrams into a buffer of this size, and loses
	// larger ones without an error.
	maxRecord = 8192
	// MaxPayload is the most that a Write to an Association may hold, in octets: maxRecord without what DTLS adds. Past
	// pathMTU it is left to IP fragmentation.
	MaxPayload = 8000
	// maxWhole is the most that is left to IP fragmentation when a message cannot be fragmented for pathMTU.
	maxWhole = MaxPayload - 8

	flightInterval = 500 * time.Millisecond
	// gcmRecords: at so many records the chance that two random nonces of the library's AES-GCM are equal is 2^-25.
	gcmRecords = 1 << 20
	// A handshake with a certificate chain of 16 kB that repeats every flight for HandshakeTimeout stays below these.
	maxHandshakeDatagrams = 512
	maxHandshakeFragments = 512

	maxInbox     = 64 // messages that wait for the receiver on a link over DTLS
	wornFraction = 8  // of the record budget: what is left for the replacement of a link

	cookieLen    = 20              // octets, as the library's: DTLS 1.0 has room for 32
	maxUnproven  = 64              // associations whose client has not yet returned the library's cookie, before the doorman steps in
	helloTimeout = 2 * time.Second // for that cookie
	maxProven    = 4096            // IP addresses that have returned a cookie to the doorman
	provenTime   = 30 * time.Second
	maxRefusals  = 64   // ICMP errors that are taken from a socket at a time
	maxFlowQueue = 128  // datagrams of one remote address that wait for its association
	maxAddresses = 4096 // remote addresses on one socket

	partTimeout = 100 * time.Millisecond // for a closure alert to reach the socket
)
