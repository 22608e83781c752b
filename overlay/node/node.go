package node

import (
	"math/rand/v2"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// LinkID names one link; the driver allots them, from 1, never twice.
type LinkID uint64

// DialID names one Dial effect.
type DialID uint64

// JobID names one Seal or Verify effect.
type JobID uint64

// OpID names one local operation.
type OpID uint64

// Config is what a node is made of.
type Config struct {
	Overlay *config.Overlay
	Self    wire.NodeID
	// Candidates are the addresses at which this node listens, sent in AttachReq.
	Candidates []wire.IceCandidate
	// AppCandidates are those at which it accepts connections of applications, sent in AppAttachReq.
	AppCandidates []wire.IceCandidate
	// LinkTypes are those that this node can dial, of links and of application connections; nil means TLS-TCP-FH-NO-ICE alone.
	// In an overlay with ICE they and the candidates above mean nothing.
	LinkTypes []wire.LinkType
	// Applications are the Application-IDs that AppAttach may name (RFC 6940 §6.5.2.2).
	Applications []wire.ApplicationID
	// Bootstrap are "host:port" addresses, besides those of the configuration document.
	Bootstrap []string
	// Known are "host:port" addresses of peers of an earlier run. A node that starts tries them before all others.
	Known []string
	// First lets the node be the first of its overlay (RFC 6940 §6.4.2.1: it must be told). It is when no bootstrap
	// address can be reached.
	First bool
	// Client has the node be a client (RFC 6940 §4.2): it routes for nobody and stores nothing. First means nothing then.
	Client bool
	// PingInterval is how long a peer may be silent before it is pinged; zero means DefaultPingInterval.
	PingInterval time.Duration
	// HoldDown is how long a peer waits before it makes new replicas of old values on a peer that has taken the place of
	// a lost successor; zero means DefaultHoldDown (RFC 6940 §10.7.1).
	HoldDown time.Duration
	// Document is the configuration document that Overlay was read from, to be handed on to nodes with an older one (RFC
	// 6940 §6.5.4). Nil: none is handed on. It is the node's from now on.
	Document []byte
	// ProbeInterval is how often to look for a partition; zero means DefaultProbeInterval.
	ProbeInterval time.Duration
	// Links is how many peers to be linked with. Zero means chord.DefaultLinks, and below zero is what RFC 6940 §10.7 asks
	// for and no more.
	Links int
	// MessageRate is how many messages per second a neighbour may send; zero means DefaultMessageRate.
	MessageRate int
	// Software is what SOFTWARE_VERSION says (RFC 7851 §5.3); empty: nothing.
	Software string
	// ReadReplicas has FetchOwn answer of what this node holds as a replica, too.
	ReadReplicas bool
	// Durable asks for Effects.Persist.
	Durable bool
	// Rand is required: transaction IDs, credentials, jitter. It must not be predictable from outside (RFC 6940 §6.3.2).
	Rand *rand.Rand
}

// Node is one RELOAD node.
type Node struct {
	c       Config
	schema  *wire.Schema
	rules   route.Rules
	ring    *chord.Ring
	store   *store.Store
	state   State
	now     time.Time // of the current input
	started time.Time
	out     Effects
	timers  [timerCount]time.Time

	lastJob     JobID
	lastDial    DialID
	lastOp      OpID
	lastSession SessionID
	jobs        map[JobID]*job
	later       []func() // what must not happen inside the function that caused it

	conns   map[LinkID]*conn
	unnamed map[LinkID]*conn
	peers   map[wire.NodeID]*peer
	order   []*peer // the same, by Node-ID
	dials   map[DialID]*dial
	avoid   map[wire.NodeID]time.Time // until when: nodes that could not be attached to lately
	sought  map[wire.NodeID]sought

	banned map[wire.NodeID]time.Time // until when: nodes that have flooded us

	requests  map[wire.TransactionID]*request
	fragments *route.Assembler
	table     *route.Table
	answers   *route.Cache
	replays   *route.Cache // requests for connections, kept longer
	opaque    *route.Opaque
	ops       map[OpID]*request

	clockLooked time.Time // when it was last compared
	clockWrong  bool      // ours, by those of the neighbours
	found       []string  // bootstrap addresses that the driver has found
	attaches    []*attach
	gathering   map[SessionID]func(SessionID, Offer, error)
	joining     *joining
	admission   *admission
	admitNext   []*inbound
	announced   announced
	given       given
	leaving     *leaving
	links       linkage
	suspects    suspects
	passed      []passed
	unacked     []unacknowledged
	copies      copies

	configuring configuring
	held        []*held // requests of ours that met another configuration
	probing     probing
	lost        []lostPeer
	tuning      tuning
	uncertain   uncertain
	bereft      bereft
	newcomers   []newcomer
	survey      survey
	heldBack    []heldBack
	again       bool   // what is being received was held back
	finds       bucket // how many Finds may be answered
}

// New returns a node that has not started: the first Tick starts it.
func New(c Config) *Node {
	if c.PingInterval == 0 {
		c.PingInterval = DefaultPingInterval
	}
	if c.HoldDown == 0 {
		c.HoldDown = DefaultHoldDown
	}
	if c.ProbeInterval == 0 {
		c.ProbeInterval = DefaultProbeInterval
	}
	if c.MessageRate == 0 {
		c.MessageRate = DefaultMessageRate
	}
	o := c.Overlay
	switch {
	case !o.NoICE:
		c.LinkTypes = iceOnly
	case c.LinkTypes == nil:
		c.LinkTypes = tlsOnly
	}
	lifetime := requestLifetime(o)
	n := &Node{
		c:         c,
		schema:    o.Schema(),
		rules:     route.Rules{Overlay: o.ID(), InitialTTL: o.InitialTTL},
		ring:      chord.New(c.Self),
		store:     store.New(o),
		fragments: route.NewAssembler(o.MaxMessageSize),
		state:     Starting,
		jobs:      make(map[JobID]*job),
		conns:     make(map[LinkID]*conn),
		unnamed:   make(map[LinkID]*conn),
		peers:     make(map[wire.NodeID]*peer),
		dials:     make(map[DialID]*dial),
		avoid:     make(map[wire.NodeID]time.Time),
		sought:    make(map[wire.NodeID]sought),
		banned:    make(map[wire.NodeID]time.Time),
		requests:  make(map[wire.TransactionID]*request),
		table:     route.NewTable(o.ReliabilityTimer, maxRequests),
		answers:   route.NewCache(lifetime, maxAnswers),
		replays:   route.NewCache(replayLifetime, maxReplays),
		opaque:    route.NewOpaque(lifetime, c.Rand),
		ops:       make(map[OpID]*request),
		gathering: make(map[SessionID]func(SessionID, Offer, error)),
		copies:    copies{held: make(map[wire.ResourceID]*holding), owners: make(map[wire.NodeID]*owner)},
	}
	if n.tuned() {
		n.c.Links = -1 // RFC 7363 says how many
	}
	if c.Durable {
		n.store.Track()
	}
	n.ring.Widen(n.c.Links)
	return n
}

// begin starts an input. It reports false when the node has left: nothing happens any more.
func (n *Node) begin(now time.Time) bool {
	if now.After(n.now) {
		n.now = now
	}
	return n.state != Left
}

// settle ends an input: consequences that wait for the tables to be consistent.
func (n *Node) settle() {
	for len(n.later) > 0 {
		f := n.later[0]
		n.later = n.later[1:]
		f()
	}
	n.ringSettled()
	n.clientSettled()
	n.pump()
	n.acknowledgeReplicated()
}

// after has f run at the end of the current input.
func (n *Node) after(f func()) { n.later = append(n.later, f) }

// Verified answers a Verify effect. When err is nil, v is the message.
func (n *Node) Verified(now time.Time, id JobID, v trust.Verified, err error) {
	if j := n.takeJob(id); n.begin(now) && j != nil && j.verified != nil {
		j.verified(v, err)
		n.settle()
	}
}

// Sealed answers a Seal effect with the encoded message, which is the node's from now on.
func (n *Node) Sealed(now time.Time, id JobID, raw []byte, err error) {
	if j := n.takeJob(id); n.begin(now) && j != nil && j.sealed != nil {
		j.sealed(raw, err)
		n.settle()
	}
}

// Tick may be called at any time; it does what is due.
func (n *Node) Tick(now time.Time) {
	if !n.begin(now) {
		return
	}
	if n.started.IsZero() {
		n.start()
	}
	n.collect()
	n.expireAttaches()
	n.runTimers()
	n.fragments.Expire(n.now)
	n.store.Expire(n.now)
	n.settle()
}

func (n *Node) start() {
	n.started = n.now
	n.timers[timerLiveness] = n.now.Add(n.jitter(n.c.PingInterval))
	n.joinStart()
}

// Deadline is when Tick is next needed; zero when nothing is due.
func (n *Node) Deadline() time.Time {
	if n.state == Left {
		return time.Time{}
	}
	if n.started.IsZero() {
		return n.now.Add(1) // at once
	}
	d := earlier(n.table.Deadline(), n.store.Deadline())
	for _, t := range n.timers {
		d = earlier(d, t)
	}
	for _, a := range n.attaches {
		d = earlier(d, a.expires)
	}
	return d
}

// earlier is the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Take drains the effects.
func (n *Node) Take() Effects {
	e := n.out
	n.out = Effects{}
	e.Persist = n.store.TakeChanges()
	return e
}

// jitter is d, more or less a tenth.
func (n *Node) jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(n.c.Rand.Int64N(int64(d/5)+1))
}
