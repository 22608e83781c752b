package node

import (
	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// elsewhere takes a request for a resource that this peer is not to answer, or not yet: its range may have changed since
// the request arrived, while the signature was checked. It reports whether it has taken it.
//
// What a joining node will be responsible for changes hands with the Update that names it our predecessor (RFC 6940
// §10.5). It has everything then, but we only know that it is a peer when it has answered. A value that we would store in
// between is not found by those who ask it, and what it stores is not found here. So requests wait for that answer. When
// we leave, it is our successor's answer that they wait for.
func (n *Node) elsewhere(in *inbound) bool {
	last, ok := in.header.Destinations.Last()
	if !ok || last.Type != wire.DestResource || in.raw == nil && in.own == nil {
		return false
	}
	at, ok := point(last)
	switch {
	case !ok || !n.member():
		return false // it is refused for what it is
	case !n.responsible(at):
		n.passOn(in)
		return true
	}
	held := n.waitsForHandOver(at)
	if held == nil || len(*held) >= maxHeldRange {
		return false
	}
	*held = append(*held, in)
	return true
}

// waitsForHandOver is the list in which requests wait for what we are responsible for at a point and will soon not be; nil
// when they need not wait.
func (n *Node) waitsForHandOver(at chord.Point) *[]*inbound {
	switch a, l := n.admission, n.leaving; {
	case l != nil && l.told && (l.answers > 0 || l.again):
		return &l.held
	case a != nil && a.labelled && n.changesHands(at):
		return &a.held
	}
	return nil
}

// rangeEnds is for a peer that is gone. If it was the other end of the range that we were given, that range is no longer all
// that is ours.
func (n *Node) rangeEnds(id wire.NodeID) {
	if n.given.from == chord.PointOf(id) {
		n.given = given{}
	}
}

// passOn sends a request to where it belongs now, as if it had only just arrived.
func (n *Node) passOn(in *inbound) {
	if in.cache != nil {
		in.cache.Forget(in.key())
		n.replays.Forget(in.key())
	}
	if in.own != nil {
		n.sealOwn(in.own, in.m)
		return
	}
	if in.link == 0 {
		if r := n.requests[in.header.Transaction]; r != nil {
			n.transmit(r)
		}
		return
	}
	if c := n.conns[in.link]; c != nil {
		n.receive(c, in.raw)
	} else if p := n.peers[in.from]; p != nil {
		n.receive(p.link(), in.raw)
	}
}

// releaseWaiting takes up what has waited for a range to change hands.
func (n *Node) releaseWaiting(held *[]*inbound) {
	list := *held
	*held = nil
	for _, in := range list {
		n.after(func() {
			if !n.elsewhere(in) {
				n.examine(in)
			}
		})
	}
}
