package overlay

import (
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/ice"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// LinkInfo is one overlay link, for people.
type LinkInfo struct {
	ID        node.LinkID
	Peer      wire.NodeID
	Address   string   // of the other end, "ip:port"
	Transport string   // tls, dtls or dtls-ice
	Listens   string   // where the other end can be dialled, "ip:port"; empty when that is not known
	Dialed    bool     // by this side
	Pair      ice.Pair // that ICE has chosen; zero without ICE
	Ready     bool     // the peer is part of the ring: it may be routed through
	RTT       time.Duration
	Since     time.Time
}

// Links lists the links that stand, by ID. The slice is the caller's.
func (p *Peer) Links() []LinkInfo {
	var list []LinkInfo
	for _, s := range p.Status().Links {
		if e, ok := p.ends.get(s.ID); ok {
			i := LinkInfo{ID: s.ID, Peer: s.Peer, Address: e.address, Transport: e.transport, Dialed: e.dialed,
				Pair: e.pair(), Ready: s.Peered, RTT: s.RTT, Since: e.since}
			i.Listens = p.listens(s, e)
			list = append(list, i)
		}
	}
	return list
}

// listens is where the node at the other end of a link can be dialled: where this side has done so, or what it has said.
func (p *Peer) listens(s node.LinkStatus, e linkEnd) string {
	if e.dialed && e.session == nil {
		return e.address
	}
	if list := targets(s.Candidates, p.linkTypes()); len(list) > 0 {
		return list[0].address
	}
	return ""
}

// linkEnd is what the node does not know of a link.
type linkEnd struct {
	address, transport string
	dialed             bool
	since              time.Time
	session            *ice.Session
}

// pair is what ICE has chosen; zero without ICE.
func (e linkEnd) pair() ice.Pair {
	if e.session == nil {
		return ice.Pair{}
	}
	return e.session.Pair()
}

// pairText is the pair in words; empty without ICE.
func (e linkEnd) pairText() string {
	if p := e.pair(); p.Local.Type != "" {
		return p.String()
	}
	return ""
}

// linkEnds is a leaf: nothing is called with mu held. It holds the links that p.links counts.
type linkEnds struct {
	mu   sync.Mutex
	ends map[node.LinkID]linkEnd
}

func (l *linkEnds) put(id node.LinkID, f fresh) {
	e := linkEnd{address: f.remote.String(), transport: "tls", dialed: f.client || f.dialed != (target{}), since: time.Now(), session: f.session}
	switch {
	case f.session != nil:
		e.transport = "dtls-ice"
	case f.remote.Network() == "udp":
		e.transport = "dtls"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends == nil {
		l.ends = make(map[node.LinkID]linkEnd)
	}
	l.ends[id] = e
}

func (l *linkEnds) forget(id node.LinkID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, id)
}

func (l *linkEnds) get(id node.LinkID) (linkEnd, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.ends[id]
	return e, ok
}

// transports counts the links by transport.
func (l *linkEnds) transports() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := make(map[string]int, 2)
	for _, e := range l.ends {
		n[e.transport]++
	}
	return n
}
