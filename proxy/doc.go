// Package proxy is a stateful forking SIP proxy core (RFC 3261 §16, RFC 5393, RFC 6026) between phones and the gateways
// of an overlay.
//
// A request is checked (validate.go, §16.3), freed of our own Route values (route.go, §16.4) and given its targets
// (target.go, §16.5): the bindings of this gateway, the gateways of the overlay that hold others, or the one place that a
// Route or a foreign Request-URI names. Each target becomes a branch (forward.go, §16.6) of a response context (fork.go,
// §16.7 to §16.10). A request that came over the overlay goes to bindings of this gateway only, so no request crosses the
// overlay twice.
//
// The dispatcher of the gateway calls a Proxy as a sip.Handler; the SIP stack calls it as a sip.ClientUser. Nothing
// blocks and no call has a goroutine: each call has an inbox that is emptied by whoever finds it idle. Only lookups that
// may block, of the overlay and of the DNS, run on goroutines of their own, a bounded number of them (pool.go).
package proxy
