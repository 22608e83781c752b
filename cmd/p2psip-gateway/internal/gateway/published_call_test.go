package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// wantCalled has caller dial a number, which the PBX gets with this Request-URI, and ends the call.
func wantCalled(t *testing.T, caller, pbx *phone, number, uri string) {
	t.Helper()
	a := caller.start("INVITE", number)
	m, b := pbx.take("INVITE", 200)
	if m.RequestURI != uri {
		t.Errorf("%s arrives as %s, want %s", number, m.RequestURI, uri)
	}
	a.response(200)
	a.request("ACK")
	pbx.take("ACK", 0)
	b.ask(caller, "BYE")
}

// TestAPBXBehindAnotherGateway: a gateway publishes an extension range and a block of direct dial-in. A phone of another one dials numbers in them, and the PBX gets
// the calls: one that is known by its address, one that registers, and one that registers one contact for all of its numbers.
//
// Feature: TRK-02 TRK-04 REG-23
func TestAPBXBehindAnotherGateway(t *testing.T) {
	gs := ranged(t, 3, func(k int, o *Options) {
		if k == 1 {
			o.Config.Role = RoleRedirect
		}
	})
	alice, pbx := newPhone(t, "1001", gs[0]), newPhone(t, "1002", gs[2])
	if res := alice.register(300); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	reroute(t, gs[2], func(c *Config) {
		withPBX(c, "2xx", "+49301234*")
		trunk := c.Trunks["pbx"]
		trunk.Targets = List{"sip:" + pbx.at()}
		c.Trunks["pbx"] = trunk
	})
	for _, number := range []string{"231", "+4930123456"} {
		eventually(t, "the range of "+number, func() error {
			return leads(gs[0], gs[2], number, map[string]string{"231": "2xx", "+4930123456": "+49301234*"}[number])
		})
		wantCalled(t, alice, pbx, number, "sip:"+number+"@"+pbx.at())
	}
	var found *message.Message
	eventually(t, "the redirect peer to know the addresses", func() error {
		a := newPhone(t, "1001", gs[1]).start("INVITE", "231")
		found = a.p.receive(final)
		a.request("ACK")
		if found.StatusCode != 302 {
			return fmt.Errorf("%d", found.StatusCode)
		}
		return nil
	})
	if got := found.Get(message.Contact); !strings.HasPrefix(got, "<sip:231@"+gs[2].udpAddr().String()) {
		t.Errorf("redirected to %s", got)
	}
	if code := alice.start("INVITE", "331").response(404).StatusCode; code != 404 {
		t.Error(code)
	}

	reroute(t, gs[2], func(c *Config) {
		var trunk TrunkConfig
		trunk.defaults()
		trunk.RegisteredAs = "1002"
		c.Trunks = map[string]TrunkConfig{"pbx": trunk}
	})
	for bound, suffix := range map[string]string{"<sip:1002@" + pbx.at() + ";line=7>": ";line=7", "<sip:" + pbx.at() + ";bnc;line=8>": ";line=8"} {
		pbx.bound = bound
		if res := pbx.register(300); res.StatusCode != 200 || !strings.Contains(res.Get(message.Contact), bound) {
			t.Fatalf("%d, Contact %q", res.StatusCode, res.Get(message.Contact))
		}
		wantCalled(t, alice, pbx, "231", "sip:231@"+pbx.at()+suffix)
		wantCalled(t, alice, pbx, "+4930123456", "sip:+4930123456@"+pbx.at()+suffix)
		pbx.register(0)
	}
	a := alice.start("INVITE", "231")
	if res := a.response(503); !strings.Contains(res.Get(message.Warning), "TRK503") {
		t.Errorf("a PBX that is not registered: %q", res.Get(message.Warning))
	}
}

// TestAPBXThatRegistersAllOfItsExtensionsAtOnce: 500 users, of one address, in a second: each is answered, with 200 or 503 and Retry-After, and other phones
// register as before.
func TestAPBXThatRegistersAllOfItsExtensionsAtOnce(t *testing.T) {
	const extensions = 500
	g := ringOf(t, 1, extensions+1, func(_ int, o *Options) {
		withPBX(&o.Config, "2xx")
		o.Config.SIP.QueueDelay = 0 // how busy this machine is, is not the question
		o.Config.SIP.Listen = List{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"}
	})[0]
	pbx, other := newPhoneOn(t, "", "TCP", g.flows.Listeners()[1].Local), newPhone(t, userName(extensions), g)
	if res := other.register(300); res.StatusCode != 200 {
		t.Fatal(res.StatusCode)
	}
	nonce := other.nonce
	begin := time.Now()
	var slow []time.Duration
	for i := range extensions {
		p := *pbx
		p.user, p.nonce, p.nc, p.cseq = userName(i), nonce, 100+i, 1
		p.send("REGISTER sip:"+testDomain+" SIP/2.0", p.via(), "Max-Forwards: 70", "From: "+addressOf(p.user)+";tag=r", "To: "+addressOf(p.user),
			"Call-ID: reg-"+p.user, "CSeq: 1 REGISTER", "Contact: "+p.contact(), "Expires: 300", p.credentials(), "Content-Length: 0")
		if i%25 != 0 {
			continue
		}
		at := time.Now()
		if res := other.register(300); res.StatusCode != 200 {
			t.Fatal(res.StatusCode)
		}
		slow = append(slow, time.Since(at))
	}
	sent := time.Since(begin)
	answers := map[int]int{}
	for range extensions {
		res := pbx.receive(final)
		answers[res.StatusCode]++
		if res.StatusCode == 503 && res.Get(message.RetryAfter) == "" {
			t.Error("503 without Retry-After")
		}
	}
	if answers[200]+answers[503] != extensions || answers[200] == 0 {
		t.Errorf("answered %v", answers)
	}
	if worst := slices.Max(slow); worst > phoneWait/4 {
		t.Errorf("another phone waits %v for its 200", worst)
	}
	t.Logf("sent in %v, answered %v in %v; another phone meanwhile: %v at most", sent, answers, time.Since(begin), slices.Max(slow))
}

// TestTheGuardKnowsTrunks: what comes from the address of a trunk is not held up, unless it takes a certificate or a header field to be that trunk.
func TestTheGuardKnowsTrunks(t *testing.T) {
	c := DefaultConfig()
	withPBX(&c, "2xx")
	pbx := c.Trunks["pbx"]
	pbx.AcceptFrom = List{"192.0.2.9"}
	wide := pbx
	wide.AcceptFrom, wide.Certificate = List{"0.0.0.0/0"}, List{"pbx.example"}
	c.Trunks = map[string]TrunkConfig{"pbx": pbx, "wide": wide}
	plan, err := c.plan()
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]int{"192.0.2.9": 500, "192.0.2.10": 0} {
		g := newGuarded(t, nil)
		conf := *g.conf.Load()
		conf.trusted = trunkSources(plan)
		g.set(conf)
		for i := range 500 {
			g.guard.Deliver(requestedOf(t, "REGISTER", "sip:"+testDomain, fmt.Sprintf("sip:%d@%s", 1000+i, testDomain)), from(address, 5060))
		}
		if want > 0 && g.passed != want || want == 0 && (g.passed == 500 || len(g.told) == 0) {
			t.Errorf("%s: %d of 500 pass, told %d times", address, g.passed, len(g.told))
		}
	}
}
