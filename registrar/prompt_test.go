package registrar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// offer is a sip.Offer that keeps the answer.
type offer struct {
	transaction
	again bool
}

// Respond keeps a copy: res is the registrar's again.
func (o *offer) Respond(res *message.Message) { o.transaction.Respond(res.Clone()) }

func (o *offer) Again(res *message.Message) { o.again = true; o.Respond(res) }

// fussy is an authenticator that takes each nonce count once.
type fussy map[string]bool

func (f fussy) Authenticate(req *message.Message) (string, []string, bool) {
	user, count, _ := strings.Cut(req.Get(message.Authorization), " ")
	ok := count != "" && !f[count]
	f[count] = true
	return user, []string{"Digest"}, ok
}

// prompter is a bench whose requests are offered first.
type prompter struct {
	*bench
	answered int
	full     bool   // there is no room for transactions
	between  func() // an offer and its transaction
}

func newPrompter(t *testing.T, change ...func(*Config)) *prompter {
	p := &prompter{}
	change = append([]func(*Config){func(c *Config) {
		c.Auth = fussy{}
		c.Answered = func(sip.ServerTransaction, int, string) { p.answered++ }
	}}, change...)
	p.bench = newBench(t, change...)
	p.overlay.holds = true
	return p
}

// offer offers a REGISTER with a CSeq, and reports what came of it: "at once", "again", "transaction" when that was needed, or "refused" when there was
// no room for it; and the answer.
func (p *prompter) offer(credentials string, cseq int, lines ...string) (how string, res *message.Message) {
	p.t.Helper()
	if credentials != "" {
		lines = append(lines, "Authorization: "+credentials)
	}
	req, err := message.Parse([]byte("REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5555;branch=z9hG4bK1\r\nFrom: <sip:alice@example.org>;tag=1\r\n" +
		"To: <sip:alice@example.org>\r\nCall-ID: c1\r\n" + fmt.Sprintf("CSeq: %d REGISTER\r\n", cseq) + strings.Join(lines, "\r\n") + "\r\n\r\n"))
	if err != nil {
		p.t.Fatal(err)
	}
	o := &offer{transaction: transaction{req: req, source: p.source, got: make(chan *message.Message, 1)}}
	rest := p.r.Prompt(o)
	switch {
	case rest == nil && o.again:
		return "again", o.answer()
	case rest == nil:
		return "at once", o.answer()
	case len(o.got) > 0:
		p.t.Fatal("answered, and there is something left to do")
	}
	if p.full {
		return "refused", message.NewResponse(req, 503, "", "x")
	}
	if p.between != nil {
		p.between()
	}
	tx := &transaction{req: req, source: p.source, got: make(chan *message.Message, 1)}
	rest(tx)
	return "transaction", tx.answer()
}

func (p *prompter) wants(how string, status int, credentials string, cseq int, lines ...string) *message.Message {
	p.t.Helper()
	got, res := p.offer(credentials, cseq, lines...)
	if got != how || res.StatusCode != status {
		p.t.Errorf("%s, %d; want %s, %d", got, res.StatusCode, how, status)
	}
	return res
}

func TestWhichREGISTERsNeedNoTransaction(t *testing.T) {
	p := newPrompter(t)
	const at = "Contact: <sip:a@h>"
	p.wants("at once", 401, "", 1, at)
	p.wants("at once", 420, "", 1, at, "Require: x")
	p.wants("transaction", 401, "alice", 1, at) // who guesses passwords is counted once for each
	p.wants("transaction", 403, "bob 1", 1, at)
	p.wants("transaction", 200, "alice 2", 1, at)
	p.wants("transaction", 200, "alice 3", 1) // what is bound
	p.wants("at once", 200, "alice 4", 2, at)
	p.wants("transaction", 500, "alice 5", 2, at)
	p.wants("transaction", 423, "alice 6", 3, at, "Expires: 1")
	p.wants("transaction", 200, "alice 7", 3, at, "Contact: <sip:b@h>")
	p.wants("at once", 200, "alice 8", 4, at, "Contact: <sip:b@h>")
	p.overlay.holds = false
	p.wants("transaction", 200, "alice 9", 5, at)
	if n := len(p.overlay.published); n != 1 {
		t.Errorf("published %d times", n)
	}
	p.wants("transaction", 200, "alice 10", 6, "Contact: *", "Expires: 0")
	if p.answered != 13 {
		t.Errorf("%d answers were counted", p.answered)
	}
}

func TestRFC3261_8_2_7_ARepeatedRefreshHasItsAnswerAgain(t *testing.T) {
	var changed int
	p := newPrompter(t, func(c *Config) { c.Changed = func(location.AOR) { changed++ } })
	at := []string{"Contact: <sip:a@h>", "Supported: path", "Path: <sip:edge;lr>"}
	p.wants("transaction", 200, "alice 1", 1, at...)
	first := p.wants("at once", 200, "alice 2", 2, at...)
	bound, counted := p.bindings.Get(alice, p.now)[0], p.answered
	p.now = p.now.Add(10 * time.Second)
	again := p.wants("again", 200, "alice 2", 2, at...)
	if a, b := first.Get(message.To), again.Get(message.To); a != b || again.Get(message.Path) != first.Get(message.Path) || again.Get(message.Contact) != "<sip:a@h>;expires=3590" {
		t.Errorf("%q, %q, %q", a, b, again.Get(message.Contact))
	}
	if now := p.bindings.Get(alice, p.now)[0]; !now.Updated.Equal(bound.Updated) || p.answered != counted || changed != 2 {
		t.Errorf("changed %d times; bound %v; %d counted", changed, now, p.answered-counted)
	}
	source := p.source
	p.source.Remote = p.source.Local
	p.wants("transaction", 401, "alice 2", 2, at...) // somebody else
	p.source = source
	p.wants("transaction", 401, "alice 2", 2, append(at, "User-Agent: x")...)
	p.wants("transaction", 401, "alice 2", 3, at...)
	p.now = p.now.Add(repeatFor)
	p.wants("transaction", 401, "alice 2", 2, at...) // later than any client repeats
}

func TestATrustedPhoneIsAnsweredAtOnceToo(t *testing.T) {
	p := newPrompter(t, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } })
	p.wants("transaction", 200, "", 1, "Contact: <sip:a@h>")
	p.wants("at once", 200, "", 2, "Contact: <sip:a@h>")
	p.wants("again", 200, "", 2, "Contact: <sip:a@h>")
	p.wants("transaction", 420, "", 2, "Contact: <sip:a@h>", "Require: x")
}

// A removal of what is not bound changes nothing, and no binding names it: its transaction has the answer for a repetition.
func TestRFC3261_8_2_7_ARemovalOfNothingHasATransaction(t *testing.T) {
	p := newPrompter(t)
	p.wants("transaction", 200, "alice 1", 1, "Contact: <sip:a@h>")
	p.wants("transaction", 200, "alice 2", 2, "Contact: <sip:gone@h>", "Expires: 0")
	p.wants("at once", 200, "alice 3", 3, "Contact: <sip:gone@h>;expires=0, <sip:a@h>")
	p.wants("again", 200, "alice 3", 3, "Contact: <sip:gone@h>;expires=0, <sip:a@h>")
}

// A refresh whose transaction there was no room for was answered 503 by the stack. Its repetition has no 200 either as long as the overlay has not got
// what it is to have.
func TestARefreshThatIsNotPublishedIsNoRepetition(t *testing.T) {
	p := newPrompter(t)
	p.wants("transaction", 200, "alice 1", 1, "Contact: <sip:a@h>")
	p.overlay.holds, p.full = false, true
	p.wants("refused", 503, "alice 2", 2, "Contact: <sip:a@h>")
	p.full = false
	p.wants("transaction", 401, "alice 2", 2, "Contact: <sip:a@h>")
	p.overlay.holds = true
	p.wants("again", 200, "alice 2", 2, "Contact: <sip:a@h>")
}

// Somebody else removes all bindings between a refresh and what it has the overlay told: nobody is bound here, and nobody is told so.
func TestWhatWasRemovedMeanwhileIsNotPublished(t *testing.T) {
	p := newPrompter(t)
	p.wants("transaction", 200, "alice 1", 1, "Contact: <sip:a@h>")
	p.overlay.holds = false
	p.between = func() {
		if _, err := update(p.bindings, alice); err != nil {
			t.Error(err)
		}
	}
	published := len(p.overlay.published)
	if res := p.wants("transaction", 200, "alice 2", 2, "Contact: <sip:a@h>"); res.Has(message.Contact) {
		t.Errorf("Contact %s", res.Get(message.Contact))
	}
	if n := len(p.overlay.published) - published; n != 0 {
		t.Errorf("published %d times", n)
	}
}

// update removes what is bound.
func update(b Bindings, aor location.AOR) (set []location.Binding, err error) {
	b.Update(aor, func([]location.Binding) ([]location.Binding, error) { return nil, nil }, func(s []location.Binding, e error) { set, err = s, e })
	return set, err
}
