package trunk

import "github.com/p2psip/p2psip-gateway/location"

// Conditions tells how targets are. It is asked for each call, must not block, and is safe for concurrent use.
type Conditions interface {
	// TargetDown reports whether a target of a trunk, by its URI, is known to take no calls.
	TargetDown(trunk, uri string) bool
	// HopDown reports whether one address, by transport and remote address, is known to be down.
	HopDown(h location.Hop) bool
}
