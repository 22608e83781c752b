package regevent

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const alice = location.AOR("alice@example.org")

// bench is a Notifier between fakes.
type bench struct {
	t        *testing.T
	n        *Notifier
	bindings *location.Bindings
	word     string

	mu   sync.Mutex
	sent []*notify
}

// take is what was sent since the last call.
func (b *bench) take() []*notify {
	b.mu.Lock()
	defer b.mu.Unlock()
	sent := b.sent
	b.sent = nil
	return sent
}

// notify is a NOTIFY that was sent.
type notify struct {
	req  *message.Message
	hop  location.Hop
	user sip.ClientUser
}

func (b *bench) Send(req *message.Message, to location.Hop, _ string, user sip.ClientUser) sip.ClientTransaction {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, &notify{req, to, user})
	return nil
}
func (b *bench) SendStateless(*message.Message, location.Hop, string) error { return nil }
func (b *bench) Address(location.Hop) sip.Address {
	return sip.Address{Transport: "UDP", Host: "192.0.2.1", Port: 5060}
}
func (b *bench) Alive(location.Hop) bool { return true }

// password is an authenticator for which Authorization holds the user's name.
type password struct{}

func (password) Authenticate(req *message.Message) (string, []string, bool) {
	user := req.Get(message.Authorization)
	return user, []string{`Digest realm="example.org", nonce="n"`}, user != ""
}

type transaction struct {
	req *message.Message
	src location.Hop
	res *message.Message
}

func (x *transaction) Request() *message.Message    { return x.req }
func (x *transaction) Source() location.Hop         { return x.src }
func (x *transaction) Respond(res *message.Message) { x.res = res }
func (x *transaction) Trying()                      {}

// run runs a test in virtual time.
func run(t *testing.T, f func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, bindings: location.NewBindings()}
		b.n = New(Config{
			Sender: b, Bindings: b.bindings, Auth: password{}, Domain: "example.org", NodeGR: "node1",
			AOR: func(u message.URI) (location.AOR, bool) {
				return location.AOR(u.User + "@example.org"), u.Host == "example.org" || u.Host == "192.0.2.1"
			},
			Trusted: func(h location.Hop) bool { return h.Remote.Port() == 9 },
			GRUUs:   location.NewGRUUs([]byte("x"), "example.org", "node1"),
			Now:     time.Now,
			After: func(d time.Duration, f func()) func() {
				t := time.AfterFunc(d, f)
				return func() { t.Stop() }
			},
			Answered: func(_ sip.ServerTransaction, _ int, word string) { b.word = word },
		})
		f(b)
		b.n.Close()
		if n := b.n.Subscriptions(); n != 0 || len(b.n.byAOR) != 0 || len(b.n.byID) != 0 {
			t.Errorf("%d subscriptions left", n)
		}
	})
}

// set makes these the contacts of alice, for an hour unless one says "uri=duration".
func (b *bench) set(contacts ...string) {
	b.bindings.Update(alice, func(old []location.Binding) (set []location.Binding, err error) {
		for _, c := range contacts {
			uri, lifetime, _ := strings.Cut(c, "=")
			d, err := time.ParseDuration(lifetime)
			if err != nil {
				d = time.Hour
			}
			set = append(set, location.Binding{Contact: uri, Q: 1000, Expires: time.Now().Add(d), Registered: time.Now(), CallID: "r", CSeq: 1})
		}
		return set, nil
	}, func([]location.Binding, error) { b.n.Changed(alice) })
}

var phone = location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("203.0.113.5:5060")}

func (b *bench) subscribe(src location.Hop, uri, to string, lines ...string) (*transaction, bool) {
	b.t.Helper()
	head := []string{"SUBSCRIBE " + uri + " SIP/2.0", "Via: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bK1", "Max-Forwards: 70",
		"From: <sip:alice@example.org>;tag=watch", "To: " + to, "Contact: <sip:alice@203.0.113.5>"}
	head = append(head, lines...)
	for _, l := range []string{"Call-ID: s1", "CSeq: 1 SUBSCRIBE", "Event: reg"} {
		name, _, _ := strings.Cut(l, ":")
		if !strings.Contains(strings.Join(lines, "\n"), name) {
			head = append(head, l)
		}
	}
	req, err := message.Parse([]byte(strings.Join(head, "\r\n") + "\r\n\r\n"))
	if err != nil {
		b.t.Fatal(err)
	}
	x := &transaction{req: req, src: src}
	return x, b.n.Take(x)
}

// open subscribes alice.
func (b *bench) open(lines ...string) *transaction {
	b.t.Helper()
	x, _ := b.subscribe(phone, "sip:alice@example.org", "<sip:alice@example.org>", append(lines, "Authorization: alice")...)
	if x.res == nil || x.res.StatusCode != 200 {
		b.t.Fatalf("answered %+v", x.res)
	}
	return x
}

// next is the document of the NOTIFY that was sent last, the only one since the last call; it is answered.
func (b *bench) next(status int) (m *message.Message, doc reginfo) {
	b.t.Helper()
	sent := b.take()
	if len(sent) != 1 {
		b.t.Fatalf("%d NOTIFY sent, want 1", len(sent))
	}
	s := sent[0]
	if err := xml.Unmarshal(s.req.Body, &doc); err != nil {
		b.t.Fatal(err)
	}
	s.user.Response(message.NewResponse(s.req, status, "", "x"))
	return s.req, doc
}

func (b *bench) quiet() {
	b.t.Helper()
	if sent := b.take(); len(sent) != 0 {
		b.t.Fatalf("a NOTIFY: %s", sent[0].req.AppendTo(nil))
	}
}

func (d reginfo) String() string {
	out := []string{fmt.Sprintf("%d %s %s", d.Version, d.State, d.Registration.State)}
	for _, c := range d.Registration.Contacts {
		out = append(out, c.URI+" "+c.State+" "+c.Event)
	}
	return strings.Join(out, ", ")
}

func (b *bench) want(want string) *message.Message {
	b.t.Helper()
	m, doc := b.next(200)
	if doc.String() != want {
		b.t.Fatalf("told %s, want %s", doc, want)
	}
	return m
}

// pass lets virtual time pass.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

// Feature: REG-32
func TestRFC3680_4_TheWholeStateAndThenEachChange(t *testing.T) {
	run(t, func(b *bench) {
		b.set("sip:a@h")
		x := b.open("Expires: 1200", "Event: reg;id=7", "Record-Route: <sip:p2;lr>, <sip:p1;lr>")
		if x.res.Get(message.Expires) != "1200" || len(x.res.Values(message.RecordRoute)) != 2 {
			t.Errorf("answered %s", x.res.AppendTo(nil))
		}
		m := b.want("0 full active, sip:a@h active registered")
		for name, want := range map[string]string{"Event": "reg;id=7", "Subscription-State": "active;expires=1200", "Call-ID": "s1",
			"To": "<sip:alice@example.org>;tag=watch", "From": x.res.Get(message.To), "Content-Type": "application/reginfo+xml",
			"Route": "<sip:p2;lr>", "CSeq": "1 NOTIFY", "Contact": "<sip:reg-event@192.0.2.1:5060>"} {
			if got := m.Other(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if m.RequestURI != "sip:alice@203.0.113.5" {
			t.Errorf("to %s", m.RequestURI)
		}
		pass(pace)
		b.set("sip:a@h", "sip:b@h")
		b.want("1 partial active, sip:b@h active registered")
		pass(pace)
		b.set("sip:a@h=30m", "sip:b@h")
		b.want("2 partial active, sip:a@h active shortened")
		b.set("sip:a@h=31m", "sip:b@h") // a refresh is no news
		pass(pace)
		b.quiet()
		b.set("sip:b@h")
		b.want("3 partial active, sip:a@h terminated unregistered")
		pass(2 * pace)
		b.set()
		b.want("4 partial terminated, sip:b@h terminated unregistered")
	})
}

// Feature: REG-32
func TestRFC3680_4_10_ChangesAreNotifiedAtALeisurelyPace(t *testing.T) {
	run(t, func(b *bench) {
		b.set("sip:a@h")
		b.open()
		b.want("0 full active, sip:a@h active registered")
		b.set("sip:a@h", "sip:b@h")
		b.set("sip:c@h")
		pass(pace - time.Millisecond)
		b.quiet()
		pass(time.Millisecond)
		sent := b.take()
		if len(sent) != 1 {
			t.Fatal("no NOTIFY")
		}
		s := sent[0]
		b.set("sip:d@h") // while a NOTIFY is under way
		pass(2 * pace)
		b.quiet()
		s.user.Response(message.NewResponse(s.req, 200, "", "x"))
		b.want("2 partial active, sip:d@h active registered, sip:c@h terminated unregistered")
	})
}

// Feature: REG-32
func TestRFC6665_4_2_RefreshEndAndFailure(t *testing.T) {
	run(t, func(b *bench) {
		b.set("sip:a@h=20s", "sip:b@h=10h")
		x := b.open("Expires: 100")
		b.want("0 full active, sip:a@h active registered, sip:b@h active registered")
		to := x.res.Get(message.To)
		pass(90 * time.Second)
		b.n.Changed(alice)
		b.want("1 partial active, sip:a@h terminated expired")
		again, ok := b.subscribe(phone, "sip:reg-event@192.0.2.1:5060", to, "CSeq: 2 SUBSCRIBE", "Expires: 100")
		if !ok || again.res.StatusCode != 200 || again.res.Get(message.To) != to {
			t.Fatalf("refresh: %+v", again.res)
		}
		b.want("2 full active, sip:b@h active registered")
		old, _ := b.subscribe(phone, "sip:reg-event@192.0.2.1:5060", to, "CSeq: 2 SUBSCRIBE", "Expires: 100")
		if old.res.StatusCode != 481 {
			t.Errorf("an old CSeq is answered %d", old.res.StatusCode)
		}
		pass(99 * time.Second)
		b.quiet()
		pass(time.Second)
		if m := b.want("3 full active, sip:b@h active registered"); m.Other("Subscription-State") != "terminated;reason=timeout" {
			t.Errorf("Subscription-State %q", m.Other("Subscription-State"))
		}
		if late, ok := b.subscribe(phone, "sip:reg-event@192.0.2.1:5060", to, "CSeq: 3 SUBSCRIBE"); !ok || late.res.StatusCode != 481 {
			t.Errorf("a refresh that is too late is answered %+v", late.res)
		}

		b.open("Expires: 0", "Call-ID: s2") // a fetch
		b.want("0 full active, sip:b@h active registered")
		b.open("Call-ID: s3")
		b.next(481)
		if b.n.Subscriptions() != 0 {
			t.Error("RFC 6665 §4.2.2: a subscriber that does not know the dialog is still subscribed")
		}
	})
}

// Feature: REG-32
func TestRFC3680_4_6_WhoMayKnow(t *testing.T) {
	node := location.Hop{Node: "node2"}
	for _, c := range []struct {
		name, uri string
		src       location.Hop
		lines     []string
		status    int // 0: not for us
	}{
		{"alice", "sip:alice@example.org", phone, []string{"Authorization: alice"}, 200},
		{"a trusted PBX", "sip:alice@example.org", location.Hop{Remote: netip.MustParseAddrPort("192.0.2.9:9")}, nil, 200},
		{"alice, by way of another gateway", "sip:alice@example.org", node, nil, 200},
		{"nobody known", "sip:alice@example.org", phone, nil, 401},
		{"mallory", "sip:alice@example.org", phone, []string{"Authorization: mallory"}, 403},
		{"somebody, by way of another gateway", "sip:bob@example.org", node, nil, 403},
		{"too short", "sip:alice@example.org", phone, []string{"Authorization: alice", "Expires: 59"}, 423},
		{"bound elsewhere, if at all", "sip:bob@example.org", phone, []string{"Authorization: bob"}, 0},
		{"nobody known, bound elsewhere, if at all", "sip:bob@example.org", phone, nil, 401},
		{"alice, of bob", "sip:bob@example.org", phone, []string{"Authorization: alice"}, 403},
		{"another event", "sip:alice@example.org", phone, []string{"Event: dialog"}, 0},
		{"another domain", "sip:alice@example.com", phone, nil, 0},
		{"a device", "sip:alice@example.org;gr=urn:uuid:1", phone, nil, 0},
	} {
		run(t, func(b *bench) {
			b.set("sip:a@h")
			x, took := b.subscribe(c.src, c.uri, "<"+c.uri+">", c.lines...)
			if took != (c.status != 0) || took && x.res.StatusCode != c.status {
				t.Errorf("%s: took it: %v, %+v", c.name, took, x.res)
			}
			if took && c.status != 200 && !strings.HasPrefix(b.word, fmt.Sprintf("EVT%d", c.status)) {
				t.Errorf("%s: word %q", c.name, b.word)
			}
			if c.src.Node != "" && c.status == 200 && x.res.Get(message.Contact) != "<sip:reg-event@example.org;gr=node1>" {
				t.Errorf("Contact %s", x.res.Get(message.Contact))
			}
		})
	}
}

// Feature: REG-32 REG-19
func TestRFC5628_GRUUsOfContacts(t *testing.T) {
	run(t, func(b *bench) {
		b.bindings.Update(alice, func([]location.Binding) ([]location.Binding, error) {
			return []location.Binding{{Contact: "sip:a@h?x=<&>", Q: 500, Instance: "urn:uuid:1", Expires: time.Now().Add(time.Hour)}}, nil
		}, func([]location.Binding, error) {})
		b.open()
		m, doc := b.next(200)
		c := doc.Registration.Contacts[0]
		if c.GRUU == nil || c.GRUU.URI != "sip:alice@example.org;gr=urn:uuid:1" || c.URI != "sip:a@h?x=<&>" || c.Q != "0.5" ||
			!slices.Equal(c.Params, []param{{"+sip.instance", `"<urn:uuid:1>"`}}) {
			t.Errorf("%s", m.Body)
		}
	})
}

// Feature: REG-32
func TestSubscriptionsAreBounded(t *testing.T) {
	run(t, func(b *bench) {
		b.set("sip:a@h")
		for i := range maxForAOR {
			b.open(fmt.Sprintf("Call-ID: c%d", i))
		}
		x, _ := b.subscribe(phone, "sip:alice@example.org", "<sip:alice@example.org>", "Authorization: alice", "Call-ID: more")
		if x.res.StatusCode != 503 || x.res.Get(message.RetryAfter) == "" {
			t.Errorf("answered %d", x.res.StatusCode)
		}
	})
}

// What a gateway of the overlay says of the sender is believed when it holds the certificate of that user, and not before: the contacts of users
// are where their phones are.
//
// Feature: REG-32
func TestRFC3680_4_6_AGatewayMayKnowForItsOwnUsers(t *testing.T) {
	for name, c := range map[string]struct {
		held   location.Holding
		err    error
		status int
	}{
		"holds the certificate":      {location.Held, nil, 200},
		"somebody else does":         {location.HeldByOthers, nil, 403},
		"nobody does":                {location.HeldByNobody, nil, 403},
		"the overlay does not say":   {location.Held, location.ErrUnavailable, 503},
		"the overlay takes too long": {location.Held, context.DeadlineExceeded, 503},
	} {
		run(t, func(b *bench) {
			b.n.c.Holds = func(ctx context.Context, node string, aor location.AOR) (location.Holding, error) {
				if node != "node2" || aor != alice {
					t.Errorf("%s: asked about %s at %s", name, aor, node)
				}
				if errors.Is(c.err, context.DeadlineExceeded) {
					<-ctx.Done()
				}
				return c.held, c.err
			}
			b.set("sip:a@h")
			x, took := b.subscribe(location.Hop{Node: "node2"}, "sip:alice@example.org", "<sip:alice@example.org>")
			time.Sleep(checkWait)
			synctest.Wait()
			if !took || x.res == nil || x.res.StatusCode != c.status {
				t.Fatalf("%s: took it: %v, %+v", name, took, x.res)
			}
			if n := b.n.Subscriptions(); (n == 1) != (c.status == 200) {
				t.Errorf("%s: %d subscriptions", name, n)
			}
		})
	}
}
