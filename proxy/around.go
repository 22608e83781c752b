package proxy

import (
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Ways around the routes of trunks: what is done so that there are none.

// around reports whether a leg goes to the address of a trunk past all routes, by Route, Request-URI, a forwarding or a redirection: the trunk
// knows this gateway by its address, so that whoever is known here could call anything, and nobody would count it. Phones that are registered
// from there, dialogs over trunks, and where the trunk itself redirects to are something else.
func (c *call) around(l *leg, hop location.Hop) bool {
	if l.way != nil || l.atHome(hop) || hop.Node != "" || !c.p.trunking() || c.in.token.trunk || c.in.inside && c.in.msg.Method != "INVITE" {
		return false
	}
	trunk := c.p.c.Trunks.At(hop)
	if uri, ok := nextHop(&l.target, c.in); ok && trunk == "" {
		trunk = c.p.c.Trunks.Named(uri.Host)
	}
	if trunk == "" {
		return false
	}
	for i := l.parent; i > 0; i = c.legs[i-1].parent {
		if way := c.legs[i-1].way; way != nil {
			return way.Trunk != trunk
		}
	}
	return true
}

// atHome reports whether a hop leads to a phone or gateway of ours itself: a Path, which a phone may make up, can lead anywhere.
func (l *leg) atHome(hop location.Hop) bool {
	return l.known && (l.hop != location.Hop{} || l.behind == hop.Remote.Addr().Unmap())
}

// unlent takes out of a Request-URI what only this gateway may say to others: without a route here that leads there, whoever writes it would call
// over the account in the name of this gateway.
func unlent(uri string, hop location.Hop) string {
	if hop.Node == "" || !strings.Contains(strings.ToLower(uri), ";"+accountParam) {
		return uri
	}
	u, err := message.ParseURI(uri)
	if err != nil {
		return uri
	}
	u.Params = message.DelParam(u.Params, accountParam)
	return u.String()
}

// here reports whether aor is a user of this gateway at present: forwarded by us, or registered with us.
func (c *call) here(aor location.AOR) bool {
	_, forwarded := c.forwarding(aor)
	return forwarded || len(c.p.c.Locator.Local(aor)) > 0
}
