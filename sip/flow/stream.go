package flow

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
)

// streamKey names a place that one connection leads to. Two names on one address are two places: the certificate was checked for one.
type streamKey struct {
	transport string
	remote    netip.AddrPort
	host      string // of a dialled TLS connection, when it is not the address itself
	node      string // alone in its key
}

// class decides how long a connection may be idle.
type class uint8

const (
	accepted class = iota
	dialled
	node
)

// stream is one connection. Its reader is one goroutine; a writer lives while there is something to write.
type stream struct {
	t       *Table
	conn    net.Conn
	class   class
	hop     location.Hop
	keys    []streamKey // under which the table finds it
	address sip.Address // of ours, as the other side is told
	packets bool        // a write is one message, and may be lost
	shaking netip.Addr  // in whose name it has a place for its handshake
	counted netip.Addr  // what it counts against MaxPerAddress as; zero for a connection of ours

	ws   *websocket.Conn   // mu until it is set, by the reader; nil: no WebSocket
	peer *x509.Certificate // verified; set before the connection is read
	used atomic.Int64      // when a message last went either way, nanoseconds since the epoch
	// asked is, of a connection over DTLS, when a request went out that was the first since something was heard; 0: none. Nothing
	// but silence tells that the other side is gone.
	asked atomic.Int64

	mu       sync.Mutex
	queue    [][]byte
	queued   int // octets in queue
	writing  bool
	draining bool // close when the queue is written
	closed   bool
	err      error // why it was closed
	watchers map[*Receipt]struct{}
}

// send queues b; receipt, when not nil, is told when the connection ends.
func (s *stream) send(b []byte, receipt *Receipt) error {
	s.mu.Lock()
	switch {
	case s.closed || s.draining:
		s.mu.Unlock()
		return ErrClosed
	case s.packets && len(b) > maxNodeMessage:
		s.mu.Unlock()
		s.t.counters.drop(dropTooLong)
		return ErrTooLong
	case len(s.queue) >= streamQueue || s.queued+len(b) > streamQueueSize:
		s.mu.Unlock()
		s.t.counters.drop(dropStreamQueue)
		return ErrQueue
	}
	if s.packets && receipt != nil && len(b) > congestionSafe {
		s.t.counters.oversize.Add(1)
	}
	s.queue = append(s.queue, b)
	s.queued += len(b)
	if receipt != nil {
		if s.watchers == nil {
			s.watchers = map[*Receipt]struct{}{}
		}
		s.watchers[receipt] = struct{}{}
	}
	start := !s.writing
	s.writing = true
	if start {
		s.t.wg.Add(1) // the reader still counts: it ends behind close
	}
	s.mu.Unlock()
	if now := time.Now(); s.packets && receipt != nil && s.asked.CompareAndSwap(0, now.UnixNano()) {
		_ = s.conn.SetReadDeadline(now.Add(askAfter)) // wakes the reader
	}
	if receipt != nil && !receipt.attach(s) {
		s.unwatch(receipt)
	}
	if start {
		go s.write()
	}
	return nil
}

func (s *stream) unwatch(r *Receipt) {
	s.mu.Lock()
	delete(s.watchers, r)
	s.mu.Unlock()
}

// write is the one writer: it takes what is queued, several messages at once, until nothing is left.
func (s *stream) write() {
	defer s.t.wg.Done()
	var joined []byte
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || s.closed {
			s.writing = false
			last := s.draining
			s.mu.Unlock()
			if last {
				s.close(ErrClosed)
			}
			return
		}
		q := s.queue
		s.queue, s.queued = nil, 0
		s.mu.Unlock()
		for len(q) > 0 {
			var b []byte
			switch {
			case s.packets:
				b, q = overDTLS(q[0]), q[1:]
			case s.ws != nil:
				b, q = q[0], q[1:] // RFC 7118 §5: "a WebSocket message MUST NOT contain more than one SIP message"
			default:
				b, q, joined = join(q, joined[:0])
			}
			if !s.put(b) {
				return
			}
		}
	}
}

// put writes b, or closes the connection.
func (s *stream) put(b []byte) bool {
	var err error
	if s.ws != nil {
		err = putWebSocket(s.ws, b)
	} else if err = s.conn.SetWriteDeadline(time.Now().Add(writeStuck)); err == nil {
		_, err = s.conn.Write(b)
	}
	if err != nil && !(s.packets && passing(err)) {
		s.close(err)
		return false
	}
	return true
}

// join takes as many messages off q as go into one write.
func join(q [][]byte, buf []byte) (b []byte, rest [][]byte, joined []byte) {
	if len(q) == 1 || len(q[0])+len(q[1]) > coalesce {
		return q[0], q[1:], buf
	}
	for len(q) > 0 && len(buf)+len(q[0]) <= coalesce {
		buf = append(buf, q[0]...)
		q = q[1:]
	}
	return buf, q, buf
}

// drain closes the connection as soon as what is queued has been written, and takes nothing more.
func (s *stream) drain() {
	s.mu.Lock()
	s.draining = true
	idle := !s.writing
	s.mu.Unlock()
	if idle {
		s.close(ErrClosed)
	}
}

// close ends the connection once; the table forgets it, and everybody who waits for something of it is told.
func (s *stream) close(err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed, s.err, s.queue = true, err, nil
	watchers := s.watchers
	s.watchers = nil
	s.mu.Unlock()
	_ = s.conn.Close()
	s.t.remove(s)
	for r := range watchers {
		r.fail(fmt.Errorf("%w: %w", ErrLost, err))
	}
	if f := s.t.cfg.Closed; f != nil {
		f(s.hop)
	}
}

func (s *stream) touch() { s.used.Store(time.Now().UnixNano()) }

func (s *stream) lastUse() time.Time { return time.Unix(0, s.used.Load()) }

// add enters a connection into the table. The caller then has read run in a goroutine, or calls wg.Done.
func (t *Table) add(s *stream) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.enter(s)
}

// enter is add for who holds mu.
func (t *Table) enter(s *stream) error {
	s.t = t
	s.hop.Flow = t.next.Add(1)
	s.hop.Local, s.hop.Remote = addrPort(s.conn.LocalAddr()), addrPort(s.conn.RemoteAddr())
	s.touch()
	if t.closed {
		return ErrClosed
	}
	room := t.cfg.MaxConnections
	if s.class == accepted {
		room -= room / roomForOthers
	}
	if len(t.byFlow) >= room {
		t.counters.drop(refuseConnections)
		return ErrQueue
	}
	if s.class == accepted {
		s.counted = block(s.hop.Remote.Addr())
		if t.per[s.counted] >= t.cfg.MaxPerAddress {
			s.counted = netip.Addr{}
			t.counters.drop(refuseAddress)
			return ErrQueue
		}
		t.per[s.counted]++
	}
	t.wg.Add(1)
	t.byFlow[s.hop.Flow] = s
	if s.class != node && s.hop.Remote.IsValid() && !(s.class == accepted && s.hop.Transport == TLS) {
		// RFC 5923 §9.1: who connects over TLS proves by that no address of its own; see alias.
		s.keys = append(s.keys, streamKey{transport: s.hop.Transport, remote: s.hop.Remote, host: s.hop.Host})
	}
	for _, k := range s.keys {
		t.byKey[k] = s
	}
	t.counters.opened[s.class].Add(1)
	return nil
}

// block is what MaxPerAddress counts: an IPv4 address, or the /64 that an IPv6 host has for itself.
func block(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

func (t *Table) remove(s *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byFlow, s.hop.Flow)
	for _, k := range s.keys {
		if t.byKey[k] == s {
			delete(t.byKey, k)
		}
	}
	if s.counted.IsValid() {
		if t.per[s.counted]--; t.per[s.counted] <= 0 {
			delete(t.per, s.counted)
		}
	}
}
