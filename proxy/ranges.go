package proxy

import "github.com/p2psip/p2psip-gateway/location"

// addHolders adds the gateways that serve the number range of a number. There is one target of them all, whoever is first the others in reserve: what
// is behind them is the same, and must not ring twice.
func (c *call) addHolders(found []location.Remote, uri string, depth int) {
	var holders []target
	for _, r := range found {
		if r.Range != "" && r.Node != "" {
			t := nodeTarget(uri, r.Node)
			t.ranged = true
			holders = append(holders, t)
		}
	}
	if len(holders) > 0 {
		first := len(c.legs)
		c.addTarget(holders[0], holders[1:]...)
		c.forwardedTo(first, uri, depth)
	}
}

// rerouted reports whether a request that was answered so may find who serves it at another holder of the range: the gateway, or the trunk behind it, failed,
// and nobody declined.
func rerouted(status int) bool {
	switch status {
	case 501, 505, 513: // RFC 3261 §21.5: about the request, which is the same for the next
		return false
	}
	return status >= 500 && status < 600
}
