// Package lan finds the nodes and the configuration server of an overlay on the local network, and lets them be found: DNS-Based
// Service Discovery (RFC 6763) over Multicast DNS (RFC 6762). RFC 6940 has no multicast bootstrap, so this is an aid of ours: what is
// found is an address to try, and who answers there is known by its certificate like anybody else.
//
// Services are _reload._tcp and _reload._udp for links over TLS and DTLS, one instance for each node, and _reload-config._tcp
// for the configuration server; a TXT record overlay=NAME says which overlay. An Agent announces and browses; a Resolver looks for the
// configuration server once. Both open sockets of their own on port 5353, beside those of other programs, over IPv4.
package lan

import "time"

// Service types (RFC 6763 §7).
const (
	LinksTLS      = "_reload._tcp"
	LinksDTLS     = "_reload._udp"
	Configuration = "_reload-config._tcp" // the name that RFC 6940 §11.2 has
)

// What the specifications fix.
const (
	port        = 5353                   // RFC 6762 §3
	domain      = "local."               // RFC 6762 §3
	cacheFlush  = 1 << 15                // RFC 6762 §10.2: in the class of a unique record
	unicastBit  = 1 << 15                // RFC 6762 §5.4: in the class of a question
	hostTTL     = 120                    // seconds, of records with a host name (RFC 6762 §10)
	serviceTTL  = 4500                   // seconds, of the others
	firstQuery  = time.Second            // RFC 6762 §5.2: the first pause, which doubles
	longestWait = time.Hour              // RFC 6762 §5.2
	announceGap = time.Second            // RFC 6762 §8.3: between the two announcements
	answerGap   = time.Second            // RFC 6762 §6: the same record is not multicast more often
	legacyTTL   = 10                     // seconds, in answers to those who do not speak mDNS (RFC 6762 §6.7)
	keyOverlay  = "overlay="             // of the TXT record
	minDelay    = 20 * time.Millisecond  // RFC 6762 §6: before an answer that others may give, too
	maxDelay    = 120 * time.Millisecond //
)

// What we set.
const (
	maxInterfaces = 16
	maxServices   = 8    // of an Agent
	maxFound      = 64   // instances that are remembered
	maxAddresses  = 4    // of one instance
	maxDatagram   = 9000 // RFC 6762 §17
	maxPending    = 64   // messages that wait for an answer
	resolveWait   = 2 * time.Second
)
