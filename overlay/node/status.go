package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// State is where the node stands.
type State string

// The states.
const (
	Starting State = "starting" // looking for a bootstrap node
	Joining  State = "joining"
	Joined   State = "joined"
	Client   State = "client" // linked with the peer that is responsible for it
	Leaving  State = "leaving"
	Left     State = "left"
)

// Serves reports whether the node can store and fetch, and be reached.
func (s State) Serves() bool { return s == Joined || s == Client }

// Status is a snapshot for people.
type Status struct {
	State        State
	Self         wire.NodeID
	Predecessors []wire.NodeID // nearest first
	Successors   []wire.NodeID // nearest first
	Fingers      []wire.NodeID // peers that are no neighbours, ascending
	Links        []LinkStatus  // by ID
	Stored       map[wire.KindID]int
	Transactions int
	SizeEstimate int // peers in the overlay, estimated
	// ClockSkew is by how much the clocks of the neighbours are ahead of ours, their median.
	ClockSkew time.Duration
	Share     float64       // of the ring that the node is responsible for, 0 to 1
	Oldest    time.Duration // age of the oldest transaction
	Load      Load
	Tuning    *Tuning // of an overlay with RFC 7363, else nil
	// JoinFailed is why the last attempt to join came to nothing; empty while the node is part of the ring.
	JoinFailed string
}

// Load is how full the node's bounded tables are.
type Load struct {
	Requests, Jobs, Links, MaxLinks, Attaches, Dials, Answers, Replays, Copies, Avoided, Sought, Admissions, Banned, Fragmented int
}

// Over names a table that has outgrown its limit: never, or there is a mistake in this package. It is empty otherwise.
func (l Load) Over() string {
	for _, t := range []struct {
		name     string
		n, limit int
	}{
		{"requests", l.Requests, maxRequests}, {"jobs", l.Jobs, maxJobs}, {"links", l.Links, l.MaxLinks},
		{"attaches", l.Attaches, maxAttaches}, {"dials", l.Dials, maxDials}, {"answers", l.Answers, maxAnswers},
		{"replays", l.Replays, maxReplays}, {"copies", l.Copies, copyWindow + chord.Replicas}, {"avoided", l.Avoided, maxAvoid}, {"sought", l.Sought, maxSought},
		{"admissions", l.Admissions, maxAdmitNext}, {"banned", l.Banned, maxBanned},
	} {
		if t.n > t.limit {
			return t.name
		}
	}
	return ""
}

func (n *Node) load() Load {
	return Load{Requests: n.table.Len(), Jobs: len(n.jobs), Links: n.linkCount(), MaxLinks: n.limit(), Attaches: len(n.attaches),
		Dials: len(n.dials), Answers: n.answers.Len(), Replays: n.replays.Len(), Copies: n.copies.sent, Avoided: len(n.avoid), Sought: len(n.sought),
		Admissions: len(n.admitNext), Banned: len(n.banned), Fragmented: n.fragments.Len()}
}

// Holds reports whether the node has values under r, as their owner or as a replica.
func (n *Node) Holds(r wire.ResourceID) bool {
	return n.store.Has(r)
}

// Neighbors is the Neighbor Table, nearest first. The slices are the caller's.
func (n *Node) Neighbors() (predecessors, successors []wire.NodeID) {
	return n.ring.Predecessors(), n.ring.Successors()
}

// LinkStatus is one link of a Status.
type LinkStatus struct {
	ID     LinkID
	Peer   wire.NodeID
	Peered bool // an Update came over it: it may be routed through (RFC 6940 §6.5.1)
	RTT    time.Duration
	// Candidates are where the peer listens, when it has told us. They must not be modified.
	Candidates []wire.IceCandidate
	// Transport is what carries the link, tls, dtls or dtls-ice, and Pair the candidate pair that ICE has chosen for it: the node
	// does not know, and the driver fills them in.
	Transport, Pair string
}

// State is where the node stands.
func (n *Node) State() State { return n.state }

// Status is a snapshot for people. What it holds is the caller's.
func (n *Node) Status(now time.Time) Status {
	s := Status{
		State:        n.state,
		Self:         n.c.Self,
		Predecessors: n.ring.Predecessors(),
		Successors:   n.ring.Successors(),
		Fingers:      n.ring.Fingers(),
		Stored:       n.store.Count(),
		Transactions: n.table.Len(),
		SizeEstimate: n.ring.SizeEstimate(),
		Load:         n.load(),
		ClockSkew:    n.clockSkew(),
		Tuning:       n.tuningStatus(),
	}
	if n.joining != nil && !n.state.Serves() {
		s.JoinFailed = n.joining.why
	}
	for _, r := range n.requests {
		s.Oldest = max(s.Oldest, now.Sub(r.begun))
	}
	if n.member() {
		s.Share = n.ring.Share()
	}
	for _, c := range n.conns {
		p := n.peers[c.node]
		s.Links = append(s.Links, LinkStatus{ID: c.id, Peer: c.node, Peered: p.ready, RTT: p.rtt, Candidates: p.candidates})
	}
	slices.SortFunc(s.Links, func(a, b LinkStatus) int { return cmp.Compare(a.ID, b.ID) })
	return s
}
