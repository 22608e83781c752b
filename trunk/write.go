package trunk

import (
	"strings"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// addressOf is the SIP URI in a From or To; for a tel URI, its number as user.
func addressOf(value string) (message.URI, bool) {
	a, err := message.ParseAddress(value)
	if err != nil {
		return message.URI{}, false
	}
	u, err := message.ParseURI(a.URI)
	if err == nil && u.Scheme == "tel" {
		number, _, _ := strings.Cut(u.Rest, ";")
		return message.URI{Scheme: "tel", User: number}, true
	}
	return u, err == nil && u.IsSIP()
}

// rewritten is a From or To with another URI; its display name and tag stay.
func rewritten(value string, uri message.URI) string {
	a, err := message.ParseAddress(value)
	if err != nil {
		return value
	}
	name := ""
	if a.Display != "" {
		name = a.Display + " "
	}
	return name + "<" + uri.String() + ">" + a.Params
}

// identity is what a trusted trunk says of its caller, as P-Asserted-Identity; own tells that it is a number that is published as the trunk's, so
// that other gateways believe it. "": what it says stays as it is.
func (p *Plan) identity(t *Trunk, req *message.Message) (value string, own bool) {
	if !t.TrustIdentity {
		return "", false
	}
	lines := req.Values(message.PAssertedIdentity)
	if len(lines) == 0 {
		return "", false
	}
	u, ok := addressOf(lines[0])
	if !ok || !p.owns(t, Number(u.User)) {
		return "", false
	}
	return "<" + message.URI{Scheme: "sip", User: Number(u.User), Host: p.c.Domain}.String() + ">", true
}

// hides are the words of Privacy that hide who calls (RFC 3323 §4.2, RFC 3325 §9.3).
func hides(m *message.Message) (id, user bool) {
	for _, word := range strings.FieldsFunc(m.Other("Privacy"), func(r rune) bool { return strings.ContainsRune("; ,\t", r) }) {
		switch strings.ToLower(word) {
		case "none":
			return false, false
		case "id":
			id = true
		case "user":
			user = true
		}
	}
	return id, user
}

// anonymous is the From of who does not want to be known (RFC 3323 §4.1.1.3).
const anonymous = `"Anonymous" <sip:anonymous@anonymous.invalid>`

// write changes the header of a copy that goes to t: who is calling as far as t is to know it, and the hosts that it wants.
func (p *Plan) write(t *Trunk, l *leaving, m *message.Message) {
	id, user := hides(m)
	caller, ok := addressOf(m.Get(message.From))
	from := m.Get(message.From)
	outside := !l.route.Publish && p.c.Identity != "" && !p.passes(l.call)
	host := t.Domain
	if host == "" {
		host = p.c.Domain
	}
	own := message.URI{Scheme: "sip", User: p.c.Identity, Host: host}
	switch {
	case !t.TrustIdentity:
		// RFC 3325 §7: "proxies MUST remove all the P-Asserted-Identity header fields before forwarding messages to elements that are not
		// trusted" when Privacy says id; without it, that "is a policy matter": who is not trusted is told nothing.
		m.Del(message.PAssertedIdentity)
	case outside:
		m.Set(message.PAssertedIdentity, "<"+own.String()+">")
	case t.Domain != "" && m.Has(message.PAssertedIdentity):
		p.rehost(m, t.Domain)
	}
	switch {
	case user || id && !t.TrustIdentity:
		// RFC 3323 §5.3: who is the last that may know hides the rest. The tag stays: it tells the dialog.
		m.Set(message.From, anonymous+tagOf(from))
	case outside && !t.TrustIdentity:
		m.Set(message.From, rewritten(from, own))
	case ok && t.Domain != "" && strings.EqualFold(caller.Host, p.c.Domain):
		caller.Host, caller.Port = t.Domain, 0
		m.Set(message.From, rewritten(from, caller))
	}
	if to, ok := addressOf(m.Get(message.To)); ok && t.Domain != "" && to.IsSIP() {
		to.User, to.Host, to.Port = l.number, t.Domain, 0
		m.Set(message.To, rewritten(m.Get(message.To), to))
	}
}

// passes reports whether a call comes from a trunk that is trusted with identities: what it says of its caller goes on.
func (p *Plan) passes(d *sip.Dialled) bool {
	t := p.Trunk(d.Origin)
	return t != nil && t.TrustIdentity && d.Request != nil && d.Request.Has(message.PAssertedIdentity)
}

// rehost writes the identities of our users as a trunk wants them.
func (p *Plan) rehost(m *message.Message, host string) {
	values := m.Values(message.PAssertedIdentity)
	m.Del(message.PAssertedIdentity)
	for _, v := range values {
		if u, ok := addressOf(v); ok && strings.EqualFold(u.Host, p.c.Domain) {
			u.Host, u.Port = host, 0
			v = rewritten(v, u)
		}
		m.Add(message.PAssertedIdentity, v)
	}
}

func tagOf(from string) string {
	if tag := message.Tag(from); tag != "" {
		return ";tag=" + tag
	}
	return ""
}
