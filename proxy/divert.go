package proxy

import (
	"errors"
	"slices"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Forwardings: an address-of-record that leads to another one, or outside (RFC 7904 §3.1).

// forwarding is where the calls of aor go that would ring here. RFC 5627 §6.1: "forwarding services [..] SHOULD NOT be provided for requests
// sent to a GRUU".
func (c *call) forwarding(aor location.AOR) (uri string, ok bool) {
	if c.p.c.Forward == nil || c.instance != "" {
		return "", false
	}
	return c.p.c.Forward(aor)
}

// divert follows the forwarding that is set at this gateway. What came over the overlay goes on too: it was sent here when the forwarding was
// not known there yet. A request that comes back is a loop (RFC 5393), wherever the others of it are set.
func (c *call) divert(uri string, depth int) {
	u, err := message.ParseURI(uri)
	if aor, ok := c.p.c.AOR(u); err == nil && ok && slices.Contains(c.seen, aor) {
		c.lost = forwardLoop
	}
	c.addForward(uri, depth+1)
	c.nothingFound()
}

// addForward adds what an AOR forwards to, after depth such steps.
func (c *call) addForward(uri string, depth int) {
	u, err := message.ParseURI(uri)
	switch {
	case err != nil || !u.IsSIP() || c.instance != "":
		return
	case depth > maxDepth:
		c.lost = forwardedTooOften
		return
	}
	if aor, ok := c.p.c.AOR(u); ok && u.User != "" {
		c.lookUp(aor, uri, true, depth)
		return
	}
	first := len(c.legs)
	_, uri = requestURI(u, uri)
	c.addTarget(target{uri: uri, q: wholeQ})
	c.forwardedTo(first, uri, depth)
}

// forwardedTo notes at the legs from first on which URI they were forwarded to.
func (c *call) forwardedTo(first int, uri string, depth int) {
	if depth == 0 {
		return
	}
	for i := first; i < len(c.legs); i++ {
		c.legs[i].forwarded = uri
	}
}

// astray reports whether a lookup has found forwardings only, and none that leads anywhere.
func (c *call) astray(err error) bool {
	switch {
	case errors.Is(err, location.ErrForwardLoop):
		c.lost = forwardLoop
	case errors.Is(err, location.ErrForwardDepth):
		c.lost = forwardedTooOften
	default:
		return false
	}
	return true
}
