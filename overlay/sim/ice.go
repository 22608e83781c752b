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
)

var errNoPair = errors.New("sim: no candidate pair works")

// linkType is that of candidates.
func (h *Host) linkType() wire.LinkType {
	if h.w.c.Overlay.NoICE {
		return wire.LinkTLSTCPFHNoICE
	}
	return wire.LinkDTLSUDPSR
}

// traverse carries out the effects that are for ICE.
func (h *Host) traverse(e node.Effects) {
	w := h.w
	for _, g := range e.Gather {
		w.Sessions++
		h.later(w.delay(0, maxGather), func() {
			offer := node.Offer{Ufrag: "sim0", Password: "simulated-password-0000", Candidates: h.Candidates()}
			h.input("gathered", func() { h.Node.Gathered(w.now, g.Session, offer, nil) })
		})
	}
	w.Sessions -= len(e.Release)
	for _, a := range e.Await {
		w.Sessions--
		// The link comes when the other side has connected; the node does not mind if this comes after it.
		h.later(awaitFailed, func() {
			h.input("await_failed", func() { h.Node.AwaitFailed(w.now, a.Session, errNoPair) })
		})
	}
	for _, d := range e.Dial {
		if d.Session != 0 {
			w.Sessions--
		}
	}
	for _, a := range e.Apps {
		if a.Session != 0 {
			w.Sessions--
		}
	}
}
