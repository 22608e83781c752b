package flow

import "sync/atomic"

// dropReason is a label of Stats.Dropped. The set is closed.
type dropReason uint8

const (
	dropKeepAlive dropReason = iota
	dropMalformed
	dropBadRequest
	dropVersion
	dropTooLarge
	dropRefusalRate
	dropUDPQueue
	dropUDPWrite
	dropStreamQueue
	dropTooLong
	dropDialQueue
	dropDials
	dropDialFailed
	refuseConnections
	refuseAddress
	refuseHandshakes
	refuseHandshake
	refuseUpgrade
	refuseError
	refuseDenied
	refuseBanned
	reasons
)

var reasonNames = [reasons]string{
	dropKeepAlive:     "keep_alive",        // CRLF, STUN or junk that holds a pinhole open
	dropMalformed:     "malformed",         // nobody is owed an answer
	dropBadRequest:    "bad_request",       // answered 400
	dropVersion:       "version",           // answered 505
	dropTooLarge:      "too_large",         // answered 414 or 513
	dropRefusalRate:   "refusal_rate",      // malformed and not answered: too many of them
	dropUDPQueue:      "udp_queue_full",    // outgoing
	dropUDPWrite:      "udp_write",         // outgoing, the kernel refused it
	dropStreamQueue:   "stream_queue_full", // outgoing, the peer does not read
	dropTooLong:       "too_long",          // outgoing, longer than a datagram of DTLS
	dropDialQueue:     "dial_queue_full",   // outgoing, waiting for a connection
	dropDials:         "dials_full",        // outgoing, too many connections being opened
	dropDialFailed:    "dial_failed",       // a connection could not be opened
	refuseConnections: "connections_full",  // an accepted or dialled connection over MaxConnections
	refuseAddress:     "address_full",      // an accepted connection over MaxPerAddress
	refuseHandshakes:  "handshakes_full",   // an accepted connection while too many handshakes run
	refuseHandshake:   "handshake_failed",  // TLS
	refuseUpgrade:     "upgrade_failed",    // the HTTP request of a WebSocket
	refuseDenied:      "denied",            // from a network that may not use the listener
	refuseBanned:      "banned",            // from an address that is banned
	refuseError:       "accept_failed",     // the system refused, mostly for want of descriptors
}

// Indexes of the counters by transport.
const (
	udpIndex = iota
	tcpIndex
	tlsIndex
	wsIndex
	wssIndex
	dtlsIndex
	transports
)

var transportNames = [transports]string{UDP, TCP, TLS, WS, WSS, DTLS}

func transportIndex(s string) int {
	switch s {
	case UDP:
		return udpIndex
	case TCP:
		return tcpIndex
	case WS:
		return wsIndex
	case WSS:
		return wssIndex
	case DTLS:
		return dtlsIndex
	default:
		return tlsIndex
	}
}

var classNames = [...]string{accepted: "accepted", dialled: "dialled", node: "node"}

type counters struct {
	received, sent [transports]atomic.Uint64
	dropped        [reasons]atomic.Uint64
	opened         [len(classNames)]atomic.Uint64
	oversize       atomic.Uint64
}

func (c *counters) drop(r dropReason) { c.dropped[r].Add(1) }

// Stats is a snapshot of the counters since the start. Every label of its closed set is present in each map.
type Stats struct {
	Received, Sent map[string]uint64 // messages by transport, malformed ones included
	Dropped        map[string]uint64 // by reason: messages, connections and keep-alives
	Opened         map[string]uint64 // connections by class: accepted, dialled, node
	Connections    map[string]int    // open now, by class
	Oversize       uint64            // requests of more than 1300 octets sent over UDP or DTLS
}

// Received is the number of messages that have come, malformed ones included, over all transports.
func (t *Table) Received() (n uint64) {
	for i := range t.counters.received {
		n += t.counters.received[i].Load()
	}
	return n
}

// Stats takes a snapshot.
func (t *Table) Stats() Stats {
	s := Stats{Received: map[string]uint64{}, Sent: map[string]uint64{}, Dropped: map[string]uint64{},
		Opened: map[string]uint64{}, Connections: map[string]int{}, Oversize: t.counters.oversize.Load()}
	for i, n := range transportNames {
		s.Received[n], s.Sent[n] = t.counters.received[i].Load(), t.counters.sent[i].Load()
	}
	for i, n := range reasonNames {
		s.Dropped[n] = t.counters.dropped[i].Load()
	}
	for i, n := range classNames {
		s.Opened[n], s.Connections[n] = t.counters.opened[i].Load(), 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.byFlow {
		s.Connections[classNames[c.class]]++
	}
	return s
}
