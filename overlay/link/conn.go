package link

import (
	"bufio"
	"crypto/tls"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conn is one overlay link: RELOAD messages, each way, over TLS with the framing header (RFC 6940 §6.6.5).
type Conn struct {
	tls  *tls.Conn
	peer trust.Identity
	opts Options
	in   *bufio.Reader // the reader's
	seen wire.Received // the reader's
	read chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	wake    sync.Cond // the writer waits here for something to write, or for the end
	queue   [][]byte
	octets  int // in queue
	acks    []ack
	next    uint32 // sequence number of the next data frame
	flight  flight
	rtt     estimator
	monitor *time.Timer // calls expired
	armed   bool
	stalled time.Time // since when; zero: not stalled
	// busy is set while Receive has the reader: ACKs that lie unread in the socket say nothing about the peer. heard
	// is when it came back.
	busy  bool
	heard time.Time
	err   error // why the link ends; nil while it is open
	drain bool  // it ends in order: what is queued goes out first
	stats Stats
}

type ack struct{ seq, received uint32 }

// New returns a link over conn, whose handshake is finished and whose peer was verified as peer. Nothing is read or
// written before Run, but Send queues. The Conn owns conn.
func New(conn *tls.Conn, peer trust.Identity, o Options) *Conn {
	c := &Conn{tls: conn, peer: peer, opts: o, in: bufio.NewReaderSize(conn, readBuffer), read: make(chan struct{})}
	c.rtt.rto = initialRTO
	c.wake.L = &c.mu
	c.monitor = time.AfterFunc(time.Hour, c.expired)
	c.monitor.Stop()
	return c
}

// Run reads and writes until the link ends and returns why: ErrClosed after Close, ErrDead, wire.ErrFrame,
// wire.ErrFrameSize, or the error of the connection, wrapped. Both goroutines have ended and the connection is closed
// by then.
func (c *Conn) Run() error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.writer()
	}()
	c.reader()
	<-written
	return c.err
}

// Peer is whose certificate the other side showed.
func (c *Conn) Peer() trust.Identity { return c.peer }

// Send queues one whole RELOAD message; raw must not change afterwards. It never blocks: ErrFull means that the
// message was dropped because the peer takes octets too slowly, ErrTooLong that no peer would take it.
func (c *Conn) Send(raw []byte) error {
	if len(raw) > c.opts.MaxMessage()+slack {
		return ErrTooLong
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return ErrClosed
	case len(c.queue) >= maxQueue || c.octets+len(raw) > maxQueueOctets && len(c.queue) > 0:
		c.stats.Full++
		return ErrFull
	}
	c.queue = append(c.queue, raw)
	c.octets += len(raw)
	c.wake.Signal()
	return nil
}

// Close ends the link: what is queued is written, for up to a second, and nothing is received any more. It does not
// wait; Run returns when it is done.
func (c *Conn) Close() {
	c.end(ErrClosed, true)
}

// Stats returns a snapshot.
func (c *Conn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.RTT, s.RTO, s.Stalled = c.rtt.srtt, c.rtt.rto, !c.stalled.IsZero()
	s.Queued, s.QueuedOctets = len(c.queue), c.octets
	return s
}

// end notes why the link ends, the first reason only, and wakes both goroutines. The writer closes the connection.
func (c *Conn) end(why error, drain bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(why, drain)
}

func (c *Conn) endLocked(why error, drain bool) {
	if c.err != nil {
		return
	}
	c.err, c.drain = why, drain
	c.monitor.Stop()
	grace := time.Now()
	if drain {
		grace = grace.Add(flushTimeout)
	}
	_ = c.tls.SetDeadline(grace)
	c.wake.Broadcast()
}

// expired is the monitor: it runs when an ACK may have stayed out for too long.
func (c *Conn) expired() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	oldest, waiting := c.flight.oldest()
	if c.err != nil || !waiting {
		return
	}
	now := time.Now()
	if c.heard.After(oldest) {
		oldest = c.heard
	}
	left := c.rtt.rto - now.Sub(oldest)
	switch {
	case c.busy:
		left = c.rtt.rto
	case left > 0:
	case c.stalled.IsZero():
		// RFC 6940 §6.6.5: "The resulting RTO is not used for retransmissions, but rather as a timeout to indicate
		// when the link SHOULD be removed from the Routing Table."
		c.stalled = now
		left = retention
		c.tell(true)
	default:
		// RFC 6940 §6.6.5: "It is RECOMMENDED that such a connection be retained for 30 seconds to determine if the
		// failure was transient before concluding the link has failed permanently."
		if left = retention - now.Sub(c.stalled); left <= 0 {
			c.endLocked(ErrDead, false)
			return
		}
	}
	c.arm(left)
}

// arm starts the monitor unless it runs already.
func (c *Conn) arm(d time.Duration) {
	if !c.armed {
		c.armed = true
		c.monitor.Reset(d)
	}
}

func (c *Conn) tell(stalled bool) {
	if c.opts.Stalled != nil {
		c.opts.Stalled(stalled)
	}
}
