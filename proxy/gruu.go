package proxy

import (
	"net/url"
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// gruu returns the destination list in a GRUU of the overlay (RFC 7904 §6).
func (p *Proxy) gruu(uri message.URI) (node string, ok bool) {
	gr := p.gr(uri)
	return gr, gr != "" && !location.IsInstance(gr)
}

// gr is the value of the gr parameter of a URI of our domain, "" when there is none.
func (p *Proxy) gr(uri message.URI) string {
	gr, ok := uri.Param("gr")
	if !ok || gr == "" || !message.EqualFold(uri.Host, p.c.Domain) {
		return ""
	}
	if strings.IndexByte(gr, '%') >= 0 {
		if s, err := url.PathUnescape(gr); err == nil {
			return s
		}
	}
	return gr
}

// device is what a GRUU of a phone stands for (RFC 5627): an instance of aor. ok is false for any other URI; c says that there is no such
// GRUU.
func (p *Proxy) device(uri message.URI) (aor location.AOR, instance string, ok bool, c code) {
	if uri.Params == "" {
		return "", "", false, fine
	}
	gr := p.gr(uri)
	if location.IsInstance(gr) {
		aor, ok = p.c.AOR(uri)
		return aor, gr, ok, fine
	}
	if p.c.GRUUs == nil || gr != p.c.NodeGR || !location.IsTemporary(uri.User) {
		return "", "", false, fine
	}
	aor, device, ok := p.c.GRUUs.Open(uri.User)
	if ok {
		instance, ok = location.Device(p.c.Locator.Local(aor), device)
	}
	if !ok {
		return "", "", true, unknownUser // RFC 5627 §6.1: not "a currently valid GRUU": "SHOULD be rejected with a 404"
	}
	return aor, instance, true, fine
}

// toDevice plans for the GRUU of a phone. ok is false when the Request-URI is none.
func (p *Proxy) toDevice(in *inbound, hasRoute bool) (pl plan, c code, ok bool) {
	aor, instance, ok, c := p.device(in.uri)
	if !ok || c != fine || !p.responsible(in.uri) {
		return plan{}, c, ok
	}
	flows, c := p.flows(p.c.Locator.Local(aor), instance, in.uri.Scheme == "sips")
	switch {
	case len(flows) > 0 && hasRoute:
		// RFC 5627 §6.1: when Route leads on, "the Path URI MUST be discarded".
		return plan{one: target{uri: flows[0].uri, q: wholeQ}}, fine, in.mayRelay()
	case len(flows) > 0:
		return plan{one: flows[0], spare: flows[1:]}, fine, true
	case in.genuine && in.token.toward(in.fromTag) != location.Hop{}:
		return plan{}, fine, false // the phone is not registered any more, but the dialog knows the way
	case in.overlay() && c == fine:
		c = notRegistered // RFC 5627 §6.1: no contacts: "the server MUST return a 480"
	}
	return plan{aor: aor, instance: instance, remote: !in.overlay()}, c, true
}

// flows lists the ways to one device, the best first: RFC 5627 §6.1, RFC 5626 §7: one at a time, the one that was refreshed last before
// the others. c is why there is none though it is registered.
func (p *Proxy) flows(set []location.Binding, instance string, sips bool) (out []target, c code) {
	var of []*location.Binding
	for i := range set {
		if set[i].Instance == instance {
			of = append(of, &set[i])
		}
	}
	slices.SortStableFunc(of, func(a, b *location.Binding) int { return b.Updated.Compare(a.Updated) })
	for _, b := range of {
		t, why := p.bound(*b, sips)
		if why == fine {
			out = append(out, t)
		} else if c == fine {
			c = why
		}
	}
	if len(out) > 0 {
		c = fine
	}
	return out, c
}

// lead reports whether set[i] is the first binding of its device.
func lead(set []location.Binding, i int) bool {
	for j := range i {
		if set[j].Instance == set[i].Instance {
			return false
		}
	}
	return true
}

// alone reports whether set[i] is the only binding of its device.
func alone(set []location.Binding, i int) bool {
	for j := range set {
		if j != i && set[j].Instance == set[i].Instance {
			return false
		}
	}
	return true
}
