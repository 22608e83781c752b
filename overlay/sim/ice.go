package sim

import (
	"errors"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// A world whose overlay uses ICE has the same links: what a host gathers is where it is.

const (
	maxGather   = 20 * time.Millisecond // until candidates are gathered
	awaitFailed = 25 * time.Second      // until nobody is waited for any more
	checkPause  = 50 * time.Millisecond // between looks whether the other side takes part
)

var errNoPair = errors.New("sim: no candidate pair works")

// linkType is that of candidates.
func (h *Host) linkType() wire.LinkType {
	if h.w.c.Overlay.NoICE {
		return wire.LinkTLSTCPFHNoICE
	}
	return wire.LinkDTLSUDPSR
}

// traversal is what a host holds for ICE.
type traversal struct {
	sessions map[node.SessionID]bool
	awaited  map[wire.NodeID]int // sessions that wait for a node, or have waited
}

// Sessions counts the sessions of ICE that living hosts hold and have neither used nor released.
func (w *World) Sessions() (n int) {
	for _, h := range w.Living() {
		n += len(h.ice.sessions)
	}
	return n
}

// traverse carries out the effects that are for ICE.
func (h *Host) traverse(e node.Effects) {
	w := h.w
	for _, g := range e.Gather {
		h.later(w.delay(0, maxGather), func() {
			h.ice.sessions[g.Session] = true
			offer := node.Offer{Ufrag: "sim0", Password: "simulated-password-0000", Candidates: h.Candidates()}
			h.input("gathered", func() { h.Node.Gathered(h.now(), g.Session, offer, nil) })
		})
	}
	for _, id := range e.Release {
		delete(h.ice.sessions, id)
	}
	for _, a := range e.Await {
		delete(h.ice.sessions, a.Session)
		h.ice.awaited[a.Peer]++
		// The link comes when the other side has connected; the node does not mind if this comes after it.
		h.later(awaitFailed, func() {
			h.input("await_failed", func() { h.Node.AwaitFailed(h.now(), a.Session, errNoPair) })
		})
	}
	for _, d := range e.Dial {
		delete(h.ice.sessions, d.Session)
	}
	for _, a := range e.Apps {
		delete(h.ice.sessions, a.Session)
	}
}

// meet connects h, which has answered an Attach of target, when target does the checks too.
func (h *Host) meet(target *Host, d node.Dial, patience time.Duration) {
	switch {
	case target.ice.awaited[h.ID] > 0 && target.Up && !target.paused && h.w.SameSide(h, target):
		target.ice.awaited[h.ID]--
		h.w.connect(h, target, d.Dial)
	case patience <= 0:
		h.input("dial_failed", func() { h.Node.DialFailed(h.now(), d.Dial, errNoPair) })
	default:
		h.later(checkPause, func() { h.meet(target, d, patience-checkPause) })
	}
}
