package link

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// writer is the writer goroutine. It alone closes the connection, which ends the reader.
func (c *Conn) writer() {
	defer c.hangUp()
	var buf []byte
	for {
		b, ok := c.batch(buf[:0])
		if !ok {
			return
		}
		if _, err := c.tls.Write(b); err != nil {
			c.end(fmt.Errorf("link: write: %w", err), false)
			if errors.Is(err, os.ErrDeadlineExceeded) { // the peer takes no octets and would take no alert
				_ = c.tls.NetConn().Close()
			}
			return
		}
		if buf = b; cap(buf) > keepBuffer {
			buf = nil
		}
	}
}

// hangUp closes the connection. A link that ends in order waits for the peer's closure alert, a second at most:
// octets left unread at close make TCP reset the connection, and a reset can overtake the last message.
func (c *Conn) hangUp() {
	abort := time.AfterFunc(flushTimeout, func() { _ = c.tls.NetConn().Close() })
	defer abort.Stop()
	c.mu.Lock()
	drain := c.drain
	c.mu.Unlock()
	if drain && c.tls.CloseWrite() == nil {
		<-c.read
	}
	_ = c.tls.Close()
}

// batch waits for something to write and appends it to b: ACKs first, then as many messages as fit into one Write. It
// reports false when the link has ended.
func (c *Conn) batch(b []byte) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.queue) == 0 && len(c.acks) == 0 {
		c.wake.Wait()
	}
	if c.err != nil && (!c.drain || len(c.queue) == 0) {
		return nil, false
	}
	for _, a := range c.acks {
		b = wire.AppendAck(b, a.seq, a.received)
	}
	c.acks = c.acks[:0]
	now := time.Now()
	n := 0
	for ; n < len(c.queue) && (n == 0 || len(b)+len(c.queue[n]) <= maxBatch); n++ {
		b = c.frame(b, c.queue[n], now)
		c.queue[n] = nil
	}
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	if c.err == nil {
		_ = c.tls.SetWriteDeadline(now.Add(writeTimeout))
	}
	return b, true
}

// frame appends one data frame.
func (c *Conn) frame(b, message []byte, now time.Time) []byte {
	c.octets -= len(message)
	c.stats.Sent++
	// RFC 6940 §6.6.2: "Initially, the value is zero, and it increments by exactly one for each message sent over
	// that connection."
	seq := c.next
	c.next++
	c.flight.sent(seq, now)
	c.arm(c.rtt.rto)
	return wire.AppendData(b, seq, message)
}
