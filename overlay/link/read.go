package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// reader is the reader goroutine.
func (c *Conn) reader() {
	defer close(c.read)
	for {
		if err := c.readFrame(); err != nil {
			c.end(fmt.Errorf("link: read: %w", err), false)
			return
		}
	}
}

// readFrame reads one frame and acts on it.
func (c *Conn) readFrame() error {
	for n := 1; ; {
		b, err := c.need(n)
		if err != nil {
			return err
		}
		limit := c.opts.MaxMessage() + slack // not before: the wait may have been long
		f, size, err := wire.ParseFrame(b, limit)
		switch {
		case err == nil:
			f.Message = bytes.Clone(f.Message)
			_, err = c.in.Discard(size)
			c.take(f)
			return err
		case errors.Is(err, wire.ErrFrameSize):
			return c.readPart(limit, err)
		case !errors.Is(err, wire.ErrShort):
			return err
		case size > c.in.Size():
			return c.readLong(size, limit)
		}
		n = size
	}
}

// readPart hands on the first limit octets of a message that is longer, and ends the link. RFC 6940 §6.6: "If a peer receives a
// message that is larger than the value of max-message-size", it "SHOULD send an Error_Message_Too_Large error and then close" the
// connection, which may happen "before the peer receives the complete message". The receiver of messages, which can sign
// the error, does both; this end waits for it for a while.
func (c *Conn) readPart(limit int, why error) error {
	c.mu.Lock()
	if c.err == nil {
		_ = c.tls.SetReadDeadline(time.Now().Add(partWait))
	}
	c.mu.Unlock()
	header, err := c.in.Peek(dataHeader)
	if err != nil {
		return why
	}
	seq := binary.BigEndian.Uint32(header[1:])
	_, _ = c.in.Discard(dataHeader)
	part := make([]byte, limit)
	if _, err := io.ReadFull(c.in, part); err != nil {
		return why
	}
	c.deliver(seq, part)
	_, _ = io.Copy(io.Discard, c.in)
	return why
}

// readLong reads a frame of n octets that does not fit into the buffer.
func (c *Conn) readLong(n, limit int) error {
	defer c.deadline()()
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return err
	}
	f, _, err := wire.ParseFrame(b, limit)
	if err == nil {
		c.take(f)
	}
	return err
}

// need waits for n octets. A frame may be long in coming; once it has begun it must end.
func (c *Conn) need(n int) ([]byte, error) {
	if n > 1 && c.in.Buffered() < n {
		defer c.deadline()()
	}
	return c.in.Peek(n)
}

// deadline bounds what remains of a frame and returns what lifts the bound.
func (c *Conn) deadline() func() {
	set := func(t time.Time) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil { // the end of the link has a deadline of its own
			_ = c.tls.SetReadDeadline(t)
		}
	}
	set(time.Now().Add(frameTimeout))
	return func() { set(time.Time{}) }
}

func (c *Conn) take(f wire.Frame) {
	if f.Type == wire.FrameAck {
		// The received field is for statistics of transports that lose frames. TCP loses none: ack_sequence says it all.
		c.acked(f.Sequence)
		return
	}
	c.deliver(f.Sequence, f.Message)
}

// deliver acknowledges a message and hands it on.
func (c *Conn) deliver(seq uint32, raw []byte) {
	c.mu.Lock()
	if c.err != nil { // it is being closed: read on to the peer's closure alert
		c.mu.Unlock()
		return
	}
	c.stats.Received++
	// RFC 6940 §6.6.2: "When the receiver receives a message, it SHOULD immediately send an ACK message."
	if received := c.seen.Add(seq); len(c.acks) < maxAcks {
		c.acks = append(c.acks, ack{seq, received})
		c.wake.Signal()
	}
	c.busy = true
	c.mu.Unlock()

	c.opts.Receive(raw)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.heard = false, time.Now()
}

// acked takes one ACK.
func (c *Conn) acked(seq uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, progress := c.flight.acked(seq)
	if !at.IsZero() {
		// RFC 6940 §6.6.5: "the Overlay Link implementation MUST use the framing header to measure the RTT of the
		// connection". A sequence number is sent once, so every ACK counts.
		c.rtt.sample(time.Since(at))
	}
	if progress && !c.stalled.IsZero() {
		// RFC 6940 §6.6: "The entry can be restored if it proves to resume functioning".
		c.stalled = time.Time{}
		c.tell(false)
	}
}
