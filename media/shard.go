package media

import (
	"net/netip"
	"sync"
)

// shard is a reader and the ports that it reads. All streams of a call are of one shard, so that a packet takes one lock, which nobody else
// wants but when a call begins, changes or ends.
type shard struct {
	engine engine

	mu  sync.Mutex
	now int64 // seconds; moved on by Sweep, so that a packet costs no look at the clock
	out packetCounters
}

// packetCounters are of all ports of a shard, those of calls that have ended included.
type packetCounters struct {
	packets, octets uint64 // sent on
	dropped         [drops]uint64
}

// Why a packet is not sent on.
const (
	dropSource = iota // from somebody who is not the phone, as far as that is known
	dropNoPeer        // the other side has not said where it takes packets, or said hold
	dropTooBig
	dropSend // the kernel refused it
	drops
)

var dropNames = [drops]string{"source", "no_peer", "too_big", "send"}

// engine reads sockets and hands what comes in to packet. Its methods are called with mu of the shard held, other than run and stop.
type engine interface {
	// open binds a socket for p.
	open(p *port, at netip.AddrPort) error
	// run returns after stop.
	run()
	stop()
}

// socket is one that an engine has opened. Its methods are called with mu of the shard held.
type socket interface {
	send(b []byte, to netip.AddrPort) error
	close()
}

// port is one of ours, facing one side of a call. The shard's mu guards it.
type port struct {
	shard *shard
	sock  socket // nil: closed
	peer  *port  // facing the other side: what comes in here leaves there
	// to is where the side takes packets: where its description says, until it is latched to where its packets come from (RFC 7362 §4). Not
	// valid: nowhere.
	to      netip.AddrPort
	allow   [2]netip.Addr // where the first packet may come from
	open    bool          // it may come from anywhere
	told    bool          // the side has described itself
	latched bool

	packets, octets, dropped uint64 // that came in
	last                     int64
}

// packet takes one that came in.
func (s *shard) packet(p *port, b []byte, from netip.AddrPort) {
	q := p.peer
	if q == nil {
		return // the call is only just beginning, and nobody knows of the port yet
	}
	switch {
	case p.latched:
		// RFC 7362 §5: once latched, nobody else gets in, and nothing else moves it than a new description.
		if from != p.to {
			s.drop(p, dropSource)
			return
		}
	case !p.admits(from.Addr()):
		s.drop(p, dropSource)
		return
	case p.told && q.told:
		// RFC 7362 §4: once there are an offer and an answer.
		p.to, p.latched = from, true
	}
	p.packets++
	p.octets += uint64(len(b))
	p.last = s.now
	if q.sock == nil || !q.to.IsValid() {
		s.drop(p, dropNoPeer)
		return
	}
	if q.sock.send(b, q.to) != nil {
		s.drop(p, dropSend)
		return
	}
	s.out.packets++
	s.out.octets += uint64(len(b))
}

// admits reports whether the first packet may come from there. RFC 7362 §5: whoever is first could be anybody, so it has to be where the
// signalling came from, or where the description said.
func (p *port) admits(from netip.Addr) bool {
	return p.open && p.told && p.peer.told || from == p.allow[0] || from == p.allow[1]
}

func (s *shard) drop(p *port, why int) {
	s.out.dropped[why]++
	p.dropped++
}
