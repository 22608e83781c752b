package link

import "time"

// Specification constants.
const (
	initialRTO = time.Second      // RFC 6298 §2.1
	minRTO     = time.Second      // RFC 6298 §2.4; RFC 6940 §6.6.5 lifts it for Simple Reliability only
	retention  = 30 * time.Second // RFC 6940 §6.6.5: how long a silent link is kept
)

// Implementation limits.
const (
	// HandshakeTimeout bounds TCP accept to TLS finished: a stranger holds a goroutine for no longer.
	HandshakeTimeout = 10 * time.Second
	// slack is what a message may be longer than max-message-size before the link closes: lists grow on the way, and
	// the node, which can sign an Error_Message_Too_Large, should see the first octets of a message that is slightly
	// too long.
	slack = 4096

	maxQueue       = 256              // messages in a send queue: two seconds of a busy link
	maxQueueOctets = 1 << 20          // octets in a send queue
	maxAcks        = 1024             // ACKs that wait to be written; past that they are left out, later ones cover them
	maxFlight      = 256              // frames whose sending time is remembered
	maxBatch       = 32 << 10         // octets that go into one Write: two TLS records
	keepBuffer     = 8 << 10          // a writer's buffer above this is not kept by an idle link
	readBuffer     = 4 << 10          // holds some small frames; larger messages bypass it
	writeTimeout   = 10 * time.Second // a peer that takes no octets for this long is gone
	frameTimeout   = 30 * time.Second // a frame that started must end
	flushTimeout   = time.Second      // for what is queued when a link is closed in order

	maxHalfOpen        = 128 // handshakes of accepted connections at a time
	maxHalfOpenAddress = 16  // of these from one address; gateways behind one NAT share it
	minAcceptDelay     = 5 * time.Millisecond
	maxAcceptDelay     = time.Second // between attempts while accepting fails, for example for want of descriptors
)
