package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// suspects is what raises the suspicion that more has happened than one death.
type suspects struct {
	last  time.Time // a peer was found dead, or its link stalled
	who   wire.NodeID
	alarm time.Time // all were asked
}

// suspect asks a peer that may be dead for a sign of life. A second one that does not give it, within alarmTime, has all
// others asked at once: a switch, a site or a network has failed.
func (n *Node) suspect(p *peer) {
	s := &n.suspects
	if s.who != p.id {
		switch {
		case n.now.Sub(s.last) >= alarmTime:
			n.after(n.askNeighbors)
		case n.now.Sub(s.alarm) >= alarmTime:
			s.alarm = n.now
			n.after(n.askAll)
		}
		s.last, s.who = n.now, p.id
	}
	if n.peers[p.id] == p && !p.pinging {
		n.ping(p)
	}
}

// askNeighbors pings the neighbours that were not heard just now.
func (n *Node) askNeighbors() {
	for _, id := range n.ring.Neighbors() {
		if p := n.peers[id]; p != nil {
			n.verifyAlive(p)
		}
	}
}

// askAll pings everybody who was not heard just now.
func (n *Node) askAll() {
	for _, p := range n.sortedPeers() {
		n.verifyAlive(p)
	}
}

func (n *Node) verifyAlive(p *peer) {
	if !p.pinging && n.now.Sub(p.heard) >= freshTime {
		n.ping(p)
	}
}

// missed looks for peers of ours that should be in the lists of an Update and are not. They may be new, and it does not know
// them yet; or it knows that they are gone.
func (n *Node) missed(p *peer, u *wire.UpdateReq) {
	for _, id := range append(n.ring.Absent(p.id, u.Successors, true), n.ring.Absent(p.id, u.Predecessors, false)...) {
		if o := n.peers[id]; o != nil {
			n.verifyAlive(o)
		}
	}
}
