// Package registrar turns REGISTER into bindings (RFC 3261 §10.3): it checks, changes the local table, has the address-of-record published
// in the overlay, and answers. A Registrar is safe for concurrent use and never blocks: what takes time goes on behind it.
package registrar

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Bindings is the local table: *location.Bindings.
type Bindings interface {
	Get(aor location.AOR, now time.Time) []location.Binding
	Update(aor location.AOR, edit location.Edit, done func(set []location.Binding, err error))
	Refresh(aor location.AOR, edit location.Edit) (set []location.Binding, ok bool)
}

// Publisher makes it known in the overlay that an AOR is reachable here. No method blocks; done, called once, tells that the
// overlay has the record, or why not. What fails is retried by the Publisher.
type Publisher interface {
	// Extend is Publish where the overlay has the record already and nothing is to be done. It returns false, and has done nothing, where that is not so.
	Extend(aor location.AOR, until time.Time) bool
	Publish(aor location.AOR, until time.Time, done func(error))
	Withdraw(aor location.AOR, done func(error))
}

// Authenticator checks digest credentials (RFC 3261 §22).
type Authenticator interface {
	// Authenticate returns the user part that the credentials of req prove; ok is false when they prove none, and challenge then holds the
	// values of WWW-Authenticate that are owed.
	Authenticate(req *message.Message) (user string, challenge []string, ok bool)
}

// Config is what a Registrar is made of.
type Config struct {
	// AOR makes a canonical address-of-record of a URI; ok is false when its domain is not ours.
	AOR       func(message.URI) (location.AOR, bool)
	Bindings  Bindings
	Publisher Publisher
	Auth      Authenticator
	// Known reports whether an AOR is a user of ours.
	Known func(location.AOR) bool
	// Trusted names sources that may register any user without credentials; nil: none.
	Trusted func(location.Hop) bool
	// Certified lists the users that the certificate of the client on a connection names, verified; none when it names none or there is
	// none. Optional.
	Certified func(location.Hop) []location.AOR
	// Unreachable reports whether a contact is known not to answer: see Prober. Optional.
	Unreachable func(location.AOR, *location.Binding) bool
	// Alive reports whether the connection that a binding came over still stands.
	Alive func(location.Hop) bool

	DefaultExpires, MinExpires, MaxExpires time.Duration
	// Jitter is the part of a lifetime that is taken off at random: 0.1 takes off up to a tenth. Random draws from [0,1).
	Jitter      float64
	Random      func() float64
	MaxContacts int
	// ServiceRoute is the route that phones are to use for their own requests (RFC 3608); empty: none.
	ServiceRoute []string
	// StrictPath refuses a Path that the phone does not say it knows.
	StrictPath bool
	// GRUUs makes the GRUUs of devices that ask for them (RFC 5627); nil: none are given.
	GRUUs *location.GRUUs
	// Numbered reports whether numbers lead to an AOR, so that it may register one contact for all of them (RFC 6140); nil: to none.
	Numbered func(location.AOR) bool
	// PublishWait is how long the 200 waits for the overlay. When Required is set, a REGISTER that the overlay has not taken by
	// then is answered 503 instead of 200.
	PublishWait time.Duration
	Required    bool
	Now         func() time.Time
	// Changed is told of each AOR whose bindings a REGISTER changed. It must not block. Optional.
	Changed func(location.AOR)
	// Answered is told of each answer: its status code, and the word of the refusal if it is one. It must not block.
	Answered func(tx sip.ServerTransaction, status int, word string)
}

// Registrar answers REGISTER.
type Registrar struct {
	c    Config
	date atomic.Pointer[date] // of the second in which the last answer was given
}

// New returns a registrar. Every function of c but Trusted must be set.
func New(c Config) *Registrar { return &Registrar{c: c} }

// extensions that a REGISTER may require (RFC 3327, RFC 5626, RFC 5627, RFC 6140).
var extensions = []string{"path", "outbound", "gruu", "gin"}

// Request answers a REGISTER.
func (r *Registrar) Request(tx sip.ServerTransaction) {
	c := r.begin(tx)
	if a := r.examine(c, tx.Request(), r.address(c, tx.Request())); a.res != nil {
		r.respond(tx, a)
		return
	}
	r.update(tx, c)
}

// begin takes down when a request came, and where from.
func (r *Registrar) begin(tx sip.ServerTransaction) *change {
	c := changes.Get().(*change)
	c.hop, c.now = tx.Source(), r.c.Now()
	return c
}

// examine reads a request and checks all that does not depend on what is bound, in the order of RFC 3261 §10.3. It changes nothing; the answer is
// why nothing may be. bad is what address said.
func (r *Registrar) examine(c *change, req *message.Message, bad *sip.Refusal) answer {
	if bad != nil {
		return r.refusal(req, c, bad)
	}
	if a := r.authorise(c, req); a.res != nil {
		return a
	}
	if !c.parse(req) {
		return r.refusal(req, c, badRequest)
	}
	if c.query {
		return answer{}
	}
	if why := cmp.Or(r.bulk(c), r.route(req, c)); why != nil {
		return r.refusal(req, c, why)
	}
	return answer{}
}

// address reads whom a request is about.
func (r *Registrar) address(c *change, req *message.Message) (why *sip.Refusal) {
	if len(unsupported(req)) > 0 {
		return badExtension
	}
	if c.aor, why = r.target(req); why != nil {
		return why
	}
	c.id = identify(req, c.hop)
	return nil
}

// update makes the change that a request asks for, and answers.
func (r *Registrar) update(tx sip.ServerTransaction, c *change) {
	if c.query {
		r.respond(tx, r.ok(tx.Request(), c, r.c.Bindings.Get(c.aor, c.now)))
		return
	}
	r.c.Bindings.Update(c.aor, r.edit(c), func(set []location.Binding, err error) {
		if err != nil {
			r.refuse(tx, c, failure(err))
			return
		}
		r.changed(c.aor)
		r.publish(tx, c, set)
	})
}

func (r *Registrar) changed(aor location.AOR) {
	if r.c.Changed != nil {
		r.c.Changed(aor)
	}
}

// authorise is why the sender may not change the bindings of an AOR (RFC 3261 §10.3 steps 3 to 5).
func (r *Registrar) authorise(c *change, req *message.Message) answer {
	if !r.certified(c.hop, c.aor) && !r.trusted(c.hop) {
		if r.c.Certified != nil && len(r.c.Certified(c.hop)) > 0 {
			return r.refusal(req, c, otherUser)
		}
		user, challenge, ok := r.c.Auth.Authenticate(req)
		if !ok {
			res := challenged.ResponseInto(c.answerRoom(), req, toTag)
			for _, v := range challenge {
				res.Add(message.WWWAuthenticate, v)
			}
			return answer{res, challenged.Word}
		}
		if name, _, _ := strings.Cut(string(c.aor), "@"); user != name {
			// RFC 3261 §10.3 step 4: "If the authenticated user is not authorized to modify bindings, the registrar MUST return a 403".
			return r.refusal(req, c, otherUser)
		}
	}
	if !r.c.Known(c.aor) {
		// RFC 3261 §10.3 step 5: "If the address-of-record is not valid [..] the registrar MUST send a 404".
		return r.refusal(req, c, unknownUser)
	}
	return answer{}
}

// trusted reports whether a source may register any user without credentials.
func (r *Registrar) trusted(from location.Hop) bool { return r.c.Trusted != nil && r.c.Trusted(from) }

// certified reports whether the certificate of the sender names aor: RFC 3261 §26.3.2.1, RFC 5922.
func (r *Registrar) certified(from location.Hop, aor location.AOR) bool {
	return r.c.Certified != nil && slices.Contains(r.c.Certified(from), aor)
}

// target is the address-of-record that req is about.
func (r *Registrar) target(req *message.Message) (location.AOR, *sip.Refusal) {
	uri, err := message.ParseURI(req.RequestURI)
	if err != nil {
		return "", badRequest
	}
	if uri.Scheme != "sip" && uri.Scheme != "sips" {
		return "", badScheme
	}
	// RFC 3261 §10.3 step 1: the Request-URI names the domain. For other domains we are no open registrar.
	if _, ours := r.c.AOR(uri); !ours {
		return "", foreignDomain
	}
	to, err := message.ParseAddress(req.Get(message.To))
	if err != nil {
		return "", badRequest
	}
	if uri, err = message.ParseURI(to.URI); err != nil || uri.User == "" {
		return "", badRequest
	}
	aor, ours := r.c.AOR(uri)
	if !ours {
		return "", foreignDomain
	}
	return aor, nil
}

func unsupported(req *message.Message) (bad []string) {
	for _, v := range req.Values(message.Require) {
		if !slices.ContainsFunc(extensions, func(e string) bool { return strings.EqualFold(v, e) }) {
			bad = append(bad, v)
		}
	}
	return bad
}
