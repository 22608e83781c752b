package registrar

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Two kinds of REGISTER are answered without a transaction, for a repetition gets the same answer again, as RFC 3261 §8.2.7 wants it: one
// without credentials from somebody who needs them, and a refresh that waits for nothing. The bindings that a request has refreshed name it.

// Prompt is the registrar's part of sip.Prompter; rest is nil when o is answered.
func (r *Registrar) Prompt(o sip.Offer) (rest func(sip.ServerTransaction)) {
	req, c := o.Request(), r.begin(o)
	proves := req.Has(message.Authorization) || r.trusted(c.hop)
	bad := r.address(c, req)
	if bad == nil && proves && r.repeats(o, c) {
		return nil
	}
	a := r.examine(c, req, bad)
	switch {
	case a.res != nil && !proves:
		// RFC 3261 §26.3.2.4: servers are to "challenge questionable requests with only a single 401 [..] forgoing the normal response retransmission
		// algorithm, and thus behaving statelessly towards unauthenticated requests".
		r.respond(o, a)
		c.free(a.res)
		return nil
	case a.res != nil:
		return func(tx sip.ServerTransaction) { r.respond(tx, a) }
	case !c.binds(): // no binding would name it
		return func(tx sip.ServerTransaction) { r.update(tx, c) }
	}
	set, ok := r.c.Bindings.Refresh(c.aor, r.edit(c))
	if !ok {
		return func(tx sip.ServerTransaction) { r.update(tx, c) }
	}
	r.changed(c.aor)
	if r.c.Publisher.Extend(c.aor, lastExpiry(set)) {
		a := r.ok(req, c, set)
		r.respond(o, a)
		c.free(a.res)
		return nil
	}
	return func(tx sip.ServerTransaction) {
		r.publish(tx, c, r.c.Bindings.Get(c.aor, c.now)) // others may have been told of what came since
	}
}

// Again answers a request that refreshed bindings a short time ago; false when it did not. Nothing is changed.
func (r *Registrar) Again(o sip.Offer) bool {
	c := r.begin(o)
	return r.address(c, o.Request()) == nil && r.repeats(o, c)
}

// repeats answers a request that o repeats, and frees c; false when it does not.
func (r *Registrar) repeats(o sip.Offer, c *change) bool {
	req := o.Request()
	set := r.c.Bindings.Get(c.aor, c.now)
	for i := range set {
		if set[i].Request == c.id && c.now.Sub(set[i].Updated) < repeatFor {
			// The overlay may not have it yet: there was no room for the transaction in which it was to be told.
			if !c.parse(req) || r.route(req, c) != nil || !r.c.Publisher.Extend(c.aor, lastExpiry(set)) {
				return false
			}
			a := r.ok(req, c, set)
			o.Again(a.res)
			c.free(a.res)
			return true
		}
	}
	return false
}

// seed is that of the names of requests: nobody outside knows it, and so none who could write another request of that name.
var seed = maphash.MakeSeed()

// identify is the name of a request: of all that it says, and of where it came from. It is never 0.
func identify(req *message.Message, from location.Hop) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	a := from.Remote.Addr().As16()
	_, _ = h.Write(binary.BigEndian.AppendUint16(a[:], from.Remote.Port()))
	_, _ = h.WriteString(req.RequestURI)
	for i := range req.Fields {
		f := &req.Fields[i]
		_ = h.WriteByte(byte(f.Name))
		_, _ = h.WriteString(f.Text)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(f.Value)
	}
	_ = h.WriteByte(0)
	_, _ = h.Write(req.Body)
	return h.Sum64() | 1
}
