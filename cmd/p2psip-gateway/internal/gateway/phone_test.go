package gateway

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/sip/digest"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const (
	testDomain = "p2psip.test"
	phoneWait  = 10 * time.Second
)

// ring starts n complete gateways in one overlay over loopback, with users 1001 to 1000+users, and waits until all have joined.
func ring(t testing.TB, n, users int) []*Gateway {
	t.Helper()
	return ringOver(t, n, users, List{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}, "tls://127.0.0.1:0")
}

// ringOver is a ring whose gateways listen for SIP and for overlay links as said; the first SIP listener is one for UDP.
func ringOver(t testing.TB, n, users int, sip List, links ...string) []*Gateway {
	t.Helper()
	return ringWith(t, n, users, func(_ int, c *Config) { c.SIP.Listen, c.Overlay.Listen = sip, links })
}

// ringWith is a ring whose configurations are edited; UDP for SIP and TLS for the overlay are what they listen on otherwise.
func ringWith(t testing.TB, n, users int, edit func(k int, c *Config)) []*Gateway {
	t.Helper()
	return ringOf(t, n, users, func(k int, o *Options) { edit(k, &o.Config) })
}

// ringOf is a ring whose gateways are edited.
func ringOf(t testing.TB, n, users int, edit func(k int, o *Options)) []*Gateway {
	t.Helper()
	ov, err := identity.New(identity.Template(testDomain), trust.P256, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	for i := range users {
		fmt.Fprintf(&file, "%s secret\n", userName(i))
	}
	known, err := digest.ReadUsers(strings.NewReader(file.String()), testDomain)
	if err != nil {
		t.Fatal(err)
	}
	var gs []*Gateway
	for k := range n {
		self, err := identity.NewNode(ov.Authority, fmt.Sprintf("gw%d@%s", k, testDomain), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c := DefaultConfig()
		c.Domain, c.Data = testDomain, filepath.Join(t.TempDir(), "data")
		c.SIP.Listen, c.Overlay.Listen = List{"udp://127.0.0.1:0"}, List{"tls://127.0.0.1:0"}
		c.Overlay.First = k == 0
		if k > 0 {
			c.Overlay.Bootstrap = List{gs[0].linkAddress()}
		}
		c.Admin.Listen, c.DrainTimeout = "127.0.0.1:0", 2*time.Second
		o := Options{Config: c, Version: "test", Log: zerolog.Nop(), Overlay: ov.Config, Self: self, Users: known,
			Keyring: identity.IssuingKeyring(ov.Authority, self), OpenCalls: true}
		edit(k, &o)
		g, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		gs = append(gs, g)
		start(t, g)
	}
	for _, g := range gs {
		select {
		case <-g.Joined():
		case <-time.After(2 * phoneWait):
			t.Fatalf("not joined: %+v", g.ring())
		}
	}
	return gs
}

func start(t testing.TB, g *Gateway) {
	ctx, stop := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func (g *Gateway) udpAddr() *net.UDPAddr {
	return net.UDPAddrFromAddrPort(g.flows.Listeners()[0].Local)
}

// phone is a plain SIP phone.
type phone struct {
	t         testing.TB
	user      string
	conn      line
	transport string
	cseq      int
	nonce     string
	nc        int
	bound     string // value of Contact; empty: where it is
}

func newPhone(t testing.TB, user string, at *Gateway) *phone {
	t.Helper()
	return newPhoneOn(t, user, "UDP", at.udpAddr().AddrPort())
}

// newPhoneOn is a phone that reaches its gateway over a transport at an address.
func newPhoneOn(t testing.TB, user, transport string, at netip.AddrPort) *phone {
	t.Helper()
	w := dial(t, transport, at)
	t.Cleanup(func() { _ = w.Close() })
	return &phone{t: t, user: user, conn: w, transport: transport}
}

func (p *phone) send(lines ...string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n")); err != nil {
		p.t.Fatal(err)
	}
}

// receive takes the next message for which want is true.
func (p *phone) receive(want func(*message.Message) bool) *message.Message {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(phoneWait)); err != nil {
		p.t.Fatal(err)
	}
	for {
		m, err := p.conn.next()
		if err != nil {
			p.t.Fatalf("%s: %v", p.user, err)
		}
		if want(m) {
			return m
		}
	}
}

func final(m *message.Message) bool { return m.StatusCode >= 200 }

// register sends a REGISTER with the nonce that it has, and again when it is challenged.
func (p *phone) register(expires int) *message.Message {
	p.t.Helper()
	for range 2 {
		p.cseq++
		lines := []string{"REGISTER sip:" + testDomain + " SIP/2.0", p.via(), "Max-Forwards: 70",
			"From: <sip:" + p.user + "@" + testDomain + ">;tag=r", "To: <sip:" + p.user + "@" + testDomain + ">",
			"Call-ID: reg-" + p.user, fmt.Sprintf("CSeq: %d REGISTER", p.cseq),
			"Contact: " + p.contact(), fmt.Sprintf("Expires: %d", expires), "Content-Length: 0"}
		if p.nonce != "" {
			lines = append(lines, p.credentials())
		}
		p.send(lines...)
		res := p.receive(final)
		if res.StatusCode != 401 {
			return res
		}
		p.nonce, _ = message.Param(";"+strings.ReplaceAll(strings.TrimPrefix(res.Get(message.WWWAuthenticate), "Digest "), ", ", ";"), "nonce")
		p.nc = 0
	}
	p.t.Fatalf("%s: challenged twice", p.user)
	return nil
}

func (p *phone) via() string {
	return fmt.Sprintf("Via: SIP/2.0/%s %s;branch=z9hG4bK%s%d;rport", p.transport, p.at(), p.user, p.cseq)
}

// at is where the phone says that it is: a page does not know its address (RFC 7118 Appendix B.1).
func (p *phone) at() string {
	if strings.HasPrefix(p.transport, "WS") {
		return p.user + ".invalid"
	}
	return p.conn.LocalAddr().String()
}

func (p *phone) contact() string {
	if p.bound != "" {
		return p.bound
	}
	param := map[string]string{"UDP": "", "TCP": ";transport=tcp", "TLS": ";transport=tls", "WS": ";transport=ws", "WSS": ";transport=ws"}
	return "<sip:" + p.user + "@" + p.at() + param[p.transport] + ">"
}

func (p *phone) credentials() string { return "Authorization: " + p.digest("REGISTER") }

// digest is the value of credentials for a request to the domain.
func (p *phone) digest(method string) string {
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) }
	p.nc++
	nc, uri := fmt.Sprintf("%08x", p.nc), "sip:"+testDomain
	response := h(h(p.user+":"+testDomain+":secret") + ":" + p.nonce + ":" + nc + ":c:auth:" + h(method+":"+uri))
	return fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, nc=%s, cnonce="c"`,
		p.user, testDomain, p.nonce, uri, response, nc)
}

// call sets a call up to callee, who answers, and ends it.
func (p *phone) call(callee *phone) {
	p.t.Helper()
	p.cseq++
	to := "<sip:" + callee.user + "@" + testDomain + ">"
	head := func(method string, uri, to string) []string {
		return []string{method + " " + uri + " SIP/2.0", p.via(), "Max-Forwards: 70", "From: <sip:" + p.user + "@" + testDomain + ">;tag=c",
			"To: " + to, fmt.Sprintf("Call-ID: call-%s-%d", p.user, p.cseq), fmt.Sprintf("CSeq: %d %s", p.cseq, method),
			"Contact: " + p.contact(), "Content-Length: 0"}
	}
	p.send(head("INVITE", "sip:"+callee.user+"@"+testDomain, to)...)
	callee.answer("INVITE", 180)
	res := p.receive(final)
	if res.StatusCode != 200 {
		p.t.Fatalf("%s calls %s: %d %s", p.user, callee.user, res.StatusCode, res.Get(message.Warning))
	}
	var routes []string
	for _, v := range res.Values(message.RecordRoute) {
		routes = append([]string{"Route: " + v}, routes...)
	}
	contact, err := message.ParseAddress(res.Get(message.Contact))
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(append(head("ACK", contact.URI, res.Get(message.To)), routes...)...)
	callee.receive(func(m *message.Message) bool { return m.Method == "ACK" })
	p.cseq++
	bye := append(head("BYE", contact.URI, res.Get(message.To)), routes...)
	bye[5] = fmt.Sprintf("Call-ID: call-%s-%d", p.user, p.cseq-1)
	p.send(bye...)
	callee.answer("BYE", 0)
	if res := p.receive(final); res.StatusCode != 200 {
		p.t.Fatalf("BYE: %d", res.StatusCode)
	}
}

// answer takes a request and answers it, first with a provisional status when that is not 0, then with 200.
func (p *phone) answer(method string, provisional int) {
	p.t.Helper()
	req := p.receive(func(m *message.Message) bool { return m.Method == method })
	for _, status := range []int{provisional, 200} {
		if status == 0 {
			continue
		}
		res := message.NewResponse(req, status, "", "callee")
		for _, v := range req.Values(message.RecordRoute) {
			res.Add(message.RecordRoute, v)
		}
		res.Add(message.Contact, p.contact())
		if _, err := p.conn.Write(res.AppendTo(nil)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// userName is user i of a ring.
func userName(i int) string { return fmt.Sprint(1001 + i) }
