package node

import (
	"math"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Self-tuning (RFC 7363), where the configuration document says CHORD-SELF-TUNING.

// tuning is what a peer tunes itself by.
type tuning struct {
	history  chord.History
	own      chord.Estimates                 // the latest that this peer has calculated: what the others are told
	used     chord.Estimates                 // of all that were known when the period began
	heard    map[wire.NodeID]chord.Estimates // of Probes and their answers in this period, the latest of each peer
	interval time.Duration                   // the stabilization interval
}

// Tuning is the self-tuning of a peer (RFC 7363 §6).
type Tuning struct {
	Own      chord.Estimates // the latest that the peer has calculated itself
	Used     chord.Estimates // those that it goes by: the 75th percentile of its own and of what it was told
	Interval time.Duration   // the stabilization interval
	Lists    int             // length of the successor list and of the predecessor list
	Fingers  int             // length of the finger table
	Failures int             // in the history, with the time of the Join as long as there are few
}

func (n *Node) tuningStatus() *Tuning {
	if !n.tuned() {
		return nil
	}
	t := &n.tuning
	return &Tuning{Own: t.own, Used: t.used, Interval: t.interval, Lists: n.ring.Lists(), Fingers: n.ring.Goal(), Failures: len(t.history)}
}

// tuned reports whether the overlay is a self-tuning one.
func (n *Node) tuned() bool { return n.c.Overlay.SelfTuning() }

// reactive reports whether recovery is reactive. RFC 7363 §5: "When the self-tuning mechanisms defined in this document are used, the
// periodic recovery strategy is used."
func (n *Node) reactive() bool { return n.c.Overlay.ChordReactive && !n.tuned() }

// startTuning is when the node has become a peer. The first period is short: nothing is known yet.
func (n *Node) startTuning() {
	if !n.tuned() {
		return
	}
	// RFC 7363 §6.3: "The current time is inserted into the history when the peer joins the overlay."
	n.tuning = tuning{history: chord.History{n.now}, heard: make(map[wire.NodeID]chord.Estimates), interval: chord.MinStabilization}
	n.ring.Resize(chord.Estimates{Size: 1})
	n.timers[timerFingers] = time.Time{}
	n.timers[timerUpdate] = n.now.Add(n.period())
}

// period is the stabilization interval, or up to a fifth more, so that peers do not stabilize all at once.
func (n *Node) period() time.Duration {
	d := max(chord.MinStabilization, n.tuning.interval)
	return d + n.within(d/5)
}

// stabilize is what happens when the stabilization timer fires: RFC 7363 §5.
func (n *Node) stabilize() {
	// RFC 7363 §6: peers "MUST recalculate the values of the parameters to self-tune the chord-reload algorithm at the end of
	// each stabilization period before restarting the stabilization timer".
	if n.member() {
		n.retune()
	}
	n.timers[timerUpdate] = n.now.Add(n.period())
	if !n.member() || !n.announced.ready {
		return
	}
	n.stabilizeNeighbors()
	for _, i := range n.ring.Missing() {
		if n.c.Rand.IntN(2) == 0 { // RFC 6940 §10.7.4.2: "with probability 0.5"
			n.pingFinger(i)
		}
	}
	n.share()
	n.checkAll()
	n.forgetExpired()
}

// stabilizeNeighbors is RFC 7363 §5.2: "each peer only sends a periodic Update request to its first predecessor and first
// successor on the Chord ring; it MUST NOT send Update requests to others." "The type of the Update request MUST be 'neighbors'."
func (n *Node) stabilizeNeighbors() {
	successors := n.ring.Successors()
	if len(successors) == 0 {
		return
	}
	predecessor, _ := n.ring.Predecessor()
	n.update(n.peers[successors[0]], wire.ChordNeighbors)
	if predecessor != successors[0] {
		n.update(n.peers[predecessor], wire.ChordNeighbors)
	}
}

// tellClients tells those that are no peers that our range has changed (RFC 6940 §10.7.3): RFC 7363 §5.2 is about peers, and a
// client has no other way to learn to whom it belongs.
func (n *Node) tellClients(rangeChanged bool) {
	for _, p := range n.sortedPeers() {
		if rangeChanged && !p.ready {
			n.update(p, wire.ChordNeighbors)
		}
	}
}

// listed are the nodes that an Update names and that are looked at. RFC 7363 §5.1: "If a peer receives more entries than fit into
// its successor list, predecessor list, or finger table, the peer MUST ignore the extra entries." What a short list does not
// name stays.
func (n *Node) listed(u *wire.UpdateReq) []wire.NodeID {
	neighbors := slices.Concat(u.Predecessors, u.Successors)
	if n.tuned() {
		neighbors = n.ring.Fitting(neighbors[:min(len(neighbors), maxLearned)])
	}
	return append(neighbors, u.Fingers...)
}

// belongs reports whether a node that a Leave names is one to attach to. RFC 7363 §5.6: "If a given successor can identify better
// predecessors [...] by investigating the predecessor list it receives from the leaving peer, it sends Attach requests to them."
func (n *Node) belongs(id wire.NodeID) bool { return n.ring.Wanted(id) || n.tuned() && n.ring.Near(id) }

// leaveTo is to whom a Leave is sent: the Neighbor Table, which in a self-tuning overlay is the whole of both lists (RFC 7363
// §5.6).
func (n *Node) leaveTo() []wire.NodeID {
	if !n.tuned() {
		return n.ring.Neighbors()
	}
	to := n.ring.Successors()
	for _, id := range n.ring.Predecessors() {
		if !slices.Contains(to, id) {
			to = append(to, id)
		}
	}
	return to
}

// noteFailure enters a peer that has left or failed into the history (RFC 7363 §6.3.1). It has been taken out of the routing
// table already.
func (n *Node) noteFailure() {
	if n.tuned() && n.member() {
		n.tuning.history.Note(n.now, n.ring.Len()+1)
	}
}

// askAge asks a new finger for its uptime. RFC 7363 §5.3: "Immediately after a new peer has been added to the finger table, a Probe
// request is sent to the new peer to fetch its uptime."
func (n *Node) askAge(p *peer) {
	if n.tuned() && n.member() && !n.ring.Near(p.id) {
		n.probePeer(p, nil)
	}
}

// share asks some fingers for their estimates, and tells them ours. RFC 7363 §6.5: "a peer selects number-of-peers-to-probe random
// peers from its finger table and send each of them a Probe request".
func (n *Node) share() {
	fingers := n.ring.Fingers()
	if len(fingers) < n.c.Overlay.PeersToProbe {
		fingers = n.ring.Peers() // of a ring so small the fingers are neighbours
	}
	n.c.Rand.Shuffle(len(fingers), func(i, k int) { fingers[i], fingers[k] = fingers[k], fingers[i] })
	for _, id := range fingers[:min(len(fingers), n.c.Overlay.PeersToProbe)] {
		n.probePeer(n.peers[id], n.estimates())
	}
}

// probePeer asks a linked peer for its uptime: RFC 7363 §5.3, "The 'requested_info' field of the Probe request MUST be set to contain
// the ProbeInformationType 'uptime'".
func (n *Node) probePeer(p *peer, x []wire.Extension) {
	n.request(outgoing{dest: toNode(p.id), link: p.link().id, body: &wire.ProbeReq{Requested: []uint8{wire.ProbeUptime}}, extensions: x,
		done: func(r result) {
			ans, ok := r.body.(*wire.ProbeAns)
			if !ok || n.peers[p.id] != p {
				return
			}
			for _, i := range ans.Info {
				if i.Type == wire.ProbeUptime && p.born.IsZero() {
					p.born = n.now.Add(-time.Duration(i.Value) * time.Second)
				}
			}
			if d, err := r.v.Message().SelfTuning(); err == nil && d != nil {
				n.hearEstimates(p.id, d)
			}
		}})
}

// exchange takes the estimates of a Probe and puts ours into its answer. It reports false when they can not be read, and then the
// Probe is answered.
func (n *Node) exchange(in *inbound) bool {
	d, err := in.m.SelfTuning()
	switch {
	case err != nil:
		n.refuse(in, wire.NewError(wire.ErrorInvalidMessage, "self_tuning_data"))
		return false
	case d != nil && n.tuned() && n.member():
		n.hearEstimates(in.sender, d)
		in.extensions = n.estimates() // RFC 7363 §6.5: "Both the Probe request and the answer [...] MUST contain" it
	}
	return true
}

// hearEstimates keeps what a peer says until the end of the period. RFC 7363 §6.5: "A peer stores all estimates it receives in
// Probe requests and answers during a stabilization interval."
//
// Deviation: the latest one of each peer that we are linked with: nobody is to count more than once (§8).
func (n *Node) hearEstimates(from wire.NodeID, d *wire.SelfTuningData) {
	t := &n.tuning
	_, again := t.heard[from]
	if p := n.peers[from]; p == nil || !p.ready || d.NetworkSize == 0 || t.heard == nil || !again && len(t.heard) >= maxEstimates {
		return
	}
	t.heard[from] = chord.Estimates{Size: float64(d.NetworkSize), Joins: float64(d.JoinRate) / day, Fails: float64(d.LeaveRate) / day}
}

const day = 24 * 60 * 60 // seconds

// estimates is the self_tuning_data of now: our own estimates, "expressed as joins or failures per 24 hours", rounded up (RFC 7363
// §6.5). "The 'critical' field of the structure MUST be set to False."
func (n *Node) estimates() []wire.Extension {
	e := n.tuning.own
	d := wire.SelfTuningData{NetworkSize: whole(e.Size), JoinRate: whole(e.Joins * day), LeaveRate: whole(e.Fails * day)}
	return []wire.Extension{{Type: wire.ExtensionSelfTuning, Contents: d.AppendTo(nil)}}
}

func whole(f float64) uint32 { return uint32(min(math.MaxUint32, math.Ceil(f))) }

// retune computes everything anew. RFC 7363 §6.5: "When the stabilization timer fires, the peer calculates the estimates to be used
// during the next stabilization interval by taking the 75th percentile (i.e., third quartile) of a data set containing its own
// estimate and the received estimates."
func (n *Node) retune() {
	t := &n.tuning
	t.own = n.estimate()
	all := []chord.Estimates{t.own}
	for _, e := range t.heard { // the order does not matter
		all = append(all, e)
	}
	clear(t.heard)
	quartile := func(of func(chord.Estimates) float64) float64 {
		values := make([]float64, len(all))
		for i, e := range all {
			values[i] = of(e)
		}
		return chord.Quartile(values)
	}
	t.used = chord.Estimates{
		Size:  quartile(func(e chord.Estimates) float64 { return e.Size }),
		Joins: quartile(func(e chord.Estimates) float64 { return e.Joins }),
		Fails: quartile(func(e chord.Estimates) float64 { return e.Fails }),
	}
	n.ring.Resize(t.used)
	// Without joins and failures the interval would have no end: it is at most that of RFC 6940 §10.7.4.1.
	t.interval = t.used.Interval(n.c.Overlay.ChordUpdateInterval)
}

// estimate is what this peer can tell by itself.
func (n *Node) estimate() chord.Estimates {
	var ages []time.Duration
	for _, p := range n.order {
		if p.ready && !p.born.IsZero() {
			ages = append(ages, n.now.Sub(p.born))
		}
	}
	e := chord.Estimates{Size: n.ring.Density(), Fails: n.tuning.history.Rate(n.now, n.ring.Len())}
	e.Joins = chord.JoinRate(e.Size, ages)
	return e
}
