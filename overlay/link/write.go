package link

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// writer is the writer goroutine. It alone closes the connection, which ends the reader.
func (c *Conn) writer() {
	defer c.hangUp()
	for c.wait() {
		buf := batches.Get().(*[]byte)
		*buf = c.batch((*buf)[:0])
		_, err := c.tls.Write(*buf)
		if cap(*buf) <= 2*maxBatch {
			batches.Put(buf)
		}
		if err != nil {
			c.end(fmt.Errorf("link: write: %w", err), false)
			if errors.Is(err, os.ErrDeadlineExceeded) { // the peer takes no octets and would take no alert
				_ = c.tls.NetConn().Close()
			}
			return
		}
	}
}

// batches holds buffers for what goes into one Write, of all links: an idle link keeps none.
var batches = sync.Pool{New: func() any {
	b := make([]byte, 0, maxBatch)
	return &b
}}

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

// wait waits for something to write. It reports false when the link has ended.
func (c *Conn) wait() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && len(c.queue) == 0 && len(c.acks) == 0 {
		c.wake.Wait()
	}
	return c.err == nil || c.drain && len(c.queue) > 0
}

// batch appends to b what waits to be written: ACKs first, then as many messages as fit into one Write.
func (c *Conn) batch(b []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
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
	return b
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
