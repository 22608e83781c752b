package overlay

import (
	"maps"
	"sync"

	"github.com/p2psip/p2psip-gateway/overlay/ice"
)

// Stats are counters since the start. Every label is from a closed set.
type Stats struct {
	Messages      map[MessageKey]uint64 // by direction and method
	Dropped       map[string]uint64     // messages and values, by reason
	Requests      map[RequestKey]uint64 // local operations, by method and result
	Events        map[string]uint64
	Reasons       map[ReasonKey]uint64 // of events that have one: refused, store_refused, value_refused, dial_failed, untrusted
	Refused       map[string]uint64    // inbound connections, by link.Refusal, trust.Reason or too_many_links
	AppConns      map[string]uint64    // application connections: accepted, dialed, unmatched, dial_failed, overload
	Hops          map[int]uint64       // answered local operations, by the length of the answer's path
	InboxDepth    int
	Links         int
	Transports    map[string]int     // the links that are up, by what carries them: tls, dtls, dtls-ice
	Sessions      map[string]uint64  // of ICE, by outcome: connected, no_candidates, no_pair, handshake, unused, overload
	Pairs         map[PairKey]uint64 // that have been chosen, by the types of both ends
	TURN          ice.TURNStats      // of our TURN server
	LinkQueueFull uint64             // messages dropped because a link had no room: Dropped["link_queue_full"]
}

// MessageKey labels a message counter: "in" or "out", and the method.
type MessageKey struct{ Direction, Method string }

// RequestKey labels a request counter.
type RequestKey struct{ Method, Result string }

// ReasonKey labels an event counter.
type ReasonKey struct{ Event, Reason string }

// PairKey labels a counter of candidate pairs: host, srflx, prflx or relay.
type PairKey struct{ Local, Remote string }

// Outcomes of sessions.
const (
	sessionConnected    = "connected"
	sessionNoCandidates = "no_candidates" // gathering failed
	sessionNoPair       = "no_pair"       // no connectivity check succeeded
	sessionHandshake    = "handshake"     // the DTLS handshake failed
	sessionUnused       = "unused"        // the Attach was not answered, or another link was faster
	sessionOverload     = "overload"
)

// Reasons for dropping that are the driver's; the node has its own.
const (
	dropJobs     = "no_worker"
	dropNoLink   = "link_gone"
	dropFull     = "link_queue_full"
	dropTooLong  = "too_long"
	refusedLinks = "too_many_links"
)

// Events that are the driver's; the node has its own.
const (
	eventDialFailed    = "dial_failed"
	eventLinkClosed    = "link_closed"    // by this side
	eventLinkLost      = "link_lost"      // by the other side or the network
	eventLinkDead      = "link_dead"      // no ACK for too long
	eventLinkViolation = "link_violation" // octets that are no frame, or too many
	eventLinkStalled   = "link_stalled"
	eventLinkRestored  = "link_restored"
	eventLinkReplaced  = "link_replaced" // before its cipher suite has carried all that it stands

	eventUntrusted = "untrusted" // a connection whose certificate is good no more
	eventRenewed   = "renewed"   // this node shows another certificate from now on

	eventJournalFailed    = "journal_failed"    // what is stored for others would not outlive a power cut
	eventJournalRewritten = "journal_rewritten" // all of it, not only what changed
)

// counters is a leaf: nothing is called with mu held.
type counters struct {
	mu sync.Mutex
	s  Stats
}

// Stats returns the counters.
func (p *Peer) Stats() Stats {
	s := p.count.snapshot()
	s.InboxDepth, s.Links, s.LinkQueueFull = len(p.inbox), int(p.links.Load()), s.Dropped[dropFull]
	s.Transports = p.ends.transports()
	if p.ice != nil {
		s.TURN = p.ice.turnStats()
	}
	return s
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Messages, s.Dropped, s.Requests = maps.Clone(s.Messages), maps.Clone(s.Dropped), maps.Clone(s.Requests)
	s.Events, s.Reasons, s.Refused = maps.Clone(s.Events), maps.Clone(s.Reasons), maps.Clone(s.Refused)
	s.AppConns, s.Hops = maps.Clone(s.AppConns), maps.Clone(s.Hops)
	s.Sessions, s.Pairs = maps.Clone(s.Sessions), maps.Clone(s.Pairs)
	return s
}

// inc counts one in the map that m points to, which must belong to c.
func inc[K comparable](c *counters, m *map[K]uint64, k K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *m == nil {
		*m = make(map[K]uint64)
	}
	(*m)[k]++
}

func (c *counters) message(direction, method string) {
	inc(c, &c.s.Messages, MessageKey{direction, method})
}
func (c *counters) request(method string, err error) {
	inc(c, &c.s.Requests, RequestKey{method, result(err)})
}
func (c *counters) drop(reason string)     { inc(c, &c.s.Dropped, reason) }
func (c *counters) event(name string)      { inc(c, &c.s.Events, name) }
func (c *counters) refuse(why string)      { inc(c, &c.s.Refused, why) }
func (c *counters) app(what string)        { inc(c, &c.s.AppConns, what) }
func (c *counters) session(outcome string) { inc(c, &c.s.Sessions, outcome) }
func (c *counters) pair(p ice.Pair) {
	inc(c, &c.s.Pairs, PairKey{p.Local.Type, p.Remote.Type})
}
func (c *counters) reason(event, why string) {
	inc(c, &c.s.Reasons, ReasonKey{event, why})
}
func (c *counters) hops(n int) { inc(c, &c.s.Hops, n) }
