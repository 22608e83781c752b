package registrar

import (
	"slices"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// change is what a REGISTER asks for.
type change struct {
	query    bool // no Contact: only list
	star     bool // Contact: *
	contacts []contact
	callID   string
	cseq     uint32
	agent    string
	aor      location.AOR
	path     []string // RFC 3327
	outbound bool     // a flow is registered, and the phone knows it (RFC 5626)
	hop      location.Hop
	now      time.Time
}

type contact struct {
	uri      string
	params   string // without q and expires
	q        int
	expires  time.Duration // negative: neither parameter nor header field said
	instance string        // see location.Binding
	regID    uint32
	bulk     bool
}

// notSaid stands for a contact without a lifetime of its own.
const notSaid = time.Duration(-1)

// parseContacts reads the Contact values and lifetimes (RFC 3261 §10.3 step 6).
func parseContacts(req *message.Message) (c change, ok bool) {
	seq, err := req.CSeq()
	if err != nil {
		return c, false
	}
	c.callID, c.cseq, c.agent = strings.Clone(req.Get(message.CallID)), seq.Seq, strings.Clone(req.Get(message.UserAgent))
	values := req.Values(message.Contact)
	header := notSaid
	if req.Has(message.Expires) {
		header = time.Duration(message.ParseExpires(req.Get(message.Expires))) * time.Second
	}
	if c.query = len(values) == 0; c.query {
		return c, true
	}
	for _, v := range values {
		one, err := message.ParseContact(v)
		if err != nil {
			return c, false
		}
		if one.Star {
			// RFC 3261 §10.3 step 6: "If the request has additional Contact fields or an expiration time other than zero, the request
			// is invalid, and the server MUST return a 400".
			c.star = true
			return c, len(values) == 1 && header == 0
		}
		if s, ok := message.Param(one.Params, "q"); ok {
			if _, ok := message.ParseQ(s); !ok {
				return c, false
			}
		}
		if _, err := message.ParseURI(one.URI); err != nil {
			return c, false
		}
		c.contacts = append(c.contacts, newContact(one, header))
	}
	return c, true
}

// newContact takes what outlives the request, so nothing of it may alias the request's octets.
func newContact(v message.ContactValue, header time.Duration) contact {
	c := contact{uri: strings.Clone(v.URI), q: v.Q, expires: header}
	if v.HasExpires {
		c.expires = time.Duration(v.Expires) * time.Second
	}
	c.params = strings.Clone(message.DelParam(message.DelParam(v.Params, "expires"), "q"))
	c.device()
	return c
}

// find is the place of the binding that a contact is about, -1 when there is none. RFC 5626 §6: of a flow, "the corresponding binding is
// between an AOR and the combination of the instance-id [..] and the value of "reg-id"".
func (c *contact) find(set []location.Binding) int {
	return slices.IndexFunc(set, func(b location.Binding) bool {
		if c.regID != 0 {
			return b.RegID == c.regID && b.Instance == c.instance
		}
		return (b.RegID == 0 || c.expires == 0) && message.EqualURI(b.Contact, c.uri)
	})
}

// edit is RFC 3261 §10.3 step 7: every contact is checked before any is changed.
func (r *Registrar) edit(c *change) location.Edit {
	return func(old []location.Binding) ([]location.Binding, error) {
		set := slices.DeleteFunc(slices.Clone(old), func(b location.Binding) bool { return !b.Expires.After(c.now) })
		if c.star {
			for _, b := range set {
				if c.stale(b) {
					return nil, outdated
				}
			}
			return nil, nil
		}
		for _, one := range c.contacts {
			var err error
			if set, err = r.apply(set, c, one); err != nil {
				return nil, err
			}
		}
		return set, nil
	}
}

// stale reports whether b was made by a later request of the same sender. RFC 3261 §10.3 step 7: "If it does agree, it MUST
// [..] be higher than the CSeq stored [..]. Otherwise the update MUST be aborted and the request fails".
func (c *change) stale(b location.Binding) bool { return b.CallID == c.callID && c.cseq <= b.CSeq }

func (r *Registrar) apply(set []location.Binding, c *change, one contact) ([]location.Binding, error) {
	granted, err := r.grant(one.expires)
	if err != nil {
		return nil, err
	}
	if granted > 0 && r.circular(c.aor, &one) {
		return nil, circular
	}
	at := one.find(set)
	if at >= 0 && c.stale(set[at]) {
		return nil, outdated
	}
	if granted == 0 {
		if at >= 0 {
			set = slices.Delete(set, at, at+1)
		}
		return set, nil
	}
	b := location.Binding{
		Contact: one.uri, Params: one.params, Q: one.q, Expires: c.now.Add(granted), CallID: c.callID, CSeq: c.cseq,
		Hop: c.hop, UserAgent: c.agent, Registered: c.now, Updated: c.now, Path: c.path,
		Instance: one.instance, RegID: one.regID, Since: c.since(set, one.instance), Bulk: one.bulk,
	}
	if at >= 0 {
		b.Registered = set[at].Registered
		set[at] = b
		return set, nil
	}
	if set, err = r.makeRoom(set, c.aor, one); err != nil {
		return nil, err
	}
	return append(set, b), nil
}

// grant is the lifetime that a contact gets (RFC 3261 §10.3 step 7).
func (r *Registrar) grant(asked time.Duration) (time.Duration, error) {
	switch {
	case asked == notSaid:
		return r.shorten(r.c.DefaultExpires), nil
	case asked == 0:
		return 0, nil
	case asked < r.c.MinExpires && asked < time.Hour:
		// RFC 3261 §10.3 step 7: "If and only if the requested expiration interval is greater than zero AND smaller than one hour AND
		// less than a registrar-configured minimum, the registrar MAY reject the registration with a response of 423".
		return 0, tooBrief
	}
	return r.shorten(min(asked, r.c.MaxExpires)), nil
}

// shorten takes a random part off a lifetime, so that phones which started together do not come back together for ever. It goes no lower than
// the minimum: no phone is made to refresh more often than it may ask for.
func (r *Registrar) shorten(d time.Duration) time.Duration {
	if r.c.Jitter <= 0 || d <= r.c.MinExpires {
		return d
	}
	d -= time.Duration(r.c.Jitter * r.c.Random() * float64(d))
	return max(d.Truncate(time.Second), r.c.MinExpires)
}

// makeRoom lets a new contact in: it replaces one of the same device, and at the limit one whose connection is gone or that does not answer, the oldest first. A
// binding that may still be reached is never dropped.
func (r *Registrar) makeRoom(set []location.Binding, aor location.AOR, one contact) ([]location.Binding, error) {
	if one.instance != "" && one.regID == 0 {
		set = slices.DeleteFunc(set, func(b location.Binding) bool { return b.Instance == one.instance && b.RegID == 0 })
	}
	if len(set) < r.c.MaxContacts {
		return set, nil
	}
	victim := -1
	for i, b := range set {
		dead := !r.c.Alive(b.Hop) || r.c.Unreachable != nil && r.c.Unreachable(aor, &b)
		if dead && (victim < 0 || b.Updated.Before(set[victim].Updated)) {
			victim = i
		}
	}
	if victim < 0 {
		return nil, tooMany
	}
	return slices.Delete(set, victim, victim+1), nil
}
