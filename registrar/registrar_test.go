package registrar

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const alice = location.AOR("alice@example.org")

var epoch = time.UnixMilli(1_700_000_000_000)

// transaction is a server transaction that keeps the final response.
type transaction struct {
	req    *message.Message
	source location.Hop
	got    chan *message.Message
}

func (t *transaction) Request() *message.Message    { return t.req }
func (t *transaction) Source() location.Hop         { return t.source }
func (t *transaction) Respond(res *message.Message) { t.got <- res }
func (t *transaction) Trying()                      {}
func (t *transaction) answer() *message.Message     { return <-t.got }

// overlay is a publisher that does as it is told.
type overlay struct {
	err       error
	silent    bool
	published []location.AOR
	withdrawn []location.AOR
	done      []func(error)
	holds     bool // there is nothing to be done
	extended  []location.AOR
}

func (o *overlay) Extend(aor location.AOR, _ time.Time) bool {
	if o.holds {
		o.extended = append(o.extended, aor)
	}
	return o.holds
}

func (o *overlay) say(done func(error)) {
	if o.silent {
		o.done = append(o.done, done)
		return
	}
	done(o.err)
}

func (o *overlay) Publish(aor location.AOR, _ time.Time, done func(error)) {
	o.published = append(o.published, aor)
	o.say(done)
}

func (o *overlay) Withdraw(aor location.AOR, done func(error)) {
	o.withdrawn = append(o.withdrawn, aor)
	o.say(done)
}

// password is an authenticator for which Authorization holds the user's name.
type password struct{}

func (password) Authenticate(req *message.Message) (string, []string, bool) {
	user := req.Get(message.Authorization)
	return user, []string{`Digest realm="example.org", nonce="n"`}, user != ""
}

type bench struct {
	t        *testing.T
	r        *Registrar
	bindings *location.Bindings
	overlay  *overlay
	now      time.Time
	cseq     int
	word     string // of the last refusal
	source   location.Hop
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	b := &bench{t: t, bindings: location.NewBindings(), overlay: &overlay{}, now: epoch}
	b.source = location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("127.0.0.1:5555")}
	c := Config{
		AOR: func(u message.URI) (location.AOR, bool) {
			return location.AOR(u.User + "@example.org"), strings.EqualFold(u.Host, "example.org")
		},
		Bindings: b.bindings, Publisher: b.overlay, Auth: password{},
		Known:          func(a location.AOR) bool { return a != "ghost@example.org" },
		Alive:          func(h location.Hop) bool { return h.Flow != 666 },
		DefaultExpires: time.Hour, MinExpires: time.Minute, MaxExpires: 2 * time.Hour, MaxContacts: 3,
		PublishWait: 300 * time.Millisecond,
		Now:         func() time.Time { return b.now },
		Answered:    func(_ sip.ServerTransaction, status int, word string) { b.word = word },
	}
	for _, f := range change {
		f(&c)
	}
	b.r = New(c)
	return b
}

// register sends a REGISTER for alice with more header lines and returns the answer.
func (b *bench) register(lines ...string) *message.Message {
	return b.send("alice", "sip:example.org", "<sip:alice@example.org>", lines...)
}

func (b *bench) send(user, uri, to string, lines ...string) *message.Message {
	b.t.Helper()
	tx := b.start(user, uri, to, lines...)
	return tx.answer()
}

func (b *bench) start(user, uri, to string, lines ...string) *transaction {
	b.t.Helper()
	b.cseq++
	head := []string{
		"REGISTER " + uri + " SIP/2.0", "Via: SIP/2.0/UDP 127.0.0.1:5555;branch=z9hG4bK1", "Max-Forwards: 70",
		"From: <sip:alice@example.org>;tag=1", "To: " + to,
	}
	rest := strings.Join(lines, "\r\n")
	if !strings.Contains(rest, "Call-ID") {
		head = append(head, "Call-ID: c1")
	}
	if !strings.Contains(rest, "CSeq") {
		head = append(head, fmt.Sprintf("CSeq: %d REGISTER", b.cseq))
	}
	if user != "" {
		head = append(head, "Authorization: "+user)
	}
	req, err := message.Parse([]byte(strings.Join(append(head, lines...), "\r\n") + "\r\n\r\n"))
	if err != nil {
		b.t.Fatal(err)
	}
	tx := &transaction{req: req, source: b.source, got: make(chan *message.Message, 4)}
	b.r.Request(tx)
	return tx
}

func (b *bench) want(res *message.Message, status int) *message.Message {
	b.t.Helper()
	if res.StatusCode != status {
		b.t.Fatalf("status %d %s, want %d", res.StatusCode, res.Reason, status)
	}
	return res
}

func (b *bench) contacts() (uris []string) {
	for _, c := range b.bindings.Get(alice, b.now) {
		uris = append(uris, c.Contact)
	}
	return uris
}

// Conformance: H-27 H-34
// Feature: REG-01 REG-07 REG-27
func TestOneBindingIsStoredPublishedAndListed(t *testing.T) {
	b := newBench(t)
	res := b.want(b.register(`Contact: "Alice" <sip:Alice@10.0.0.1:5060;ob;X=y>;+sip.instance="<urn:uuid:1>";q=0.5`, "Expires: 600", "User-Agent: phone"), 200)
	// REG-07: the phone compares what it gets with what it sent.
	if got, want := res.Values(message.Contact), []string{`<sip:Alice@10.0.0.1:5060;ob;X=y>;+sip.instance="<urn:uuid:1>";q=0.5;expires=600`}; len(got) != 1 || got[0] != want[0] {
		t.Errorf("Contact %q, want %q", got, want)
	}
	if res.Get(message.Date) == "" {
		t.Error("no Date")
	}
	set := b.bindings.Get(alice, b.now)
	if len(set) != 1 || set[0].Hop != b.source || set[0].UserAgent != "phone" || set[0].Q != 500 || !set[0].Expires.Equal(epoch.Add(10*time.Minute)) {
		t.Errorf("bound: %+v", set)
	}
	if len(b.overlay.published) != 1 {
		t.Errorf("published: %v", b.overlay.published)
	}
}

func TestRFC3261_10_3_NoContactListsTheBindings(t *testing.T) {
	b := newBench(t)
	b.want(b.register("Contact: <sip:a@10.0.0.1>"), 200)
	b.now = b.now.Add(time.Minute)
	if got := b.want(b.register(), 200).Values(message.Contact); len(got) != 1 || got[0] != "<sip:a@10.0.0.1>;expires=3540" {
		t.Errorf("Contact %q", got)
	}
	if len(b.overlay.published) != 1 {
		t.Errorf("a query was published: %v", b.overlay.published)
	}
}

// Conformance: H-11 H-33
// Feature: REG-02 REG-04 REG-06 REG-11 REG-16
func TestRefusalsChangeNothing(t *testing.T) {
	const ok = "Contact: <sip:a@10.0.0.1>"
	for _, c := range []struct {
		name          string
		user, uri, to string
		lines         []string
		status        int
	}{
		{"no credentials", "", "sip:example.org", "<sip:alice@example.org>", []string{ok}, 401},
		{"another user's AOR", "bob", "sip:example.org", "<sip:alice@example.org>", []string{ok}, 403},
		{"another user's AOR, removal", "bob", "sip:example.org", "<sip:alice@example.org>", []string{"Contact: *", "Expires: 0"}, 403},
		{"foreign domain in the Request-URI", "alice", "sip:other.example", "<sip:alice@example.org>", []string{ok}, 403},
		{"foreign domain in To", "alice", "sip:example.org", "<sip:alice@other.example>", []string{ok}, 403},
		{"foreign domain without credentials", "", "sip:other.example", "<sip:alice@other.example>", []string{ok}, 403},
		{"unknown user", "ghost", "sip:example.org", "<sip:ghost@example.org>", []string{ok}, 404},
		{"no user in To", "alice", "sip:example.org", "<sip:example.org>", []string{ok}, 400},
		{"unknown scheme", "alice", "tel:+1", "<sip:alice@example.org>", []string{ok}, 416},
		{"unknown extension", "alice", "sip:example.org", "<sip:alice@example.org>", []string{"Require: nothing-known", ok}, 420},
		{"star with a lifetime", "alice", "sip:example.org", "<sip:alice@example.org>", []string{"Contact: *", "Expires: 60"}, 400},
		{"star without a lifetime", "alice", "sip:example.org", "<sip:alice@example.org>", []string{"Contact: *"}, 400},
		{"star among others", "alice", "sip:example.org", "<sip:alice@example.org>", []string{"Contact: *, <sip:a@h>", "Expires: 0"}, 400},
		{"bad q", "alice", "sip:example.org", "<sip:alice@example.org>", []string{ok + ";q=2"}, 400},
		{"too brief", "alice", "sip:example.org", "<sip:alice@example.org>", []string{ok + ";expires=30"}, 423},
		{"one too brief among three", "alice", "sip:example.org", "<sip:alice@example.org>", []string{ok + ", <sip:b@h>, <sip:c@h>;expires=5"}, 423},
		{"more than max_contacts", "alice", "sip:example.org", "<sip:alice@example.org>", []string{"Contact: <sip:b@h>, <sip:c@h>, <sip:d@h>"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.want(b.register("Contact: <sip:first@h>"), 200)
			res := b.want(b.send(c.user, c.uri, c.to, c.lines...), c.status)
			if got := b.contacts(); len(got) != 1 || got[0] != "sip:first@h" {
				t.Errorf("bindings afterwards: %v", got)
			}
			if len(b.overlay.published) != 1 || len(b.overlay.withdrawn) != 0 {
				t.Errorf("the overlay was told: %v, %v", b.overlay.published, b.overlay.withdrawn)
			}
			if !strings.Contains(res.Get(message.Warning), fmt.Sprintf("REG%d", c.status)) || !strings.HasPrefix(b.word, fmt.Sprintf("REG%d", c.status)) {
				t.Errorf("Warning %q, told %q", res.Get(message.Warning), b.word)
			}
			switch c.status {
			case 401:
				if !strings.HasPrefix(res.Get(message.WWWAuthenticate), "Digest ") {
					t.Error("401 without a challenge")
				}
			case 420:
				if res.Get(message.Unsupported) != "nothing-known" {
					t.Errorf("Unsupported: %q", res.Get(message.Unsupported))
				}
			case 423:
				if res.Get(message.MinExpires) != "60" {
					t.Errorf("Min-Expires: %q", res.Get(message.MinExpires))
				}
			}
		})
	}
}

// Feature: REG-01
func TestRFC3261_10_3_7_LowerOrEqualCSeqOfTheSameCallIDFails(t *testing.T) {
	b := newBench(t)
	b.want(b.register("Contact: <sip:a@h>", "Call-ID: x", "CSeq: 5 REGISTER"), 200)
	for _, lines := range [][]string{
		{"Contact: <sip:a@h>;expires=100", "Call-ID: x", "CSeq: 5 REGISTER"},
		{"Contact: <sip:a@h>;expires=0", "Call-ID: x", "CSeq: 4 REGISTER"},
		{"Contact: *", "Expires: 0", "Call-ID: x", "CSeq: 5 REGISTER"},
		{"Contact: <sip:new@h>, <sip:a@h>", "Call-ID: x", "CSeq: 5 REGISTER"},
	} {
		b.want(b.register(lines...), 500)
	}
	if got := b.contacts(); len(got) != 1 {
		t.Errorf("bindings: %v", got)
	}
	b.want(b.register("Contact: <sip:a@h>", "Call-ID: other", "CSeq: 1 REGISTER"), 200)
	b.want(b.register("Contact: <sip:a@h>", "Call-ID: other", "CSeq: 2 REGISTER"), 200)
}

// Feature: REG-05 REG-06
func TestLifetimes(t *testing.T) {
	for _, c := range []struct{ header, param, want string }{
		{"", "", "3600"},
		{"120", "", "120"},
		{"120", "300", "300"},
		{"99999", "", "7200"},
		{"nonsense", "", "3600"},
		{"", "nonsense", "3600"},
	} {
		b := newBench(t)
		contact := "Contact: <sip:a@h>"
		if c.param != "" {
			contact += ";expires=" + c.param
		}
		lines := []string{contact}
		if c.header != "" {
			lines = append(lines, "Expires: "+c.header)
		}
		if got := b.want(b.register(lines...), 200).Get(message.Contact); got != "<sip:a@h>;expires="+c.want {
			t.Errorf("Expires %q, expires=%q: granted %q, want %s", c.header, c.param, got, c.want)
		}
	}
}

// RFC 3261 §10.3 step 7: a registrar may refuse "if and only if the requested expiration interval is greater than zero AND smaller than one hour AND
// less than a registrar-configured minimum".
func TestRFC3261_10_3_AnHourIsNeverTooBrief(t *testing.T) {
	b := newBench(t)
	b.r.c.MinExpires = 90 * time.Minute
	b.want(b.register("Contact: <sip:a@h>;expires=3599"), 423)
	if got := b.want(b.register("Contact: <sip:a@h>;expires=3600"), 200).Get(message.Contact); got != "<sip:a@h>;expires=3600" {
		t.Errorf("granted %q", got)
	}
}

// Conformance: H-27
// Feature: REG-04 REG-29
func TestRemovalWithdraws(t *testing.T) {
	for _, lines := range [][]string{{"Contact: *", "Expires: 0"}, {"Contact: <sip:a@h>;expires=0, <sip:b@h>;expires=0"}} {
		b := newBench(t)
		b.want(b.register("Contact: <sip:a@h>, <sip:b@h>"), 200)
		b.want(b.register("Contact: <sip:a@h>;expires=0"), 200)
		if len(b.overlay.withdrawn) != 0 {
			t.Errorf("withdrawn while a contact is left")
		}
		if got := b.want(b.register(lines...), 200).Values(message.Contact); len(got) != 0 {
			t.Errorf("Contact %q", got)
		}
		if len(b.overlay.withdrawn) != 1 {
			t.Errorf("withdrawn %v", b.overlay.withdrawn)
		}
	}
}

// Feature: REG-03
func TestRFC3261_19_1_4_ContactsAreComparedAsURIs(t *testing.T) {
	b := newBench(t)
	b.want(b.register("Contact: <sip:a@H;transport=tcp>"), 200)
	b.want(b.register("Contact: <sip:%61@h;Transport=TCP>"), 200)
	if got := b.contacts(); len(got) != 1 {
		t.Errorf("equal URIs are two bindings: %v", got)
	}
	b.want(b.register("Contact: <sip:a@h:5060;transport=tcp>"), 200)
	if got := b.contacts(); len(got) != 2 {
		t.Errorf("an explicit port is another URI: %v", got)
	}
}

// Feature: REG-09
func TestSameDeviceReplacesItsContact(t *testing.T) {
	b := newBench(t)
	b.want(b.register(`Contact: <sip:a@h:1111>;+sip.instance="<urn:uuid:1>"`), 200)
	b.want(b.register(`Contact: <sip:a@h:2222>;+sip.instance="<urn:uuid:1>"`), 200)
	if got := b.contacts(); len(got) != 1 || got[0] != "sip:a@h:2222" {
		t.Errorf("bindings: %v", got)
	}
}

// Feature: REG-09
func TestAtTheLimitOnlyADeadConnectionMakesRoom(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		b.source.Flow = 1
		if i == 1 {
			b.source.Flow = 666
		}
		b.want(b.register(fmt.Sprintf("Contact: <sip:a@h:%d>", i)), 200)
	}
	b.source.Flow = 2
	b.want(b.register("Contact: <sip:new@h>"), 200)
	if got := strings.Join(b.contacts(), " "); got != "sip:a@h:0 sip:a@h:2 sip:new@h" {
		t.Errorf("bindings: %v", got)
	}
	b.want(b.register("Contact: <sip:another@h>"), 403)
}

func TestTrustedSourcesNeedNoCredentials(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Trusted = func(h location.Hop) bool { return h.Remote.Port() == 5555 } })
	b.want(b.send("", "sip:example.org", "<sip:alice@example.org>", "Contact: <sip:a@h>"), 200)
	b.want(b.send("", "sip:example.org", "<sip:ghost@example.org>", "Contact: <sip:a@h>"), 404)
}

// Conformance: H-28
// Feature: REG-30
func TestTheAnswerWaitsForTheOverlayButNotForEver(t *testing.T) {
	for _, c := range []struct {
		name     string
		required bool
		tell     error
		told     bool
		status   int
		after    time.Duration
	}{
		{"told in time", false, nil, true, 200, 100 * time.Millisecond},
		{"silent, best effort", false, nil, false, 200, 300 * time.Millisecond},
		{"silent, required", true, nil, false, 503, 300 * time.Millisecond},
		{"failed, best effort", false, errors.New("no"), true, 200, 100 * time.Millisecond},
		{"failed, required", true, errors.New("no"), true, 503, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(conf *Config) { conf.Required = c.required })
				b.overlay.silent = true
				begin := time.Now()
				tx := b.start("alice", "sip:example.org", "<sip:alice@example.org>", "Contact: <sip:a@h>")
				if c.told {
					time.AfterFunc(100*time.Millisecond, func() { b.overlay.done[0](c.tell) })
				}
				b.want(tx.answer(), c.status)
				if got := time.Since(begin); got != c.after {
					t.Errorf("answered after %v, want %v", got, c.after)
				}
				if !c.told {
					b.overlay.done[0](nil) // late
				}
				synctest.Wait()
				if len(tx.got) != 0 {
					t.Error("a second answer")
				}
			})
		})
	}
}

func TestARefreshThatTheOverlayHoldsIsAnsweredAtOnce(t *testing.T) {
	b := newBench(t)
	b.overlay.silent, b.overlay.holds = true, true
	b.want(b.register("Contact: <sip:a@h>"), 200)
	if len(b.overlay.extended) != 1 || len(b.overlay.published) != 0 {
		t.Errorf("extended %v, published %v", b.overlay.extended, b.overlay.published)
	}
}

// What is bound is no part of the request, which is forgotten.
func TestABindingIsWhatTheLastRequestSays(t *testing.T) {
	b := newBench(t)
	b.want(b.register("Contact: <sip:a@h>;x=1", "User-Agent: one"), 200)
	before := b.bindings.Get("alice@example.org", b.now)[0]
	b.want(b.register("Contact: <sip:a@h>;x=2;q=0.5", "User-Agent: two"), 200)
	got := b.bindings.Get("alice@example.org", b.now)
	if len(got) != 1 || got[0].Params != ";x=2" || got[0].UserAgent != "two" || got[0].Q != 500 || got[0].CSeq != before.CSeq+1 {
		t.Errorf("%+v", got)
	}
	if before.Params != ";x=1" || before.UserAgent != "one" {
		t.Errorf("what was bound before has changed: %+v", before)
	}
}

func TestAFullJournalIs503WithRetryAfter(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Bindings = broken{} })
	if res := b.want(b.register("Contact: <sip:a@h>"), 503); res.Get(message.RetryAfter) == "" {
		t.Error("no Retry-After")
	}
}

type broken struct{}

func (broken) Get(location.AOR, time.Time) []location.Binding { return nil }
func (broken) Update(_ location.AOR, _ location.Edit, done func([]location.Binding, error)) {
	done(nil, fmt.Errorf("disk: %w", location.ErrUnavailable))
}

func (broken) Refresh(location.AOR, location.Edit) ([]location.Binding, bool) { return nil, false }

func BenchmarkRefresh(b *testing.B) {
	bench := newBench(&testing.T{})
	bench.overlay.holds = true
	req, err := message.Parse([]byte("REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5555;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n" +
		"From: <sip:alice@example.org>;tag=1\r\nTo: <sip:alice@example.org>\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\nAuthorization: alice\r\n" +
		"Contact: <sip:alice@127.0.0.1:5555>\r\nExpires: 3600\r\n\r\n"))
	if err != nil {
		b.Fatal(err)
	}
	tx := &transaction{req: req, source: bench.source, got: make(chan *message.Message, 1)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req.Set(message.CSeq, fmt.Sprintf("%d REGISTER", i+1))
		bench.r.Request(tx)
		if res := tx.answer(); res.StatusCode != 200 {
			b.Fatal(res.StatusCode)
		}
		bench.overlay.extended = bench.overlay.extended[:0]
	}
}
