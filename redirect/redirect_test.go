package redirect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

type transaction struct {
	req       *message.Message
	got       chan *message.Message
	transport string
}

func (t *transaction) Request() *message.Message { return t.req }
func (t *transaction) Source() location.Hop {
	return location.Hop{Transport: t.transport, Remote: netip.MustParseAddrPort("127.0.0.1:9")}
}
func (t *transaction) Respond(res *message.Message) { t.got <- res }
func (t *transaction) Trying()                      {}

// world is an overlay with the gateways "one" and "two" and a directory of their addresses.
type world struct {
	local   []location.Binding
	remote  map[location.AOR][]location.Remote
	err     error
	blocked chan struct{}
	fresh   bool // what is known is at hand
}

func (w *world) Known(aor location.AOR) bool           { return strings.HasPrefix(string(aor), "known") }
func (w *world) Local(location.AOR) []location.Binding { return w.local }
func (w *world) RemoteCached(aor location.AOR) ([]location.Remote, bool) {
	return w.remote[aor], w.fresh
}
func (w *world) Remote(_ context.Context, aor location.AOR) ([]location.Remote, error) {
	if w.blocked != nil {
		<-w.blocked
	}
	return w.remote[aor], w.err
}

func (w *world) Addresses(_ context.Context, node string) ([]string, error) {
	if node == "dead" {
		return nil, location.ErrUnavailable
	}
	return []string{"sip:" + node + ".example:5060;transport=udp", "sip:" + node + ".example:5060;transport=tcp", "sip:" + node + ".example:5061;transport=tls"}, nil
}

func (w *world) AddressesCached(node string) ([]string, bool) {
	a, err := w.Addresses(context.Background(), node)
	return a, err == nil && w.fresh
}

func ask(t *testing.T, w *world, transport, uri string, lines ...string) (*Server, *transaction) {
	t.Helper()
	s := serverOf(w)
	tx := request(t, transport, uri, lines...)
	s.Request(tx)
	return s, tx
}

func serverOf(w *world) *Server {
	return New(Config{
		AOR: func(u message.URI) (location.AOR, bool) {
			return location.AOR(u.User + "@example.org"), u.Host == "example.org"
		},
		Locator: w, Directory: w, Now: func() time.Time { return time.UnixMilli(0) },
		Answered: func(*message.Message, location.Hop, int, string) {},
	})
}

func request(t *testing.T, transport, uri string, lines ...string) *transaction {
	t.Helper()
	text := "INVITE " + uri + " SIP/2.0\r\nVia: SIP/2.0/" + transport + " 127.0.0.1:9;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:z@y>\r\n" +
		"Call-ID: c\r\nCSeq: 1 INVITE\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	req, err := message.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &transaction{req, make(chan *message.Message, 2), transport}
}

// Conformance: H-37 H-42
// Feature: RDR-01 RDR-04
func TestAnswers(t *testing.T) {
	binding := location.Binding{Contact: "sip:a@10.0.0.1", Q: 500, Expires: time.UnixMilli(60_000)}
	two := map[location.AOR][]location.Remote{"bob@example.org": {{Node: "one"}, {Node: "two"}}}
	for _, c := range []struct {
		name, transport, uri string
		w                    world
		lines                []string
		status               int
		contacts             []string
	}{
		{name: "every gateway of the AOR", transport: "UDP", uri: "sip:bob@example.org", w: world{remote: two}, status: 302,
			contacts: []string{"<sip:bob@one.example:5060;transport=udp>", "<sip:bob@two.example:5060;transport=udp>"}},
		{name: "the caller's own transport", transport: "TLS", uri: "sip:bob@example.org", w: world{remote: two}, status: 302,
			contacts: []string{"<sip:bob@one.example:5061;transport=tls>", "<sip:bob@two.example:5061;transport=tls>"}},
		{name: "sips stays sips", transport: "TCP", uri: "sips:bob@example.org", w: world{remote: two}, status: 302,
			contacts: []string{"<sips:bob@one.example:5061;transport=tls>", "<sips:bob@two.example:5061;transport=tls>"}},
		{name: "an unknown transport gets the first address", transport: "SCTP", uri: "sip:bob@example.org", w: world{remote: two}, status: 302,
			contacts: []string{"<sip:bob@one.example:5060;transport=udp>", "<sip:bob@two.example:5060;transport=udp>"}},
		{name: "a number in a range, which two gateways serve: one after the other", transport: "UDP", uri: "sip:+493012345@example.org", status: 302,
			w: world{remote: map[location.AOR][]location.Remote{"+493012345@example.org": {{Node: "one", Range: "+49*@example.org"},
				{Node: "two", Range: "+49*@example.org"}}}},
			contacts: []string{"<sip:+493012345@one.example:5060;transport=udp>;q=1", "<sip:+493012345@two.example:5060;transport=udp>;q=0.9"}},
		{name: "a URI of the record", transport: "UDP", uri: "sip:bob@example.org", status: 301,
			w:        world{remote: map[location.AOR][]location.Remote{"bob@example.org": {{URI: "sip:b@elsewhere.example"}}}},
			contacts: []string{"<sip:b@elsewhere.example>"}},
		{name: "a contact of our own", transport: "UDP", uri: "sip:bob@example.org", w: world{local: []location.Binding{binding}}, status: 302,
			contacts: []string{"<sip:a@10.0.0.1>;q=0.5;expires=60"}},
		{name: "one gateway without address, one with", transport: "UDP", uri: "sip:bob@example.org", status: 302,
			w:        world{remote: map[location.AOR][]location.Remote{"bob@example.org": {{Node: "dead"}, {Node: "one"}}}},
			contacts: []string{"<sip:bob@one.example:5060;transport=udp>"}},
		{name: "only a gateway whose address nobody knows", transport: "UDP", uri: "sip:bob@example.org", status: 504,
			w: world{remote: map[location.AOR][]location.Remote{"bob@example.org": {{Node: "dead"}}}}},
		{name: "known user without a binding", transport: "UDP", uri: "sip:known@example.org", status: 480},
		{name: "unknown user", transport: "UDP", uri: "sip:nobody@example.org", status: 404},
		{name: "the overlay does not answer: never 404", transport: "UDP", uri: "sip:nobody@example.org", w: world{err: location.ErrUnavailable}, status: 504},
		{name: "forwardings that lead to each other", transport: "UDP", uri: "sip:known@example.org", w: world{err: fmt.Errorf("o: %w", location.ErrForwardLoop)}, status: 482},
		{name: "six forwardings", transport: "UDP", uri: "sip:known@example.org", w: world{err: location.ErrForwardDepth}, status: 480},
		{name: "foreign domain", transport: "UDP", uri: "sip:bob@other.example", status: 403},
		{name: "no user", transport: "UDP", uri: "sip:example.org", status: 404},
		{name: "unknown scheme", transport: "UDP", uri: "tel:+1", status: 416},
		{name: "no hops left", transport: "UDP", uri: "sip:bob@example.org", lines: []string{"Max-Forwards: 0"}, status: 483},
		{name: "unknown extension", transport: "UDP", uri: "sip:bob@example.org", lines: []string{"Require: x"}, status: 420},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, tx := ask(t, &c.w, c.transport, c.uri, c.lines...)
			res := <-tx.got
			if res.StatusCode != c.status {
				t.Fatalf("status %d, want %d", res.StatusCode, c.status)
			}
			if got := res.Values(message.Contact); !slices.Equal(got, c.contacts) {
				t.Errorf("Contact %q, want %q", got, c.contacts)
			}
			if message.Tag(res.Get(message.To)) == "" {
				t.Error("no To tag")
			}
			if c.status == 420 && res.Get(message.Unsupported) != "x" {
				t.Error("420 without Unsupported")
			}
		})
	}
}

// RFC 3261 §21.3: 300 for a choice and 305 for a proxy where they are configured, 301 for who has another address-of-record.
//
// Feature: RDR-03
func TestRFC3261_21_3_EachStatusWhereItIsDue(t *testing.T) {
	gateway, uri := location.Remote{Node: "one"}, location.Remote{URI: "sip:b@elsewhere.example"}
	const one, b, proxy = "<sip:bob@one.example:5060;transport=udp>", "<sip:b@elsewhere.example>", "<sip:one.example:5060;transport=udp>"
	for _, c := range []struct {
		choices, useProxy bool
		remote            []location.Remote
		status            int
		contacts          []string
	}{
		{false, false, []location.Remote{gateway}, 302, []string{one}},
		{false, false, []location.Remote{gateway, uri}, 302, []string{one, b}},
		{false, false, []location.Remote{uri, uri}, 301, []string{b, b}},
		{true, false, []location.Remote{gateway}, 302, []string{one}},
		{true, false, []location.Remote{gateway, uri}, 300, []string{one, b}},
		{true, false, []location.Remote{uri}, 301, []string{b}},
		{false, true, []location.Remote{gateway}, 305, []string{proxy}},
		{false, true, []location.Remote{gateway, uri}, 302, []string{one, b}},
		{false, true, []location.Remote{uri}, 301, []string{b}},
	} {
		w := &world{remote: map[location.AOR][]location.Remote{"bob@example.org": c.remote}}
		s := serverOf(w)
		s.c.Choices, s.c.UseProxy = c.choices, c.useProxy
		tx := request(t, "UDP", "sip:bob@example.org")
		s.Request(tx)
		if res := <-tx.got; res.StatusCode != c.status || !slices.Equal(res.Values(message.Contact), c.contacts) {
			t.Errorf("%+v: %d %q", c, res.StatusCode, res.Values(message.Contact))
		}
	}
}

// Feature: SEC-09
func TestStrangersAreAnsweredAlikeForUsersThatExistAndThatDoNot(t *testing.T) {
	for _, outside := range []bool{true, false} {
		for _, w := range []world{{}, {err: location.ErrNotFound}} {
			s, known := ask(t, &w, "UDP", "sip:known@example.org")
			<-known.got
			s.c.Outside = func(location.Hop) bool { return outside }
			nobody := request(t, "UDP", "sip:nobody@example.org")
			s.Request(known)
			s.Request(nobody)
			a, b := <-known.got, <-nobody.got
			alike := a.StatusCode == b.StatusCode && a.Get(message.Warning) == b.Get(message.Warning)
			if outside && (!alike || b.StatusCode != 480) || !outside && b.StatusCode != 404 {
				t.Errorf("outside %v, %v: %d and %d", outside, w.err, a.StatusCode, b.StatusCode)
			}
		}
	}
}

// Feature: RDR-06
func TestRFC3261_8_3_OtherMethodsAreRedirectedToo(t *testing.T) {
	for _, method := range []string{"MESSAGE", "SUBSCRIBE", "OPTIONS", "PUBLISH", "REFER"} {
		w := &world{remote: map[location.AOR][]location.Remote{"bob@example.org": {{Node: "one"}}}}
		s, _ := ask(t, w, "UDP", "sip:known@example.org")
		tx := request(t, "UDP", "sip:bob@example.org")
		tx.req.Method = method
		s.Request(tx)
		res := <-tx.got
		if got := res.Values(message.Contact); res.StatusCode != 302 || len(got) != 1 || got[0] != "<sip:bob@one.example:5060;transport=udp>" {
			t.Errorf("%s: %d to %q", method, res.StatusCode, got)
		}
	}
}

func TestRFC3261_8_3_CancelledInviteIs487(t *testing.T) {
	w := &world{blocked: make(chan struct{})}
	s, tx := ask(t, w, "UDP", "sip:bob@example.org")
	s.Cancel(tx, nil)
	if res := <-tx.got; res.StatusCode != 487 {
		t.Errorf("status %d, want 487", res.StatusCode)
	}
	close(w.blocked)
}

func TestMoreLookupsThanTheLimitAre503(t *testing.T) {
	w := &world{blocked: make(chan struct{}), err: errors.New("over")}
	s, first := ask(t, w, "UDP", "sip:bob@example.org")
	for range maxLookups - 1 {
		s.slots <- struct{}{}
	}
	tx := request(t, "UDP", "sip:bob@example.org")
	s.Request(tx)
	if res := <-tx.got; res.StatusCode != 503 || res.Get(message.RetryAfter) == "" {
		t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Get(message.RetryAfter))
	}
	close(w.blocked)
	if res := <-first.got; res.StatusCode != 504 {
		t.Errorf("the lookup that ran ended with %d", res.StatusCode)
	}
}

// What is at hand is answered at once, even when no more lookups may run. An answer other than a redirection, or with one of the gateways
// missing, is left to a lookup.
func TestWhatIsAtHandNeedsNoLookup(t *testing.T) {
	w := &world{fresh: true, remote: map[location.AOR][]location.Remote{
		"bob@example.org": {{Node: "one"}}, "part@example.org": {{Node: "one"}, {Node: "dead"}}}}
	s := serverOf(w)
	for range maxLookups {
		s.slots <- struct{}{}
	}
	for user, status := range map[string]int{"bob": 302, "part": 503, "known": 503, "nobody": 503} {
		tx := request(t, "UDP", "sip:"+user+"@example.org")
		s.Request(tx)
		select {
		case res := <-tx.got:
			if res.StatusCode != status {
				t.Errorf("%s: %d, want %d", user, res.StatusCode, status)
			}
		default:
			t.Errorf("%s: no answer at once", user)
		}
	}
}

// RFC 3261 §8.2.7: what is at hand needs no transaction: a repetition, at this peer or another one, has the very same answer, and everything else
// is left to a transaction.
//
// Feature: RDR-01
func TestRFC3261_8_2_7_TheSameRequestHasTheSameAnswer(t *testing.T) {
	w := &world{fresh: true, remote: map[location.AOR][]location.Remote{"bob@example.org": {{Node: "one"}, {Node: "two"}}}}
	a, b := serverOf(w), serverOf(w)
	tx := request(t, "UDP", "sip:bob@example.org")
	first := a.Redirection(tx.req, tx.Source())
	if first == nil || first.StatusCode != 302 || message.Tag(first.Get(message.To)) == "" {
		t.Fatalf("%v", first)
	}
	for _, again := range []*message.Message{a.Redirection(tx.req, tx.Source()), b.Redirection(tx.req, tx.Source())} {
		if got, want := string(again.AppendTo(nil)), string(first.AppendTo(nil)); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
	b.Request(tx)
	if got := (<-tx.got).Get(message.To); got != first.Get(message.To) {
		t.Errorf("with a transaction To is %s, without %s", got, first.Get(message.To))
	}
	for _, uri := range []string{"sip:nobody@example.org", "sip:bob@other.example", "tel:1"} {
		other := request(t, "UDP", uri)
		if res := a.Redirection(other.req, other.Source()); res != nil {
			t.Errorf("%s: %d", uri, res.StatusCode)
		}
	}
	w.fresh = false
	if res := a.Redirection(tx.req, tx.Source()); res != nil {
		t.Errorf("what is not at hand: %d", res.StatusCode)
	}
}

func BenchmarkRedirect(b *testing.B) {
	w := &world{fresh: true, remote: map[location.AOR][]location.Remote{"bob@example.org": {{Node: "one"}}}}
	s, tx := serverOf(w), request(&testing.T{}, "UDP", "sip:bob@example.org")
	from := tx.Source()
	b.ReportAllocs()
	for b.Loop() {
		if res := s.Redirection(tx.req, from); res.StatusCode != 302 {
			b.Fatal(res.StatusCode)
		}
	}
}
