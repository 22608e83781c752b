package registrar

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// change is what a REGISTER asks for.
type change struct {
	query    bool // no Contact: only list
	star     bool // Contact: *
	contacts []contact
	room     [1]contact // for most
	callID   string
	cseq     uint32
	agent    string
	aor      location.AOR
	path     []string // RFC 3327
	outbound bool     // a flow is registered, and the phone knows it (RFC 5626)
	hop      location.Hop
	now      time.Time
	id       uint64           // see location.Binding.Request
	spare    *message.Message // memory for the answer
}

// changes keeps those of requests that were answered without a transaction.
var changes = sync.Pool{New: func() any { return new(change) }}

// free is for when c and its answer, which was sent, are in nobody's hands any longer.
func (c *change) free(res *message.Message) {
	res.Reset()
	*c = change{spare: res}
	changes.Put(c)
}

// answerRoom is memory for the answer, of which there is one.
func (c *change) answerRoom() *message.Message {
	m := c.spare
	c.spare = nil
	if m == nil {
		m = &message.Message{Fields: make([]message.Field, 0, answerFields)}
	}
	return m
}

// contact is one Contact value. Its strings are the request's.
type contact struct {
	uri      string
	parsed   message.URI
	params   string // without q and expires
	q        int
	expires  time.Duration // negative: neither parameter nor header field said
	instance string        // see location.Binding
	regID    uint32
	bulk     bool
}

// notSaid stands for a contact without a lifetime of its own.
const notSaid = time.Duration(-1)

// parse reads the Contact values and lifetimes (RFC 3261 §10.3 step 6); false when something is malformed.
func (c *change) parse(req *message.Message) bool {
	seq, err := req.CSeq()
	if err != nil {
		return false
	}
	c.callID, c.cseq, c.agent = req.Get(message.CallID), seq.Seq, req.Get(message.UserAgent)
	values := req.Values(message.Contact)
	header := notSaid
	if req.Has(message.Expires) {
		header = time.Duration(message.ParseExpires(req.Get(message.Expires))) * time.Second
	}
	if c.query = len(values) == 0; c.query {
		return true
	}
	c.contacts = c.room[:0]
	for _, v := range values {
		one, err := message.ParseContact(v)
		if err != nil {
			return false
		}
		if one.Star {
			// RFC 3261 §10.3 step 6: "If the request has additional Contact fields or an expiration time other than zero, the request
			// is invalid, and the server MUST return a 400".
			c.star = true
			return len(values) == 1 && header == 0
		}
		if s, ok := message.Param(one.Params, "q"); ok {
			if _, ok := message.ParseQ(s); !ok {
				return false
			}
		}
		uri, err := message.ParseURI(one.URI)
		if err != nil {
			return false
		}
		c.contacts = append(c.contacts, newContact(one, uri, header))
	}
	return true
}

// binds reports whether a contact is to be bound, or to stay so.
func (c *change) binds() bool {
	return slices.ContainsFunc(c.contacts, func(one contact) bool { return one.expires != 0 })
}

func newContact(v message.ContactValue, uri message.URI, header time.Duration) contact {
	c := contact{uri: v.URI, parsed: uri, q: v.Q, expires: header}
	if v.HasExpires {
		c.expires = time.Duration(v.Expires) * time.Second
	}
	c.params = message.DelParam(message.DelParam(v.Params, "expires"), "q")
	c.device()
	return c
}

// find is the place of the binding that a contact is about, -1 when there is none. RFC 5626 §6: of a flow, "the corresponding binding is
// between an AOR and the combination of the instance-id [..] and the value of "reg-id"".
func (c *contact) find(set []location.Binding) int {
	for i := range set {
		b := &set[i]
		if c.regID != 0 {
			if b.RegID == c.regID && b.Instance == c.instance {
				return i
			}
		} else if (b.RegID == 0 || c.expires == 0) && message.EqualURI(b.Contact, c.uri) {
			return i
		}
	}
	return -1
}

// edit is RFC 3261 §10.3 step 7: every contact is checked before any is changed.
func (r *Registrar) edit(c *change) location.Edit {
	return func(old []location.Binding) ([]location.Binding, error) {
		set := living(old, c.now)
		if c.star {
			for i := range set {
				if c.stale(&set[i]) {
					return nil, outdated
				}
			}
			return nil, nil
		}
		for i := range c.contacts {
			var err error
			if set, err = r.apply(set, c, &c.contacts[i]); err != nil {
				return nil, err
			}
		}
		return set, nil
	}
}

// living is a copy of a set without what has expired.
func living(old []location.Binding, now time.Time) []location.Binding {
	set := make([]location.Binding, 0, max(len(old), 1))
	for i := range old {
		if old[i].Expires.After(now) {
			set = append(set, old[i])
		}
	}
	return set
}

// stale reports whether b was made by a later request of the same sender. RFC 3261 §10.3 step 7: "If it does agree, it MUST
// [..] be higher than the CSeq stored [..]. Otherwise the update MUST be aborted and the request fails".
func (c *change) stale(b *location.Binding) bool { return b.CallID == c.callID && c.cseq <= b.CSeq }

func (r *Registrar) apply(set []location.Binding, c *change, one *contact) ([]location.Binding, error) {
	granted, err := r.grant(one.expires)
	if err != nil {
		return nil, err
	}
	if granted > 0 && r.circular(c.aor, one) {
		return nil, circular
	}
	at := one.find(set)
	if at >= 0 && c.stale(&set[at]) {
		return nil, outdated
	}
	if granted == 0 {
		if at >= 0 {
			set = slices.Delete(set, at, at+1)
		}
		return set, nil
	}
	since := c.since(set, one.instance)
	if at < 0 {
		if set, err = r.makeRoom(set, c.aor, one); err != nil {
			return nil, err
		}
		at = len(set)
		set = append(set, location.Binding{Registered: c.now})
	}
	b := &set[at]
	// A binding outlives the request, whose strings are parts of it; most are what they were.
	b.Contact, b.Params, b.Instance = keep(b.Contact, one.uri), keep(b.Params, one.params), keep(b.Instance, one.instance)
	b.CallID, b.UserAgent = keep(b.CallID, c.callID), keep(b.UserAgent, c.agent)
	b.Q, b.CSeq, b.RegID, b.Bulk = one.q, c.cseq, one.regID, one.bulk
	b.Expires, b.Updated, b.Since = c.now.Add(granted), c.now, since
	b.Hop, b.Path, b.Request = c.hop, c.path, c.id
	return set, nil
}

// keep is text that does not hold a request: old when it is the same.
func keep(old, text string) string {
	if old == text {
		return old
	}
	return strings.Clone(text)
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
func (r *Registrar) makeRoom(set []location.Binding, aor location.AOR, one *contact) ([]location.Binding, error) {
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
