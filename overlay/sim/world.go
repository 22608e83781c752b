package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Config is what a world is made of. The zero value of a field means what its comment says.
type Config struct {
	Seed     uint64
	Peers    int           // at the start; 0 means 1
	MinDelay time.Duration // of a message on a link; 0 means 1 ms
	MaxDelay time.Duration // 0 means MinDelay
	Crypto   time.Duration // at most, to sign or verify; 0 means 300 µs, and what is below 0 none
	Network  Network       // what links do to messages besides delaying them
	Skew     time.Duration // by how much the clock of a host is wrong, at most
	HoldDown time.Duration // 0 means the node's default
	Ping     time.Duration // 0 means the node's default
	Links    int           // of a node, as in node.Config; 0 means the node's default
	// MessageRate is how many messages per second a link may carry; 0 means the node's default.
	MessageRate int
	Overlay     *config.Overlay
	Document    []byte        // of Overlay: what a node hands on to others
	Probe       time.Duration // how often a node looks for a partition; 0 means the node's default
	// PathMTU has links cut what is longer, as those over DTLS do; 0: nothing is cut.
	PathMTU      int
	ReadReplicas bool // as in node.Config
	// Durable gives each host a disk, on which what it stores outlives it.
	Durable bool
	// RealSize gives certificates and signatures the size of real ones, those of ECDSA keys, so that octets can be counted.
	RealSize bool
	// Trace, when set, is called for every message that arrives and every input that is not a message.
	Trace func(Step)
	// Event, when set, is called for every event of a node.
	Event func(at time.Duration, h *Host, e node.Event)
}

// Step is one line of a trace.
type Step struct {
	At       time.Duration // since the start of the world
	Host     int
	Input    string // "receive", "link_up", ...
	From     int    // host at the other end; -1 when there is none
	Code     wire.MessageCode
	ToHost   bool // the message is for this host, not to be forwarded
	Response wire.ErrorCode
}

// World is one overlay.
type World struct {
	c         Config
	rand      *rand.Rand
	schema    *wire.Schema
	start     time.Time
	now       time.Time
	events    queue
	hosts     []*Host
	trust     *authority
	parted    map[[2]*Host]bool // that cannot reach each other
	walls     []*Wall
	felled    time.Duration                  // when the last wall was taken away
	lookups   map[wire.TransactionID]*lookup // that are under way and watched
	hash      digest
	violated  error          // the first invariant that was broken while running
	Counts    map[string]int // node events by type and, for drops, reason
	Messages  int            // delivered on links
	Octets    int            // sent on links, with the header of each frame
	Events    int            // that have happened
	Fragments int            // of messages that were cut
	PeakLinks int            // the most that a node has ever had
}

// Host is one place at which a node runs.
type Host struct {
	Index int
	ID    wire.NodeID
	Node  *node.Node
	Up    bool
	// Apps are the connections of applications that the node was asked for.
	Apps []node.AppDial
	// Tamper, when set, may change what the node sends, before it is signed: a malicious peer.
	Tamper func(*wire.Message)
	// OnForward, when set, is called for every message that the node sends.
	OnForward func(wire.TransactionID)
	// Garble spoils the signatures of what the node sends.
	Garble bool

	// Client has the node be a client when it is started next.
	Client bool
	// Also are further Node-IDs in the certificate that the host shows on links.
	Also []wire.NodeID

	w       *World
	disk    map[string][]byte // kept records
	life    int32
	linked  bool // it takes part in links
	paused  bool
	backlog []event       // what has happened to it since it was paused
	slow    time.Duration // that it takes for each message
	busy    time.Time     // until when it is at work on messages
	skew    time.Duration // of its clock
	traffic Traffic
	side    uint64   // of each wall: a bit
	within  bool     // it was in that which was taken away last
	silent  bool     // dead without anybody noticing
	joined  bool     // in this life it has been a peer
	known   []string // addresses that it was started with
	links   links
	tick    time.Duration // when the tick that is planned comes; 0: none is
	receive func(from node.LinkID, raw []byte)
	ops     map[node.OpID]func(node.Done)
	gateway *identity
	ice     traversal
}

// epoch is where virtual time starts.
var epoch = time.Unix(1_700_000_000, 0).UTC()

// New returns a world whose hosts have not started.
func New(c Config) *World {
	if c.MinDelay == 0 {
		c.MinDelay = time.Millisecond
	}
	c.MaxDelay = max(c.MaxDelay, c.MinDelay)
	if c.Crypto == 0 {
		c.Crypto = maxCrypto
	}
	if c.Overlay == nil {
		c.Overlay = Overlay()
	}
	w := &World{
		c:      c,
		rand:   rand.New(rand.NewPCG(c.Seed, 0x5349_4d55_4c41_5445)),
		schema: c.Overlay.Schema(),
		start:  epoch,
		now:    epoch,
		trust:  newAuthority(c.RealSize),
		hash:   newDigest(),
		Counts: make(map[string]int),
	}
	for range max(1, c.Peers) {
		w.AddHost()
	}
	return w
}

// Overlay is a configuration for simulated overlays: TLS links without ICE and messages large enough for many signers.
func Overlay() *config.Overlay {
	o := config.New("sim.example")
	o.NoICE = true
	o.MaxMessageSize = 65000
	return o
}

// AddHost adds a host that has not started and returns it.
func (w *World) AddHost() *Host {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], w.rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], w.rand.Uint64())
	return w.AddHostAt(id)
}

// AddHostAt is AddHost for a host with a given Node-ID.
func (w *World) AddHostAt(id [16]byte) *Host {
	nodeID, err := wire.NodeIDFromBytes(id[:])
	if err != nil {
		panic("sim: " + err.Error())
	}
	h := &Host{Index: len(w.hosts), ID: nodeID, w: w}
	if w.c.Skew > 0 {
		h.skew = w.delay(-w.c.Skew, w.c.Skew)
	}
	h.gateway = w.trust.issue("gw@"+w.c.Overlay.InstanceName, nodeID)
	w.hosts = append(w.hosts, h)
	return h
}

// Host returns the i'th host.
func (w *World) Host(i int) *Host { return w.hosts[i] }

// Hosts lists all hosts. The slice must not be changed.
func (w *World) Hosts() []*Host { return w.hosts }

// Living lists the hosts that are up.
func (w *World) Living() []*Host {
	var out []*Host
	for _, h := range w.hosts {
		if h.Up {
			out = append(out, h)
		}
	}
	return out
}

// Elapsed is the virtual time since the start.
func (w *World) Elapsed() time.Duration { return w.now.Sub(w.start) }

// Now is the virtual time.
func (w *World) Now() time.Time { return w.now }

// Hash is a digest of everything that has happened.
func (w *World) Hash() uint64 { return uint64(w.hash) }

// After has f run when d has passed.
func (w *World) After(d time.Duration, f func()) { w.plan(d, event{run: f}) }

func (w *World) plan(d time.Duration, e event) {
	w.events.put(w.Elapsed()+d, d <= 0, e)
}

// Run lets d of virtual time pass, or less when an invariant is broken.
func (w *World) Run(d time.Duration) {
	end := w.now.Add(d)
	last := w.Elapsed() + d
	for w.violated == nil {
		p, ok := w.events.next()
		if !ok || p.at > last {
			break
		}
		w.now = w.start.Add(p.at)
		w.happen(w.events.take(p))
	}
	w.now = end
}

// happen carries out an event: now, or when the host that it happens to goes on.
func (w *World) happen(e event) {
	h := e.host
	switch {
	case h != nil && h.paused:
		h.backlog = append(h.backlog, e)
		return
	case h != nil && e.life != h.life:
		return
	}
	w.Events++
	switch {
	case e.tick:
		h.ticked()
	case e.to != nil:
		e.to.arrived(w, e.raw)
	case h == nil || h.Up:
		e.run()
	}
}

// RunUntil runs until ok reports true, asked every step, or limit has passed. It reports which.
func (w *World) RunUntil(limit, step time.Duration, ok func() bool) bool {
	for end := w.now.Add(limit); !ok(); w.Run(step) {
		if !w.now.Before(end) || w.violated != nil {
			return false
		}
	}
	return true
}

// delay draws how long something takes.
func (w *World) delay(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(w.rand.Int64N(int64(high-low)+1))
}

func (w *World) violate(format string, args ...any) {
	if w.violated == nil {
		w.violated = fmt.Errorf("at %v: "+format, append([]any{w.Elapsed()}, args...)...)
	}
}

// note adds a step to the digest and the trace.
func (w *World) note(s Step) {
	s.At = w.Elapsed()
	w.hash.add(uint64(s.At))
	w.hash.add(uint64(uint32(s.Host))<<32 | uint64(uint32(s.From)))
	w.hash.add(uint64(s.Code)<<32 | uint64(len(s.Input)))
	if w.c.Trace != nil {
		w.c.Trace(s)
	}
}

// Settle runs until every host that is up is part of the ring.
func (w *World) Settle(limit time.Duration) error {
	joined := func() bool {
		for _, h := range w.Living() {
			if !h.Node.State().Serves() {
				return false
			}
		}
		return true
	}
	if w.RunUntil(limit, 50*time.Millisecond, joined) {
		return nil
	}
	if w.violated != nil {
		return w.violated
	}
	for _, h := range w.Living() {
		if s := h.Node.State(); !s.Serves() {
			return fmt.Errorf("host %d is %s after %v", h.Index, s, limit)
		}
	}
	return errors.New("not settled")
}
