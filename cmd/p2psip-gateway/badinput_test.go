package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/icholy/digest"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
)

// refused checks a refusal: its status, and the word in its Warning that people search for.
func refused(t *testing.T, res sipText, err error, status int, word string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if res.status() != status || !strings.HasPrefix(res.get("Warning"), `399 p2psip "`+word+" ") {
		t.Errorf("want %d with Warning %s, have\n%s", status, word, res)
	}
}

func TestBadInputWrongPasswordIs401Again(t *testing.T) {
	p := newSoftPhone(t, "1011", sharedDev(t).udp(0))
	req := p.request("REGISTER", "sip:p2psip.test", p.aor())
	res, err := p.exchange(req)
	refused(t, res, err, 401, "REG401")
	auth, err := p.credentials(res, req, "guessed")
	if err != nil {
		t.Fatal(err)
	}
	res, err = p.exchange(p.again(req).with("Authorization", auth))
	refused(t, res, err, 401, "REG401")
	if c := res.get("WWW-Authenticate"); c == "" || strings.Contains(c, "stale=true") {
		t.Errorf("challenge after a wrong password: %q", c) // RFC 7616 §3.3: stale would have the phone try the same password again
	}
}

func TestBadInputStaleNonceIsToldSo(t *testing.T) {
	p := newSoftPhone(t, "1011", sharedDev(t).udp(0))
	req := p.request("REGISTER", "sip:p2psip.test", p.aor()).with("Expires", "60")
	res, err := p.exchange(req)
	refused(t, res, err, 401, "REG401")
	ours, err := p.credentials(res, req, p.password)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := p.exchange(p.again(req).with("Authorization", ours)); err != nil || res.status() != 200 {
		t.Fatal(res, err)
	}
	challenge, err := digest.ParseChallenge(res.get("WWW-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	challenge.Nonce = strings.Repeat("A", len(challenge.Nonce))
	forged, err := digest.Digest(challenge, digest.Options{Method: "REGISTER", URI: "sip:p2psip.test", Username: p.user, Password: p.password, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, auth := range map[string]string{"a count that was used": ours, "a nonce that is not ours": forged.String()} {
		res, err := p.exchange(p.again(req).with("Authorization", auth))
		refused(t, res, err, 401, "REG401")
		if c := res.get("WWW-Authenticate"); !strings.Contains(c, "stale=true") {
			t.Errorf("%s: challenge %q, want stale=true", name, c)
		}
	}
}

// Feature: REG-16
func TestBadInputOtherUsersAORIs403BeforeAnythingChanges(t *testing.T) {
	d := sharedDev(t)
	victim, thief := newSoftPhone(t, "1012", d.udp(0)), newSoftPhone(t, "1013", d.udp(0))
	if err := victim.register(300); err != nil {
		t.Fatal(err)
	}
	for _, contact := range []string{thief.contact(), "*"} {
		req := thief.request("REGISTER", "sip:p2psip.test", victim.aor()).with("Contact", contact).with("Expires", "0")
		res, err := thief.exchange(req)
		refused(t, res, err, 401, "REG401")
		auth, err := thief.credentials(res, req, thief.password)
		if err != nil {
			t.Fatal(err)
		}
		res, err = thief.exchange(thief.again(req).with("Authorization", auth))
		refused(t, res, err, 403, "REG403U")
	}
	var r gateway.RegistrationsReport
	if err := d.get(0, "/api/v1/registrations", &r); err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, reg := range r.Registrations {
		if reg.AOR == "1012@p2psip.test" {
			have = append(have, reg.Contact)
		}
	}
	if want := bracketed(victim.contact()); len(have) != 1 || have[0] != want {
		t.Errorf("bindings %q, want %q alone", have, want)
	}
}

// A request, and how it is refused at a gateway and at a redirect peer.
func TestBadInputIsRefusedWithAWord(t *testing.T) {
	d := sharedDev(t)
	nobody, idle, foreign := aorURI("nobody"), aorURI("1014"), "sip:bob@example.com"
	cases := []struct {
		name, method, uri string
		field, value      string
		status            int
		word, redirect    string // redirect: its word, "" where it is not asked
		unsupported       string
	}{
		{name: "unknown user", method: "INVITE", uri: nobody, status: 404, word: "PRX404", redirect: "RDR404"},
		{name: "known user without binding", method: "INVITE", uri: idle, status: 480, word: "PRX480", redirect: "RDR480"},
		{name: "MESSAGE for the same", method: "MESSAGE", uri: idle, status: 480, word: "PRX480", redirect: "RDR480"},
		{name: "foreign domain", method: "INVITE", uri: foreign, status: 403, word: "PRX403R", redirect: "RDR403"},
		{name: "REGISTER for a foreign domain", method: "REGISTER", uri: "sip:example.com", status: 403, word: "REG403D"},
		{name: "no hops left", method: "INVITE", uri: idle, field: "Max-Forwards", value: "0", status: 483, word: "PRX483", redirect: "RDR483"},
		{name: "unknown Require", method: "REGISTER", uri: "sip:p2psip.test", field: "Require", value: "gruu, x-nothing", status: 420, word: "REG420", unsupported: "x-nothing"},
		{name: "unknown Proxy-Require", method: "INVITE", uri: idle, field: "Proxy-Require", value: "x-nothing", status: 420, word: "PRX420", unsupported: "x-nothing"},
		{name: "scheme", method: "INVITE", uri: "mailto:bob@p2psip.test", status: 416, word: "PRX416", redirect: "RDR416"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ask := func(server, word string) sipText {
				p := newSoftPhone(t, "1015", server)
				req := p.request(c.method, c.uri, c.uri)
				if c.field != "" {
					req = req.with(c.field, c.value)
				}
				res, err := p.exchange(req)
				if c.method == "INVITE" && err == nil {
					_, _ = p.conn.Write([]byte(p.ack(req, res).String()))
				}
				refused(t, res, err, c.status, word)
				return res
			}
			res := ask(d.udp(0), c.word)
			if have := strings.Join(res.all("Unsupported"), ", "); !strings.Contains(have, c.unsupported) {
				t.Errorf("Unsupported: %q, want %s in it", have, c.unsupported)
			}
			if c.redirect != "" {
				ask(d.udp(3), c.redirect)
			}
		})
	}
}

// What is malformed in a request of which the fields that a response needs can be read.
var malformed = map[string]func(sipText) sipText{
	"no CSeq number":         func(m sipText) sipText { return m.with("CSeq", "INVITE") },
	"CSeq of another method": func(m sipText) sipText { return m.with("CSeq", "1 BYE") },
	"CSeq too large":         func(m sipText) sipText { return m.with("CSeq", "2147483648 INVITE") },
	"From no address":        func(m sipText) sipText { return m.with("From", "<sip:a@b") },
	"field without colon":    func(m sipText) sipText { m.fields[1] = [2]string{"Max-Forwards 70\r\nSubject", ""}; return m },
	"two Call-IDs":           func(m sipText) sipText { m.fields = append(m.fields, [2]string{"Call-ID", "other"}); return m },
}

func TestBadInputMalformedMessageIs400(t *testing.T) {
	d := sharedDev(t)
	for name, spoil := range malformed {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(network+" "+name, func(t *testing.T) {
				p := newSoftPhone(t, "1015", d.udp(0))
				req := spoil(p.request("INVITE", aorURI("1014"), aorURI("1014")))
				if res := rawExchange(t, network, d.udp(0), req.String()); res.status() != 400 {
					t.Errorf("want 400, have %q to\n%s", res, req)
				}
			})
		}
	}
}

// rawExchange sends octets as they are until there is a final response.
func rawExchange(t *testing.T, network, server, text string) sipText {
	t.Helper()
	conn, err := net.Dial(network, server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 65536)
	for end := time.Now().Add(e2eWait); time.Now().Before(end); {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		limit := e2eWait
		if network == "udp" {
			limit = 500 * time.Millisecond // then once more: refusals are limited in rate
		}
		if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return parseText(string(buf[:n]))
	}
	t.Fatalf("no answer to\n%s", text)
	return sipText{}
}

func TestBadInputOversizedStreamIsClosed(t *testing.T) {
	d := sharedDev(t)
	p := newSoftPhone(t, "1015", d.udp(0))
	req := p.request("MESSAGE", aorURI("1014"), aorURI("1014"))
	head, _, _ := strings.Cut(req.String(), "Content-Length")
	for name, text := range map[string]string{
		"a body announced as too large": head + "Content-Length: 100000000\r\n\r\n",
		"a body that is too large":      head + "Content-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000),
		"a header that does not end":    head + "Subject: " + strings.Repeat("x", 70000),
		"no SIP at all":                 strings.Repeat("GET / HTTP/1.1\r\nHost: example.com\r\n", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", d.udp(0))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, text); err != nil && !isReset(err) {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(e2eWait)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil && !isReset(err) {
				t.Fatalf("the connection is still open: %v; answer %q", err, answer)
			}
			if len(answer) > 0 && parseText(string(answer)).status() != 513 && parseText(string(answer)).status() != 400 {
				t.Errorf("answer %q", answer)
			}
		})
	}
}

// isReset reports whether the other side closed the connection while we were sending.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// After all that a call is a call.
func TestBadInputLeavesTheGatewayWell(t *testing.T) {
	d := sharedDev(t)
	for i := range 200 {
		conn, err := net.Dial("udp", d.udp(i%3))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "INVITE sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %[1]s\r\n%[1]s", strings.Repeat("\x00<;,\"@[", i))
		_ = conn.Close()
	}
	callee, caller := newSoftPhone(t, "1016", d.udp(1)), newSoftPhone(t, "1017", d.udp(0))
	if err := callee.register(300); err != nil {
		t.Fatal(err)
	}
	if err := caller.call(callee.aor()); err != nil {
		t.Error(err)
	}
}
