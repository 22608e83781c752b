package main

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scriptedPBX is a PBX at a loopback address that does to each request what the test says. It shares no code with what it tests.
type scriptedPBX struct {
	conn net.PacketConn
	mu   sync.Mutex
	do   func(req sipText) (answers []string) // the responses, without Via and the like, as start lines; mu
	seen []sipText                            // mu
}

func newScriptedPBX(t *testing.T, host string) *scriptedPBX {
	t.Helper()
	conn, err := net.ListenPacket("udp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	p := &scriptedPBX{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return p
}

func (p *scriptedPBX) at() string { return p.conn.LocalAddr().String() }

func (p *scriptedPBX) read() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m := parseText(string(buf[:n]))
		if m.status() != 0 || m.method() == "ACK" && m.get("To") == "" {
			continue
		}
		p.mu.Lock()
		p.seen = append(p.seen, m)
		do := p.do
		p.mu.Unlock()
		for _, line := range do(m) {
			text := line
			if strings.HasPrefix(line, "SIP/2.0 ") {
				head, extra, _ := strings.Cut(line, "\n")
				r := m.response(head).with("Contact", "<sip:pbx@"+p.at()+">")
				for f := range strings.SplitSeq(extra, "\n") {
					if name, value, ok := strings.Cut(f, ": "); ok {
						r.fields = append(r.fields, [2]string{name, value})
					}
				}
				text = r.String()
			}
			_, _ = p.conn.WriteTo([]byte(text), from)
		}
	}
}

// answers sets what the PBX says to requests of a method; to others it says 200, to ACK nothing.
func (p *scriptedPBX) answers(method string, lines ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = nil
	p.do = func(req sipText) []string {
		switch req.method() {
		case method:
			return lines
		case "ACK":
			return nil
		}
		return []string{"SIP/2.0 200 OK"}
	}
}

// got are the requests of a method, without retransmissions.
func (p *scriptedPBX) got(method string) (out []sipText) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.seen {
		again := slices.ContainsFunc(out, func(o sipText) bool { return o.all("Via")[0] == m.all("Via")[0] })
		if m.method() == method && !again {
			out = append(out, m)
		}
	}
	return out
}

// from sends a request from the PBX to a gateway, and returns the final response.
func (p *scriptedPBX) from(t *testing.T, host, gateway string, change func(sipText) sipText) sipText {
	t.Helper()
	phone := newSoftPhoneAt(t, "231", host, gateway)
	req := phone.request("INVITE", "sip:1003@"+host, "sip:1003@"+host).with("From", "<sip:231@"+host+">;tag=x")
	if change != nil {
		req = change(req)
	}
	res, err := phone.exchange(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = phone.conn.Write([]byte(phone.ack(req, res).String()))
	return res
}

// newSoftPhoneAt is newSoftPhone with an address of its own.
func newSoftPhoneAt(t *testing.T, user, host, server string) *softPhone {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(host)}}
	conn, err := d.Dial("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	return softPhoneOver(t, user, server, conn)
}

// A PBX that does what it should not: each has a named outcome, and nobody else notices.
//
// Feature: TRK-03 TRK-10 TRK-11 TRK-14
func TestPBXsThatDoWhatTheyShouldNot(t *testing.T) {
	pbx, other := newScriptedPBX(t, "127.0.0.2"), newScriptedPBX(t, "127.0.0.3")
	pbx.answers("INVITE", "SIP/2.0 200 OK")
	other.answers("INVITE", "SIP/2.0 200 OK")
	r := newPBXRing(t, func(string) string {
		return fmt.Sprintf(`trunks:
  pbx: {targets: sip:%s, accept_from: 127.0.0.2, trust_identity: true}
  other: {targets: sip:%s, register: {user: "9", secret: s, realm: other.example}, max_calls: 1}
  hole: {targets: sip:nobody.resolves.invalid}`, pbx.at(), other.at()) + pbxRoutes + `
  - {match: "9*", to: other, strip: 1}
  - {match: "8*", to: [hole, other], strip: 1}
  - {match: "112", to: other, emergency: true}
`
	})
	gateway, far, here := r.members[2].sip, r.phones[0], r.phones[2]
	call := func(p *softPhone, number string) sipText { return p.refused(t, "sip:"+number+"@p2psip.test") }
	wants := func(what string, res sipText, status int, word string) {
		t.Helper()
		if res.status() != status || !strings.Contains(res.get("Warning"), word) {
			t.Errorf("%s: %s", what, res)
		}
	}
	r.reaches("231")

	pbx.answers("INVITE", "SIP/2.0 503 Service Unavailable\nRetry-After: 300")
	wants("503 for minutes", call(far, "231"), 503, "TRK503")
	n := len(pbx.got("INVITE"))
	wants("and is left alone", call(far, "232"), 503, "TRK503")
	if len(pbx.got("INVITE")) != n {
		t.Error("a PBX that asked to be left alone for 300 s was called")
	}
	if err := here.call("sip:91@p2psip.test"); err != nil {
		t.Errorf("another trunk: %v", err)
	}
	begin := time.Now()
	if err := here.call("sip:81@p2psip.test"); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("a name that nobody resolves, and the trunk behind it, after %v: %v", time.Since(begin), err)
	}

	other.answers("INVITE", "this is no SIP\r\n\r\n", "SIP/2.0 999999\r\n\r\n", "SIP/2.0 486 Busy Here\nReason: Q.850;cause=17")
	if res := call(here, "91"); res.status() != 486 || res.get("Reason") != "Q.850;cause=17" {
		t.Errorf("garbage, and then busy: %s", res)
	}
	other.answers("INVITE", "garbage")
	begin = time.Now()
	wants("garbage alone", call(here, "92"), 503, "TRK503")
	if time.Since(begin) > 4*time.Second {
		t.Errorf("after %v", time.Since(begin))
	}
	for host, status := range map[string]int{"127.0.0.2": 200, "127.0.0.66": 403} {
		res := pbx.from(t, host, gateway, func(m sipText) sipText { return m.with("From", "<sip:231@127.0.0.2>;tag=x") })
		if host != "127.0.0.2" {
			wants("its address in From, from elsewhere", res, status, "TRK403S")
		} else if res.status() != 200 || res.get("From") != "<sip:231@127.0.0.2>;tag=x" {
			t.Errorf("its own address as domain: %s", res)
		}
	}
	back := func(m sipText) sipText { m.start = "INVITE sip:232@127.0.0.1 SIP/2.0"; return m }
	wants("it sends our call back to us", pbx.from(t, "127.0.0.2", gateway, back), 482, "TRK482")
	wants("an unpublished number, over the overlay", call(far, "91"), 404, "")
}

// What is in a call to a trunk passes as it is: early media for longer than any timer of trunks, bodies, Reason; so does an emergency call.
//
// Feature: TRK-13 TRK-14
func TestTrunksAreTransparent(t *testing.T) {
	pbx := newScriptedPBX(t, "127.0.0.2")
	r := newPBXRing(t, func(string) string {
		return fmt.Sprintf("trunks:\n  pbx: {targets: sip:%s, max_calls: 1}", pbx.at()) + pbxRoutes + "  - {match: \"112\", to: pbx, emergency: true}\n"
	})
	r.state("unwatched")
	here := r.phones[2]
	const body = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	pbx.answers("INVITE", "SIP/2.0 100 Trying", "SIP/2.0 183 Session Progress\nRequire: 100rel\nRSeq: 7")
	invite := here.request("INVITE", "sip:231@p2psip.test", "sip:231@p2psip.test").with("Content-Type", "application/sdp").with("X-Vendor", "a , b")
	invite.body = body
	began := time.Now()
	got := make(chan sipText, 1)
	go func() {
		res, _ := here.exchange(invite)
		got <- res
	}()
	eventually(t, "the INVITE at the PBX", func() error {
		if len(pbx.got("INVITE")) != 1 {
			return fmt.Errorf("%d", len(pbx.got("INVITE")))
		}
		return nil
	})
	sent := pbx.got("INVITE")[0]
	if sent.body != body || sent.get("X-Vendor") != "a , b" || sent.start != "INVITE sip:231@"+pbx.at()+" SIP/2.0" {
		t.Errorf("%s", sent)
	}
	wantBusy := r.phones[1].refused(t, "sip:232@p2psip.test")
	if wantBusy.status() != 503 || !strings.Contains(wantBusy.get("Warning"), "TRK503B") {
		t.Errorf("the only line is taken: %s", wantBusy)
	}
	// The service, from a phone, with the line taken: RFC 5031.
	pbx.mu.Lock()
	before := pbx.do
	pbx.do = func(req sipText) []string {
		if strings.HasPrefix(req.start, "INVITE sip:112@") {
			return []string{"SIP/2.0 200 OK"}
		}
		return before(req)
	}
	pbx.mu.Unlock()
	sos := here.request("INVITE", "urn:service:sos.fire", "urn:service:sos")
	if res, err := here.exchange(sos); err != nil || res.status() != 200 {
		t.Errorf("%v %s", err, res)
	}
	// Longer than the time that a silent target has: 183 was heard.
	within(t, 10*time.Second, "the time of a silent target to pass", func() error {
		if time.Since(began) < 4500*time.Millisecond {
			return fmt.Errorf("%v", time.Since(began))
		}
		return nil
	})
	if n := len(pbx.got("CANCEL")); n != 0 {
		t.Errorf("early media was cut: %d CANCELs", n)
	}
	cancel := invite
	cancel.start, cancel.body = "CANCEL sip:231@p2psip.test SIP/2.0", ""
	cancel = cancel.with("CSeq", strings.Replace(invite.get("CSeq"), "INVITE", "CANCEL", 1)).with("Reason", `SIP;cause=200;text="elsewhere"`)
	if _, err := here.exchange(cancel); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the CANCEL at the PBX", func() error {
		if c := pbx.got("CANCEL"); len(c) != 1 || c[0].get("Reason") != `SIP;cause=200;text="elsewhere"` {
			return fmt.Errorf("%v", c)
		}
		return nil
	})
	pbx.mu.Lock()
	final := sent.response("SIP/2.0 487 Request Terminated")
	pbx.mu.Unlock()
	_, port, _ := net.SplitHostPort(r.members[2].sip)
	to, err := net.ResolveUDPAddr("udp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pbx.conn.WriteTo([]byte(final.String()), to); err != nil {
		t.Fatal(err)
	}
	if res := <-got; res.status() != 487 {
		t.Errorf("%s", res)
	}
	eventually(t, "the line to be free", func() error {
		if tr, err := r.trunk(); err != nil || tr.Calls != 1 { // the emergency call is still up
			return fmt.Errorf("%w %+v", err, tr)
		}
		return nil
	})
}
