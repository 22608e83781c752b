package proxy

import (
	"net/netip"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// target is one place that a request is to go to.
type target struct {
	uri    string       // Request-URI
	path   []string     // Route values to put in front (RFC 3327)
	hop    location.Hop // where to; zero: to be resolved from Route or Request-URI
	token  location.Hop // what a route token says of this side; zero: Route and Request-URI lead there
	known  bool         // it is a phone or gateway of ours: not reachable means not available, not an error
	behind netip.Addr   // where the proxy is that a phone registered through, when Path has to be resolved
	q      int          // thousandths
	ranged bool         // it is a gateway that serves a number range
	way    *sip.Way     // it is a place of a trunk
	next   string       // URI to be resolved instead of uri; "": none
}

// plan is what is to be done with a request (RFC 3261 §16.5): one target, or an AOR to be looked up.
type plan struct {
	one      target
	spare    []target     // other ways to the same device
	aor      location.AOR // "" when one is set
	instance string       // only this device of aor (RFC 5627); "": all
	remote   bool         // ask the overlay too
	// dial: a trunk leads to user, of a domain other than ours when that is not "".
	dial         bool
	user, domain string
}

// wholeQ is the q of targets that come without one (RFC 3261 §20.10).
const wholeQ = 1000

// determine plans where a request goes.
func (p *Proxy) determine(in *inbound) (plan, code) {
	if p.emergency(in) {
		return plan{dial: true, user: in.uri.User}, fine // RFC 5031, before everything else
	}
	if !in.uri.IsSIP() {
		return plan{}, badScheme
	}
	route, hasRoute := in.msg.FirstValue(message.Route)
	if pl, c, ok := p.toDevice(in, hasRoute); ok || c != fine {
		return pl, c
	}
	if in.genuine {
		if t, c, ok := p.withinDialog(in, hasRoute); ok || c != fine {
			return plan{one: t}, c
		}
	}
	next := in.uri
	if hasRoute {
		uri, err := routeURI(route)
		if err != nil {
			return plan{}, badRequest
		}
		next = uri
	}
	if node, ok := p.gruu(next); ok && node != p.c.NodeGR {
		return p.toNode(in, node)
	}
	if !hasRoute && !in.genuine && p.elsewhere(in) {
		return plan{dial: true, user: in.uri.User, domain: strings.ToLower(in.uri.Host)}, fine
	}
	if hasRoute || !p.responsible(in.uri) {
		// RFC 3261 §16.5: the Request-URI "MUST be placed into the target set as the only target"; but we are no open relay.
		if !in.mayRelay() {
			return plan{}, noRelay
		}
		return plan{one: target{uri: in.msg.RequestURI, q: wholeQ}}, fine
	}
	if p.lent(in) {
		return plan{dial: true, user: in.uri.User}, fine
	}
	aor, ok := p.c.AOR(in.uri)
	if !ok || in.uri.User == "" {
		return plan{}, unknownUser // RFC 3261 §16.5: "a resource at this proxy that does not exist": "MUST return a 404"
	}
	// A request that came over the overlay, or names this gateway by its gr, is for phones of this gateway and never
	// looked up again.
	_, here := p.gruu(in.uri)
	return plan{aor: aor, remote: !in.overlay() && !here}, fine
}

// responsible reports whether the Request-URI is ours to answer for.
func (p *Proxy) responsible(uri message.URI) bool {
	// RFC 3261 §16.5: with a maddr (not ours) "the Request-URI MUST be placed into the target set as the only target".
	_, maddr := uri.Param("maddr")
	return !maddr && p.c.Ours(uri.Host, uri.Port)
}

// toNode plans for a GRUU of the overlay. A gateway does not carry requests from one to another of its peers.
func (p *Proxy) toNode(in *inbound, node string) (plan, code) {
	if in.overlay() && !in.genuine {
		return plan{}, noRelay
	}
	return plan{one: nodeTarget(in.msg.RequestURI, node)}, fine
}

func nodeTarget(uri, node string) target {
	hop := location.Hop{Node: node}
	return target{uri: uri, hop: hop, token: hop, known: true, q: wholeQ}
}

// withinDialog finds the way that the token of a dialog remembers. Without ok Route and Request-URI lead on as they do
// for anything else.
func (p *Proxy) withinDialog(in *inbound, hasRoute bool) (t target, c code, ok bool) {
	hop := in.token.toward(in.fromTag)
	t = target{uri: in.msg.RequestURI, hop: hop, token: hop, known: true, q: wholeQ}
	switch {
	case hop.Node != "":
		return t, fine, true
	case !hop.Remote.IsValid():
		in.socket = hop.Local
		return t, fine, false
	case hop.Flow == 0:
		// Over UDP the next proxy, when there is one, knows better than we which phones are behind it.
		return t, fine, !hasRoute
	case p.c.Sender.Alive(hop):
		return t, fine, true // RFC 5626 §5.3.1: "forwards the request over the 'logical flow' identified by the flow token"
	case hasRoute:
		return t, fine, false
	}
	if b, found := p.reconnected(in); found {
		t.hop, t.token = b.Hop, b.Hop
		return t, fine, true
	}
	return t, flowFailed, false // RFC 5626 §5.3.1: "If the flow no longer exists, the proxy SHOULD send a 430"
}

// reconnected finds the phone of a dialog whose connection is gone, when it has registered the same contact again.
func (p *Proxy) reconnected(in *inbound) (location.Binding, bool) {
	to, err := message.ParseAddress(in.req.Get(message.To))
	if err != nil {
		return location.Binding{}, false
	}
	uri, err := message.ParseURI(to.URI)
	if err != nil {
		return location.Binding{}, false
	}
	aor, ok := p.c.AOR(uri)
	if !ok {
		return location.Binding{}, false
	}
	for _, b := range p.c.Locator.Local(aor) {
		if p.c.Sender.Alive(b.Hop) && message.EqualURI(b.Contact, in.msg.RequestURI) {
			return b, true
		}
	}
	return location.Binding{}, false
}

// bound makes a target of a binding; c tells why there is none.
func (p *Proxy) bound(b location.Binding, sips bool) (t target, c code) {
	t = target{path: b.Path, hop: b.Hop, known: true, q: b.Q}
	uri, err := message.ParseURI(b.Contact)
	if err != nil {
		return t, gatewayUnreachable
	}
	uri, t.uri = requestURI(uri, b.Contact)
	if c := overTLS(&t, uri, sips); c != fine {
		return t, c
	}
	switch {
	case len(b.Path) > 0:
		// RFC 3327 §5.4: behind other proxies, the first of which is the next hop; over its connection while that stands.
		if b.Hop.Flow == 0 || !p.c.Sender.Alive(b.Hop) {
			t.hop, t.behind = location.Hop{}, b.Hop.Remote.Addr().Unmap()
		}
	case b.Hop.Transport == "UDP":
		t.hop, t.token = overUDP(b.Hop, uri), wayBack(b.Hop, uri)
	case p.c.Sender.Alive(b.Hop):
		t.token = b.Hop
	default:
		var ok bool
		if t.hop, ok = redial(b.Hop, uri); !ok {
			return t, flowGone
		}
	}
	return t, fine
}

// requestURI takes out of a contact what a Request-URI may not hold. RFC 3261 §16.6 step 2: "If the URI contains any parameters not allowed in a
// Request-URI, they MUST be removed"; §19.1.1, table 1: these are header fields and the method. text is how uri was written, which stays when
// nothing is removed.
func requestURI(uri message.URI, text string) (message.URI, string) {
	_, method := uri.Param("method")
	if !method && uri.Headers == "" {
		return uri, text
	}
	uri.Headers, uri.Params = "", message.DelParam(uri.Params, "method")
	return uri, uri.String()
}

// overUDP is where a phone listens that registered from hop. A Contact with the IP address that the REGISTER came from is taken at its word,
// port included: such phones, and test tools, send from one port and listen on another. Any other Contact is behind a NAT, and the
// way in is the way out.
func overUDP(hop location.Hop, contact message.URI) location.Hop {
	if at, ok := address(contact); ok && at.Addr() == hop.Remote.Addr().Unmap() {
		hop.Remote = at
	}
	return hop
}

// redial is where a phone listens whose connection is gone; ok is false when nobody does: its Contact is the end of the connection
// itself, at a port that the system drew. At an address there is no name that a certificate could prove.
func redial(hop location.Hop, contact message.URI) (to location.Hop, ok bool) {
	at, ok := address(contact)
	if !ok || at.Addr() != hop.Remote.Addr().Unmap() || at.Port() == hop.Remote.Port() && at.Port() >= drawnPorts {
		return hop, false
	}
	return location.Hop{Transport: hop.Transport, Remote: at, Host: location.AnyHost}, true
}

// address is the numeric address of a URI; ok is false when its host is a name.
func address(uri message.URI) (at netip.AddrPort, ok bool) {
	addr, ok := message.Addr(uri.Host)
	port := uri.Port
	if port == 0 {
		port = 5060 // RFC 3261 §19.1.2
	}
	return netip.AddrPortFrom(addr.Unmap(), port), ok
}

// overTLS keeps sips and sip apart. RFC 5630 §5.3: a request with a SIPS Request-URI goes to a SIPS URI only; one with a
// SIP Request-URI never does, but "MUST replace that SIPS scheme with a SIP scheme [..] and MUST use TLS".
//
// Deviation: most phones on TLS register "sip:..;transport=tls". They get requests for sips too, with their URI as it is:
// every hop is TLS, which is what the caller asked for.
func overTLS(t *target, uri message.URI, sips bool) code {
	switch {
	case sips && t.hop.Transport != "TLS" && t.hop.Transport != "WSS":
		return sipsNotPossible
	case !sips && uri.Scheme == "sips":
		uri.Scheme = "sip"
		t.uri = uri.String()
	}
	return fine
}

// wayBack is what a token must remember to reach the one who sent from hop and has this Contact: a connection always, a UDP address when the
// Contact does not say it, which is NAT or a name, and else our socket that it knows.
func wayBack(hop location.Hop, contact message.URI) location.Hop {
	if hop.Transport != "UDP" {
		return hop
	}
	if at, ok := address(contact); ok && at.Addr() == hop.Remote.Addr().Unmap() {
		return location.Hop{Transport: "UDP", Local: hop.Local}
	}
	return hop
}

// senderWay is what a token must remember to reach the sender of in again. A UDP address behind which another proxy
// stands is not the phone's: its Record-Route leads there.
func senderWay(in *inbound) location.Hop {
	if in.overlay() {
		return in.src
	}
	if in.src.Transport == "UDP" && (in.req.Has(message.RecordRoute) || in.vias > 1) {
		return location.Hop{Transport: "UDP", Local: in.src.Local}
	}
	contact, err := message.ParseAddress(in.req.Get(message.Contact))
	if err != nil {
		return in.src
	}
	uri, err := message.ParseURI(contact.URI)
	if err != nil {
		return in.src
	}
	return wayBack(in.src, uri)
}
