// Package link carries RELOAD messages between two directly connected nodes: mutually authenticated TLS over TCP with
// the framing header, without ICE (RFC 6940 §6.5.1.13, §6.6, §6.6.2, §6.6.5). Package overlay calls it: TLS makes and
// checks connections, Server accepts them, Conn sends and receives messages.
//
// A Conn has one reader and one writer goroutine, both inside Run. Everything else may be called from any goroutine
// and never blocks, except Run itself. The application connections that AppAttach leads to (RFC 6940 §6.5.2) use TLS
// and Server too, but no Conn: they carry no framing.
//
// With TLS 1.3 the client's handshake ends before the server has looked at the client's certificate. A refused
// certificate shows as an alert on the first read, so a Conn on the client's side may come up and go down again one
// round trip later. The alternative, to wait for the first octets of the server, would hang: RELOAD has no greeting.
package link

import (
	"errors"
	"time"
)

// Reasons for the end of a link, and for not sending.
var (
	ErrClosed  = errors.New("link: closed")
	ErrDead    = errors.New("link: no acknowledgement for too long")
	ErrFull    = errors.New("link: send queue full")
	ErrTooLong = errors.New("link: message longer than the overlay allows")
)

// Options are what a Conn is told by its user.
type Options struct {
	// MaxMessage is max-message-size of the overlay, in octets (RFC 6940 §11.1).
	MaxMessage int
	// Receive takes each message, on the reader's goroutine; raw is the receiver's. While it blocks nothing is read,
	// which holds back this peer and nobody else.
	Receive func(raw []byte)
	// Stalled is told that acknowledgements stay out for longer than the RTO, or that they came back. It is called
	// with the Conn locked: it must not block and must not call the Conn. Nil: nobody wants to know.
	Stalled func(stalled bool)
}

// Stats is a snapshot of one link.
type Stats struct {
	RTT            time.Duration // smoothed; 0 before the first measurement
	RTO            time.Duration
	Stalled        bool
	Queued         int // messages that wait to be written
	QueuedOctets   int
	Sent, Received uint64 // messages
	Full           uint64 // messages that were refused with ErrFull
}
