package proxy

import (
	"strings"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Authenticator checks digest credentials in Proxy-Authorization (RFC 3261 §22.3). It does not block.
type Authenticator interface {
	// Authenticate returns the user part that the credentials of req prove; ok is false when they prove none, and
	// challenge then holds the values of Proxy-Authenticate that are owed.
	Authenticate(req *message.Message) (user string, challenge []string, ok bool)
}

// admit finds out how the sender is known (RFC 3261 §16.3 step 6). With challenged come the values of Proxy-Authenticate.
func (p *Proxy) admit(in *inbound) (challenge []string, c code) {
	in.trusted = p.c.Trusted != nil && p.c.Trusted(in.src)
	trunk, refusal := p.fromTrunk(in)
	if refusal != nil {
		in.refusal = refusal
		return nil, refusedByTrunks
	}
	switch {
	case trunk:
	case in.overlay():
		in.standing = peer
	case in.trusted:
		in.standing = known
		p.byFlow(in)
	case p.byFlow(in):
		in.standing = known
	case p.atPhone(in) && p.emergency(in):
		in.standing = known // no credentials are asked for, whoever From says it is
	default:
		challenge, c = p.authenticate(in)
	}
	if c != fine {
		return challenge, c
	}
	p.clean(in)
	if in.tooPrivate() {
		return nil, privacyFailed
	}
	p.assert(in)
	return nil, fine
}

// authenticate asks strangers for credentials.
func (p *Proxy) authenticate(in *inbound) (challenge []string, c code) {
	offered := in.req.Has(message.ProxyAuthorization)
	asked := p.c.RequireAuth && in.from != "" && !in.genuine
	if p.c.Authenticator == nil || !offered && !asked {
		return nil, fine
	}
	user, challenge, ok := p.c.Authenticator.Authenticate(in.req)
	if !ok {
		if asked {
			// RFC 3261 §22.3: "the proxy server MUST challenge by 407 [..] MUST populate it with a Proxy-Authenticate
			// header field".
			return challenge, challenged
		}
		return nil, fine
	}
	if name, _, _ := strings.Cut(string(in.from), "@"); in.from != "" && name != user {
		return nil, otherIdentity
	}
	in.standing, in.caller = known, in.from
	if in.from == "" {
		in.caller = location.AOR(message.CanonicalUser(user) + "@" + p.c.Domain)
	}
	p.proved(in.caller)
	return nil, fine
}

// byFlow reports whether the connection or address that a request came from proves who its sender is.
func (p *Proxy) byFlow(in *inbound) bool {
	aor := p.claimed(in)
	if !p.registered(in, aor) && !p.certified(in, aor) {
		return false
	}
	in.caller = aor
	return true
}

// registered reports whether a phone of aor registered over the flow that the request came on. Behind another proxy, whose flow
// it is, there may be anybody.
func (p *Proxy) registered(in *inbound, aor location.AOR) bool {
	if aor == "" || in.vias != 1 {
		return false
	}
	for _, b := range p.c.Locator.Local(aor) {
		if len(b.Path) == 0 && sameFlow(b.Hop, in.src) {
			return true
		}
	}
	return false
}

// sameFlow compares connections by number, and UDP by both addresses.
func sameFlow(a, b location.Hop) bool {
	if a.Flow != 0 || b.Flow != 0 {
		return a.Flow == b.Flow
	}
	return a.Transport == b.Transport && a.Remote == b.Remote
}

// clean removes from the copy that is forwarded what is not for those behind us.
func (p *Proxy) clean(in *inbound) {
	in.keep = in.trusted && !in.overlay() && p.c.Identity.Trusted && in.origin.Trunk == "" || in.origin.Trusted
	keep := in.msg.Fields[:0]
	for _, f := range in.msg.Fields {
		switch f.Name {
		case message.ProxyAuthorization:
			// RFC 3261 §22.3: credentials of our realm are consumed here; those of other realms go on.
			if p.c.Realm != "" && realm(f.Value) == p.c.Realm {
				continue
			}
		case message.PAssertedIdentity:
			// RFC 3325 §5: from an element that is not trusted "the proxy MUST replace [..] or remove" it.
			if !in.keep {
				continue
			}
		case message.PPreferredIdentity:
			continue // RFC 3325 §6: "The proxy MUST remove the user-provided P-Preferred-Identity header from any message it forwards"
		case message.Other:
			if in.other(&f) {
				continue
			}
		}
		keep = append(keep, f)
	}
	in.msg.Fields = keep
}

// other takes note of a field that has no number of its own; it reports whether that is not for those behind us.
func (in *inbound) other(f *message.Field) bool {
	switch {
	case message.EqualFold(f.Text, privacyField):
		in.privacy |= readPrivacy(f.Value)
	case message.EqualFold(f.Text, remotePartyID):
		return !in.keep // what P-Asserted-Identity took the place of
	}
	return false
}

// mayRelay reports whether the sender may reach places outside our domain: we are no open relay.
func (in *inbound) mayRelay() bool { return in.genuine || in.standing == known }
