package registrar

import (
	"github.com/p2psip/p2psip-gateway/sip"
)

// A PBX registers one contact for all of its numbers (RFC 6140): its URI has the parameter bnc and no user. It is one binding of the PBX's own
// address-of-record; whoever routes the numbers makes the contact of each of them of it (package trunk).

// bulk refuses bulk number contacts that are malformed, or of somebody who has no numbers.
//
// RFC 6140 §5.1 has the PBX require gin as well. §5.2 goes by the parameter alone, and so does this.
func (r *Registrar) bulk(c *change) *sip.Refusal {
	for i := range c.contacts {
		one := &c.contacts[i]
		uri := one.parsed
		if !uri.IsSIP() {
			continue
		}
		if _, one.bulk = uri.Param("bnc"); !one.bulk {
			continue
		}
		// RFC 6140 §5.2: a Contact URI "with both a "bnc" parameter and a user portion MUST NOT" be answered with success, "400 (Bad
		// Request)"; §5.3: nor one with a "user" parameter.
		if _, user := uri.Param("user"); user || uri.User != "" {
			return badBulk
		}
		if _, ours := r.c.AOR(uri); ours {
			return circular // each number would lead back here
		}
		if one.expires != 0 && (r.c.Numbered == nil || !r.c.Numbered(c.aor)) {
			return noNumbers
		}
	}
	return nil
}
