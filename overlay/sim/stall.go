package sim

import (
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
)

// Times of a link that carries what is acknowledged, hop by hop (RFC 6940 §6.6).
const (
	linkRTO       = time.Second      // RFC 6298 §2.4: when it is stalled
	linkRetention = 30 * time.Second // RFC 6940 §6.6.5: "It is RECOMMENDED that such a connection be retained for 30 seconds"
)

// links is how many a peer has at most.
func (c *Config) links() int {
	if c.Links == 0 {
		return chord.DefaultLinks
	}
	return max(c.Links, 1)
}

// waits notes that something has left on a link and will not be acknowledged. The link is stalled when its timer has fired. It
// is not any more when packets get through, and ends when that takes too long.
func (h *Host) waits(p *pipe) {
	near, far := p.sides(h)
	if near.wait || h.Node == nil {
		return
	}
	near.wait = true
	w, since, told := h.w, h.w.now, false
	var look func()
	look = func() {
		if !near.up() {
			return
		}
		switch deaf := far.host.silent || far.host.paused || w.blocked(h, far.host); {
		case !deaf:
			near.wait = false
			if told {
				h.input("restored", func() { h.Node.LinkStalled(h.now(), near.id, false) })
			}
			return
		case !told:
			told = true
			h.input("stalled", func() { h.Node.LinkStalled(h.now(), near.id, true) })
		case w.now.Sub(since) >= linkRetention:
			near.drop()
			h.input("link_down", func() { h.Node.LinkDown(h.now(), near.id, errTimeout) })
			return
		}
		h.later(linkRTO, look)
	}
	h.later(linkRTO, look)
}
