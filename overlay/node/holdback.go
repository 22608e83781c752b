package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/route"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// heldBack is a request of another node that would go around in circles now.
type heldBack struct {
	from  wire.NodeID
	link  LinkID // it came over
	on    LinkID // which may be dead: it goes on when that is known; 0: when its time is over
	until time.Time
	raw   []byte // as it came
}

// holdBack keeps a request back that nobody can answer at present, and reports whether it has. Between the resource and us
// there are only peers that do not acknowledge anything: one of them answers when it is alive, and we do when it is found to be
// dead. Whoever else gets the request would send it back to us. One that has been here before is kept for a moment: whoever
// sends it around may find out meanwhile.
//
// Deviation: RFC 6940 §6.6.5 has a link that does not acknowledge removed from the Routing Table, which would make us
// responsible at once. It may be a matter of a second, and what was stored there would be in two minds.
func (n *Node) holdBack(c *conn, h *wire.Header, raw []byte, d route.Decision) bool {
	if d.Next.Type != wire.DestResource || n.state != Joined || len(n.heldBack) >= maxHeldBack || h.TTL == 0 {
		return false
	}
	x := heldBack{from: c.node, link: c.id, raw: raw}
	at, ok := point(d.Next)
	if !ok {
		return false
	}
	if id, suspected := n.ring.Suspected(at); suspected {
		x.on, x.until = n.peers[id].link().id, n.now.Add(suspectWait)
	} else if !n.again && n.hasBeenHere(h) {
		x.until = n.now.Add(loopWait)
	} else {
		return false
	}
	n.heldBack = append(n.heldBack, x)
	n.timers[timerHeldBack] = earlier(n.timers[timerHeldBack], x.until)
	return true
}

// heldBackTimer lets those go on whose time is over.
func (n *Node) heldBackTimer() {
	n.goOn(func(x *heldBack) bool { return !x.until.After(n.now) })
	for _, x := range n.heldBack {
		n.timers[timerHeldBack] = earlier(n.timers[timerHeldBack], x.until)
	}
}

// goOnAfter lets those go on that have waited for what becomes of a link.
func (n *Node) goOnAfter(link LinkID) {
	if len(n.heldBack) > 0 {
		n.after(func() { n.goOn(func(x *heldBack) bool { return x.on == link }) })
	}
}

func (n *Node) goOn(which func(*heldBack) bool) {
	var due []heldBack
	n.heldBack = slices.DeleteFunc(n.heldBack, func(x heldBack) bool {
		if which(&x) {
			due = append(due, x)
			return true
		}
		return false
	})
	for _, x := range due {
		c := n.conns[x.link]
		if p := n.peers[x.from]; c == nil && p != nil {
			c = p.link()
		}
		if c != nil {
			n.again = true
			n.receive(c, x.raw)
			n.again = false
		}
	}
}

// hasBeenHere looks for this node in the way that a request has come.
func (n *Node) hasBeenHere(h *wire.Header) bool {
	for d := range h.Via.All() {
		if d.Type == wire.DestNode && d.Node == n.c.Self {
			return true
		}
	}
	return false
}
