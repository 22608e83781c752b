package proxy

import (
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// preprocess takes our own values out of the routing of in.msg (RFC 3261 §16.4), all of them in one go, so that both
// halves of a double Record-Route go (RFC 5658), and reads the tokens in them.
func (p *Proxy) preprocess(in *inbound) code {
	if code := p.unstrict(in); code != fine {
		return code
	}
	p.stripMaddr(in)
	for {
		route, ok := in.msg.FirstValue(message.Route)
		if !ok {
			return fine
		}
		uri, err := routeURI(route)
		if err != nil {
			return badRequest
		}
		if !p.own(uri) {
			return fine
		}
		// RFC 3261 §16.4: "If the first value in the Route header field indicates this proxy, the proxy MUST remove that
		// value".
		in.msg.PopValue(message.Route)
		if code := p.readToken(in, uri); code != fine {
			return code
		}
	}
}

// unstrict undoes what a strict router did. RFC 3261 §16.4: when the Request-URI is a value that we placed into
// Record-Route, "the proxy MUST replace the Request-URI in the request with the last value from the Route header field,
// and remove that value".
func (p *Proxy) unstrict(in *inbound) code {
	if _, lr := in.uri.Param("lr"); !lr || !p.own(in.uri) {
		return fine
	}
	routes := in.msg.Values(message.Route)
	if len(routes) == 0 {
		return fine
	}
	if code := p.readToken(in, in.uri); code != fine {
		return code
	}
	last := len(routes) - 1
	uri, err := routeURI(routes[last])
	if err != nil {
		return badRequest
	}
	in.msg.Del(message.Route)
	for _, r := range routes[:last] {
		in.msg.Add(message.Route, r)
	}
	in.uri, in.msg.RequestURI = uri, uri.String()
	return fine
}

// stripMaddr removes a maddr that names us. RFC 3261 §16.4: "the proxy MUST strip the maddr and any non-default port or
// transport parameter and continue processing as if those values had not been present".
func (p *Proxy) stripMaddr(in *inbound) {
	maddr, ok := in.uri.Param("maddr")
	if !ok || !p.c.Ours(strings.Trim(maddr, "[]"), in.uri.Port) {
		return
	}
	in.uri.Port = 0
	in.uri.Params = message.DelParam(message.DelParam(in.uri.Params, "maddr"), "transport")
	in.msg.RequestURI = in.uri.String()
}

// readToken reads the token in the user part of one of our own route URIs. When several carry one, the last stands
// nearest to the receiver and counts.
func (p *Proxy) readToken(in *inbound, uri message.URI) code {
	t, found, ok := p.seal.open(uri.User, in.req.Get(message.CallID))
	switch {
	case !found:
		return fine
	case !ok:
		return badToken // RFC 5626 §5.3.1: "If the flow token has been tampered with, the proxy SHOULD send a 403"
	}
	if in.inside {
		// RFC 3261 §16.6 step 4: such a URI is not to be used "outside the dialog in which it was provided".
		in.token, in.genuine = t, true
	}
	return fine
}

// own reports whether a route URI names this gateway: by its gr when it has one, for the host of a GRUU is the whole
// domain.
func (p *Proxy) own(uri message.URI) bool {
	if !uri.IsSIP() {
		return false
	}
	if node, ok := p.gruu(uri); ok {
		return node == p.c.NodeGR
	}
	return p.c.Ours(uri.Host, uri.Port)
}

func routeURI(route string) (message.URI, error) {
	a, err := message.ParseRoute(route)
	if err != nil {
		return message.URI{}, err
	}
	return message.ParseURI(a.URI)
}
