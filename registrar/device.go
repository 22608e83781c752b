package registrar

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// device reads which device a contact is, and which of its flows (RFC 5626 §4.1, §4.2).
func (c *contact) device() {
	id, ok := message.Param(c.params, "+sip.instance")
	if !ok {
		return
	}
	// A GRUU that the phone repeats is not its to say (RFC 5627 §5.1: "MUST be ignored").
	c.params = message.DelParam(message.DelParam(c.params, "pub-gruu"), "temp-gruu")
	c.instance = strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">")
	if n, ok := message.Param(c.params, "reg-id"); ok && c.instance != "" {
		// RFC 5626 §9: "1 to (2^31 - 1)"; anything else is no flow, nor is one without an instance (§6).
		if id, err := strconv.ParseUint(n, 10, 31); err == nil {
			c.regID = uint32(id)
		}
	}
}

// route reads Path, and says whether a flow may be registered (RFC 3327 §5.3, RFC 5626 §6).
func (r *Registrar) route(req *message.Message, c *change) *sip.Refusal {
	paths := req.Values(message.Path)
	if len(paths) > 0 && r.c.StrictPath && !supports(req, "path") {
		return noPath // RFC 3327 §5.3: "The recommended policy is for the registrar to reject the request with a 420"
	}
	flow := slices.ContainsFunc(c.contacts, func(one contact) bool { return one.regID != 0 })
	if len(paths) == 0 && !flow {
		return nil
	}
	ob := len(req.Values(message.Via)) == 1 // we are the first hop
	for i, p := range paths {
		a, err := message.ParseRoute(p)
		if err != nil || len(paths) > maxPath {
			return badRequest
		}
		uri, err := message.ParseURI(a.URI)
		if err != nil || !uri.IsSIP() {
			return badRequest
		}
		if _, has := uri.Param("ob"); i == 0 && !ob {
			ob = has
		}
		c.path = append(c.path, strings.Clone(p))
	}
	if !flow {
		return nil
	}
	return c.flows(ob, supports(req, "outbound"))
}

// flows decides what becomes of reg-id. ob says whether the first hop knows flows, phone whether the phone does.
func (c *change) flows(ob, phone bool) *sip.Refusal {
	if !ob && phone {
		return noOutbound // RFC 5626 §6: "the registrar MUST respond to the REGISTER request with a 439"
	}
	lasting := 0
	for i := range c.contacts {
		if !ob {
			c.contacts[i].regID = 0 // RFC 5626 §6: otherwise "the registrar MUST ignore the "reg-id" parameter"
		}
		if c.contacts[i].expires != 0 {
			lasting++
		}
	}
	if ob && lasting > 1 {
		// RFC 5626 §6: with more than one such value "the entire registration SHOULD be rejected with a 400".
		return badRequest
	}
	c.outbound = ob && phone && lasting == 1
	return nil
}

// since is when the device began to register under the Call-ID of c.
func (c *change) since(set []location.Binding, instance string) time.Time {
	if instance == "" {
		return time.Time{}
	}
	for i := range set {
		if b := &set[i]; b.Instance == instance && b.CallID == c.callID && !b.Since.IsZero() {
			return b.Since
		}
	}
	return c.now
}

// circular reports whether a contact leads back to its own address-of-record: RFC 5627 §5.1: "the registrar MUST reject the request
// with a 403, since this would cause a routing loop".
func (r *Registrar) circular(aor location.AOR, one *contact) bool {
	uri := one.parsed
	if !uri.IsSIP() {
		return one.instance != "" // RFC 5627 §5.1: "If the contact is not a SIP URI, the REGISTER request MUST be rejected with a 403"
	}
	if location.IsTemporary(uri.User) {
		return true
	}
	other, ours := r.c.AOR(uri)
	if !ours || other != aor {
		return false
	}
	_, gruu := uri.Param("gr")
	return gruu || message.EqualURI(one.uri, "sip:"+string(aor))
}

// supports reports whether Supported names an option.
func supports(req *message.Message, option string) bool {
	return slices.ContainsFunc(req.Values(message.Supported), func(v string) bool { return message.EqualFold(v, option) })
}
