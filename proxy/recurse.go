package proxy

import (
	"slices"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// recurse follows a redirection (RFC 3261 §16.7 step 4) and reports whether nothing of it is left to pass upstream: "If a proxy chooses to recurse
// on any contacts in a 3xx response by adding them to the target set, it MUST remove them from the response". What came over the overlay
// is not looked up there again; the gateway that sent it follows.
func (c *call) recurse(branch int, res *message.Message) bool {
	if !c.p.c.Recurse || res.StatusCode < 300 || res.StatusCode > 302 || c.in.overlay() || c.in.inside || !c.fork.running(branch) {
		return false
	}
	var left []string
	for _, v := range res.Values(message.Contact) {
		if !c.follow(branch, v) {
			left = append(left, v)
		}
	}
	if len(left) == 0 {
		c.fork.drop(branch)
		c.followed++
		return true
	}
	res.Del(message.Contact)
	for _, v := range left {
		res.Add(message.Contact, v)
	}
	return false
}

// follow adds the contact of a redirection to the targets; it reports whether it could.
func (c *call) follow(branch int, contact string) bool {
	v, err := message.ParseContact(contact)
	if err != nil || v.Star {
		return false
	}
	uri, err := message.ParseURI(v.URI)
	// RFC 3261 §16.7 step 4: "If a proxy receives a 3xx response to a request whose Request-URI was a SIPS URI, it MUST NOT recurse on a
	// non-SIPS URI".
	if err != nil || !uri.IsSIP() || c.in.uri.Scheme == "sips" && uri.Scheme != "sips" {
		return false
	}
	uri, v.URI = requestURI(uri, v.URI)
	known := slices.ContainsFunc(c.legs, func(l leg) bool { return l.uri == v.URI || message.EqualURI(l.uri, v.URI) })
	if known || len(c.legs) >= maxTargets {
		return false // RFC 3261 §16.7 step 4: a URI that was tried: "any given URI [..] MUST NOT be added" again
	}
	first := len(c.legs)
	if aor, ours := c.p.c.AOR(uri); ours && c.p.responsible(uri) {
		if slices.Contains(c.seen, aor) || uri.User == "" {
			return false
		}
		held := c.fork.held
		c.lookUp(aor, v.URI, true, 1)
		c.redirected(first, branch)
		return len(c.legs) > first || c.fork.held > held
	}
	if !c.in.mayRelay() {
		return false // a phone's redirection makes no open relay of us
	}
	c.addTarget(target{uri: v.URI, q: v.Q})
	c.redirected(first, branch)
	return true
}

// redirected marks the legs from first on as those that a redirection of branch led to.
func (c *call) redirected(first, branch int) {
	for i := first; i < len(c.legs); i++ {
		c.legs[i].parent = branch + 1
	}
}
