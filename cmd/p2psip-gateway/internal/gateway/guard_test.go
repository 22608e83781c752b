package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// guarded is a guard with a clock of its own, and what became of the requests.
type guarded struct {
	*guard
	t      *testing.T
	now    time.Time
	passed int
	told   []string
}

func (g *guarded) Deliver(*message.Message, location.Hop) { g.passed++ }

func newGuarded(t *testing.T, change func(*SecurityConfig)) *guarded {
	t.Helper()
	c := defaultSecurity()
	if change != nil {
		change(&c)
	}
	x := &guarded{t: t, now: time.Unix(1e9, 0)}
	x.guard = newGuard(guardConfig{rate: c.Rate, burst: c.Burst, failures: float64(c.Ban.Failures), window: c.Ban.Window, ban: c.Ban.Time, stealth: c.Stealth,
		trusted: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, now: func() time.Time { return x.now }, log: zerolog.Nop(),
		refused: func(*sip.Refusal, *message.Message, location.Hop) {}})
	x.next = x
	n, err := newNames(testDomain, []string{"203.0.113.1:5060"})
	if err != nil {
		t.Fatal(err)
	}
	x.names = n
	x.send = func(_ *message.Message, _ location.Hop, b []byte) { x.told = append(x.told, string(b)) }
	return x
}

func requested(t *testing.T, method string, fields ...string) *message.Message {
	t.Helper()
	return requestedOf(t, method, "sip:1001@"+testDomain, "sip:a@example.org", fields...)
}

func requestedOf(t *testing.T, method, uri, from string, fields ...string) *message.Message {
	t.Helper()
	text := method + " " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <" + from + ">;tag=1\r\nCall-ID: c\r\nCSeq: 1 " +
		method + "\r\n"
	if len(fields) == 0 || !strings.HasPrefix(fields[0], "To:") {
		text += "To: <" + uri + ">\r\n"
	}
	m, err := message.Parse([]byte(text + strings.Join(append(fields, ""), "\r\n") + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// from is a UDP source; port tells the phones behind one NAT apart.
func from(host string, port int) location.Hop {
	return location.Hop{Transport: "UDP", Remote: netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port))}
}

// ask delivers a request and reports whether it passed.
func (g *guarded) ask(m *message.Message, h location.Hop) bool {
	before := g.passed
	g.guard.Deliver(m, h)
	return g.passed > before
}

// Feature: SEC-01
func TestAStrangerIsLimitedAndToldOncePerWindow(t *testing.T) {
	g := newGuarded(t, nil)
	m := requested(t, "INVITE")
	for i := range 300 {
		g.ask(m, from("192.0.2.1", 1+i)) // the ports do not matter
	}
	if g.passed != 100 || len(g.told) != 1 || !strings.HasPrefix(g.told[0], "SIP/2.0 503 ") || !strings.Contains(g.told[0], "SEC503 ") ||
		!strings.Contains(g.told[0], "Retry-After: 10") {
		t.Fatalf("%d passed, told %q", g.passed, g.told)
	}
	if !g.ask(m, from("192.0.2.2", 5060)) {
		t.Error("another address pays for it")
	}
	g.now = g.now.Add(time.Second)
	for range 20 {
		g.ask(m, from("192.0.2.1", 1))
	}
	if g.passed != 111 || len(g.told) != 1 {
		t.Errorf("a second later: %d passed, %d told", g.passed, len(g.told))
	}
	g.now = g.now.Add(guardWindow)
	for range 200 {
		g.ask(m, from("192.0.2.1", 1))
	}
	if len(g.told) != 2 {
		t.Errorf("in the next window: %d told", len(g.told))
	}
	for range 1000 {
		if !g.ask(m, from("198.51.100.7", 1)) || !g.ask(m, from("127.0.0.1", 1)) || !g.ask(m, location.Hop{Node: "x"}) {
			t.Fatal("trusted sources are limited")
		}
	}
	if n := g.Dropped()["sec_rate"]; n == 0 {
		t.Error("nothing counted")
	}
}

// Feature: SEC-01
func TestALANThatRestartsTogetherIsNotLimited(t *testing.T) {
	for name, c := range map[string]struct {
		source string
		phones int
	}{"private": {"10.1.2.3", 500}, "private IPv6": {"fd00::1", 500}, "behind one address on the Internet": {"192.0.2.1", 40}} {
		g := newGuarded(t, nil)
		register := requested(t, "REGISTER")
		for i := range c.phones { // challenged, all at once
			if !g.ask(register, from(c.source, 1024+i)) {
				t.Fatalf("%s: phone %d is limited", name, i)
			}
		}
		for i := range c.phones {
			h := from(c.source, 1024+i)
			if !g.ask(register, h) {
				t.Fatalf("%s: phone %d is limited at its second REGISTER", name, i)
			}
			g.Registered(h)
		}
		for range 50 { // subscriptions and what else phones do then
			for i := range c.phones {
				if !g.ask(requested(t, "SUBSCRIBE"), from(c.source, 1024+i)) {
					t.Fatalf("%s: registered phone %d is limited", name, i)
				}
			}
		}
	}
	// A site with a phone at work may do more than a stranger: 200 phones restart behind one address.
	g := newGuarded(t, nil)
	for i := range 200 {
		g.Registered(from("192.0.2.1", 1024+i))
	}
	for i := range 400 {
		if !g.ask(requested(t, "REGISTER"), from("192.0.2.1", 30000+i)) { // the router has drawn new ports
			t.Fatalf("request %d is limited", i)
		}
	}
}

// Feature: SEC-03
func TestScannersAndProbesGetNoAnswer(t *testing.T) {
	g := newGuarded(t, nil)
	for _, ua := range []string{"friendly-scanner", "sipvicious", "SIPVicious 0.3", "sundayddr", "sipcli/v1.8", "VaxSIPUserAgent/3.1"} {
		if g.ask(requested(t, "REGISTER", "User-Agent: "+ua), from("10.0.0.1", 5060)) {
			t.Errorf("%s passed", ua)
		}
	}
	if !g.ask(requested(t, "REGISTER", "User-Agent: Smart Phone 1.0 (iwatch)"), from("10.0.0.1", 5060)) {
		t.Error("a phone counts as scanner")
	}
	options := requested(t, "OPTIONS")
	if g.ask(options, from("192.0.2.1", 5060)) {
		t.Error("a stranger's OPTIONS passed")
	}
	for _, h := range []location.Hop{from("192.168.1.1", 5060), from("198.51.100.1", 5060)} {
		if !g.ask(options, h) {
			t.Errorf("OPTIONS from %s did not pass", h.Remote)
		}
	}
	g.Registered(from("192.0.2.1", 5060))
	if !g.ask(options, from("192.0.2.1", 5060)) {
		t.Error("the OPTIONS of a phone did not pass")
	}
	if len(g.told) != 0 || g.Dropped()["sec_probe"] != 1 || g.Dropped()["sec_scanner"] != 6 {
		t.Errorf("told %q, dropped %v", g.told, g.Dropped())
	}
	open := newGuarded(t, func(c *SecurityConfig) { c.Stealth = false })
	if !open.ask(options, from("192.0.2.1", 5060)) {
		t.Error("stealth: false has no effect")
	}
}

// Feature: SEC-03
func TestWhoDoesNotKnowTheDomainGetsNoAnswer(t *testing.T) {
	const ours, at, theirs = "sip:1001@" + testDomain, "sip:1001@203.0.113.1", "sip:1001@1.1.1.1"
	const inDialog = "<sip:1001@1.1.1.1>;tag=2"
	g := newGuarded(t, nil)
	for i, c := range []struct {
		method, uri, from, to string
		passes                bool
	}{
		{"REGISTER", "sip:" + testDomain, ours, ours, true},
		{"REGISTER", "sip:203.0.113.1", at, at, true}, // phones that were given an address
		{"REGISTER", "sip:203.0.113.1", theirs, theirs, false},
		{"INVITE", ours, "sip:x@example.com", ours, true},
		{"INVITE", "sip:1001@" + strings.ToUpper(testDomain), "sip:x@example.com", ours, true},
		{"INVITE", at, at, at, true}, // is challenged
		{"INVITE", at, theirs, at, false},
		{"MESSAGE", "sip:00442079460000@203.0.113.1", "sip:x@example.com", at, false},
		{"SUBSCRIBE", "sip:x@elsewhere.example", "sip:x@example.com", theirs, false},
		{"INVITE", "sip:x@elsewhere.example", ours, theirs, true}, // is challenged
		{"INVITE", "sip:gw@192.0.2.9", "sip:x@example.com", inDialog, true},
		{"ACK", "sip:x@192.0.2.9", "sip:x@example.com", inDialog, true},
		{"INVITE", "tel:+1", "tel:+2", "tel:+1", false},
	} {
		if c.to != inDialog {
			c.to = "<" + c.to + ">"
		}
		m := requestedOf(t, c.method, c.uri, c.from, "To: "+c.to)
		if got := g.ask(m, from("192.0.2.1", 1000+i)); got != c.passes {
			t.Errorf("%s %s from %s: passed %v", c.method, c.uri, c.from, got)
		}
		for _, h := range []location.Hop{from("10.0.0.1", 5060), from("127.0.0.1", 5060)} {
			if !g.ask(m, h) {
				t.Errorf("%s %s from %s: does not pass from %s", c.method, c.uri, c.from, h.Remote)
			}
		}
	}
	if len(g.told) > 0 {
		t.Errorf("told %q", g.told)
	}
}

// A provider that knows this gateway by the contact of an account alone may send from anywhere, as much as it has calls, and call itself what it likes.
//
// Feature: SEC-03 TRK-05
func TestAProvidersCallsPass(t *testing.T) {
	g := newGuarded(t, nil)
	g.account = func(user string) bool { return user == "token" }
	const calls = 1000
	for i := range calls {
		invite := requestedOf(t, "INVITE", "sip:token@203.0.113.1:5060", "sip:+4989@192.0.2.1", "To: <sip:49301234@itsp.example>", "User-Agent: sipcli/1")
		if !g.ask(invite, from("192.0.2.1", 5060+i)) {
			t.Fatalf("call %d is dropped: %v", i, g.Dropped())
		}
		for _, method := range []string{"ACK", "BYE"} {
			within := requestedOf(t, method, "sip:1001@10.0.0.5", "sip:+4989@192.0.2.1", "To: <sip:49301234@itsp.example>;tag=2")
			if !g.ask(within, from("192.0.2.1", 5060+i)) {
				t.Fatalf("%s of call %d is dropped: %v", method, i, g.Dropped())
			}
		}
	}
	for _, user := range []string{"other", "token1"} {
		if g.ask(requestedOf(t, "INVITE", "sip:"+user+"@203.0.113.1:5060", "sip:+4989@192.0.2.1"), from("192.0.2.2", 5060)) {
			t.Errorf("a call to %q passes", user)
		}
	}
	if len(g.told) > 0 || g.Phone(from("192.0.2.1", 5060)) {
		t.Errorf("the provider is told %q, or counts as a phone", g.told)
	}
}

// Feature: SEC-02
func TestGuessingPasswordsBansAnAddress(t *testing.T) {
	g := newGuarded(t, nil)
	guess := func(h location.Hop) {
		m := requested(t, "REGISTER")
		g.Wrong(m)
		g.Checked(m, h)
		g.Checked(m, h) // is told of each request once
	}
	tcp := func(host string) location.Hop {
		return location.Hop{Transport: "TCP", Flow: 7, Remote: netip.AddrPortFrom(netip.MustParseAddr(host), 4000)}
	}
	banned := func(host string) bool { return g.Banned(netip.MustParseAddr(host)) }
	for range 9 {
		guess(tcp("192.0.2.1"))
	}
	if banned("192.0.2.1") {
		t.Error("banned after nine")
	}
	guess(tcp("192.0.2.1"))
	if !banned("192.0.2.1") || banned("192.0.2.2") {
		t.Error("not banned after ten, or somebody else")
	}
	// Over UDP the source may be forged: weak evidence.
	for range 39 {
		guess(from("192.0.2.3", 5060))
	}
	if banned("192.0.2.3") {
		t.Error("banned by 39 datagrams")
	}
	g.Registered(from("192.0.2.3", 5061)) // success resets
	guess(from("192.0.2.3", 5060))
	if banned("192.0.2.3") {
		t.Error("a phone that registers there did not reset the count")
	}
	// A phone with a wrong password in a LAN is an annoyance, and no attack.
	for range 100 {
		guess(tcp("10.0.0.1"))
		guess(tcp("198.51.100.1"))
	}
	if banned("10.0.0.1") || banned("198.51.100.1") {
		t.Error("a private or trusted network is banned")
	}
	// One every two minutes is a person.
	for range 30 {
		guess(tcp("192.0.2.4"))
		g.now = g.now.Add(2 * time.Minute)
	}
	if banned("192.0.2.4") {
		t.Error("banned for one failure in two minutes")
	}
	if banned("192.0.2.1") || g.bans.Load() != 0 {
		t.Error("the ban did not end after an hour")
	}
}

func TestTheGuardForgetsAddressesWhenThereAreTooMany(t *testing.T) {
	g := newGuarded(t, nil)
	m := requested(t, "INVITE")
	for i := range guardSources + 1000 {
		g.ask(m, from(fmt.Sprintf("203.%d.%d.%d", i>>16, i>>8&255, i&255), 5060))
	}
	if n := len(g.sources); n > guardSources {
		t.Errorf("%d addresses", n)
	}
	// An IPv6 host has 2^64 addresses, and counts as one.
	before := g.passed
	for i := range 200 {
		g.ask(m, from(fmt.Sprintf("2001:db8::%x", i+1), 5060))
	}
	if g.passed-before != 100 {
		t.Errorf("%d passed from one /64", g.passed-before)
	}
}

// The words that give scanners away are words: people and phones whose names hold one of them are none.
func TestNamesThatHoldTheWordOfAScannerAreNone(t *testing.T) {
	for text, scanner := range map[string]bool{
		"friendly-scanner": true, "sipcli/v1.8": true, "SIPVicious": true, "VaxSIPUserAgent/3.1": true, "Asterisk, sipvicious 0.3": true, "smap 0.6.0": true,
		"iWar": true, "pplsip": true, "\"sipvicious\"<sip:100@1.1.1.1>;tag=1": true,
		"\"Anita Tiwari\" <sip:tiwari@example.org>": false, "<sip:diwari@example.org>": false, "SIPClient 2.1": false, "MySipClient": false, "sipscanner3000x": false,
	} {
		for _, name := range []message.Name{message.UserAgent, message.From} {
			m := &message.Message{Method: "INVITE"}
			m.Set(name, text)
			if isScanner(m) != scanner {
				t.Errorf("%s %q: scanner %v", name, text, !scanner)
			}
		}
	}
}
