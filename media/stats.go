package media

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// ending is why a call's relaying ended.
type ending int

const (
	endBye ending = iota
	endFailed
	endUnanswered
	endSilent
	endClosed
	endings
)

var endingNames = [endings]string{"bye", "failed", "unanswered", "silent", "closed"}

// Why a call is not relayed that otherwise would be.
const (
	skipICE = iota
	skipSite
	skipUnreadable
	skips
)

var skipNames = [skips]string{"ice", "same_site", "unreadable"}

type counters struct {
	begun, exhausted uint64
	ended            [endings]uint64
	skipped          [skips]uint64
}

// Stats is what a Relay does and has done. The sets of names are closed.
type Stats struct {
	Sessions   int // at this time
	Ports      int // pairs with calls
	PortsTotal int
	Begun      uint64
	Exhausted  uint64 // calls and streams for which there were no ports
	Packets    uint64 // sent on
	Octets     uint64
	Dropped    map[string]uint64 // packets, by reason
	Ended      map[string]uint64 // sessions, by reason
	Skipped    map[string]uint64 // calls that were left alone, by reason
}

// Stats returns a snapshot.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Sessions: r.sessions, Ports: r.pool.used(), PortsTotal: len(r.pool.pairs), Begun: r.stats.begun, Exhausted: r.stats.exhausted,
		Dropped: map[string]uint64{}, Ended: map[string]uint64{}, Skipped: map[string]uint64{}}
	for i, n := range r.stats.ended {
		s.Ended[endingNames[i]] = n
	}
	for i, n := range r.stats.skipped {
		s.Skipped[skipNames[i]] = n
	}
	for _, sh := range r.shards {
		sh.mu.Lock()
		s.Packets += sh.out.packets
		s.Octets += sh.out.octets
		for i, n := range sh.out.dropped {
			s.Dropped[dropNames[i]] += n
		}
		sh.mu.Unlock()
	}
	return s
}

// Session is a call that is relayed, as an operator sees it.
type Session struct {
	CallID   string
	Answered bool
	Hold     bool
	Age      time.Duration
	Quiet    time.Duration // since a packet came
	Streams  []Stream
}

// Stream is one stream of a call: the caller's side, then the callee's.
type Stream struct {
	Media string
	Sides [2]Side
}

// Side is what faces one side of a stream, RTP and RTCP together.
type Side struct {
	Local   netip.AddrPort // what the side was told
	Remote  netip.AddrPort // where it takes RTP; not valid: nowhere
	Latched bool           // its packets come from there
	Packets uint64         // that came from it
	Octets  uint64
	Dropped uint64
}

// Sessions lists the calls that are relayed, the oldest first.
func (r *Relay) Sessions() []Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Session, 0, r.sessions)
	for _, list := range r.calls {
		for _, s := range list {
			out = append(out, r.show(s))
		}
	}
	slices.SortFunc(out, func(a, b Session) int { return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.CallID, b.CallID)) })
	return out
}

func (r *Relay) show(s *session) Session {
	v := Session{CallID: s.call, Answered: s.answered, Hold: s.hold[0] || s.hold[1], Age: r.now.Sub(s.created), Quiet: r.now.Sub(s.heard())}
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	for _, st := range s.streams {
		if st == nil {
			continue
		}
		out := Stream{Media: st.media}
		for i, e := range st.ends {
			out.Sides[i] = Side{Local: netip.AddrPortFrom(s.face[i], e.number), Remote: e.rtp.to, Latched: e.rtp.latched,
				Packets: e.rtp.packets + e.rtcp.packets, Octets: e.rtp.octets + e.rtcp.octets, Dropped: e.rtp.dropped + e.rtcp.dropped}
		}
		v.Streams = append(v.Streams, out)
	}
	return v
}
