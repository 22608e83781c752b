package media

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/media/sdp"
)

// session is one call, or one branch of a call that rings, whose media is relayed. Side 0 is the caller. Its ports are guarded by its shard, the
// rest by the relay's lock.
type session struct {
	shard    *shard
	call     string    // Call-ID
	tags     [2]string // of the sides; the callee's is empty until somebody answers
	early    []string  // tags of those that answered provisionally
	signal   [2]netip.Addr
	face     [2]netip.Addr // what each side is told
	streams  []*stream     // by m= line; nil: not relayed
	said     [2][]place
	pending  [2][]place // what a side has offered and the other has not answered yet (RFC 3264 §4)
	hold     [2]bool
	answered bool // a 2xx came
	ended    bool
	created  time.Time
	changed  time.Time
}

// stream is a pair of ports for each side.
type stream struct {
	media string
	ends  [2]*end
}

// end is what faces one side.
type end struct {
	number    uint16 // of rtp; rtcp is the next one
	rtp, rtcp *port
}

// place is what a description says of one stream.
type place struct {
	rtp, rtcp netip.AddrPort
	hold      bool
}

// places reads a description. A stream at the same address and port as one before it shares that one's ports (RFC 9143 §7.3): same gives the first for
// each.
func places(d *sdp.Description) (out []place, same []int) {
	out, same = make([]place, len(d.Streams)), make([]int, len(d.Streams))
	for i := range d.Streams {
		s := &d.Streams[i]
		p := &out[i]
		same[i] = i
		p.hold = s.Direction != sdp.SendRecv || s.Addr.IsUnspecified()
		if s.Port == 0 || !s.Addr.IsValid() {
			continue
		}
		p.rtp = netip.AddrPortFrom(s.Addr, s.Port)
		switch {
		case s.RTCP.IsValid():
			p.rtcp = s.RTCP // RFC 3605 §2.1
		case s.Port < 65535:
			p.rtcp = netip.AddrPortFrom(s.Addr, s.Port+1) // RFC 3550 §11
		}
		if first := slices.IndexFunc(out[:i], func(q place) bool { return q.rtp == p.rtp }); first >= 0 && !s.Addr.IsUnspecified() {
			same[i] = first
		}
	}
	return out, same
}

// describe takes what side x says and returns it as the other side is to read it. answer tells that it answers the other side's offer.
func (r *Relay) describe(s *session, x int, d *sdp.Description, answer bool) []byte {
	said, same := places(d)
	y := 1 - x
	r.widen(s, d)
	switch {
	case answer || s.pending[y] != nil:
		if s.pending[y] != nil {
			r.apply(s, y, s.pending[y])
		}
		s.pending = [2][]place{}
		r.apply(s, x, said)
	case s.said[0] == nil || s.said[1] == nil || slices.Equal(s.said[x], said):
		r.apply(s, x, said)
	default:
		s.pending[x] = said // RFC 3264 §8: until it is answered, all is as it was
	}
	return s.write(x, d, same)
}

// write is what side x says as the other one is to read it.
func (s *session) write(x int, d *sdp.Description, same []int) []byte {
	to := make([]sdp.Place, len(d.Streams))
	for i := range d.Streams {
		if st := s.stream(same[i]); st != nil {
			n := st.ends[1-x].number
			to[i] = sdp.Place{RTP: n, RTCP: n + 1}
		}
	}
	return d.Write(s.face[1-x], to, true)
}

func (s *session) stream(i int) *stream {
	if i < len(s.streams) {
		return s.streams[i]
	}
	return nil
}

// widen opens ports for streams that have none. It reports whether every stream that can have some has.
func (r *Relay) widen(s *session, d *sdp.Description) (all bool) {
	all = true
	for i := range d.Streams {
		if len(s.streams) <= i {
			s.streams = append(s.streams, nil)
		}
		ds := &d.Streams[i]
		if s.streams[i] != nil || ds.Port == 0 || !ds.Datagrams() || ds.WebRTC() || !ds.Addr.IsValid() {
			continue
		}
		st := &stream{media: strings.Clone(ds.Media)}
		if i >= maxStreams || !r.open(s, st) {
			r.stats.exhausted++
			all = false
			continue
		}
		s.streams[i] = st
	}
	return all
}

// open gives a stream its ports.
func (r *Relay) open(s *session, st *stream) bool {
	for side := range st.ends {
		e, err := r.take(s.shard, s.face[side])
		if err != nil {
			if side == 1 {
				r.give(s.shard, st.ends[0])
			}
			return false
		}
		st.ends[side] = e
	}
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	a, b := st.ends[0], st.ends[1]
	a.rtp.peer, b.rtp.peer, a.rtcp.peer, b.rtcp.peer = b.rtp, a.rtp, b.rtcp, a.rtcp
	for side, e := range st.ends {
		for _, p := range []*port{e.rtp, e.rtcp} {
			// Packets that come before the answer pass (RFC 3264 §5.1), but nothing is latched to them.
			p.allow[0], p.open, p.last = s.signal[side], !r.c.Strict, s.shard.now
		}
	}
	return true
}

// apply makes what side x says of its streams hold.
func (r *Relay) apply(s *session, x int, said []place) {
	old := s.said[x]
	s.said[x] = said
	s.changed = r.now
	s.hold[x] = holds(said)
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for i, p := range said {
		st := s.stream(i)
		if st == nil || slices.ContainsFunc(said[:i], func(q place) bool { return q.rtp == p.rtp && p.rtp.IsValid() }) {
			continue
		}
		// RFC 7362 §4: only a description that names another place lets go of who was latched.
		if e := st.ends[x]; i >= len(old) || old[i].rtp != p.rtp || old[i].rtcp != p.rtcp || e.rtp.allow[0] != s.signal[x] {
			r.point(e.rtp, p.rtp, s, x)
			r.point(e.rtcp, p.rtcp, s, x)
		}
	}
}

// point has a port of side x send to a place, until a packet comes from somewhere. The shard's lock is held.
func (r *Relay) point(p *port, to netip.AddrPort, s *session, x int) {
	p.latched, p.told = false, true
	p.allow = [2]netip.Addr{s.signal[x], to.Addr()}
	p.to = to
	near := s.signal[x] // where the side is, as far as we know; else, where we are
	if !near.IsValid() {
		near = s.face[x]
	}
	a := to.Addr()
	switch {
	case !a.IsValid() || to.Port() == 0 || a.IsUnspecified(): // hold, or a stream that is not used
	case a.IsMulticast() || r.own(to) || local(a) && !local(near):
		// Nobody may have us send to a group, to ourselves, or from outside into the network that we are in.
	default:
		return
	}
	p.to = netip.AddrPort{}
}

// local reports whether an address is one that the Internet has no way to.
func local(a netip.Addr) bool { return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() }

// holds reports whether no stream that is in use goes both ways.
func holds(said []place) bool {
	hold := false
	for _, p := range said {
		if !p.rtp.IsValid() {
			continue
		}
		if !p.hold {
			return false
		}
		hold = true
	}
	return hold
}

// heard is when the last packet came, or when a description last said something.
func (s *session) heard() time.Time {
	last := s.changed
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for _, st := range s.streams {
		if st == nil {
			continue
		}
		for _, e := range st.ends {
			for _, p := range []*port{e.rtp, e.rtcp} {
				if t := time.Unix(p.last, 0); t.After(last) {
					last = t
				}
			}
		}
	}
	return last
}

// has reports whether a tag is that of side 1, or may become it.
func (s *session) has(tag string) bool {
	return tag != "" && (s.tags[1] == tag || slices.Contains(s.early, tag))
}

// release frees the ports of a session and forgets it.
func (r *Relay) release(s *session, why ending) {
	if s.ended {
		return
	}
	s.ended = true
	r.sessions--
	r.stats.ended[why]++
	for _, st := range s.streams {
		if st == nil {
			continue
		}
		r.give(s.shard, st.ends[0])
		r.give(s.shard, st.ends[1])
	}
	left := slices.DeleteFunc(slices.Clone(r.calls[s.call]), func(o *session) bool { return o == s })
	if len(left) == 0 {
		delete(r.calls, s.call)
	} else {
		r.calls[s.call] = left
	}
}
