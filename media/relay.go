// Package media carries the media of calls whose phones cannot reach each other, or are not to: it writes addresses of this host into the session
// descriptions that pass (package media/sdp), and sends on what arrives there to where the other side's packets come from (RFC 7362). It never looks
// into a packet: SRTP, DTLS, RTCP and T.38 pass as they are. It knows SIP messages and nothing of the overlay.
//
// The proxy tells it of requests and responses (proxy.Media); the node moves its clock on with Sweep. Safe for concurrent use.
package media

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
)

// Config is what a Relay is made of.
type Config struct {
	// Always relays every call; otherwise only those in which a phone is behind a NAT.
	Always bool
	// Addresses are those of this relay as phones are told: one of IPv4, one of IPv6, or both.
	Addresses []netip.Addr
	// First and Last bound the ports.
	First, Last uint16
	// Timeout is how long nothing may come from either side of a call until its ports are free again.
	Timeout time.Duration
	// Limit is how many calls are relayed at a time; each branch that rings counts. 0: as many as there are ports.
	Limit int
	// Refuse has calls refused for which there are no ports. Otherwise they go on, unrelayed.
	Refuse bool
	// Strict takes the first packet only from where the signalling came from, or where the description says (RFC 7362 §5).
	Strict bool
	// Behind reports whether a phone whose messages come from there, and which says that its address is own, is behind a NAT.
	Behind func(from location.Hop, own netip.Addr) bool
	// Report is told of what an operator should know. It must not block. Optional.
	Report func(Event)
	// Now is the clock. Optional: time.Now.
	Now func() time.Time

	engine func(*shard) (engine, error) // nil: that of this host
}

// Event is something that an operator should know. Code is stable.
type Event struct {
	Code   string // MED503: no ports; MED408: a call without packets was given up
	CallID string
	Text   string
}

// Codes of events.
const (
	codePorts  = "MED503"
	codeSilent = "MED408"
)

// Relay is the relay of one node.
type Relay struct {
	c       Config
	faces   [2]netip.Addr // as phones are told: IPv4, IPv6
	binds   [2]netip.Addr // where sockets are bound: the same, or every address when that is another host's
	shards  []*shard
	running sync.WaitGroup

	mu       sync.Mutex // never taken with that of a shard held
	now      time.Time
	pool     pool
	taken    map[uint16]bool       // ports for RTP that are with calls
	calls    map[string][]*session // by Call-ID
	legs     map[uint64]*leg
	sessions int
	next     int // shard of the next call
	stats    counters
	closed   bool
}

// New opens a relay. Close ends it.
func New(c Config) (*Relay, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.engine == nil {
		c.engine = newEngine
	}
	if c.Report == nil {
		c.Report = func(Event) {}
	}
	if c.Limit <= 0 || c.Limit > maxSessions {
		c.Limit = maxSessions
	}
	r := &Relay{c: c, now: c.Now(), pool: newPool(c.First, c.Last), taken: map[uint16]bool{}, calls: map[string][]*session{}, legs: map[uint64]*leg{}}
	if len(r.pool.pairs) < 2 {
		return nil, fmt.Errorf("media: ports %d to %d: a call needs four", c.First, c.Last)
	}
	for _, a := range c.Addresses {
		a = a.Unmap()
		r.faces[family(a)], r.binds[family(a)] = a, bindable(a)
	}
	if !r.faces[0].IsValid() && !r.faces[1].IsValid() {
		return nil, errors.New("media: no address")
	}
	for range min(runtime.GOMAXPROCS(0), maxShards) {
		s := &shard{now: r.now.Unix()}
		var err error
		if s.engine, err = c.engine(s); err != nil {
			r.Close()
			return nil, err
		}
		r.shards = append(r.shards, s)
		r.running.Go(s.engine.run)
	}
	return r, nil
}

// family is the index of an address in faces and binds.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// bindable is where to bind for an advertised address: there, or on every address when this host does not have it, because a NAT of one-to-one
// stands before it.
func bindable(a netip.Addr) netip.Addr {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err == nil {
		_ = c.Close()
		return a
	}
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// Close ends every call's relaying.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	for _, list := range r.calls {
		for _, s := range list {
			r.release(s, endClosed)
		}
	}
	r.mu.Unlock()
	for _, s := range r.shards {
		s.engine.stop()
	}
	r.running.Wait()
}

// Sweep moves the clock on and frees the ports of calls in which nothing comes any more. It is to be called about once a second.
func (r *Relay) Sweep(now time.Time) {
	var silent []Event
	r.mu.Lock()
	r.now = now
	for _, s := range r.shards {
		s.mu.Lock()
		s.now = now.Unix()
		s.mu.Unlock()
	}
	for _, list := range r.calls {
		for _, s := range list {
			why, over := r.over(s, now)
			if !over {
				continue
			}
			r.release(s, why)
			silent = append(silent, Event{codeSilent, s.call, "no packet for " + now.Sub(s.heard()).String() + ": the ports of the call are free again"})
		}
	}
	r.mu.Unlock()
	for _, e := range silent {
		r.c.Report(e)
	}
}

// over reports whether a call has been quiet for too long.
func (r *Relay) over(s *session, now time.Time) (why ending, over bool) {
	quiet := now.Sub(s.heard())
	switch {
	case !s.answered:
		return endUnanswered, now.Sub(s.created) >= setupTimeout
	case s.hold[0] || s.hold[1]:
		return endSilent, quiet >= max(holdTimeout, r.c.Timeout)
	}
	return endSilent, quiet >= r.c.Timeout
}

// take opens a pair of ports that faces one side.
func (r *Relay) take(sh *shard, face netip.Addr) (e *end, err error) {
	err = errors.New("media: no free port")
	for range maxTries {
		rtp, ok := r.pool.take(r.now)
		if !ok {
			return nil, err
		}
		e = &end{number: rtp, rtp: &port{shard: sh}, rtcp: &port{shard: sh}}
		if err = r.bind(sh, e, face); err == nil {
			r.taken[rtp] = true
			return e, nil
		}
		r.pool.give(rtp, r.now) // somebody else's: it comes to the end of the queue
	}
	return nil, err
}

func (r *Relay) bind(sh *shard, e *end, face netip.Addr) error {
	at := r.binds[family(face)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := sh.engine.open(e.rtp, netip.AddrPortFrom(at, e.number)); err != nil {
		return err
	}
	if err := sh.engine.open(e.rtcp, netip.AddrPortFrom(at, e.number+1)); err != nil {
		e.rtp.sock.close()
		return err
	}
	return nil
}

// give closes a pair of ports.
func (r *Relay) give(sh *shard, e *end) {
	sh.mu.Lock()
	for _, p := range []*port{e.rtp, e.rtcp} {
		p.sock.close()
		p.sock = nil
	}
	sh.mu.Unlock()
	delete(r.taken, e.number)
	r.pool.give(e.number, r.now)
}

// own reports whether a place is one of this relay's: its ports would send to each other for ever.
func (r *Relay) own(a netip.AddrPort) bool {
	return (a.Addr() == r.faces[0] || a.Addr() == r.faces[1]) && r.taken[a.Port()&^1]
}
