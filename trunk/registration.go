package trunk

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// AccountState is how an account stands.
type AccountState string

// The states of an account.
const (
	AccountStandby     AccountState = "standby"     // another gateway uses it, or it is not known yet who does
	AccountRegistering AccountState = "registering" // there is no answer yet
	AccountRegistered  AccountState = "registered"
	AccountFailed      AccountState = "failed"
)

// errand is what a REGISTER is for.
type errand int

const (
	errandRegister errand = iota
	errandClean           // takes out what a gateway before us left behind
	errandRemove          // takes our contact out
)

// registration is the UAC side of REGISTER for one account (RFC 3261 §10.2), as a value: the time is an argument, requests come out.
type registration struct {
	uri    string // of the registrar
	aor    string // URI of the account
	token  string // user part of our contact
	callID string
	tag    string
	client digest.Client
	rand   *rand.Rand

	want     bool
	state    AccountState
	since    time.Time // of state
	reason   string    // with AccountFailed: a status, or a word
	seq      uint32
	expires  time.Duration // what is asked for
	until    time.Time     // the end of the binding that was granted
	maybe    time.Time     // until when a binding of ours may stand, granted or not
	next     time.Time     // when to do what is to be done
	doing    errand
	sent     time.Time // when the last request was
	failures int       // in a row
	removals int       // attempts to take our contact out
	left     []string  // contacts that a gateway before us left behind

	challenge digest.Challenge
	answers   uint32 // requests with this challenge
	rounds    int    // challenges answered in a row
}

func newRegistration(t *Trunk, domain string, random *rand.Rand) *registration {
	c := t.Register
	server, _ := message.ParseURI(c.Server) // it was looked at when it was read
	server.User = ""
	host := t.Domain
	if host == "" {
		host = server.Host
	}
	word := func() string { return strconv.FormatUint(random.Uint64(), 36) }
	return &registration{
		uri: server.String(), aor: "sip:" + c.User + "@" + message.HostPort(host, 0), token: contactToken(c), callID: word() + word() + "@" + domain,
		tag: word(), client: digest.Client{User: c.AuthUser, Password: c.Secret, Realm: c.Realm}, rand: random,
		state: AccountStandby, expires: c.Expires,
	}
}

// own says whether the account is ours to use.
func (r *registration) own(now time.Time, held bool) {
	switch {
	case held == r.want:
		return
	case held:
		r.failures, r.rounds, r.removals = 0, 0, 0
		r.become(now, AccountRegistering, "")
		r.do(now, errandRegister)
	case now.Before(r.maybe):
		r.become(now, AccountStandby, "")
		r.do(now, errandRemove)
	default:
		r.become(now, AccountStandby, "")
		r.next = time.Time{}
	}
	r.want = held
}

func (r *registration) become(now time.Time, s AccountState, reason string) {
	if s != r.state || reason != r.reason {
		r.state, r.reason, r.since = s, reason, now
	}
}

func (r *registration) do(at time.Time, e errand) { r.next, r.doing = at, e }

// due reports whether a REGISTER is to be sent now.
func (r *registration) due(now time.Time) bool { return !r.next.IsZero() && !now.Before(r.next) }

// request is the REGISTER that is due, with contact for us, a URI.
func (r *registration) request(now time.Time, contact string) *message.Message {
	r.seq++
	r.sent = now
	m := &message.Message{Method: "REGISTER", RequestURI: r.uri}
	m.Add(message.MaxForwards, "70")
	m.Add(message.From, "<"+r.aor+">;tag="+r.tag)
	m.Add(message.To, "<"+r.aor+">")
	// RFC 3261 §10.2: "All registrations from a UAC SHOULD use the same Call-ID header field value for registrations sent to a particular
	// registrar." "A UA MUST increment the CSeq value by one for each REGISTER request with the same Call-ID."
	m.Add(message.CallID, r.callID)
	m.Add(message.CSeq, strconv.FormatUint(uint64(r.seq), 10)+" REGISTER")
	seconds := strconv.FormatInt(int64(r.expires/time.Second), 10)
	switch r.doing {
	case errandRegister:
		m.Add(message.Contact, "<"+contact+">;expires="+seconds)
		m.Add(message.Expires, seconds)
		r.maybe = later(r.maybe, now.Add(r.expires))
	case errandRemove:
		m.Add(message.Contact, "<"+contact+">;expires=0")
		m.Add(message.Expires, "0")
	case errandClean:
		for _, c := range r.left {
			m.Add(message.Contact, "<"+c+">;expires=0")
		}
	}
	if r.challenge.Nonce != "" {
		r.answers++
		m.Add(r.challenge.Field, r.client.Answer(r.challenge, m.Method, m.RequestURI, r.answers))
	}
	return m
}

// answered takes the final response to the last request, in which contact stood for us.
func (r *registration) answered(now time.Time, res *message.Message, contact string) {
	switch s := res.StatusCode; {
	case s == 401 || s == 407:
		r.challenged(now, res)
		return
	case s == 423 && r.doing == errandRegister && r.raise(res):
		r.next = now
		return
	}
	r.rounds = 0
	switch s := res.StatusCode; {
	case s/100 == 2:
		r.accepted(now, res, contact)
	case r.doing == errandRegister && (s == 408 || s/100 == 5):
		r.backOff(now, strconv.Itoa(s), retryAfter(res))
	default:
		r.refused(now, strconv.Itoa(s))
	}
}

// challenged answers a challenge, unless the answer to the one before was not taken.
func (r *registration) challenged(now time.Time, res *message.Message) {
	ch, err := r.client.Choose(res)
	switch {
	case err != nil:
		r.refused(now, "realm")
	case r.rounds > 0 && !ch.Stale, r.rounds >= maxRounds:
		// RFC 7616 §3.3: without stale "the client should prompt the user" for other credentials: nobody is there to be asked.
		r.rounds = 0
		r.challenge = digest.Challenge{}
		r.refused(now, "credentials")
	default:
		// A nonce that served before has just ended, whether or not that is said.
		r.challenge, r.answers = ch, 0
		r.rounds++
		r.next = now
	}
}

// raise asks for what the registrar wants at least (RFC 3261 §10.2.8), once.
func (r *registration) raise(res *message.Message) bool {
	least := time.Duration(message.ParseExpires(res.Get(message.MinExpires))) * time.Second
	if !res.Has(message.MinExpires) || least <= r.expires || least > maxAccountTime {
		return false
	}
	r.expires = least
	return true
}

// accepted takes a 2xx.
func (r *registration) accepted(now time.Time, res *message.Message, contact string) {
	switch r.doing {
	case errandRemove:
		r.gone()
		return
	case errandClean:
		r.left = nil
	default:
		r.failures = 0
		r.until = r.sent.Add(r.granted(res, contact))
		r.maybe = r.until
		r.left = r.leftovers(res, contact)
		r.become(now, AccountRegistered, "")
	}
	// At 80 % of what was granted, counted from when it was asked for.
	r.do(r.until.Add(-r.until.Sub(r.sent)/5), errandRegister)
	if len(r.left) > 0 {
		r.do(now, errandClean)
	}
}

// gone: our contact is taken out.
func (r *registration) gone() { r.until, r.maybe, r.next = time.Time{}, time.Time{}, time.Time{} }

// granted is how long our contact stands. RFC 3261 §10.2.4: the response lists "each contact address that is currently registered", each
// with its expires parameter; who changes contacts may leave that to Expires.
func (r *registration) granted(res *message.Message, contact string) time.Duration {
	seconds, found := uint32(0), false
	for _, c := range r.contacts(res) {
		if c.HasExpires && (c.URI == contact || !found) {
			seconds, found = c.Expires, true
			if c.URI == contact {
				break
			}
		}
	}
	if !found && res.Has(message.Expires) {
		seconds, found = message.ParseExpires(res.Get(message.Expires)), true
	}
	d := time.Duration(seconds) * time.Second
	if !found {
		d = r.expires
	}
	return min(max(d, minGranted), maxAccountTime)
}

// contacts are those of a response with our token.
func (r *registration) contacts(res *message.Message) (out []message.ContactValue) {
	for _, v := range res.Values(message.Contact) {
		c, err := message.ParseContact(v)
		if err != nil {
			continue
		}
		if u, err := message.ParseURI(c.URI); err == nil && u.User == r.token {
			out = append(out, c)
		}
	}
	return out
}

// leftovers are the contacts of this account that another gateway registered: one that died.
func (r *registration) leftovers(res *message.Message, contact string) (out []string) {
	ours, _ := message.ParseURI(contact)
	for _, c := range r.contacts(res) {
		u, err := message.ParseURI(c.URI)
		if err == nil && (u.Host != ours.Host || u.Port != ours.Port) && len(out) < maxLeft {
			out = append(out, c.URI)
		}
	}
	return out
}

// failed: there was no answer, for a reason of one word.
func (r *registration) failed(now time.Time, reason string) {
	r.rounds = 0
	if r.doing == errandRegister {
		r.backOff(now, reason, 0)
		return
	}
	r.refused(now, reason)
}

// backOff tries again after 30 s, and longer each time.
func (r *registration) backOff(now time.Time, reason string, least time.Duration) {
	wait := min(accountRetry<<min(r.failures, 10), accountRetryMost*2/3)
	r.failures++
	// A part of it is drawn: the gateways of a provider that comes back shall not all ask at once.
	wait += time.Duration(r.rand.Int64N(int64(wait / 2)))
	r.become(now, AccountFailed, reason)
	r.do(now.Add(max(wait, least)), errandRegister)
}

// refused: the same request need not be sent again soon.
func (r *registration) refused(now time.Time, reason string) {
	switch r.doing {
	case errandRemove:
		if r.removals++; r.removals < maxRemovals {
			r.next = now
			return
		}
		r.gone() // it ends by itself
	case errandClean:
		r.left = nil // likewise
		r.do(r.until.Add(-r.until.Sub(r.sent)/5), errandRegister)
	default:
		r.failures++
		r.become(now, AccountFailed, reason)
		r.do(now.Add(accountRefused+time.Duration(r.rand.Int64N(int64(accountRefused/10)))), errandRegister)
	}
}

// retryAfter is what a response asks for, an hour at most (RFC 3261 §20.33).
func retryAfter(res *message.Message) time.Duration {
	digits := strings.TrimSpace(res.Get(message.RetryAfter))
	if i := strings.IndexFunc(digits, func(c rune) bool { return c < '0' || c > '9' }); i >= 0 {
		digits = digits[:i]
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
