package proxy

import (
	"slices"
	"strings"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// withhold takes the challenges of strangers out of a 401 or 407 of a branch; it reports whether none is left. Phones answer any challenge
// with a hash of their password (RFC 3261 §22.2): whoever is called could ask for it, and guess the password at leisure.
//
// Deviation: RFC 3261 §16.7 step 7 has every challenge passed on. What passes here comes from an address that is trusted, is for a sender that is,
// or names a realm of Config.Realms; never our own, which no callee has any business asking for.
func (c *call) withhold(branch int, res *message.Message) bool {
	if res.StatusCode != 401 && res.StatusCode != 407 || c.in.trusted || c.vouched(branch) {
		return false
	}
	kept := 0
	res.Fields = slices.DeleteFunc(res.Fields, func(f message.Field) bool {
		if f.Name != message.WWWAuthenticate && f.Name != message.ProxyAuthenticate {
			return false
		}
		of := realm(f.Value)
		several := strings.Count(strings.ToLower(f.Value), "realm") != 1 // two challenges in one field: who knows which of them a phone answers
		if several || of == c.p.c.Realm || !slices.Contains(c.p.c.Realms, of) {
			return true
		}
		kept++
		return false
	})
	return kept == 0
}

// vouched reports whether a branch leads to an address that is trusted by configuration.
func (c *call) vouched(branch int) bool {
	l := &c.legs[branch]
	return c.p.c.Trusted != nil && l.at < len(l.hops) && l.hops[l.at].Node == "" && c.p.c.Trusted(l.hops[l.at])
}

// realm reads the realm of credentials or of a challenge, "" when there is none.
func realm(value string) string {
	_, params, _ := strings.Cut(value, " ")
	for _, v := range message.AppendValues(nil, params) {
		if name, value, ok := strings.Cut(v, "="); ok && message.EqualFold(strings.TrimSpace(name), "realm") {
			return message.Unquote(strings.TrimSpace(value))
		}
	}
	return ""
}
