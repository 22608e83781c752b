package node

import (
	"maps"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// sought is a node that belongs in our tables and is not there, though another peer has it in its own. One Attach may fail, because
// others were on their way to the same node or were lost with a network that has come back; nobody may name it again before the
// next periodic Update, in ten minutes.
type sought struct {
	teacher wire.NodeID // the last that has named it
	again   time.Time   // when to try
	tries   int
}

// belongsHere reports whether a node is to be looked for until it is found: in a small ring everybody is.
func (n *Node) belongsHere(id wire.NodeID) bool {
	if n.state == Client {
		return !n.ring.Has(id)
	}
	return !n.ring.Has(id) && !n.bad(id) && !n.isBanned(id) && (n.ring.Near(id) || n.ring.Mesh() && n.linkCount() < n.limit() && !n.hasEnough(id))
}

// hasEnough reports whether a node has refused a link lately, for it has enough. A ring that is a little too large for a mesh is none for
// some, and is one for others, until they have counted.
func (n *Node) hasEnough(id wire.NodeID) bool { return n.avoid[id].Sub(n.now) > avoidTime }

// seekAgain remembers a node that was named and that we are not linked with as peers are.
func (n *Node) seekAgain(id, teacher wire.NodeID) {
	s, known := n.sought[id]
	switch {
	case known:
		s.teacher = teacher
	case len(n.sought) >= maxSought || !n.belongsHere(id):
		return
	default:
		s = sought{teacher: teacher, again: n.now.Add(n.jitter(soughtPause))}
	}
	n.sought[id] = s
	n.timers[timerSought] = earlier(n.timers[timerSought], s.again)
}

// unnamedBy forgets those whom their teacher does not name any more: it has found out that they are gone.
func (n *Node) unnamedBy(teacher wire.NodeID, named []wire.NodeID) {
	for id, s := range n.sought { // the order does not matter
		if s.teacher == teacher && !slices.Contains(named, id) {
			delete(n.sought, id)
		}
	}
}

// soughtTimer tries those whose time has come, each time after a longer pause.
func (n *Node) soughtTimer() {
	for _, id := range slices.SortedFunc(maps.Keys(n.sought), wire.NodeID.Compare) {
		s := n.sought[id]
		if !s.again.After(n.now) {
			if s.tries++; s.tries > maxSoughtTries || !n.belongsHere(id) {
				delete(n.sought, id)
				continue
			}
			s.again = n.now.Add(n.jitter(min(maxSoughtPause, soughtPause<<(s.tries-1))))
			n.sought[id] = s
			n.seekNow(id, s.teacher)
		}
		n.timers[timerSought] = earlier(n.timers[timerSought], s.again)
	}
}

// seekNow asks who has named a node, or our successor when it is gone, for an Update: that names it again, or does not.
func (n *Node) seekNow(id, teacher wire.NodeID) {
	if p := n.peers[id]; p != nil && !p.left {
		n.askUpdate(p)
		return
	}
	if n.state == Client {
		delete(n.sought, id)
	}
	p := n.peers[teacher]
	if s := n.ring.Successors(); p == nil && len(s) > 0 {
		p = n.peers[s[0]]
	}
	if p != nil {
		n.askUpdate(p)
	}
}
