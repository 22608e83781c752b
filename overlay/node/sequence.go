package node

import (
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// push is a ConfigUpdate that was sent to a node.
type push struct {
	sequence uint16
	at       time.Time
	underway bool
}

// held is a request of ours that met another configuration. It is sent once more when the two are the same, which takes
// no longer than until.
type held struct {
	r     *request
	res   result // what to make of it otherwise
	until time.Time
}

// mismatched is for a request that we have refused because of its sequence. RFC 6940 §6.5.4: "Whenever a node detects
// that another node has old configuration data, it MUST generate a ConfigUpdate request." When we are the one with the old
// data, the other side sees that by our answer.
func (n *Node) mismatched(in *inbound, e *wire.Error) {
	if e.ErrorCode == wire.ErrorConfigTooOld {
		n.pushBack(in)
	}
}

// pushBack sends our document to the sender of a request, on the way that its answer takes: the sender may not be
// routable.
func (n *Node) pushBack(in *inbound) {
	link := in.link
	if n.link(link) == nil {
		link = 0
	}
	n.push(in.sender, outgoing{dest: n.returnPath(in), link: link})
}

// push sends our document to a node, unless it was sent not long ago. It reports whether a ConfigUpdate to that node is
// under way now.
func (n *Node) push(to wire.NodeID, o outgoing) bool {
	before, known := n.configuring.pushed[to]
	now := push{sequence: n.c.Overlay.Sequence, at: n.now, underway: true}
	switch {
	case to == n.c.Self || n.c.Document == nil || len(n.c.Document) > n.c.Overlay.MaxMessageSize:
		return false
	case known && before.sequence == now.sequence && n.now.Sub(before.at) < pushInterval:
		return before.underway
	case !known && !n.roomForPush():
		return false
	}
	if n.configuring.pushed == nil {
		n.configuring.pushed = make(map[wire.NodeID]push)
	}
	n.configuring.pushed[to] = now
	o.body = &wire.ConfigUpdateReq{Type: wire.ConfigUpdateConfig, Config: n.c.Document}
	o.done = func(result) {
		if n.configuring.pushed[to] == now {
			now.underway = false
			n.configuring.pushed[to] = now
		}
		n.releasePushed(to)
	}
	return n.request(o) != nil
}

// roomForPush forgets pushes that hold nothing back any more.
func (n *Node) roomForPush() bool {
	for id, p := range n.configuring.pushed { // the order does not matter
		if n.now.Sub(p.at) >= pushInterval {
			delete(n.configuring.pushed, id)
		}
	}
	return len(n.configuring.pushed) < maxPushed
}

// outdated looks at an error that answers r. When it says that the configurations differ, the older side is brought up to
// date and r is sent again after that, once, as a new transaction; then it reports true.
func (n *Node) outdated(r *request, res result, theirs uint16) bool {
	waiting := true
	ours := n.c.Overlay.Sequence
	switch res.refused.ErrorCode {
	case wire.ErrorConfigTooNew:
		// RFC 6940 §6.3.2.1: of two nodes the one with the newer configuration sends it to the other.
		waiting = config.Newer(ours, theirs) && n.push(res.from, outgoing{dest: n.towards(r, res.from), link: r.link})
	case wire.ErrorConfigTooOld:
	default:
		return false
	}
	if r.code == wire.CodeConfigUpdateReq || r.again || r.once || len(n.held) >= maxHeld {
		return false
	}
	n.table.End(r.tx)
	delete(n.requests, r.tx)
	r.again = true
	h := &held{r: r, res: res, until: n.now.Add(holdWait)}
	if !waiting || r.sequence != ours {
		n.after(func() { n.resume(h) })
		return true
	}
	n.held = append(n.held, h)
	n.timers[timerHeld] = earlier(n.timers[timerHeld], h.until)
	return true
}

// towards is the way that r took, to the node that has answered it.
func (n *Node) towards(r *request, from wire.NodeID) wire.DestinationList {
	last, _ := r.dest.Last()
	var dest []wire.Destination
	for d := range r.dest.All() {
		if d != last {
			dest = append(dest, d)
		}
	}
	return wire.NewDestinationList(append(dest, wire.ToNode(from))...)
}

// resume sends a request that was held.
func (n *Node) resume(h *held) {
	switch r := h.r; {
	case r.over: // cancelled meanwhile
	case r.link != 0 && n.link(r.link) == nil:
		n.finish(r, result{err: ErrLinkDown})
	case !n.originate(r):
		n.finish(r, h.res)
	}
}

// releaseHeld sends what waited for a newer configuration: it is there.
func (n *Node) releaseHeld() { n.release(func(h *held) bool { return true }) }

// releasePushed sends what waited for another node to have our configuration.
func (n *Node) releasePushed(to wire.NodeID) {
	n.release(func(h *held) bool { return h.res.from == to && h.res.refused.ErrorCode == wire.ErrorConfigTooNew })
}

func (n *Node) release(ready func(*held) bool) {
	n.held = slices.DeleteFunc(n.held, func(h *held) bool {
		if ready(h) {
			n.after(func() { n.resume(h) })
			return true
		}
		return false
	})
}

// heldTimer gives up what has waited in vain.
func (n *Node) heldTimer() {
	n.held = slices.DeleteFunc(n.held, func(h *held) bool {
		if h.until.After(n.now) {
			n.timers[timerHeld] = earlier(n.timers[timerHeld], h.until)
			return h.r.over
		}
		if !h.r.over {
			n.after(func() {
				if !h.r.over {
					n.finish(h.r, h.res)
				}
			})
		}
		return true
	})
}
