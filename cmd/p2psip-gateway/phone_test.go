package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icholy/digest"
)

// A SIP phone in a page, for what SIPp is not made for: many phones at once, and requests that are wrong on purpose. It shares no code with
// what it tests.

// sipText is a message as text.
type sipText struct {
	start  string
	fields [][2]string
	body   string
}

func parseText(raw string) sipText {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	m := sipText{start: lines[0], body: body}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		m.fields = append(m.fields, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return m
}

func (m sipText) String() string {
	var b strings.Builder
	b.WriteString(m.start + "\r\n")
	for _, f := range m.fields {
		b.WriteString(f[0] + ": " + f[1] + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.String()
}

func (m sipText) all(name string) (values []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f[0], name) {
			values = append(values, f[1])
		}
	}
	return values
}

func (m sipText) get(name string) string {
	if v := m.all(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// with returns a copy in which the field name has this value.
func (m sipText) with(name, value string) sipText {
	m.fields = append(slices.DeleteFunc(slices.Clone(m.fields), func(f [2]string) bool { return strings.EqualFold(f[0], name) }), [2]string{name, value})
	return m
}

// status is that of a response, 0 of a request.
func (m sipText) status() (code int) {
	if _, err := fmt.Sscanf(m.start, "SIP/2.0 %d", &code); err != nil {
		return 0
	}
	return code
}

func (m sipText) method() string { name, _, _ := strings.Cut(m.start, " "); return name }

// response makes a response with the fields that one has to copy.
func (m sipText) response(start string) sipText {
	r := sipText{start: start}
	for _, f := range m.fields {
		switch strings.ToLower(f[0]) {
		case "via", "record-route", "from", "call-id", "cseq":
			r.fields = append(r.fields, f)
		case "to":
			if !strings.Contains(f[1], ";tag=") {
				f[1] += ";tag=callee"
			}
			r.fields = append(r.fields, f)
		}
	}
	return r
}

// bracketed is the URI in <> of a field value.
func bracketed(value string) string {
	_, uri, _ := strings.Cut(value, "<")
	uri, _, _ = strings.Cut(uri, ">")
	return uri
}

// softPhone is a phone of one user over UDP. It answers every call with 200 at once.
type softPhone struct {
	user, password, server string
	conn                   net.Conn
	cseq                   int
	mu                     sync.Mutex
	waiting                map[string]chan sipText  // by Call-ID and CSeq
	unacked                map[string]chan struct{} // by Call-ID, calls that were answered; closed by the ACK
	byes                   int
	over                   chan struct{} // closed at the end of the test
}

func newSoftPhone(t *testing.T, user, server string) *softPhone {
	t.Helper()
	conn, err := net.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	return softPhoneOver(t, user, server, conn)
}

func softPhoneOver(t *testing.T, user, server string, conn net.Conn) *softPhone {
	t.Helper()
	p := &softPhone{user: user, password: "secret-" + user, server: server, conn: conn, waiting: map[string]chan sipText{},
		unacked: map[string]chan struct{}{}, over: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
	}()
	t.Cleanup(func() {
		close(p.over)
		_ = conn.Close()
		<-done
	})
	return p
}

// answered repeats the 200 to an INVITE until its ACK has come (RFC 3261 §13.3.1.4): proxies do not.
func (p *softPhone) answered(call, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unacked[call] != nil {
		return
	}
	acked := make(chan struct{})
	p.unacked[call] = acked
	go func() {
		for wait := 500 * time.Millisecond; wait < 16*time.Second; wait *= 2 {
			select {
			case <-acked:
				return
			case <-p.over:
				return
			case <-time.After(wait):
				_, _ = p.conn.Write([]byte(text))
			}
		}
	}()
}

func (p *softPhone) acked(call string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.unacked[call]; c != nil {
		close(c)
		delete(p.unacked, call)
	}
}

func (p *softPhone) read() {
	buf := make([]byte, 65536)
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error: the gateway is being started again
		}
		m := parseText(string(buf[:n]))
		switch {
		case m.status() >= 200:
			p.mu.Lock()
			if c := p.waiting[m.get("Call-ID")+m.get("CSeq")]; c != nil {
				select {
				case c <- m:
				default: // a retransmission
				}
			}
			p.mu.Unlock()
		case m.method() == "ACK":
			p.acked(m.get("Call-ID"))
		case m.status() == 0:
			r := m.response("SIP/2.0 200 OK")
			if m.method() == "INVITE" {
				r = r.with("Contact", p.contact())
			}
			_, _ = p.conn.Write([]byte(r.String()))
			switch m.method() {
			case "INVITE":
				p.answered(m.get("Call-ID"), r.String())
			case "BYE":
				p.acked(m.get("Call-ID"))
				p.mu.Lock()
				p.byes++
				p.mu.Unlock()
			}
		}
	}
}

func (p *softPhone) contact() string { return fmt.Sprintf("<sip:%s@%s>", p.user, p.conn.LocalAddr()) }
func (p *softPhone) aor() string     { return "sip:" + p.user + "@p2psip.test" }

// request makes a request outside of a dialog.
func (p *softPhone) request(method, uri, to string) sipText {
	p.cseq++
	return sipText{start: method + " " + uri + " SIP/2.0", fields: [][2]string{
		{"Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bK%s;rport", p.conn.LocalAddr(), rand.Text())},
		{"Max-Forwards", "70"},
		{"From", "<" + p.aor() + ">;tag=" + rand.Text()},
		{"To", "<" + to + ">"},
		{"Call-ID", rand.Text()},
		{"CSeq", fmt.Sprintf("%d %s", p.cseq, method)},
		{"Contact", p.contact()},
	}}
}

// exchange sends a request until there is a final response.
func (p *softPhone) exchange(req sipText) (sipText, error) {
	key, got := req.get("Call-ID")+req.get("CSeq"), make(chan sipText, 1)
	p.mu.Lock()
	p.waiting[key] = got
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, key)
		p.mu.Unlock()
	}()
	again := time.NewTicker(500 * time.Millisecond) // RFC 3261 §17.1.1.2: T1
	defer again.Stop()
	end := time.NewTimer(e2eWait)
	defer end.Stop()
	for {
		_, _ = p.conn.Write([]byte(req.String()))
		select {
		case res := <-got:
			return res, nil
		case <-again.C:
		case <-end.C:
			return sipText{}, fmt.Errorf("%s: no final response from %s", req.start, p.server)
		}
	}
}

// credentials answers the challenge in res for req.
func (p *softPhone) credentials(res, req sipText, password string) (string, error) {
	challenge, err := digest.ParseChallenge(res.get("WWW-Authenticate") + res.get("Proxy-Authenticate"))
	if err != nil {
		return "", err
	}
	uri := strings.Fields(req.start)[1]
	c, err := digest.Digest(challenge, digest.Options{Method: req.method(), URI: uri, Username: p.user, Password: password, Count: 1})
	if err != nil {
		return "", err
	}
	return c.String(), nil
}

// again makes a new transaction of req.
func (p *softPhone) again(req sipText) sipText {
	p.cseq++
	return req.with("CSeq", fmt.Sprintf("%d %s", p.cseq, req.method())).
		with("Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bK%s;rport", p.conn.LocalAddr(), rand.Text()))
}

// register registers, or with 0 seconds ends the registration.
func (p *softPhone) register(expires int) error {
	req := p.request("REGISTER", "sip:p2psip.test", p.aor()).with("Expires", fmt.Sprint(expires))
	res, err := p.exchange(req)
	if err != nil {
		return err
	}
	auth, err := p.credentials(res, req, p.password)
	if err != nil {
		return fmt.Errorf("%s: %w", res, err)
	}
	if res, err = p.exchange(p.again(req).with("Authorization", auth)); err != nil {
		return err
	}
	if res.status() != 200 {
		return fmt.Errorf("REGISTER of %s: %s", p.user, res)
	}
	return nil
}

// call calls a URI, and hangs up when it was answered.
func (p *softPhone) call(uri string) error {
	invite := p.request("INVITE", uri, uri)
	res, err := p.exchange(invite)
	if err != nil {
		return err
	}
	if res.status() != 200 {
		_, _ = p.conn.Write([]byte(p.ack(invite, res).String()))
		return fmt.Errorf("%s calls %s: %s", p.user, uri, res)
	}
	routes := res.all("Record-Route")
	slices.Reverse(routes)
	inside := func(method string) sipText {
		m := p.request(method, bracketed(res.get("Contact")), uri)
		for _, r := range routes {
			m.fields = append(m.fields, [2]string{"Route", r})
		}
		return m.with("From", invite.get("From")).with("To", res.get("To")).with("Call-ID", invite.get("Call-ID"))
	}
	ack := inside("ACK")
	ack = ack.with("CSeq", strings.Replace(invite.get("CSeq"), "INVITE", "ACK", 1))
	if _, err := p.conn.Write([]byte(ack.String())); err != nil {
		return err
	}
	if res, err = p.exchange(inside("BYE")); err == nil && res.status() != 200 {
		err = fmt.Errorf("%s hangs up: %s", p.user, res)
	}
	return err
}

// ack is the ACK of a response that is not 2xx (RFC 3261 §17.1.1.3).
func (p *softPhone) ack(invite, res sipText) sipText {
	m := invite
	m.start = strings.Replace(invite.start, "INVITE", "ACK", 1)
	return m.with("To", res.get("To")).with("CSeq", strings.Replace(invite.get("CSeq"), "INVITE", "ACK", 1))
}
