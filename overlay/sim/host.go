package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Death is how a host dies.
type Death bool

// The ways to die.
const (
	Crash  Death = false // its links are seen to be down
	Silent Death = true  // its links stay up, and nothing comes over them
)

const (
	maxCrashDelay = 50 * time.Millisecond // until the other end of a link sees it go down
	maxCrypto     = 300 * time.Microsecond
	refusedDelay  = 2 * time.Millisecond // until a dial to a host that is not there fails
	dialTimeout   = 10 * time.Second     // the same when nothing answers
)

// Start starts every host: the first one at once, as the first of its overlay, the others when it is up, over the given
// time.
func (w *World) Start(over time.Duration) {
	w.hosts[0].Start(true)
	w.Run(10 * time.Millisecond)
	for _, h := range w.hosts[1:] {
		w.After(w.delay(0, over), func() { h.Start(false) })
	}
}

func (h *Host) address() string { return fmt.Sprintf("host%d:6084", h.Index) }

// Candidates are the addresses at which the host takes links.
func (h *Host) Candidates() []wire.IceCandidate { return h.candidates(6084) }

func (h *Host) appCandidates() []wire.IceCandidate { return h.candidates(6085) }

func (h *Host) candidates(port uint16) []wire.IceCandidate {
	ip := netip.AddrFrom4([4]byte{10, byte(h.Index >> 16), byte(h.Index >> 8), byte(h.Index)})
	return []wire.IceCandidate{{Address: netip.AddrPortFrom(ip, port), Link: h.linkType(), Foundation: "1",
		Priority: 1, Type: wire.CandidateHost}}
}

// Start starts a host that is not up. Its bootstrap nodes are up to three others.
func (h *Host) Start(first bool) {
	var bootstrap []string
	if !first {
		bootstrap = h.bootstrap(h.w.Living())
	}
	h.start(first, bootstrap)
	h.restore()
	h.input("start", func() { h.Node.Tick(h.now()) })
}

// bootstrap draws the addresses of up to three other hosts.
func (h *Host) bootstrap(among []*Host) (addresses []string) {
	for range min(3, len(among)) {
		other := among[h.w.rand.IntN(len(among))]
		for tries := 0; other == h && tries < 8 && len(among) > 1; tries++ {
			other = among[h.w.rand.IntN(len(among))]
		}
		addresses = append(addresses, other.address())
	}
	return addresses
}

// start gives a host that is not up a node that has not started.
func (h *Host) start(first bool, bootstrap []string) {
	w := h.w
	h.life++
	h.Up, h.linked, h.silent, h.tick = true, true, false, 0
	h.joined, h.known = first, bootstrap
	h.paused, h.backlog, h.slow, h.busy = false, nil, 0, time.Time{}
	h.receive = h.received
	h.links = links{}
	h.ice = traversal{make(map[node.SessionID]bool), make(map[wire.NodeID]int)}
	h.ops = make(map[node.OpID]func(node.Done))
	h.Node = node.New(node.Config{
		Overlay:       w.c.Overlay,
		Self:          h.ID,
		Client:        h.Client,
		Candidates:    h.Candidates(),
		AppCandidates: h.appCandidates(),
		Applications:  applications,
		Bootstrap:     bootstrap,
		First:         first,
		PingInterval:  w.c.Ping,
		HoldDown:      w.c.HoldDown,
		Links:         w.c.Links,
		MessageRate:   w.c.MessageRate,
		Document:      w.c.Document,
		ProbeInterval: w.c.Probe,
		Durable:       w.c.Durable,
		ReadReplicas:  w.c.ReadReplicas,
		Rand:          rand.New(rand.NewPCG(w.rand.Uint64(), w.rand.Uint64())),
	})
}

var applications = []wire.ApplicationID{wire.ApplicationSIP}

func (h *Host) received(from node.LinkID, raw []byte) {
	h.input("", func() { h.Node.Receive(h.now(), from, raw) })
}

// Status is the node's.
func (h *Host) Status() node.Status { return h.Node.Status(h.now()) }

// input lets the node have one input, and carries out what it causes.
func (h *Host) input(name string, f func()) {
	if name != "" {
		h.w.note(Step{Host: h.Index, Input: name, From: -1})
	}
	f()
	h.w.PeakLinks = max(h.w.PeakLinks, h.Node.Links())
	h.act(h.Node.Take())
	h.arm()
}

// nodeInput is input for what a client has no use for.
func (h *Host) nodeInput(name string, f func()) {
	if h.Node != nil {
		h.input(name, f)
	}
}

// later is After for something that only happens in this life of the host.
func (h *Host) later(d time.Duration, f func()) { h.w.plan(d, event{run: f, host: h, life: h.life}) }

// now is the time on the clock of the host.
func (h *Host) now() time.Time { return h.w.now.Add(h.skew) }

// arm plans the next tick. One that is planned for earlier stays: what it finds is that nothing is due.
func (h *Host) arm() {
	at := h.Node.Deadline()
	if at.IsZero() {
		return
	}
	tick := max(1, at.Sub(h.w.start)-h.skew, h.w.Elapsed())
	if h.tick != 0 && h.tick <= tick {
		return
	}
	h.tick = tick
	h.w.plan(tick-h.w.Elapsed(), event{tick: true, host: h, life: h.life})
}

// ticked is when a tick that was planned has come.
func (h *Host) ticked() {
	if h.tick == 0 || !h.Up || h.tick > h.w.Elapsed() {
		return // another one was planned since
	}
	h.tick = 0
	if d := h.Node.Deadline(); d.IsZero() || d.After(h.now()) {
		h.arm()
		return
	}
	h.input("", func() { h.Node.Tick(h.now()) })
}

// act carries out effects.
func (h *Host) act(e node.Effects) {
	for _, f := range e.Forward {
		h.send(f)
	}
	for _, id := range e.Close {
		h.closeLink(id)
	}
	for _, s := range e.Seal {
		h.later(h.w.delay(0, h.w.c.Crypto), func() {
			raw := h.w.trust.seal(h, s)
			h.input("sealed", func() { h.Node.Sealed(h.now(), s.Job, raw, nil) })
		})
	}
	for _, v := range e.Verify {
		h.later(h.w.delay(0, h.w.c.Crypto), func() {
			m, err := h.believes(h.w.trust.verify(v))
			h.input("verified", func() { h.Node.Verified(h.now(), v.Job, m, err) })
		})
	}
	for _, c := range e.Configure {
		h.configure(c)
	}
	h.traverse(e)
	for _, d := range e.Dial {
		h.dial(d)
	}
	h.Apps = append(h.Apps, e.Apps...)
	for _, d := range e.Done {
		if f := h.ops[d.Op]; f != nil {
			delete(h.ops, d.Op)
			h.w.After(0, func() { f(d) })
		}
	}
	h.keep(e.Persist)
	for _, ev := range e.Events {
		if h.w.c.Event != nil {
			h.w.c.Event(h.w.Elapsed(), h, ev)
		}
		h.joined = h.joined || ev.Type == node.EventJoined
		h.w.Counts[string(ev.Type)]++
		if ev.Type == node.EventDropped {
			h.w.Counts[string(ev.Type)+":"+ev.Text]++
		}
	}
}

// Do starts an operation; done is called at its end, unless the host dies first.
func (h *Host) Do(op node.Op, done func(node.Done)) {
	h.input("do", func() { h.ops[h.Node.Do(h.now(), op)] = done })
}

// do is Do, and returns the transaction that the operation began with; zero when it began with none.
func (h *Host) do(op node.Op, done func(node.Done)) (tx wire.TransactionID) {
	h.w.note(Step{Host: h.Index, Input: "do", From: -1})
	h.ops[h.Node.Do(h.now(), op)] = done
	e := h.Node.Take()
	if len(e.Seal) > 0 {
		tx = e.Seal[0].Message.Header.Transaction
	}
	h.act(e)
	h.arm()
	return tx
}

// CancelAll cancels the operations that have not ended.
func (h *Host) CancelAll() {
	for _, id := range slices.Sorted(maps.Keys(h.ops)) {
		delete(h.ops, id)
		h.input("cancel", func() { h.Node.Cancel(h.now(), id) })
	}
}

// Kill ends a host.
func (w *World) Kill(i int, how Death) {
	h := w.hosts[i]
	h.Up, h.linked, h.silent = false, false, how == Silent
	h.paused, h.backlog = false, nil
	w.note(Step{Host: i, Input: "kill", From: -1})
	if how == Silent {
		return
	}
	for _, id := range h.links.ids() {
		h.links.get(id).down(h, w.delay(0, maxCrashDelay))
	}
}

// Leave has a host leave in order, and ends it when it has.
func (w *World) Leave(i int) {
	h := w.hosts[i]
	h.Do(node.OpLeave{}, func(node.Done) { h.Up, h.linked = false, false })
}
