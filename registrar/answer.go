package registrar

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Every status that is not 200, and why. A Refusal is the error of an edit, too.
var (
	badRequest    = &sip.Refusal{Status: 400, Word: "REG400", Text: "To, Contact or CSeq is malformed"}
	challenged    = &sip.Refusal{Status: 401, Word: "REG401", Text: "credentials needed"}
	foreignDomain = &sip.Refusal{Status: 403, Word: "REG403D", Text: "not a domain of this registrar"}
	otherUser     = &sip.Refusal{Status: 403, Word: "REG403U", Text: "the credentials are not those of the To user"}
	tooMany       = &sip.Refusal{Status: 403, Word: "REG403C", Text: "too many contacts"}
	unknownUser   = &sip.Refusal{Status: 404, Word: "REG404", Text: "no such user"}
	badScheme     = &sip.Refusal{Status: 416, Word: "REG416", Text: "only sip and sips are understood"}
	circular      = &sip.Refusal{Status: 403, Word: "REG403L", Text: "the contact leads back to the address-of-record"}
	badBulk       = &sip.Refusal{Status: 400, Word: "REG400B", Text: "a contact for all numbers has a user"}
	noNumbers     = &sip.Refusal{Status: 403, Word: "REG403B", Text: "no numbers lead to this user"}
	noPath        = &sip.Refusal{Status: 420, Word: "REG420P", Text: "a proxy added Path, which the phone does not support"}
	noOutbound    = &sip.Refusal{Status: 439, Word: "REG439", Text: "the first hop does not support outbound"}
	badExtension  = &sip.Refusal{Status: 420, Word: "REG420", Text: "an option of Require is not supported"}
	tooBrief      = &sip.Refusal{Status: 423, Word: "REG423", Text: "interval too brief"}
	outdated      = &sip.Refusal{Status: 500, Word: "REG500", Text: "CSeq is not higher than that of the binding"}
	unavailable   = &sip.Refusal{Status: 503, Word: "REG503", Text: "the bindings can not be stored now"}
	notPublished  = &sip.Refusal{Status: 503, Word: "REG503O", Text: "the overlay has not taken the registration yet"}
)

// publish has the overlay told and answers when it knows, or after PublishWait.
func (r *Registrar) publish(tx sip.ServerTransaction, c *change, set []location.Binding) {
	if len(set) > 0 && r.c.Publisher.Extend(c.aor, lastExpiry(set)) {
		r.respond(tx, r.ok(tx.Request(), c, set))
		return
	}
	w := &waiter{answer: func(err error) {
		if err != nil && r.c.Required && len(set) > 0 {
			r.refuse(tx, c, notPublished)
			return
		}
		r.respond(tx, r.ok(tx.Request(), c, set))
	}}
	if len(set) == 0 {
		r.c.Publisher.Withdraw(c.aor, w.done)
	} else {
		r.c.Publisher.Publish(c.aor, lastExpiry(set), w.done)
	}
	w.wait(r.c.PublishWait)
}

var errWaited = errors.New("registrar: the overlay did not answer in time")

// waiter gives one answer: what done says, or after wait that nothing was said.
type waiter struct {
	answer func(error)
	mu     sync.Mutex
	said   bool
	timer  *time.Timer
}

func (w *waiter) done(err error) {
	w.mu.Lock()
	first := !w.said
	w.said = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	if first {
		w.answer(err)
	}
}

func (w *waiter) wait(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.said {
		w.timer = time.AfterFunc(d, func() { w.done(errWaited) })
	}
}

func lastExpiry(set []location.Binding) time.Time {
	last := set[0].Expires
	for i := range set {
		if set[i].Expires.After(last) {
			last = set[i].Expires
		}
	}
	return last
}

// ok is the 200 with every binding at this gateway (RFC 3261 §10.3 step 8). Deviation: bindings that the AOR has at other gateways are not
// ours to list (RFC 7904 §7 gives each its own record).
func (r *Registrar) ok(req *message.Message, c *change, set []location.Binding) answer {
	res := message.ResponseInto(c.answerRoom(), req, 200, "", toTag)
	now := r.c.Now()
	gruu := r.c.GRUUs != nil && len(set) > 0 && supports(req, "gruu")
	buf := make([]byte, 0, 256)
	for i := range set {
		b := &set[i]
		left := int64(math.Ceil(b.Expires.Sub(now).Seconds()))
		if left <= 0 {
			continue
		}
		buf = append(append(append(buf[:0], '<'), b.Contact...), '>')
		buf = append(buf, b.Params...)
		if b.Q != 1000 {
			buf = append(append(buf, ";q="...), formatQ(b.Q)...)
		}
		if gruu && b.Instance != "" && !b.Bulk { // RFC 6140 §7.1.1: "Support of public GRUUs is OPTIONAL"
			buf = r.appendGRUUs(buf, c.aor, b)
		}
		// "each Contact value MUST feature an "expires" parameter".
		buf = strconv.AppendInt(append(buf, ";expires="...), left, 10)
		res.Add(message.Contact, string(buf))
	}
	r.addRoutes(res, req, c)
	// RFC 3261 §10.3 step 8: "The response SHOULD include a Date header field."
	res.Set(message.Date, r.dateAt(now))
	return answer{res: res}
}

// date is a second as Date has it.
type date struct {
	unix int64
	text string
}

func (r *Registrar) dateAt(now time.Time) string {
	d := r.date.Load()
	if d == nil || d.unix != now.Unix() {
		d = &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
		r.date.Store(d)
	}
	return d.text
}

// appendGRUUs writes the GRUUs of a device (RFC 5627 §5.2).
func (r *Registrar) appendGRUUs(buf []byte, aor location.AOR, b *location.Binding) []byte {
	if location.IsInstance(b.Instance) {
		buf = append(append(append(buf, `;pub-gruu="`...), r.c.GRUUs.Public(aor, b.Instance)...), '"')
	}
	return append(append(append(buf, `;temp-gruu="`...), r.c.GRUUs.Temporary(aor, b)...), '"')
}

// addRoutes adds what the phone has to know of the way: Path, Service-Route, and that it registered a flow.
func (r *Registrar) addRoutes(res, req *message.Message, c *change) {
	if len(c.path) > 0 && supports(req, "path") {
		// RFC 3327 §5.3: "The registrar copies the Path header field values into a Path header field in the successful [..] response".
		for _, p := range c.path {
			res.Add(message.Path, p)
		}
	}
	for _, v := range r.c.ServiceRoute {
		res.AddOther("Service-Route", v) // RFC 3608 §6.3
	}
	if !c.outbound {
		return
	}
	// RFC 5626 §6: "the registrar MUST include the outbound option-tag in a Require header field value in its response".
	res.Add(message.Require, "outbound")
	if c.hop.Flow != 0 {
		res.AddOther("Flow-Timer", flowTimer)
	}
}

func formatQ(q int) string { return strconv.FormatFloat(float64(q)/1000, 'f', -1, 64) }

// answer is a response, and the word of the refusal if it is one.
type answer struct {
	res  *message.Message
	word string
}

// refusal is a refusal with the header fields that are owed with it.
func (r *Registrar) refusal(req *message.Message, c *change, why *sip.Refusal) answer {
	res := why.ResponseInto(c.answerRoom(), req, toTag)
	switch why {
	case tooBrief:
		// RFC 3261 §10.3 step 7: "It then MUST generate a 423 [..] with a Min-Expires header field".
		res.Set(message.MinExpires, strconv.Itoa(int(r.c.MinExpires/time.Second)))
	case badExtension:
		// RFC 3261 §8.2.2.3: "MUST generate a response by using status code 420 [..] MUST add an Unsupported header field".
		res.Set(message.Unsupported, strings.Join(unsupported(req), ", "))
	case noPath:
		res.Set(message.Unsupported, "path")
	case unavailable, notPublished:
		res.Set(message.RetryAfter, strconv.Itoa(int(retryAfter/time.Second)))
	}
	return answer{res, why.Word}
}

func (r *Registrar) refuse(tx sip.ServerTransaction, c *change, why *sip.Refusal) {
	r.respond(tx, r.refusal(tx.Request(), c, why))
}

// failure is the refusal that an error of the table means.
func failure(err error) *sip.Refusal {
	var why *sip.Refusal
	if errors.As(err, &why) {
		return why
	}
	return unavailable
}

// toTag marks the To of our responses. RFC 3261 §8.2.6.2 wants one tag per request; a REGISTER makes no dialog, so one for all does.
const toTag = "p2psip-registrar"

func (r *Registrar) respond(tx sip.ServerTransaction, a answer) {
	r.c.Answered(tx, a.res.StatusCode, a.word)
	tx.Respond(a.res)
}
