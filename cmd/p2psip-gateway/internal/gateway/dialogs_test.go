package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// leg is one side of a dialog: what RFC 3261 §12 has a phone remember.
type leg struct {
	p             *phone
	callID        string
	local, remote string // From and To of what this side sends
	target        string // Contact of the other side
	routes        []string
	seq           int
	last          *message.Message // the request that was sent last
}

func addressOf(user string) string { return "<sip:" + user + "@" + testDomain + ">" }

// start sends a request that may open a dialog with user. lines are more header fields and, behind an empty one, the body.
func (p *phone) start(method, user string, lines ...string) *leg {
	p.t.Helper()
	p.cseq++
	d := &leg{p: p, callID: fmt.Sprintf("%s-%s-%d", method, p.user, p.cseq), local: addressOf(p.user) + ";tag=" + p.user + "t", remote: addressOf(user),
		target: "sip:" + user + "@" + testDomain}
	d.request(method, lines...)
	return d
}

// request sends a request of the dialog.
func (d *leg) request(method string, lines ...string) {
	d.p.t.Helper()
	d.p.cseq++
	if method != "ACK" {
		d.seq++
	}
	head := []string{method + " " + d.target + " SIP/2.0", d.p.via(), "Max-Forwards: 70", "From: " + d.local, "To: " + d.remote,
		"Call-ID: " + d.callID, fmt.Sprintf("CSeq: %d %s", d.seq, method), "Contact: " + d.p.contact()}
	for _, r := range d.routes {
		head = append(head, "Route: "+r)
	}
	fields, body := lines, ""
	if i := slices.Index(lines, ""); i >= 0 {
		fields, body = lines[:i], strings.Join(lines[i+1:], "\r\n")
	}
	head = append(append(head, fields...), fmt.Sprintf("Content-Length: %d", len(body)))
	text := strings.Join(head, "\r\n") + "\r\n\r\n" + body
	if _, err := d.p.conn.Write([]byte(text)); err != nil {
		d.p.t.Fatal(err)
	}
	var err error
	if d.last, err = message.Parse([]byte(text)); err != nil {
		d.p.t.Fatal(err)
	}
}

// response takes a response to the last request: the first of the statuses given, or any final one.
func (d *leg) response(status int) *message.Message {
	d.p.t.Helper()
	res := d.p.receive(func(m *message.Message) bool {
		return m.StatusCode != 0 && m.Get(message.CallID) == d.callID && m.Get(message.CSeq) == d.last.Get(message.CSeq) &&
			(m.StatusCode >= 200 || m.StatusCode == status)
	})
	if res.StatusCode != status {
		d.p.t.Fatalf("%s: %s is answered %d %q, want %d", d.p.user, d.last.Method, res.StatusCode, res.Get(message.Warning), status)
	}
	if contact, err := message.ParseAddress(res.Get(message.Contact)); err == nil && res.StatusCode < 300 {
		d.target, d.remote = contact.URI, res.Get(message.To)
		if len(d.routes) == 0 {
			d.routes = res.Values(message.RecordRoute) // RFC 3261 §12.1.2: in reverse order
			slices.Reverse(d.routes)
		}
	}
	return res
}

// take waits for a request of a method and answers it; the dialog that it opens comes back with it. Status 0 does not answer.
func (p *phone) take(method string, status int, lines ...string) (*message.Message, *leg) {
	p.t.Helper()
	req := p.receive(func(m *message.Message) bool { return m.Method == method })
	contact, err := message.ParseAddress(req.Get(message.Contact))
	if err != nil && method != "ACK" && method != "BYE" {
		p.t.Fatalf("Contact of %s: %v", method, err)
	}
	d := &leg{p: p, callID: req.Get(message.CallID), remote: req.Get(message.From), local: req.Get(message.To), target: contact.URI,
		routes: req.Values(message.RecordRoute), seq: 100}
	if message.Tag(d.local) == "" {
		d.local += ";tag=" + p.user + "u"
	}
	if status != 0 {
		p.reply(req, status, lines...)
	}
	return req, d
}

func (p *phone) reply(req *message.Message, status int, lines ...string) {
	p.t.Helper()
	res := message.NewResponse(req, status, "", p.user+"u")
	for _, v := range req.Values(message.RecordRoute) {
		res.Add(message.RecordRoute, v)
	}
	res.Add(message.Contact, p.contact())
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		res.AddOther(name, value)
	}
	if _, err := p.conn.Write(res.AppendTo(nil)); err != nil {
		p.t.Fatal(err)
	}
}

// ask sends a request of the dialog that arrives at the phone of other and is answered with 200.
func (d *leg) ask(other *phone, method string, lines ...string) *message.Message {
	d.p.t.Helper()
	d.request(method, lines...)
	req, _ := other.take(method, 200)
	if string(req.Body) != string(d.last.Body) {
		d.p.t.Errorf("the body of %s is %q, was %q", method, req.Body, d.last.Body)
	}
	d.response(200)
	return req
}

// talk sets a call up: both sides of it.
func talk(caller, callee *phone, lines ...string) (a, b *leg) {
	caller.t.Helper()
	a = caller.start("INVITE", callee.user, lines...)
	_, b = callee.take("INVITE", 200)
	a.response(200)
	a.request("ACK")
	callee.take("ACK", 0)
	return a, b
}

// pairs are phones of three users at one gateway, and at two.
func pairs(t *testing.T, f func(t *testing.T, a, b, c *phone)) {
	gs := ring(t, 2, 6)
	for across, name := range []string{"one gateway", "two gateways"} {
		t.Run(name, func(t *testing.T) {
			first := 3 * across
			a, b, c := newPhone(t, userName(first), gs[0]), newPhone(t, userName(first+1), gs[across]), newPhone(t, userName(first+2), gs[across])
			for _, p := range []*phone{a, b, c} {
				if res := p.register(300); res.StatusCode != 200 {
					t.Fatalf("REGISTER of %s: %d", p.user, res.StatusCode)
				}
			}
			for _, g := range gs {
				eventually(t, "the records", func() error {
					for p, at := range map[*phone]*Gateway{a: gs[0], b: gs[across], c: gs[across]} {
						if err := found(g, p.user, at); err != nil {
							return err
						}
					}
					return nil
				})
			}
			f(t, a, b, c)
		})
	}
}

// Feature: PRX-22
func TestRFC3262_3311_4028_6086_WithinACallEverythingPassesUnchanged(t *testing.T) {
	pairs(t, func(t *testing.T, a, b, _ *phone) {
		early := a.start("INVITE", b.user, "Supported: 100rel, timer", "Session-Expires: 1800;refresher=uac", "Min-SE: 90")
		invite, far := b.take("INVITE", 0)
		for name, want := range map[string]string{"Supported": "100rel, timer", "Session-Expires": "1800;refresher=uac", "Min-SE": "90"} {
			if got := invite.Other(name); got != want {
				t.Errorf("%s is %q, was %q", name, got, want)
			}
		}
		b.reply(invite, 183, "Require: 100rel", "RSeq: 988789")
		if got := early.response(183).Other("RSeq"); got != "988789" {
			t.Errorf("RSeq is %q", got)
		}
		if got := early.ask(b, "PRACK", "RAck: 988789 1 INVITE").Other("RAck"); got != "988789 1 INVITE" {
			t.Errorf("RAck is %q", got)
		}
		early.ask(b, "UPDATE", "Content-Type: application/sdp", "", "v=0")
		far.ask(a, "UPDATE", "Session-Expires: 1800")
		b.reply(invite, 200, "Require: timer", "Session-Expires: 1800;refresher=uac")
		early.last.Set(message.CSeq, "1 INVITE")
		early.response(200)
		ack := *early
		ack.seq = 1
		ack.request("ACK")
		b.take("ACK", 0)
		early.ask(b, "INFO", "Info-Package: dtmf", "Content-Type: application/dtmf-relay", "", "Signal=5", "Duration=160", "")
		far.ask(a, "INFO")
		for _, d := range []struct {
			from *leg
			to   *phone
		}{{early, b}, {far, a}} {
			d.from.ask(d.to, "INVITE", "Content-Type: application/sdp", "", "v=0", "a=sendonly", "a=x:\x01\xff")
			d.from.request("ACK")
			d.to.take("ACK", 0)
		}
		far.ask(a, "BYE")
	})
}

// Feature: PRX-24
func TestRFC6665_BusyLampsAndOtherEventsPass(t *testing.T) {
	pairs(t, func(t *testing.T, a, b, _ *phone) {
		for _, c := range []struct{ event, kind, body string }{
			{"dialog", "application/dialog-info+xml", `<dialog-info version="0" state="full" entity="sip:x"/>`},
			{"presence", "application/pidf+xml", `<presence entity="sip:x"/>`},
			{"message-summary", "application/simple-message-summary", "Messages-Waiting: yes"},
		} {
			watch := a.start("SUBSCRIBE", b.user, "Event: "+c.event, "Accept: "+c.kind, "Expires: 3600")
			sub, notify := b.take("SUBSCRIBE", 0)
			if sub.Get(message.Event) != c.event || sub.Get(message.Accept) != c.kind || len(notify.routes) == 0 {
				t.Errorf("Event %q, Accept %q, %d Record-Route", sub.Get(message.Event), sub.Get(message.Accept), len(notify.routes))
			}
			// RFC 6665 §4.1.2.4: a NOTIFY may come before the answer to the SUBSCRIBE.
			got := notify.ask(a, "NOTIFY", "Event: "+c.event, "Subscription-State: active;expires=3600", "Content-Type: "+c.kind, "", c.body)
			if got.Other("Subscription-State") != "active;expires=3600" || got.Get(message.ContentType) != c.kind {
				t.Errorf("NOTIFY arrived as %s", got.AppendTo(nil))
			}
			b.reply(sub, 200, "Expires: 3600")
			watch.response(200)
			for range 3 { // refreshes, each followed by a NOTIFY
				watch.ask(b, "SUBSCRIBE", "Event: "+c.event, "Expires: 3600")
				notify.ask(a, "NOTIFY", "Event: "+c.event, "Subscription-State: active;expires=3600", "Content-Type: "+c.kind, "", c.body)
			}
			watch.ask(b, "SUBSCRIBE", "Event: "+c.event, "Expires: 0")
			notify.ask(a, "NOTIFY", "Event: "+c.event, "Subscription-State: terminated;reason=timeout")
		}
		publish := a.start("PUBLISH", b.user, "Event: presence", "Expires: 60", "Content-Type: application/pidf+xml", "", "<presence/>")
		if got, _ := b.take("PUBLISH", 200, "SIP-ETag: x1"); string(got.Body) != "<presence/>" {
			t.Errorf("PUBLISH with %q", got.Body)
		}
		if got := publish.response(200).Other("SIP-ETag"); got != "x1" {
			t.Errorf("SIP-ETag is %q", got)
		}
	})
}

// progress is the NOTIFY of a transfer (RFC 3515 §2.4.5).
func (d *leg) progress(to *phone, status string) {
	d.p.t.Helper()
	got := d.ask(to, "NOTIFY", "Event: refer", "Subscription-State: terminated;reason=noresource", "Content-Type: message/sipfrag", "", "SIP/2.0 "+status)
	if got.Get(message.Event) != "refer" {
		d.p.t.Errorf("Event is %q", got.Get(message.Event))
	}
}

// Feature: PRX-25
func TestRFC3515_BlindTransfer(t *testing.T) {
	pairs(t, func(t *testing.T, a, b, c *phone) {
		ab, ba := talk(a, b)
		ba.request("REFER", "Refer-To: "+addressOf(c.user), "Referred-By: "+addressOf(b.user))
		refer, _ := a.take("REFER", 202)
		ba.response(202)
		to, err := message.ParseAddress(refer.Get(message.ReferTo))
		if err != nil || to.URI != "sip:"+c.user+"@"+testDomain || refer.Get(message.ReferredBy) != addressOf(b.user) {
			t.Fatalf("Refer-To %q, Referred-By %q", refer.Get(message.ReferTo), refer.Get(message.ReferredBy))
		}
		ac := a.start("INVITE", c.user, "Referred-By: "+refer.Get(message.ReferredBy))
		invite, _ := c.take("INVITE", 200)
		if invite.Get(message.ReferredBy) != addressOf(b.user) {
			t.Errorf("Referred-By of the INVITE is %q", invite.Get(message.ReferredBy))
		}
		ac.response(200)
		ac.request("ACK")
		c.take("ACK", 0)
		ab.progress(b, "200 OK")
		ba.ask(a, "BYE")
		ac.ask(c, "BYE")
	})
}

// Feature: PRX-25
func TestRFC3891_AttendedTransfer(t *testing.T) {
	pairs(t, func(t *testing.T, a, b, c *phone) {
		ab, ba := talk(a, b)
		bc, cb := talk(b, c)
		replaces := fmt.Sprintf("%s;to-tag=%s;from-tag=%s", bc.callID, message.Tag(bc.remote), message.Tag(bc.local))
		escaped := strings.NewReplacer(";", "%3B", "=", "%3D").Replace(replaces)
		ba.request("REFER", "Refer-To: <sip:"+c.user+"@"+testDomain+"?Replaces="+escaped+">")
		refer, _ := a.take("REFER", 202)
		ba.response(202)
		if !strings.Contains(refer.Get(message.ReferTo), "?Replaces="+escaped) {
			t.Fatalf("Refer-To is %q", refer.Get(message.ReferTo))
		}
		ac := a.start("INVITE", c.user, "Replaces: "+replaces, "Require: replaces")
		invite, _ := c.take("INVITE", 200)
		if invite.Get(message.Replaces) != replaces || invite.Get(message.Require) != "replaces" {
			t.Fatalf("Replaces %q, Require %q", invite.Get(message.Replaces), invite.Get(message.Require))
		}
		ac.response(200)
		ac.request("ACK")
		c.take("ACK", 0)
		cb.ask(b, "BYE") // RFC 3891 §3: the replaced dialog ends
		ab.progress(b, "200 OK")
		ba.ask(a, "BYE")
		ac.ask(c, "BYE")
	})
}

// Feature: PRX-23
func TestRFC3428_MessagesPassBothWays(t *testing.T) {
	pairs(t, func(t *testing.T, a, b, _ *phone) {
		for _, d := range []struct{ from, to *phone }{{a, b}, {b, a}} {
			body := strings.Repeat("Watson, come here. ", 20)
			m := d.from.start("MESSAGE", d.to.user, "Content-Type: text/plain", "", body)
			if got, _ := d.to.take("MESSAGE", 202); string(got.Body) != body || got.Has(message.RecordRoute) {
				t.Errorf("MESSAGE arrived as %s", got.AppendTo(nil))
			}
			m.response(202)
		}
	})
}

// A subscriber at one gateway, the phone at another: the gateway with the binding tells of it.
//
// Feature: REG-32
func TestRFC3680_RegistrationsAreToldAcrossTheOverlay(t *testing.T) {
	gs := ringWith(t, 2, 1, func(_ int, c *Config) { c.Registrar.Trusted = List{"127.0.0.0/8"} }) // else it would be asked for credentials
	p, watcher := newPhone(t, "1001", gs[1]), newPhone(t, "1001", gs[0])
	p.register(300)
	eventually(t, "the record of 1001", func() error { return found(gs[0], "1001", gs[1]) })
	s := watcher.start("SUBSCRIBE", "1001", "Event: reg", "Expires: 600")
	s.response(200)
	told := func(state string, parts ...string) {
		t.Helper()
		req, _ := watcher.take("NOTIFY", 200)
		if got := req.Other("Subscription-State"); !strings.HasPrefix(got, state) {
			t.Errorf("Subscription-State %q, want %s", got, state)
		}
		for _, part := range parts {
			if !strings.Contains(string(req.Body), part) {
				t.Errorf("told %s, want %s", req.Body, part)
			}
		}
	}
	told("active", `version="0" state="full"`, `aor="sip:1001@`+testDomain+`"`, `state="active" event="registered"`)
	s.request("SUBSCRIBE", "Event: reg", "Expires: 600")
	s.response(200)
	told("active", `version="1" state="full"`)
	p.register(0)
	told("active", `version="2" state="partial"`, `state="terminated" event="unregistered"`)
	s.request("SUBSCRIBE", "Event: reg", "Expires: 0")
	s.response(200)
	told("terminated", `version="3" state="full"`)
	if n := gs[1].events.Subscriptions(); n != 0 {
		t.Errorf("%d subscriptions left", n)
	}
}

// Who refuses callers that are not proven tells of registrations only gateways that hold the certificate of the user.
//
// Feature: REG-32
func TestRFC3680_4_6_AGatewayWithoutTheCertificateIsNotTold(t *testing.T) {
	gs := ringWith(t, 2, 1, func(_ int, c *Config) {
		c.Registrar.Trusted = List{"127.0.0.0/8"}
		c.Security.ForgedFrom = forgedRefuse
	})
	p, watcher := newPhone(t, "1001", gs[1]), newPhone(t, "1001", gs[0])
	p.register(300)
	eventually(t, "the record of 1001", func() error { return found(gs[0], "1001", gs[1]) })
	watcher.start("SUBSCRIBE", "1001", "Event: reg", "Expires: 600").response(403)
	if n := gs[1].events.Subscriptions(); n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}
