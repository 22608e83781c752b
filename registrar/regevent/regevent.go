// Package regevent tells subscribers of the registration state of an address-of-record: the "reg" event (RFC 3680, RFC 6665), with GRUUs
// (RFC 5628). Who may know is the user itself, and trusted networks.
//
// Deviation: the state is that of this gateway. Bindings that the user has at other gateways are told by those.
package regevent

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Authenticator checks digest credentials (RFC 3261 §22).
type Authenticator interface {
	// Authenticate returns the user part that the credentials of req prove; ok is false when they prove none, and challenge then holds the
	// values of WWW-Authenticate that are owed.
	Authenticate(req *message.Message) (user string, challenge []string, ok bool)
}

// Config is what a Notifier is made of. Every field but Trusted, GRUUs and Holds must be set.
type Config struct {
	Sender sip.Sender
	// Bindings lists the bindings of an AOR that live at a time: *location.Bindings.
	Bindings interface {
		Get(aor location.AOR, now time.Time) []location.Binding
	}
	// AOR makes a canonical address-of-record of a URI; ok is false when its domain is not ours.
	AOR     func(message.URI) (location.AOR, bool)
	Auth    Authenticator
	Trusted func(location.Hop) bool // nil: nobody is
	GRUUs   *location.GRUUs         // nil: none are told
	// Holds asks the overlay whether the gateway that node leads to holds a certificate for aor, and so may speak for that user. It blocks until
	// that has answered or ctx ends. nil: gateways are believed.
	Holds func(ctx context.Context, node string, aor location.AOR) (location.Holding, error)
	// Domain and NodeGR make the address at which other gateways reach this one (RFC 7904 §6).
	Domain, NodeGR string
	// Now and After are the clock; After calls f after d unless stopped.
	Now   func() time.Time
	After func(d time.Duration, f func()) (stop func())
	// Answered is told of each answer: its status code, and the word of the refusal if it is one. It must not block.
	Answered func(tx sip.ServerTransaction, status int, word string)
}

// Notifier keeps subscriptions. It is safe for concurrent use and never blocks.
type Notifier struct {
	c      Config
	count  atomic.Int64
	checks atomic.Int64 // questions about certificates under way

	mu     sync.Mutex
	byID   map[string]*subscription
	byAOR  map[location.AOR][]*subscription
	closed bool
}

// New returns a Notifier without subscriptions.
func New(c Config) *Notifier {
	return &Notifier{c: c, byID: map[string]*subscription{}, byAOR: map[location.AOR][]*subscription{}}
}

// Close ends every subscription without a word; subscribers find out when they refresh.
func (n *Notifier) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, s := range n.byID {
		n.remove(s)
	}
}

// Subscriptions is how many there are.
func (n *Notifier) Subscriptions() int { return int(n.count.Load()) }

var (
	badRequest = &sip.Refusal{Status: 400, Word: "EVT400", Text: "Contact, CSeq or From is malformed"}
	challenged = &sip.Refusal{Status: 401, Word: "EVT401", Text: "credentials needed"}
	otherUser  = &sip.Refusal{Status: 403, Word: "EVT403", Text: "the registrations of another user"}
	tooBrief   = &sip.Refusal{Status: 423, Word: "EVT423", Text: "interval too brief"}
	gone       = &sip.Refusal{Status: 481, Word: "EVT481", Text: "no such subscription"}
	unproven   = &sip.Refusal{Status: 503, Word: "EVT503U", Text: "the overlay did not say whether the gateway may speak for the user"}
	tooMany    = &sip.Refusal{Status: 503, Word: "EVT503", Text: "too many subscriptions"}
)

// contactUser is the user part of our Contact.
const contactUser = "reg-event"

// Take answers a SUBSCRIBE if it is for the registration state of a user that is bound here; it reports whether it did.
func (n *Notifier) Take(tx sip.ServerTransaction) bool {
	req := tx.Request()
	event, _, _ := strings.Cut(req.Get(message.Event), ";")
	if !message.EqualFold(strings.TrimSpace(event), "reg") {
		return false
	}
	uri, err := message.ParseURI(req.RequestURI)
	if err != nil {
		return false
	}
	if tag := message.Tag(req.Get(message.To)); tag != "" {
		return n.refresh(tx, tag, uri)
	}
	aor, ours := n.c.AOR(uri)
	if _, gruu := uri.Param("gr"); !ours || gruu || uri.User == "" || req.Has(message.Route) && tx.Source().Node == "" {
		return false
	}
	// Who may not know is told so whether there are bindings or not.
	if !n.authorised(tx, aor) {
		return true
	}
	switch node := tx.Source().Node; {
	case node == "" && len(n.c.Bindings.Get(aor, n.c.Now())) == 0:
		return false // another gateway may have them
	case node != "" && n.c.Holds != nil:
		n.check(tx, aor)
	default:
		n.subscribe(tx, aor)
	}
	return true
}

// check has another gateway prove that it may speak for aor, and goes on when that is known.
func (n *Notifier) check(tx sip.ServerTransaction, aor location.AOR) {
	if n.checks.Add(1) > maxChecks {
		n.checks.Add(-1)
		n.refuse(tx, unproven)
		return
	}
	go func() {
		defer n.checks.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), checkWait)
		defer cancel()
		switch h, err := n.c.Holds(ctx, tx.Source().Node, aor); {
		case err != nil:
			n.refuse(tx, unproven) // no answer is not the answer "no"
		case h != location.Held:
			n.refuse(tx, otherUser)
		default:
			n.subscribe(tx, aor)
		}
	}()
}

// authorised reports whether the sender may know the registrations of aor, and answers when it may not (RFC 3680 §4.6, RFC 6665 §4.2.1.3).
func (n *Notifier) authorised(tx sip.ServerTransaction, aor location.AOR) bool {
	req := tx.Request()
	if n.c.Trusted != nil && n.c.Trusted(tx.Source()) {
		return true
	}
	name, _, _ := strings.Cut(string(aor), "@")
	if tx.Source().Node != "" { // the gateway of the sender has asked who that is
		if from, err := message.ParseAddress(req.Get(message.From)); err == nil {
			if uri, err := message.ParseURI(from.URI); err == nil {
				if of, ours := n.c.AOR(uri); ours && of == aor {
					return true
				}
			}
		}
		n.refuse(tx, otherUser)
		return false
	}
	user, challenge, ok := n.c.Auth.Authenticate(req)
	switch {
	case !ok:
		res := challenged.Response(req, "reg-event")
		for _, v := range challenge {
			res.Add(message.WWWAuthenticate, v)
		}
		n.respond(tx, res, challenged.Word)
		return false
	case user != name:
		n.refuse(tx, otherUser)
		return false
	}
	return true
}

// lifetime is what a SUBSCRIBE asks for; ok is false when it is too short.
func lifetime(req *message.Message) (d time.Duration, ok bool) {
	if !req.Has(message.Expires) {
		return defaultExpires, true
	}
	d = time.Duration(message.ParseExpires(req.Get(message.Expires))) * time.Second
	return min(d, maxExpires), d == 0 || d >= minExpires
}

// subscribe makes a subscription and sends the whole state (RFC 3680 §4.7).
func (n *Notifier) subscribe(tx sip.ServerTransaction, aor location.AOR) {
	req := tx.Request()
	s, ok := n.newSubscription(tx, aor)
	d, long := lifetime(req)
	switch {
	case !ok:
		n.refuse(tx, badRequest)
		return
	case !long:
		n.refuse(tx, tooBrief)
		return
	}
	n.mu.Lock()
	if n.closed || len(n.byID) >= maxSubscriptions || len(n.byAOR[aor]) >= maxForAOR {
		n.mu.Unlock()
		n.refuse(tx, tooMany)
		return
	}
	n.byID[s.id()] = s
	n.byAOR[aor] = append(n.byAOR[aor], s)
	n.count.Add(1)
	n.mu.Unlock()
	n.accept(tx, s, d)
}

// refresh takes a SUBSCRIBE of a subscription (RFC 6665 §4.2.1.2).
func (n *Notifier) refresh(tx sip.ServerTransaction, tag string, uri message.URI) bool {
	req := tx.Request()
	n.mu.Lock()
	s := n.byID[req.Get(message.CallID)+"\x00"+tag]
	n.mu.Unlock()
	if s == nil {
		_, ours := n.c.AOR(uri)
		if ours = ours && uri.User == contactUser && !req.Has(message.Route); ours {
			n.refuse(tx, gone) // RFC 6665 §4.2.1.2: "481"
		}
		return ours
	}
	d, long := lifetime(req)
	seq, err := req.CSeq()
	switch {
	case err != nil:
		n.refuse(tx, badRequest)
	case !long:
		n.refuse(tx, tooBrief)
	case !n.retarget(s, tx, seq.Seq):
		n.refuse(tx, gone)
	default:
		n.accept(tx, s, d)
	}
	return true
}

// retarget takes over what a refresh may change (RFC 3261 §12.2.2); it reports whether the request is in order.
func (n *Notifier) retarget(s *subscription, tx sip.ServerTransaction, seq uint32) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if seq <= s.remoteSeq || s.over {
		return false
	}
	s.remoteSeq, s.hop = seq, tx.Source()
	if contact, err := message.ParseAddress(tx.Request().Get(message.Contact)); err == nil {
		s.target = strings.Clone(contact.URI)
	}
	return true
}

// accept answers 200 and sends the whole state: RFC 6665 §4.2.1.2: a notifier sends "a NOTIFY message immediately" after it.
func (n *Notifier) accept(tx sip.ServerTransaction, s *subscription, d time.Duration) {
	res := message.NewResponse(tx.Request(), 200, "", s.tag)
	for _, v := range tx.Request().Values(message.RecordRoute) {
		res.Add(message.RecordRoute, v) // RFC 3261 §12.1.1
	}
	res.Set(message.Contact, "<"+s.contact+">")
	res.Set(message.Expires, strconv.Itoa(int(d/time.Second)))
	n.respond(tx, res, "")
	n.mu.Lock()
	defer n.mu.Unlock()
	s.until, s.full = n.c.Now().Add(d), true
	if s.expiry != nil {
		s.expiry()
	}
	if d == 0 {
		n.end(s)
		return
	}
	s.expiry = n.c.After(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.c.Now().Before(s.until) {
			n.end(s)
		}
	})
	n.notify(s)
}

// Changed is to be called when the bindings of an AOR have changed. It costs nothing without subscriptions.
func (n *Notifier) Changed(aor location.AOR) {
	if n.count.Load() == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.byAOR[aor] {
		n.notify(s)
	}
}

func (n *Notifier) refuse(tx sip.ServerTransaction, why *sip.Refusal) {
	res := why.Response(tx.Request(), "reg-event")
	switch why {
	case tooBrief:
		res.Set(message.MinExpires, strconv.Itoa(int(minExpires/time.Second)))
	case tooMany, unproven:
		res.Set(message.RetryAfter, strconv.Itoa(10+rand.IntN(10)))
	}
	n.respond(tx, res, why.Word)
}

func (n *Notifier) respond(tx sip.ServerTransaction, res *message.Message, word string) {
	n.c.Answered(tx, res.StatusCode, word)
	tx.Respond(res)
}
