package link

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// DTLS records (RFC 6347 §4.1, §4.2.2).
const (
	recordHeader    = 13
	messageHeader   = 12
	recordAlert     = 21
	recordHandshake = 22
	recordData      = 23
	helloClient     = 1
	helloServer     = 2
	helloVerify     = 3
	alertFatal      = 2
	alertInternal   = 80
)

// guard is the connection under a DTLS association. It keeps from the library what strangers who know both addresses
// could send: the library answers an application record in clear text with a fatal alert that ends the association,
// believes an alert in clear text at any time, and holds fragments of handshake messages without a useful bound.
type guard struct {
	net.Conn
	proven func() // a server's: called when the client's address is proven; may be nil

	closing atomic.Bool   // we close the association
	parted  chan struct{} // closed when our closure alert has been sent
	part    sync.Once

	phase     atomic.Int32
	busy      atomic.Bool
	datagrams int // with handshake records; the reader's
	fragments int // of handshake messages; the reader's
}

// Phases of an association.
const (
	phaseHandshake int32 = iota
	phaseComplete        // the peer may still repeat its last flight
	phaseSettled         // the peer has shown that it has our last flight
)

func newGuard(under net.Conn) *guard { return &guard{Conn: under, parted: make(chan struct{})} }

func (g *guard) complete() { g.phase.CompareAndSwap(phaseHandshake, phaseComplete) }
func (g *guard) settle()   { g.phase.Store(phaseSettled) }

// Read returns the next datagram that the library should see.
func (g *guard) Read(b []byte) (int, error) {
	for {
		n, err := g.Conn.Read(b)
		if err != nil || g.admit(b[:n]) {
			return n, err
		}
	}
}

// Write looks for our closure alert, and for the ServerHello: it goes out when the client has returned the cookie.
func (g *guard) Write(b []byte) (int, error) {
	if g.closing.Load() && len(b) > 0 && b[0] == recordAlert {
		defer g.part.Do(func() { close(g.parted) })
	}
	if g.proven != nil && len(b) > recordHeader && b[0] == recordHandshake && b[recordHeader] == helloServer &&
		g.phase.Load() == phaseHandshake {
		g.proven()
	}
	return g.Conn.Write(b)
}

// Close closes the connection, but not before our closure alert: the library's own reader, which it interrupts first,
// closes the connection too, and may be the faster one.
func (g *guard) Close() error {
	if g.closing.Load() {
		patience := time.NewTimer(partTimeout)
		defer patience.Stop()
		select {
		case <-g.parted:
		case <-patience.C:
		}
	}
	return g.Conn.Close()
}

// admit looks at all records of a datagram.
func (g *guard) admit(b []byte) bool {
	phase := g.phase.Load()
	counted := false
	for len(b) > 0 {
		r, rest, ok := cutRecord(b)
		if !ok || r.epoch == 0 && !g.clear(r, phase) {
			return false
		}
		if r.kind == recordHandshake {
			if !counted {
				counted = true
				g.datagrams++
			}
			g.fragments += max(1, r.fragments())
		}
		b = rest
	}
	return !counted || g.datagrams <= maxHandshakeDatagrams && g.fragments <= maxHandshakeFragments
}

// clear reports whether a record in clear text is admissible.
func (g *guard) clear(r record, phase int32) bool {
	switch {
	case phase == phaseSettled, r.kind == recordData, phase == phaseComplete && r.kind == recordAlert:
		return false
	case r.kind == recordAlert && len(r.body) == 2 && r.body[0] == alertFatal && r.body[1] == alertInternal:
		g.busy.Store(true)
	}
	return true
}

// record is a DTLS record.
type record struct {
	kind  byte
	epoch uint16
	body  []byte
}

// cutRecord takes the first record off a datagram.
func cutRecord(b []byte) (r record, rest []byte, ok bool) {
	if len(b) < recordHeader {
		return r, nil, false
	}
	end := recordHeader + int(b[11])<<8 + int(b[12])
	if len(b) < end {
		return r, nil, false
	}
	return record{b[0], uint16(b[3])<<8 | uint16(b[4]), b[recordHeader:end]}, b[end:], true
}

// fragments counts the fragments of handshake messages in a record in clear text.
func (r record) fragments() (n int) {
	if r.epoch != 0 {
		return 1
	}
	for b := r.body; len(b) >= messageHeader; n++ {
		b = b[min(len(b), messageHeader+int(b[9])<<16+int(b[10])<<8+int(b[11])):]
	}
	return n
}
