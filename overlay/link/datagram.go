package link

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// ErrWorn means that a link whose cipher suite does not stand any number of records was not replaced in time.
var ErrWorn = errors.New("link: record budget spent")

// DatagramConn is one overlay link over DTLS: RELOAD messages, cut where they are too long for a datagram (RFC 6940
// §6.7), with Simple Reliability (RFC 6940 §6.6.3, §6.6.4, §6.6.6). Messages of the peer's may arrive more than once and
// out of order.
type DatagramConn struct {
	association *Association
	peer        trust.Identity
	opts        Options
	seen        wire.Received // the reader's
	inbox       chan []byte   // from the reader to the deliverer
	wake        chan struct{} // to the writer: something has changed

	mu       sync.Mutex
	sender   sender
	err      error     // why the link ends; nil while it is open
	grace    time.Time // with err: until when unacknowledged messages are still sent
	stats    Stats
	in, out  uint64 // records
	replaced bool   // opts.Replace has been called
	unsent   [][]byte
}

// NewDatagram returns a link over a, whose peer was verified as peer. rtt is a round trip time that was measured on this
// path, by STUN in the ICE stage; 0 when there is none. Nothing is read or written before Run, but Send queues. The
// DatagramConn owns a.
func NewDatagram(a *Association, peer trust.Identity, rtt time.Duration, o Options) *DatagramConn {
	return &DatagramConn{association: a, peer: peer, opts: o, sender: newSender(rtt),
		inbox: make(chan []byte, maxInbox), wake: make(chan struct{}, 1)}
}

// Run reads and writes until the link ends and returns why: ErrClosed after Close, ErrDead, ErrWorn, wire.ErrFrame,
// wire.ErrFrameSize, or the error of the association, wrapped; io.EOF after the peer's closure alert. Its goroutines
// have ended and the association is closed by then.
func (c *DatagramConn) Run() error {
	var wg sync.WaitGroup
	wg.Go(c.deliverer)
	wg.Go(c.writer)
	c.reader()
	wg.Wait()
	return c.err
}

// Peer is whose certificate the other side showed.
func (c *DatagramConn) Peer() trust.Identity { return c.peer }

// Send queues one whole RELOAD message; raw must not change afterwards. It never blocks: ErrFull means that the
// message was dropped because the peer takes messages too slowly, ErrTooLong that no peer would take it.
func (c *DatagramConn) Send(raw []byte) error {
	if len(raw) > c.opts.MaxMessage()+slack {
		return ErrTooLong
	}
	parts, err := cut(raw)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return ErrClosed
	case !c.sender.push(parts...):
		c.stats.Full++
		return ErrFull
	}
	c.nudge()
	return nil
}

// cut returns raw in parts that go into a datagram each.
func cut(raw []byte) ([][]byte, error) {
	parts, err := route.Fragment(raw, pathMTU)
	if errors.Is(err, route.ErrUncuttable) {
		// RFC 6940 §6.7: "If these elements cannot fit within the MTU of the underlying datagram protocol, RELOAD
		// fragmentation is not performed, and IP-layer fragmentation is allowed to occur."
		parts, err = route.Fragment(raw, maxWhole)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTooLong, err)
	}
	return parts, nil
}

// Close ends the link: what is queued is sent, for up to a second, and nothing is received any more. It does not wait;
// Run returns when it is done.
func (c *DatagramConn) Close() {
	c.end(ErrClosed, time.Now().Add(flushTimeout))
}

// Unsent is what was sent, or waited to be, and never acknowledged, when Run has returned: messages or fragments, in order. Some
// may have arrived.
func (c *DatagramConn) Unsent() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsent
}

// Stats returns a snapshot.
func (c *DatagramConn) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.RTT, s.RTO, s.Stalled = c.sender.rtt.srtt, c.sender.rtt.rto, c.sender.stalled
	s.Queued, s.QueuedOctets = len(c.sender.queue), c.sender.octets
	return s
}

// nudge makes the writer look.
func (c *DatagramConn) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// end notes why the link ends, the first reason only. The writer closes the association, at once when grace is zero.
func (c *DatagramConn) end(why error, grace time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err, c.grace = why, grace
	} else if grace.IsZero() {
		c.grace = grace // what was to be sent in order cannot be
	}
	c.nudge()
}

// writer is the writer goroutine. It alone closes the association, which ends the reader.
func (c *DatagramConn) writer() {
	defer func() { _ = c.association.Close() }()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var buf []byte
	for {
		frame, wake, ok := c.step(buf[:0])
		switch {
		case !ok:
			return
		case len(frame) > 0:
			c.write(frame)
			buf = frame
			continue
		case wake.IsZero():
			timer.Stop()
		default:
			timer.Reset(time.Until(wake))
		}
		select {
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// step appends to b the frame that is to be sent now. Without one, wake is when to look again; zero: when nudged. ok is
// false when the link has ended.
func (c *DatagramConn) step(b []byte) (frame []byte, wake time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.err != nil && (c.sender.idle() || !now.Before(c.grace)) {
		c.unsent = c.sender.stop()
		return nil, wake, false
	}
	e := c.sender.step(now)
	switch {
	case e.dead:
		if c.err == nil {
			c.err = ErrDead
		}
		c.unsent = c.sender.stop()
		return nil, wake, false
	case e.copied:
		c.stats.Copies++
	case e.message != nil:
		c.stats.Sent++
	}
	if e.stalled && c.opts.Stalled != nil {
		c.opts.Stalled(true)
	}
	if e.message != nil {
		return wire.AppendData(b, e.seq, e.message), wake, true
	}
	wake = c.sender.wake()
	if c.err != nil && c.grace.Before(wake) {
		wake = c.grace
	}
	return nil, wake, true
}

// write sends one frame. An error is a lost datagram, with two exceptions.
func (c *DatagramConn) write(frame []byte) {
	_, err := c.association.Write(frame)
	if errors.Is(err, syscall.ECONNREFUSED) {
		// RFC 6940 §6.6.3.1: retransmissions continue "until there has been a hard ICMP error". RFC 1122 §4.1.3.3 has the
		// kernel report these; what it reports of routes and full buffers is not hard. A closed association ends the
		// reader.
		c.end(fmt.Errorf("link: write: %w", err), time.Time{})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out++
	c.wear()
}

// wear asks for the link to be replaced when its records run out.
func (c *DatagramConn) wear() {
	budget, used := c.association.budget, max(c.in, c.out)
	switch {
	case budget == 0 || c.err != nil:
	case used >= budget+budget/wornFraction:
		c.err = ErrWorn
		c.nudge()
	case used >= budget && !c.replaced:
		c.replaced = true
		if c.opts.Replace != nil {
			c.opts.Replace()
		}
	}
}

// reader is the pump of the association: it never waits for the receiver of messages, because the library answers
// handshake messages and alerts only while records are taken from it.
func (c *DatagramConn) reader() {
	defer close(c.inbox)
	buf := make([]byte, maxRecord)
	var ack []byte
	for {
		n, err := c.association.Read(buf)
		if err == nil {
			ack, err = c.record(buf[:n], ack[:0])
		}
		if err != nil {
			c.end(fmt.Errorf("link: read: %w", err), time.Time{})
			return
		}
	}
}

// record takes one record, which holds one frame or several. ack is scratch.
func (c *DatagramConn) record(b, ack []byte) ([]byte, error) {
	c.mu.Lock()
	c.in++
	c.wear()
	c.mu.Unlock()
	for len(b) > 0 {
		f, n, err := wire.ParseFrame(b, c.opts.MaxMessage()+slack)
		if errors.Is(err, wire.ErrShort) {
			return ack, fmt.Errorf("%w: longer than its record", wire.ErrFrame)
		}
		if err != nil {
			return ack, err
		}
		b = b[n:]
		if f.Type == wire.FrameAck {
			c.acked(f.Sequence, f.Received)
			continue
		}
		if c.accept(f.Message) {
			// RFC 6940 §6.6.2: "When the receiver receives a message, it SHOULD immediately send an ACK message."
			ack = wire.AppendAck(ack[:0], f.Sequence, c.seen.Add(f.Sequence))
			c.write(ack)
		}
	}
	return ack, nil
}

// accept hands a message to the deliverer. When that is too far behind the message goes without an ACK: the peer will
// send it again, and slows down.
func (c *DatagramConn) accept(raw []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	select {
	case c.inbox <- bytes.Clone(raw):
		c.stats.Received++
		return true
	default:
		return false
	}
}

func (c *DatagramConn) acked(seq, received uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sender.ack(time.Now(), seq, received) && c.opts.Stalled != nil {
		c.opts.Stalled(false)
	}
	// The writer looks again by itself when it expected a copy to be due.
	if c.sender.waiting() || c.err != nil {
		c.nudge()
	}
}

// deliverer hands messages to the receiver.
func (c *DatagramConn) deliverer() {
	for raw := range c.inbox {
		c.mu.Lock()
		open := c.err == nil
		c.mu.Unlock()
		if open {
			c.opts.Receive(raw)
		}
	}
}
