package proxy

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// branchOf makes the copy of a request that goes to t over hop (RFC 3261 §16.6 steps 1 to 6).
func (p *Proxy) branchOf(in *inbound, t *target, hop location.Hop, breadth int) *message.Message {
	m := in.msg.Clone()
	m.RequestURI = t.uri
	// RFC 5393 §5.3.3: "All proxied requests MUST contain a single Max-Breadth header field value".
	m.Set(message.MaxBreadth, strconv.Itoa(breadth))
	for _, v := range slices.Backward(t.path) {
		m.Prepend(message.Route, v)
	}
	if recordRoutes(m.Method) {
		p.recordRoute(in, m, t, hop)
	}
	restrict(m)
	return m
}

// recordRoutes reports whether requests of this method may open or refresh a dialog. RFC 3261 §16.6 step 4: a proxy that
// has to stay in the path "SHOULD add a Record-Route header field value to every request with a method it does not
// understand".
func recordRoutes(method string) bool {
	switch method {
	case "BYE", "MESSAGE", "OPTIONS", "INFO", "PRACK", "PUBLISH", "UPDATE", "REGISTER", "ACK":
		return false
	}
	return true
}

// recordRoute puts us into the route of the dialog: once when both sides reach us at one address, twice when transport,
// socket or address family differ (RFC 5658), each side seeing first the address that it can reach. The way to phones is
// in the token.
func (p *Proxy) recordRoute(in *inbound, m *message.Message, t *target, hop location.Hop) {
	scheme := "sip:"
	if uri, err := message.ParseURI(m.RequestURI); err == nil && uri.Scheme == "sips" || in.uri.Scheme == "sips" {
		// RFC 3261 §16.6 step 4: "If the Request-URI contains a SIPS URI [..] the URI placed into the Record-Route header
		// field MUST be a SIPS URI".
		scheme = "sips:"
	}
	tok := token{caller: tagHash(in.fromTag), near: senderWay(in), far: t.token}
	tok.trunk = p.trunking() && (in.origin.Trunk != "" || t.way != nil || p.c.Trunks.At(hop) != "")
	user := p.seal.seal(tok, in.req.Get(message.CallID))
	up, down := p.side(in.src), p.side(hop)
	if up == down {
		m.Prepend(message.RecordRoute, p.sideValue(down, scheme, user))
		return
	}
	upUser, downUser := "", user
	if down.overlay {
		upUser, downUser = user, ""
	}
	m.Prepend(message.RecordRoute, p.sideValue(up, scheme, upUser))
	m.Prepend(message.RecordRoute, p.sideValue(down, scheme, downUser))
}

// side is how those on one side of us reach us.
type side struct {
	overlay bool
	address sip.Address
}

func (p *Proxy) side(hop location.Hop) side {
	if hop.Node != "" {
		return side{overlay: true}
	}
	a := p.c.Sender.Address(hop)
	a.Local = netip.AddrPort{} // two sockets behind one address of ours are one address to others
	if a.Host == "" {
		a.Host = p.c.Domain // the connection has just gone; the domain leads to one of us
	}
	return side{address: a}
}

func (p *Proxy) sideValue(s side, scheme, user string) string {
	if s.overlay {
		// RFC 7904 §6: any peer of the overlay reaches a GRUU by its destination list.
		if user == "" {
			user = "gw" // the token is in the value for the other side, but for a forwarding from one gateway to another
		}
		return "<" + scheme + user + "@" + p.c.Domain + ";gr=" + p.c.NodeGR + ";lr>"
	}
	return s.routeValue(scheme, user)
}

func (s side) routeValue(scheme, user string) string {
	b := append(append(append(make([]byte, 0, 256), '<'), scheme...), user...)
	if user != "" {
		b = append(b, '@')
	}
	b = message.AppendHostPort(b, s.address.Host, s.address.Port)
	return string(append(append(b, transportParam(scheme, s.address.Transport)...), ";lr>"...))
}

// transportParam names the transport where the scheme does not. RFC 3261 §16.6 step 4: not "unless the proxy has
// knowledge that the next downstream element [..] supports that transport": it does, a message came or goes that way.
func transportParam(scheme, transport string) string {
	switch {
	case transport == "WS" || transport == "WSS":
		// RFC 7118 §5.2: "ws" is the value for both; with sips it means WSS.
		return ";transport=ws"
	case scheme == "sips:" || transport == "UDP":
		return ""
	case transport == "TLS":
		return ";transport=tls"
	case transport == "TCP":
		return ";transport=tcp"
	}
	return ""
}

// restrict prepares m for a strict router. RFC 3261 §16.6 step 6: when the first Route has no lr, "the proxy MUST place
// the Request-URI into the Route header field as the last value" and "then place the first Route header field value into
// the Request-URI".
func restrict(m *message.Message) {
	first, ok := m.FirstValue(message.Route)
	if !ok {
		return
	}
	uri, err := routeURI(first)
	if err != nil {
		return
	}
	if _, lr := uri.Param("lr"); lr {
		return
	}
	m.Add(message.Route, "<"+m.RequestURI+">")
	m.PopValue(message.Route)
	m.RequestURI = uri.String()
}

// nextHop is the URI that decides where m goes. RFC 3261 §16.6 step 7: the Request-URI when it was rewritten for a strict
// router, else the first Route, else the Request-URI; "as if the input URI were a SIPS URI" when the Request-URI is one.
func nextHop(t *target, in *inbound) (message.URI, bool) {
	text := t.uri
	if len(t.path) > 0 {
		text = t.path[0]
	} else if t.next != "" {
		text = t.next
	} else if route, ok := in.msg.FirstValue(message.Route); ok {
		text = route
	}
	uri, err := routeURI(text)
	if err != nil || !uri.IsSIP() {
		return message.URI{}, false
	}
	if in.uri.Scheme == "sips" {
		uri.Scheme = "sips"
	}
	return uri, true
}
