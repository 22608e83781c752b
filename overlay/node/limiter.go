package node

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// bucket is a token bucket of messages in one direction of a link. It is kept as the time at which all tokens are back:
// each message moves that time on by what one token takes to come back. The zero value is a full bucket.
type bucket struct {
	full    time.Time
	refused int // messages since it was full
}

// take takes a token, of which rate per second come back, unless it would leave more than depth missing.
func (b *bucket) take(now time.Time, rate, depth int) bool {
	if !b.full.After(now) {
		*b = bucket{full: now}
	}
	token := time.Second / time.Duration(rate)
	if b.full.Sub(now)+token > token*time.Duration(depth) {
		b.refused++
		return false
	}
	b.full = b.full.Add(token)
	return true
}

// flooded reports whether a message that came from c is one too many. Who goes on after that loses its links, and gets no
// new one for a while.
func (n *Node) flooded(c *conn) bool {
	rate := n.c.MessageRate
	if c.in.take(n.now, rate, burst*rate) {
		return false
	}
	n.drop(c.node, DropFlood)
	n.missedUnseen(c.node)
	if c.in.refused > floodPatience*rate {
		n.event(EventFlood, c.node, "")
		n.ban(c.node)
		n.closePeer(n.peers[c.node])
	}
	return true
}

// relay sends what others have caused: transit, and answers. Half of what a link may carry is for that, so that no peer
// is made to flood its neighbour by those behind it; the rest is for requests of our own, whose number is bounded.
func (n *Node) relay(c *conn, raw []byte) {
	rate := n.c.MessageRate / 2
	if !c.out.take(n.now, rate, burst*rate) {
		n.drop(c.node, DropOverload)
		return
	}
	n.send(c, raw)
}

// ban keeps a node from making links with us.
func (n *Node) ban(id wire.NodeID) {
	for k, until := range n.banned { // the order does not matter
		if !until.After(n.now) {
			delete(n.banned, k)
		}
	}
	if len(n.banned) < maxBanned {
		n.banned[id] = n.now.Add(banTime)
	}
	if len(n.avoid) < maxAvoid {
		n.avoid[id] = n.now.Add(banTime)
	}
}

func (n *Node) isBanned(id wire.NodeID) bool { return n.banned[id].After(n.now) }
