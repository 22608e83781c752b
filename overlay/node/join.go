package node

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// phase is how far a node is on its way into the ring (RFC 6940 §10.5).
type phase uint8

const (
	phasePause     phase = iota // after a failure
	phaseDial                   // bootstrap addresses
	phaseLocate                 // Attach to n+1
	phaseLink                   // the admitting peer's Update
	phaseNeighbors              // Attach to neighbours
	phaseAsk                    // Join
	phaseWait                   // Stores, and the Update that makes us a peer
)

// joining is a node's way into the ring.
type joining struct {
	phase     phase
	alone     bool // we are a peer that has lost everybody, not a new one
	addresses []string
	next      int               // address
	links     map[string]LinkID // made of addresses
	address   map[DialID]string // of dials under way
	tried     map[LinkID]bool   // in this round
	link      LinkID            // the way in
	ap        wire.NodeID       // the admitting peer
	updates   map[wire.NodeID]*wire.UpdateReq
	attempts  map[wire.NodeID]int // to attach to neighbours
	pause     time.Duration
	refusals  int
	why       string // the last attempt came to nothing
	ring      bool   // in this round somebody answered as a member of a ring does
}

// given is the range that an admitting peer has given to us, for as long as it takes to be linked with its other end.
type given struct {
	from  chord.Point
	until time.Time
}

// joinPoint is where a node that wants to join attaches to: Resource-ID n+1, whose owner becomes its successor (RFC 6940
// §10.5).
func joinPoint(id wire.NodeID) wire.ResourceID {
	return chord.PointOf(id).Add(chord.Power(0)).Resource()
}

// joinStart begins to look for a way into the ring.
func (n *Node) joinStart() {
	n.newJoining()
	n.joinTry()
}

func (n *Node) newJoining() {
	n.joining = &joining{
		alone:     n.state == Joined,
		addresses: n.entrances(),
		links:     make(map[string]LinkID),
		address:   make(map[DialID]string),
		updates:   make(map[wire.NodeID]*wire.UpdateReq),
		attempts:  make(map[wire.NodeID]int),
		tried:     make(map[LinkID]bool),
	}
}

// entrances are the addresses to try, in order. RFC 6940 §11.4: "If the Joining Node has cached a list of peers that it has
// previously been connected with in this overlay, as an optimization it MAY attempt to use one or more of them as bootstrap nodes
// before falling back to the bootstrap nodes listed in the configuration file."
func (n *Node) entrances() []string {
	known := slices.Clone(n.c.Known[:min(len(n.c.Known), maxKnown)])
	n.c.Rand.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	for _, a := range slices.Concat(n.lostAddresses(), n.bootstrapAddresses()) {
		if !slices.Contains(known, a) {
			known = append(known, a)
		}
	}
	return known
}

// bootstrapAddresses are all that are known, in random order: a hundred nodes that start together are not to meet at the
// first.
func (n *Node) bootstrapAddresses() []string {
	list := slices.Concat(n.c.Bootstrap, n.found)
	for _, b := range n.c.Overlay.Bootstrap {
		host := b.Address
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		list = append(list, host+":"+strconv.Itoa(int(b.Port)))
	}
	slices.Sort(list)
	list = slices.Compact(list)
	n.c.Rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(len(list), maxBootstrap)]
}

// joinTry takes the next way in: a link that there is, else an address.
func (n *Node) joinTry() {
	j := n.joining
	j.ap, j.link = wire.NodeID{}, 0
	clear(j.attempts)
	if n.c.Overlay.Expired(n.now) {
		// RFC 6940 §11.1: the configuration is "no longer valid", so nobody joins by it. There may be another one when the pause is over.
		n.joinEvent(n.c.Self, "the configuration document has expired")
		n.joinPause()
		return
	}
	if c := n.untriedLink(); c != nil {
		n.locate(c)
		return
	}
	j.phase = phaseDial
	n.timers[timerJoin] = time.Time{}
	if !n.dialNext() && len(j.address) == 0 {
		n.joinRoundOver()
	}
}

// untriedLink is a link that was not tried in this round; one with a peer of the ring if possible.
func (n *Node) untriedLink() *conn {
	var found *conn
	for _, p := range n.sortedPeers() {
		c := p.link()
		if !n.joining.tried[c.id] && (p.ready || !n.joining.alone) && (found == nil || p.ready && !n.peers[found.node].ready) {
			found = c
		}
	}
	return found
}

// dialNext dials the next address to which there is no link. It reports false when there is none left.
func (n *Node) dialNext() bool {
	j := n.joining
	for j.next < len(j.addresses) {
		a := j.addresses[j.next]
		j.next++
		if n.conns[j.links[a]] != nil || len(n.dials) >= maxDials {
			continue
		}
		n.lastDial++
		n.dials[n.lastDial] = &dial{bootstrap: true, id: n.lastDial}
		j.address[n.lastDial] = a
		n.out.Dial = append(n.out.Dial, Dial{Dial: n.lastDial, Address: a})
		n.timers[timerJoin] = n.now.Add(dialStagger)
		return true
	}
	return false
}

// joinRoundOver is when no link and no address is left to try.
func (n *Node) joinRoundOver() {
	j := n.joining
	if n.c.First && !n.c.Client && !j.alone && !j.ring {
		n.becomeFirst()
		return
	}
	j.next, j.ring = 0, false
	clear(j.tried)
	n.joinPause()
}

func (n *Node) joinPause() {
	j := n.joining
	j.phase = phasePause
	j.pause = min(maxBackoff, max(firstBackoff, 2*j.pause))
	n.timers[timerJoin] = n.now.Add(n.jitter(j.pause))
}

// becomeFirst makes the node the first of its overlay. RFC 6940 §6.4.2.1: "implementations MUST provide some mechanism
// whereby nodes can determine that they are potentially the first node and can take responsibility for the overlay".
func (n *Node) becomeFirst() {
	n.event(EventFirst, n.c.Self, "")
	n.enterRing()
	n.announced.ready = true
}

// enterRing is when the node is a peer.
func (n *Node) enterRing() {
	n.state = Joined
	n.joining = nil
	n.timers[timerJoin] = time.Time{}
	n.timers[timerUpdate] = n.now.Add(n.jitter(n.c.Overlay.ChordUpdateInterval))
	n.startTuning()
	n.timers[timerFingers] = n.now.Add(n.jitter(n.c.Overlay.ChordPingInterval))
	n.timers[timerProbe] = n.now.Add(n.jitter(n.c.ProbeInterval))
	n.startSurvey()
	n.announced = announced{changed: true}
	n.wakeUpkeep()
	n.checkAll()
}

// bootstrapUp and bootstrapFailed end the dial of an address.
func (n *Node) bootstrapUp(id DialID, c *conn) {
	j := n.joining
	if j == nil {
		return
	}
	if a, ok := j.address[id]; ok {
		j.links[a] = c.id
		delete(j.address, id)
	}
	if j.phase == phaseDial {
		n.locate(c)
	}
}

func (n *Node) bootstrapFailed(id DialID, err error) {
	j := n.joining
	if j == nil {
		return
	}
	if !errors.Is(err, ErrSelf) { // a node may stand in the document as a bootstrap node itself
		n.joinEvent(wire.NodeID{}, fmt.Sprintf("%s: %v", j.address[id], err))
	}
	delete(j.address, id)
	if j.phase == phaseDial && !n.dialNext() && len(j.address) == 0 {
		n.joinRoundOver()
	}
}

// locate finds the admitting peer. RFC 6940 §10.5: "JN SHOULD send an Attach request to the Admitting Peer (AP) for
// Resource-ID n+1. The "send_update" flag can be used to acquire the Routing Table of AP."
func (n *Node) locate(c *conn) {
	j := n.joining
	j.phase, j.link = phaseLocate, c.id
	j.tried[c.id] = true
	n.timers[timerJoin] = time.Time{}
	if n.state == Starting {
		n.state = Joining
	}
	dest := wire.NewDestinationList(wire.ToResource(joinPoint(n.c.Self)))
	ok := n.attachTo(dest, c.id, func(ap wire.NodeID, err error) { n.located(j, c.id, ap, err) })
	if !ok {
		n.joinFailed("too many attaches")
	}
}

func (n *Node) located(j *joining, link LinkID, ap wire.NodeID, err error) {
	// One that has not joined itself says so: see noRoute. All else comes from a ring, or is lost in one, so we are not
	// the first.
	var refused *refusedError
	if !errors.Is(err, ErrLinkDown) && (!errors.As(err, &refused) || refused.e.ErrorCode != wire.ErrorNotFound) {
		j.ring = true
	}
	switch {
	case n.joining != j || j.phase != phaseLocate || j.link != link:
	case err != nil:
		n.joinFailed("locate: " + err.Error())
	default:
		j.ap, j.phase = ap, phaseLink
		n.state = Joining // also when we were alone: now there is a ring to be part of
		n.timers[timerJoin] = n.now.Add(linkWait)
		n.joinStep()
	}
}

// joinEvent tells that an attempt to join has come to nothing, and keeps why for those who ask.
func (n *Node) joinEvent(peer wire.NodeID, why string) {
	n.joining.why = why
	n.event(EventJoinFailed, peer, why)
}

// joinFailed tries another way: at once if there is one, or after a pause.
func (n *Node) joinFailed(why string) {
	j := n.joining
	n.joinEvent(j.ap, why)
	n.state = Starting
	if j.alone {
		n.state = Joined
		n.announced.changed = true
	}
	n.joinTry()
}

// joinUpdate takes an Update that a joining node got.
func (n *Node) joinUpdate(p *peer, u *wire.UpdateReq) {
	j := n.joining
	if u.Type == wire.ChordPeerReady {
		return
	}
	j.updates[p.id] = u
	if p.id == j.ap && j.phase >= phaseAsk && len(u.Predecessors) > 0 && u.Predecessors[0] == n.c.Self {
		n.joined(p, u)
		return
	}
	n.joinStep()
}

// joinStep goes on as far as possible.
func (n *Node) joinStep() {
	j := n.joining
	if j.phase == phaseLink && j.updates[j.ap] != nil {
		if n.c.Client {
			n.becomeClient(j.ap, j.updates[j.ap])
			return
		}
		j.phase = phaseNeighbors
		n.timers[timerJoin] = n.now.Add(neighborsWait)
	}
	if j.phase != phaseNeighbors {
		return
	}
	// RFC 6940 §10.5: "The Joining Node MUST NOT send any Update message placing itself in the overlay until it has
	// successfully completed an Attach with each peer that should be in its Neighbor Table."
	//
	// Deviation: one that could not be attached to twice does not belong there; it would keep us out for ever.
	waiting := false
	for _, id := range n.futureNeighbors() {
		switch {
		case n.ring.Has(id) || n.peers[id] != nil && j.attempts[id] > 1:
		case n.peers[id] != nil:
			if !n.peers[id].link().attached {
				n.askUpdate(n.peers[id]) // our bootstrap node is a neighbour: its link was made without an Attach
			}
			waiting = true
		case n.attaching(id):
			waiting = true
		case j.attempts[id] < attachAttempts:
			j.attempts[id]++
			waiting = n.attachTo(wire.NewDestinationList(wire.ToNode(j.ap), wire.ToNode(id)), 0, func(wire.NodeID, error) {
				if n.joining == j {
					n.joinStep()
				}
			}) || waiting
		}
	}
	if !waiting {
		n.ask()
	}
}

// futureNeighbors is what the Neighbor Table will be, by what the admitting peer knows.
func (n *Node) futureNeighbors() []wire.NodeID {
	u := n.joining.updates[n.joining.ap]
	r := chord.New(n.c.Self)
	r.Add(n.joining.ap)
	for _, id := range slices.Concat(u.Predecessors, u.Successors) {
		if id.Len() == n.c.Self.Len() {
			r.Add(id)
		}
	}
	return r.Neighbors()
}

// ask sends the Join (RFC 6940 §10.5).
func (n *Node) ask() {
	j := n.joining
	ap := n.peers[j.ap]
	if ap == nil {
		n.joinFailed("admitting peer lost")
		return
	}
	j.phase = phaseAsk
	n.timers[timerJoin] = time.Time{}
	link := ap.link().id
	n.request(outgoing{dest: toNode(j.ap), link: link, body: &wire.JoinReq{Joining: n.c.Self}, done: func(r result) {
		switch {
		case n.joining != j || j.phase != phaseAsk:
		case r.refused != nil && j.refusals < maxJoinRefusals:
			// Somebody else was faster and is our successor now.
			j.refusals++
			delete(j.tried, link)
			n.joinFailed("join refused: " + r.refused.ErrorCode.String() + " " + string(r.refused.Info))
		case r.refused != nil || r.err != nil:
			n.joinFailed("join")
		default:
			j.phase = phaseWait
			n.timers[timerJoin] = n.now.Add(stepWait)
		}
	}})
}

// joinProgress notes that the admitting peer is at work.
func (n *Node) joinProgress() {
	if j := n.joining; j != nil && j.phase == phaseWait {
		n.timers[timerJoin] = n.now.Add(stepWait)
	}
}

// joined is when the admitting peer has named us its predecessor: "At this point, JN is part of the ring and is
// responsible for a section of the overlay" (RFC 6940 §10.5).
func (n *Node) joined(ap *peer, u *wire.UpdateReq) {
	n.event(EventJoined, ap.id, "")
	n.enterRing()
	n.bereft.joined = n.now
	if len(u.Predecessors) > 1 {
		n.given = given{chord.PointOf(u.Predecessors[1]), n.now.Add(announceWait)}
	}
	n.learn(ap.id, slices.Concat(u.Predecessors, u.Successors, u.Fingers))
	// Updates of our own wait for links with neighbours that this Update was the first to name; but not for long: those
	// who do not know of us send what is ours elsewhere.
	if n.neighborsPending() {
		n.timers[timerAnnounce] = n.now.Add(announceWait)
	} else {
		n.announce()
	}
	n.after(n.seekFingers)
}

// joinLinkUp and joinLinkDown tell of links.
func (n *Node) joinLinkUp() {
	if j := n.joining; j != nil && !n.member() {
		n.joinStep()
	}
}

func (n *Node) joinLinkDown(c *conn) {
	j := n.joining
	if j == nil || n.member() || c.node != j.ap || n.peers[j.ap] != nil || j.phase < phaseLink {
		return
	}
	n.after(func() {
		if n.joining == j && j.ap == c.node && j.phase >= phaseLink {
			n.joinFailed("admitting peer lost")
		}
	})
}

// joinTimer is when a phase has taken too long.
func (n *Node) joinTimer() {
	j := n.joining
	if j == nil {
		return
	}
	switch j.phase {
	case phasePause:
		n.joinTry()
	case phaseDial:
		n.dialNext()
	case phaseLink, phaseWait:
		n.joinFailed("admitting peer is silent")
	case phaseNeighbors:
		n.ask()
	}
}

// alone is when the last peer is gone. RFC 6940 §10.7.1: "If connectivity is lost to all successor peers in the Neighbor
// Table, then this peer SHOULD behave as if it is joining the network". It goes on to serve what it holds until it finds
// somebody: there may be nobody left but its phones.
func (n *Node) alone() {
	if n.joining != nil || n.state != Joined {
		return
	}
	n.newJoining()
	if len(n.announced.neighbors) > 0 {
		n.event(EventAlone, n.c.Self, "")
	} else {
		n.joining.pause = maxBackoff // the first of an overlay has just looked for others
	}
	n.joinPause()
}

// yieldJoin is for two peers that have lost each other and try to join each other at the same time: the smaller Node-ID
// joins.
func (n *Node) yieldJoin(other wire.NodeID) {
	j := n.joining
	if j != nil && j.alone && j.phase <= phaseLocate && n.c.Self.Compare(other) > 0 {
		n.joinPause()
	}
}
