package trunk

import (
	"strings"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Shares is what a Service wants to know of accounts that several gateways have: *Accounts. Its methods do not block.
type Shares interface {
	// ByContact finds the trunk whose registrar knows this gateway by a user part.
	ByContact(user string) (trunk string, ok bool)
	// Usable says whether this gateway may send calls to the account of a trunk, and if not, the gr value of the gateway that may; "" when none is
	// known.
	Usable(trunk string) (ok bool, holder string)
	// Admits reports whether another gateway, by its gr value, may send calls to the account of a trunk through this one.
	Admits(trunk, node string) bool
}

// AccountParam is the parameter of a Request-URI by which a gateway sends a call to the one that uses an account: sip:NUMBER@DOMAIN;account=NAME.
// NAME is the user that stands for the account in the overlay, NUMBER the number as the trunk is to see it.
const AccountParam = "account"

// EmergencyParam beside it says that the call is one to an emergency service. Whoever may use the account may say so.
const EmergencyParam = "emergency"

// Refusals of calls between gateways that have the same account.
var (
	notSharing = &sip.Refusal{Status: 403, Word: "TRK403O", Text: "this gateway may not use the account"}
	notOwner   = &sip.Refusal{Status: 503, Word: "TRK503O", Text: "another gateway uses the account"}
)

// contact reads a request to our contact at a registrar: the trunk that it comes from, and the number that was called. RFC 3261 §10: the
// Request-URI is the contact that was registered, so that the number stands in To.
func (s *Service) contact(p *Plan, req *message.Message) (t *Trunk, number string) {
	if s.o.Accounts == nil {
		return nil, ""
	}
	uri, err := message.ParseURI(req.RequestURI)
	if err != nil {
		return nil, ""
	}
	name, ok := s.o.Accounts.ByContact(uri.User)
	if !ok {
		return nil, ""
	}
	if t = p.Trunk(name); t == nil || t.Register == nil {
		return nil, ""
	}
	called := req.Get(message.To)
	if t.Register.CalledParty {
		// RFC 7315 §4.2: what the Request-URI was before the contact took its place.
		if v := req.Other("P-Called-Party-ID"); v != "" {
			called = v
		}
	}
	to, _ := addressOf(called)
	return t, Number(to.User)
}

// lent are the ways of a request that another gateway has this one send over an account, or why there is none; ok is false when it is another
// request.
func (s *Service) lent(p *Plan, d *sip.Dialled) (r sip.TrunkRoute, ok bool) {
	if d.Node == "" || d.Request == nil || s.o.Accounts == nil {
		return r, false
	}
	uri, err := message.ParseURI(d.Request.RequestURI)
	name, given := uri.Param(AccountParam)
	if err != nil || !given {
		return r, false
	}
	r.Pattern, r.Prefix = AccountParam+"="+name, -1
	_, r.Emergency = uri.Param(EmergencyParam)
	var t *Trunk
	for i := range p.c.Trunks {
		if a := p.c.Trunks[i].Register; a != nil && a.Owner != "" && userOf(a.Owner) == name {
			t = &p.c.Trunks[i]
		}
	}
	switch {
	case t == nil || !s.o.Accounts.Admits(t.Name, d.Node):
		r.Refusal = notSharing
	default:
		if usable, _ := s.o.Accounts.Usable(t.Name); !usable {
			r.Refusal = notOwner
			break
		}
		if n := Number(d.User); !r.Emergency && !t.permits(n) {
			r.Refusal = notPrefix
			break
		}
		r.Ways = s.waysOf(p, t, &leaving{route: &Route{Emergency: r.Emergency}, number: Number(d.User), call: d})
		for i := range r.Ways {
			r.Ways[i].Charge = "" // who sent it has charged somebody
		}
	}
	if r.Refusal != nil {
		s.count(r.Refusal)
	}
	return r, true
}

// borrowed is the way of a call over an account that another gateway uses; ok is false when this one may use it.
func (s *Service) borrowed(p *Plan, t *Trunk, number string, base sip.Way) (way sip.Way, ok bool) {
	if s.o.Accounts == nil || t.Register == nil {
		return way, false
	}
	usable, holder := s.o.Accounts.Usable(t.Name)
	if usable {
		return way, false
	}
	way = base
	way.Write = nil // that gateway does it
	way.Node, way.Down = holder, holder == ""
	params := ";" + AccountParam + "=" + userOf(t.Register.Owner)
	if base.Emergency {
		params += ";" + EmergencyParam
	}
	way.URI = message.URI{Scheme: "sip", User: number, Host: p.c.Domain, Params: params}.String()
	return way, true
}

// userOf is the user part of user@domain.
func userOf(aor string) string {
	user, _, _ := strings.Cut(aor, "@")
	return user
}

var _ Shares = (*Accounts)(nil)
