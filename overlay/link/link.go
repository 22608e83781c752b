// Package link carries RELOAD messages between two directly connected nodes, always mutually authenticated (RFC 6940
// §6.5.1.13, §6.6): over TLS/TCP with the framing header, without ICE (RFC 6940 §6.6.2, §6.6.5), and over DTLS/UDP with
// Simple Reliability (RFC 6940 §6.6.3, §6.6.4, §6.6.6). Package overlay calls it: TLS and DTLS make and check
// connections, Server and PacketServer accept them, Conn and DatagramConn, which are both a Link, send and receive
// messages.
//
// A Conn has one reader and one writer goroutine, both inside Run; a DatagramConn has one more, which delivers, and two of
// the DTLS library. Everything else may be called from any goroutine and never blocks, except Run itself. The application connections that
// AppAttach leads to (RFC 6940 §6.5.2) use TLS and DTLS, Server and PacketServer too, but no Link: they carry no framing.
//
// With TLS 1.3 the client's handshake ends before the server has looked at the client's certificate. A refused
// certificate shows as an alert on the first read, so a Conn on the client's side may come up and go down again one
// round trip later. The alternative, to wait for the first octets of the server, would hang: RELOAD has no greeting.
package link

import (
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
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
	// MaxMessage is max-message-size of the overlay at the time, in octets (RFC 6940 §11.1): a new configuration may change it. It
	// must not block.
	MaxMessage func() int
	// Receive takes each message, one at a time; raw is the receiver's. While it blocks, no more than a few messages are
	// taken from this peer, which slows this peer down and nobody else.
	Receive func(raw []byte)
	// Stalled is told that acknowledgements stay out for longer than the RTO, or that they came back. It is called
	// with the Conn locked: it must not block and must not call the Conn. Nil: nobody wants to know.
	Stalled func(stalled bool)
	// Replace is called once when a link over DTLS nears the number of records that its cipher suite stands: another
	// one is to be made, and this one closed. Otherwise it ends with ErrWorn a while later. It is called with the link
	// locked, like Stalled. Nil: nobody wants to know.
	Replace func()
}

// Link is one overlay link of any type: what Conn and DatagramConn have in common, with the same meaning.
type Link interface {
	Run() error
	Peer() trust.Identity
	Send(raw []byte) error
	Close()
	Stats() Stats
}

var (
	_ Link = (*Conn)(nil)
	_ Link = (*DatagramConn)(nil)
)

// Stats is a snapshot of one link.
type Stats struct {
	RTT            time.Duration // smoothed; 0 before the first measurement
	RTO            time.Duration
	Stalled        bool
	Queued         int // messages that wait to be written
	QueuedOctets   int
	Sent, Received uint64 // messages; over DTLS, fragments count one by one, and what came twice counts twice
	Copies         uint64 // retransmissions; none over TCP
	Full           uint64 // messages that were refused with ErrFull
}
