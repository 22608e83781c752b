package media

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Two phones behind NATs, neither of whose descriptions leads to it, talk and listen, RTP and RTCP; with each engine.
//
// Feature: MED-02
func TestTwoPhonesBehindNATsHearEachOther(t *testing.T) {
	for name, engine := range map[string]func(*shard) (engine, error){"of this host": newEngine, "portable": newPortable} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.engine = engine })
			a, z := natted(t)
			c := b.call("1", a, z).establish()
			say(t, a.rtp, a.peer, "nobody is known yet")
			eventually(t, "the packet", func() bool { return b.r.Stats().Dropped["send"]+b.r.Stats().Packets > 0 })
			say(t, z.rtp, z.peer, "hello") // to a's latched address
			if got, _ := next(t, a.rtp); got != "hello" {
				t.Fatal(got)
			}
			talk(t, a, z)
			say(t, z.rtcp, z.peerRTCP, "where z is")
			eventually(t, "z's RTCP", func() bool { return b.r.Sessions()[0].Streams[0].Sides[1].Packets == 3 })
			say(t, a.rtcp, a.peerRTCP, "report")
			if got, from := next(t, z.rtcp); got != "report" || from != z.peerRTCP {
				t.Error(got, from)
			}
			list := b.r.Sessions()
			if len(list) != 1 || !list[0].Answered || list[0].CallID != "1" || len(list[0].Streams) != 1 {
				t.Fatalf("%+v", list)
			}
			for i, p := range []*phone{a, z} {
				if s := list[0].Streams[0].Sides[i]; s.Remote != p.rtp.LocalAddr().(*net.UDPAddr).AddrPort() || !s.Latched || s.Packets < 2 || s.Local != p.peer {
					t.Errorf("side %d: %+v", i, s)
				}
			}
			c.bye()
			b.sessions(0)
		})
	}
}

// RFC 7362 §5: a third party gets no packet in, and none out, whether it is first or later.
func TestAThirdPartyGetsNothing(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	thief := newPhone(t, "127.0.0.66", "127.0.0.66")
	b.call("1", a, z).establish()
	refused := func(n uint64) {
		t.Helper()
		eventually(t, "the drop", func() bool { return b.r.Stats().Dropped["source"] == n })
	}
	say(t, thief.rtp, a.peer, "first")
	say(t, thief.rtp, z.peer, "first")
	refused(2)
	say(t, a.rtp, a.peer, "x")
	say(t, z.rtp, z.peer, "y")
	if got, _ := next(t, a.rtp); got != "y" {
		t.Fatal(got)
	}
	talk(t, a, z)
	say(t, thief.rtp, a.peer, "later")
	say(t, a.rtcp, a.peer, "from another port of the phone's")
	refused(4)
	talk(t, a, z)
	nothing(t, thief.rtp)
}

// Without strict, whoever is first is believed, and from then on nobody else.
func TestWithoutStrictTheFirstIsLatched(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Strict = false })
	a, z := natted(t)
	z.ip = "127.0.0.9" // its signalling comes from elsewhere
	b.call("1", a, z).establish()
	late := newPhone(t, "127.0.0.66", "127.0.0.66")
	say(t, z.rtp, z.peer, "is lost")
	eventually(t, "z to be latched", func() bool { return b.r.Sessions()[0].Streams[0].Sides[1].Latched })
	say(t, late.rtp, z.peer, "too late")
	talk(t, a, z)
	nothing(t, late.rtp)
}

// RFC 3264 §5.1: the caller may be sent to before the answer is there; who sends so is not latched yet.
func TestEarlyPacketsPass(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	a.own = a.ip // reachable
	z.own = "10.1.0.3"
	c := b.call("1", a, z)
	req := c.invite()
	say(t, z.rtp, z.peer, "early")
	if got, _ := next(t, a.rtp); got != "early" {
		t.Fatal(got)
	}
	if s := b.r.Sessions()[0].Streams[0].Sides[1]; s.Latched {
		t.Errorf("latched before the answer: %+v", s)
	}
	c.respond(req, 183, z.sdp())
	talk2 := func() {
		t.Helper()
		reach(t, z, a)
		reach(t, a, z)
	}
	talk2()
	c.respond(req, 200, z.sdp())
	talk2()
}

// RFC 7362 §4: only a description with another place lets go of who was latched, and only once it is answered.
func TestReINVITELatchesAnew(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	c := b.call("1", a, z).establish()
	say(t, a.rtp, a.peer, "x")
	eventually(t, "a to be latched", func() bool { return b.r.Sessions()[0].Streams[0].Sides[0].Latched })
	reach(t, z, a)
	reach(t, a, z)

	moved := newPhone(t, "127.0.0.2", "10.0.0.2")
	moved.tag, moved.peer = a.tag, a.peer
	told := z.peer
	if req, _ := c.within("INVITE", a, z, 200, a.sdp(), z.sdp()); string(req.Body) == a.sdp() {
		t.Error("passes as it is")
	}
	talk(t, a, z) // the same again changes nothing
	c.within("INVITE", a, z, 488, moved.sdp(), "")
	talk(t, a, z) // nor does what is refused
	req, res := c.within("INVITE", a, z, 200, moved.sdp(), z.sdp())
	z.hear(req)
	a.hear(res)
	if z.peer != told || a.peer != moved.peer {
		t.Errorf("other ports: %v, %v", z.peer, a.peer)
	}
	say(t, moved.rtp, a.peer, "here I am")
	if got, _ := next(t, z.rtp); got != "here I am" {
		t.Fatal(got)
	}
	talk(t, moved, z)
	say(t, a.rtp, a.peer, "old")
	eventually(t, "the drop", func() bool { return b.r.Stats().Dropped["source"] == 1 })

	// UPDATE by the callee, who is behind another NAT by now (RFC 3311).
	away := newPhone(t, "127.0.0.4", "10.1.0.3")
	away.tag = z.tag
	req, res = c.within("UPDATE", away, moved, 200, away.sdp(), moved.sdp())
	moved.hear(req)
	away.hear(res)
	say(t, away.rtp, away.peer, "hello")
	if got, _ := next(t, moved.rtp); got != "hello" {
		t.Fatal(got)
	}
	talk(t, moved, away)
	b.sessions(1)
}

// RFC 3264 §4: the offer may be in the 200 and the answer in the ACK; or in a reliable 183 and a PRACK (RFC 3262 §5).
func TestLateOffers(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprint("early ", early), func(t *testing.T) {
			b := newBench(t, nil)
			a, z := natted(t)
			c := b.call("1", a, z)
			req := c.request("INVITE", a, z, "", "")
			b.r.Request(c.leg, req, a.hop(), z.hop())
			b.sessions(0)
			if early {
				c.respond(req, 183, z.sdp())
				prack, _ := c.within("PRACK", a, z, 200, a.sdp(), "")
				z.hear(prack)
				c.respond(req, 200, "")
			} else {
				c.respond(req, 200, z.sdp())
				ack := c.request("ACK", a, z, z.tag, a.sdp())
				b.r.ACK(ack, a.hop(), z.hop())
				z.hear(ack)
			}
			say(t, a.rtp, a.peer, "x")
			eventually(t, "a to be latched", func() bool { return b.r.Sessions()[0].Streams[0].Sides[0].Latched })
			reach(t, z, a)
			talk(t, a, z)
			c.bye()
			b.sessions(0)
		})
	}
}

// Each branch of a fork has ports of its own; those that lose give them back. Two that answer on one branch, behind another proxy, share them: who
// answered last is heard, until one accepts.
func TestForks(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	y := newPhone(t, "127.0.0.4", "10.2.0.4")
	first, second := b.call("1", a, z), b.call("1", a, y)
	r1, r2 := first.invite(), second.invite()
	if z.peer == y.peer {
		t.Fatalf("both were told %v", z.peer)
	}
	first.respond(r1, 183, z.sdp())
	to := a.peer
	second.respond(r2, 180, y.sdp())
	if to == a.peer {
		t.Fatalf("the caller was told %v twice", to)
	}
	b.sessions(2)
	second.respond(r2, 200, y.sdp())
	first.respond(r1, 487, "")
	b.sessions(1)
	say(t, a.rtp, a.peer, "x")
	eventually(t, "a to be latched", func() bool { return b.r.Sessions()[0].Streams[0].Sides[0].Latched })
	reach(t, y, a)
	talk(t, a, y)

	w := newPhone(t, "127.0.0.4", "10.2.0.4")
	w.tag = "other"
	body := w.sdp()
	late := response(r2, 200, w.tag, body)
	b.r.Response(second.leg, late)
	if string(late.Body) != body {
		t.Error("a second 200 is relayed")
	}
	again := response(r2, 200, y.tag, y.sdp())
	b.r.Response(second.leg, again)
	told := a.peer
	if a.hear(again); a.peer != told {
		t.Error("the 200 reads differently the second time")
	}
	talk(t, a, y)
	second.z = w
	second.bye() // of the other dialog
	b.sessions(1)
	second.z = y
	second.within("BYE", y, a, 481, "", "")
	b.sessions(0)

	third := b.call("2", a, z) // the proxy has not seen the end of its branches yet
	req := third.invite()
	b.r.Response(third.leg, response(req, 183, w.tag, w.sdp()))
	b.r.Response(third.leg, response(req, 200, z.tag, z.sdp()))
	late = response(req, 200, w.tag, body)
	if b.r.Response(third.leg, late); string(late.Body) != body {
		t.Error("a second 200 is relayed")
	}
	third.bye()
	b.sessions(0)
}

// What fails, is cancelled or never ends gives its ports back.
func TestPortsComeBack(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	for _, status := range []int{302, 404, 486, 487, 503, 603} {
		c := b.call(fmt.Sprint(status), a, z)
		req := c.invite()
		c.respond(req, 180, "")
		b.sessions(1)
		c.respond(req, status, "")
		b.sessions(0)
	}
	c := b.call("timeout", a, z)
	c.invite()
	b.r.End(c.leg)
	b.sessions(0)

	c = b.call("next hop", a, z) // RFC 3263 §4.3: 503, and the same request goes to the next
	b.r.Response(c.leg, response(c.invite(), 503, "x", ""))
	b.sessions(0)
	c.establish()
	b.sessions(1)
	c.bye()

	c = b.call("forgotten", a, z)
	c.invite()
	b.pass(setupTimeout - time.Second)
	b.sessions(1)
	b.pass(time.Second)
	b.sessions(0)
	if s := b.r.Stats(); s.Ended["unanswered"] != 1 || s.Ended["failed"] != 8 || s.Ended["bye"] != 1 {
		t.Errorf("%+v", s)
	}
}

// A call in which nothing comes any more gives its ports back, without a BYE; one on hold may be quiet for longer.
//
// Feature: MED-05
func TestQuietCallsGiveTheirPortsBack(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	z.own = z.ip
	c := b.call("1", a, z).establish()
	b.pass(59 * time.Second)
	reach(t, a, z)
	b.pass(59 * time.Second)
	b.sessions(1)
	b.pass(2 * time.Second)
	b.sessions(0)
	if s := b.r.Stats(); s.Ended["silent"] != 1 || !slices.Equal(b.codes(), []string{"MED408"}) {
		t.Errorf("%+v %v", s, b.codes())
	}
	c.bye() // nobody minds

	// After that, or a restart, the next re-INVITE makes the session anew.
	req, res := c.within("INVITE", a, z, 200, a.sdp(), z.sdp())
	b.sessions(1)
	z.hear(req)
	a.hear(res)
	talk(t, a, z)
	for _, hold := range []string{"a=inactive", "a=sendonly"} {
		a.attrs = []string{hold}
		z.attrs = []string{map[string]string{"a=inactive": "a=inactive", "a=sendonly": "a=recvonly"}[hold]}
		c.within("INVITE", a, z, 200, a.sdp(), z.sdp())
		b.pass(90 * time.Minute)
		b.sessions(1)
		a.attrs, z.attrs = nil, nil
		c.within("INVITE", a, z, 200, a.sdp(), z.sdp())
		b.pass(30 * time.Second)
		b.sessions(1)
	}
	b.pass(31 * time.Second)
	b.sessions(0)
}

// RFC 3264 §8.4: c=0.0.0.0 means hold: nothing is sent there, and the address passes.
func TestHoldAsItWasOnce(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	z.own = z.ip
	c := b.call("1", a, z).establish()
	talk(t, a, z)
	own := a.own
	a.own = "0.0.0.0"
	req, _ := c.within("INVITE", a, z, 200, a.sdp(), z.sdp())
	if !strings.Contains(string(req.Body), "c=IN IP4 0.0.0.0") || strings.Contains(string(req.Body), own) {
		t.Errorf("%s", req.Body)
	}
	say(t, z.rtp, z.peer, "to nobody")
	eventually(t, "the drop", func() bool { return b.r.Stats().Dropped["no_peer"] == 1 })
	a.own = own
	c.within("INVITE", a, z, 200, a.sdp(), z.sdp())
	talk(t, a, z)
}

// Ports that are used up: calls go on unrelayed, or are refused; both with a code. A port is not used again before it has rested.
//
// Feature: MED-05
func TestPortsThatAreUsedUp(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprint("refuse ", refuse), func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.First, c.Last, c.Refuse = 20001, 20010, refuse }) // four pairs: 20002 to 20009
			a, z := natted(t)
			one, two := b.call("1", a, z).establish(), b.call("2", a, z).establish()
			try := func() (ok, relayed bool) {
				c := b.call("3", a, z)
				m := c.request("INVITE", a, z, "", a.sdp())
				ok = b.r.Request(c.leg, m, a.hop(), z.hop())
				b.r.End(c.leg)
				return ok, string(m.Body) != a.sdp()
			}
			if ok, relayed := try(); ok == refuse || relayed {
				t.Errorf("ok %v, relayed %v", ok, relayed)
			}
			if s := b.r.Stats(); s.Ports != 4 || s.PortsTotal != 4 || s.Exhausted != 1 || !slices.Equal(b.codes(), []string{"MED503"}) {
				t.Errorf("%+v %v", s, b.codes())
			}
			one.bye()
			b.pass(drain - time.Second)
			if _, relayed := try(); relayed {
				t.Error("a port is used again at once")
			}
			b.pass(time.Second)
			if _, relayed := try(); !relayed {
				t.Error("ports stay used up")
			}
			two.bye()
			b.sessions(0)
		})
	}
	b := newBench(t, func(c *Config) { c.Limit = 1 })
	a, z := natted(t)
	b.call("1", a, z).establish()
	c := b.call("2", a, z)
	if m := c.request("INVITE", a, z, "", a.sdp()); !b.r.Request(c.leg, m, a.hop(), z.hop()) || string(m.Body) != a.sdp() {
		t.Error("more calls than the limit")
	}
}

// Too many requests under way: what is new is refused, calls go on and end.
func TestTooManyRequests(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Refuse = true })
	a, z := natted(t)
	c := b.call("1", a, z).establish()
	for n := range uint64(maxLegs) {
		b.r.legs[1<<50+n] = &leg{}
	}
	fresh := b.call("2", a, z)
	if m := fresh.request("INVITE", a, z, "", a.sdp()); b.r.Request(fresh.leg, m, a.hop(), z.hop()) || string(m.Body) != a.sdp() {
		t.Error("taken")
	}
	req, res := c.within("INVITE", a, z, 200, a.sdp(), z.sdp())
	if string(req.Body) == a.sdp() || string(res.Body) == z.sdp() {
		t.Errorf("a call loses its relay\n%s\n%s", req.Body, res.Body)
	}
	c.bye()
	b.sessions(0)
}

// A port that another program has is passed over.
func TestAPortThatIsTaken(t *testing.T) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(relayHost), Port: 21003})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b := newBench(t, func(c *Config) { c.First, c.Last = 21000, 21005 })
	a, z := natted(t)
	z.own = z.ip
	b.call("1", a, z).establish()
	talk(t, a, z)
	if ports := []uint16{a.peer.Port(), z.peer.Port()}; slices.Contains(ports, 21002) {
		t.Error(ports)
	}
}

// Who is relayed.
func TestWhoIsRelayed(t *testing.T) {
	here, far := newPhone(t, "127.0.0.2", "127.0.0.2"), newPhone(t, "127.0.0.3", "127.0.0.3")
	a, z := natted(t)
	neighbour := newPhone(t, "127.0.0.2", "10.0.7.7")
	elsewhere := newPhone(t, "127.0.0.2", "192.168.0.7")
	remote := newPhone(t, "127.0.0.5", "127.0.0.5")
	remote.node = "node"
	ice := newPhone(t, "127.0.0.2", "10.0.0.2")
	ice.attrs = []string{"a=ice-ufrag:x", "a=candidate:1 1 UDP 1 10.0.0.2 4000 typ host"}
	shy := newPhone(t, "127.0.0.2", "10.0.0.2") // its Contact is right, its description is not
	for name, c := range map[string]struct {
		from, to *phone
		change   func(*message.Message)
		auto     bool
		always   bool
	}{
		"no NAT":                      {from: here, to: far, always: true},
		"caller behind a NAT":         {from: a, to: far, auto: true, always: true},
		"callee behind a NAT":         {from: here, to: z, auto: true, always: true},
		"both":                        {from: a, to: z, auto: true, always: true},
		"both, at one site":           {from: a, to: neighbour, always: true},
		"one address, other networks": {from: a, to: elsewhere, auto: true, always: true},
		"to another gateway":          {from: a, to: remote, auto: true, always: true},
		"from another gateway":        {from: remote, to: z, auto: true, always: true},
		"between gateways":            {from: remote, to: remote, always: true},
		"ICE":                         {from: ice, to: z, always: true},
		"a browser": {from: ice, to: z, change: func(m *message.Message) {
			m.Body = []byte(strings.Replace(string(m.Body), "RTP/AVP", "UDP/TLS/RTP/SAVPF", 1))
		}},
		"behind another proxy": {from: a, to: far, change: func(m *message.Message) { m.Add(message.Via, "SIP/2.0/UDP 10.0.0.9") }, always: true},
		"to another proxy":     {from: here, to: z, change: func(m *message.Message) { m.Add(message.Route, "<sip:192.0.2.1;lr>") }, always: true},
		"by the description":   {from: shy, to: far, change: func(m *message.Message) { m.Set(message.Contact, "<sip:x@127.0.0.2>") }, auto: true, always: true},
		"MSRP": {from: a, to: z, change: func(m *message.Message) {
			m.Body = []byte(strings.Replace(string(m.Body), "RTP/AVP 0", "TCP/MSRP *", 1))
		}},
		"compressed": {from: a, to: z, change: func(m *message.Message) { m.Add(message.ContentEncoding, "gzip") }},
		"unreadable": {from: a, to: z, change: func(m *message.Message) { m.Body = []byte("v=0\r\nm=audio\r\n") }},
		"no SDP":     {from: a, to: z, change: func(m *message.Message) { m.Set(message.ContentType, "text/plain") }},
		"of our own": {from: a, to: z, change: func(m *message.Message) {}, auto: true, always: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, always := range []bool{false, true} {
				b := newBench(t, func(c *Config) { c.Always = always })
				k := b.call("1", c.from, c.to)
				m := k.request("INVITE", c.from, c.to, "", c.from.sdp())
				if c.change != nil {
					c.change(m)
				}
				body := string(m.Body)
				b.r.Request(k.leg, m, c.from.hop(), c.to.hop())
				want := c.auto
				if always {
					want = c.always
				}
				if got := string(m.Body) != body; got != want {
					t.Errorf("always %v: relayed %v, want %v\n%s", always, got, want, m.Body)
				}
				if strings.Contains(string(m.Body), "ice-") && want {
					t.Errorf("ICE leads past the relay\n%s", m.Body)
				}
				// On its way through here once more, nothing is added.
				again := m.Clone()
				b.r.Request(k.leg+1<<40, again, c.to.hop(), c.to.hop())
				if want && string(again.Body) != string(m.Body) {
					t.Errorf("relayed twice\n%s", again.Body)
				}
			}
		})
	}
}

// A description may be a part of the body; the other parts stay (RFC 5621).
func TestMultipartBody(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	c := b.call("1", a, z)
	m := c.request("INVITE", a, z, "", "")
	m.Set(message.ContentType, "multipart/mixed;boundary=b")
	const before, after = "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/sdp\r\n\r\n", "\r\n--b--\r\n"
	m.Body = []byte(before + a.sdp() + after)
	b.r.Request(c.leg, m, a.hop(), z.hop())
	if s := string(m.Body); !strings.HasPrefix(s, before) || !strings.HasSuffix(s, after) || strings.Contains(s, "c=IN IP4 10.") || !strings.Contains(s, "c=IN IP4 "+relayHost) {
		t.Errorf("%s", s)
	}
}

// Several streams: each has ports; one that is rejected has none; in a bundle those of the first serve all (RFC 9143 §7.3).
func TestSeveralStreams(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	c := b.call("1", a, z)
	a.attrs = []string{"m=video 4002 RTP/AVP 96", "m=application 4004 TCP/BFCP *", "m=text 0 RTP/AVP 98"}
	req := c.invite()
	offer := bodyOf(req).d.Streams
	if offer[0].Port == offer[1].Port || offer[1].Port == 4002 || offer[2].Port != 4004 || offer[3].Port != 0 || offer[2].Addr.String() != a.own {
		t.Fatalf("%s", req.Body)
	}
	z.attrs = []string{fmt.Sprintf("m=video %d RTP/AVP 96", z.port()), "m=application 0 TCP/BFCP *", "m=text 0 RTP/AVP 98"}
	res := c.respond(req, 200, z.sdp())
	answer := bodyOf(res).d.Streams
	if answer[0].Port != answer[1].Port || answer[2].Port != 0 {
		t.Errorf("a bundle:\n%s", res.Body)
	}
	if s := b.r.Stats(); s.Ports != 4 {
		t.Errorf("%+v", s)
	}
	// RFC 3605: RTCP where it says.
	a.attrs, z.attrs = []string{"a=rtcp:4711"}, []string{"a=rtcp-mux"}
	c2 := b.call("2", a, z)
	req = c2.invite()
	if _, rtcp, _ := strings.Cut(string(req.Body), "a=rtcp:"); !strings.HasPrefix(rtcp, fmt.Sprint(z.peer.Port()+1)) {
		t.Errorf("%s", req.Body)
	}
}

// A phone of one family and one of the other: each is told an address of its own (RFC 8866 §5.7).
func TestBetweenIPv4AndIPv6(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Addresses = append(c.Addresses, netip.IPv6Loopback()) })
	a := newPhone(t, "127.0.0.2", "127.0.0.2")
	six, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = six.Close() }()
	hop := location.Hop{Transport: "UDP", Remote: netip.AddrPortFrom(netip.IPv6Loopback(), 5060)}
	z := &phone{t: t, ip: "::1", own: "[::1]", tag: "six"}
	c := b.call("1", a, z)
	req := c.request("INVITE", a, z, "", a.sdp())
	b.r.Request(c.leg, req, a.hop(), hop)
	z.hear(req)
	at := six.LocalAddr().(*net.UDPAddr).AddrPort()
	res := response(req, 200, z.tag, fmt.Sprintf("v=0\r\ns=-\r\nc=IN IP6 ::1\r\nm=audio %d RTP/AVP 0\r\n", at.Port()))
	b.r.Response(c.leg, res)
	a.hear(res)
	if !a.peer.Addr().Is4() || !z.peer.Addr().Is6() {
		t.Fatalf("%v %v", a.peer, z.peer)
	}
	say(t, a.rtp, a.peer, "four")
	if got, from := next(t, six); got != "four" || from != z.peer {
		t.Fatal(got, from)
	}
	say(t, six, z.peer, "six")
	if got, _ := next(t, a.rtp); got != "six" {
		t.Fatal(got)
	}
}

// What is too big is dropped, not cut.
func TestPacketsThatAreTooBig(t *testing.T) {
	for name, engine := range map[string]func(*shard) (engine, error){"of this host": newEngine, "portable": newPortable} {
		b := newBench(t, func(c *Config) { c.engine = engine })
		a, z := natted(t)
		z.own = z.ip
		b.call("1", a, z).establish()
		say(t, a.rtp, a.peer, strings.Repeat("x", maxPacket+1))
		eventually(t, "the drop", func() bool { return b.r.Stats().Dropped["too_big"] == 1 })
		say(t, a.rtp, a.peer, strings.Repeat("y", maxPacket))
		if got, _ := next(t, z.rtp); len(got) != maxPacket {
			t.Errorf("%s: %d octets", name, len(got))
		}
	}
}

// Nobody can have the relay send to itself, to a group, or into the network of this host from outside; what a phone in there says is as good as ever.
func TestPlacesThatAreNotSentTo(t *testing.T) {
	public, private := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.0.0.1")
	r := &Relay{faces: [2]netip.Addr{public}, taken: map[uint16]bool{20000: true}}
	for _, c := range []struct {
		place        string
		signal, face netip.Addr
		want         bool
	}{
		{"192.0.2.1:20000", public, public, false}, {"192.0.2.1:20001", public, public, false}, {"192.0.2.1:20002", public, public, true},
		{"224.0.0.1:4000", public, public, false}, {"0.0.0.0:4000", public, public, false}, {"192.0.2.7:0", public, public, false},
		{"192.0.2.7:20000", public, public, true}, {"192.0.2.7:20000", private, private, true},
		{"10.0.0.7:4000", public, public, false}, {"10.0.0.7:4000", public, private, false}, {"10.0.0.7:4000", private, public, true},
		{"10.0.0.7:4000", netip.Addr{}, public, false}, {"10.0.0.7:4000", netip.Addr{}, private, true},
		{"127.0.0.1:4000", public, public, false}, {"169.254.0.1:4000", public, public, false}, {"[fd00::1]:4000", public, public, false},
	} {
		p, s := &port{}, &session{signal: [2]netip.Addr{{}, c.signal}, face: [2]netip.Addr{{}, c.face}}
		if r.point(p, netip.MustParseAddrPort(c.place), s, 1); p.to.IsValid() != c.want {
			t.Errorf("%s, for one at %v told %v: sent to %v", c.place, c.signal, c.face, p.to)
		}
	}
}

// RFC 3264 §9: what a phone says of its capabilities in a 200 to OPTIONS moves nothing; nor does an old 200 to INVITE.
func TestWhatIsNoAnswerMovesNothing(t *testing.T) {
	b := newBench(t, nil)
	a, z := natted(t)
	c := b.call("1", a, z)
	req := c.invite()
	old := z.sdp()
	c.respond(req, 200, old)
	say(t, a.rtp, a.peer, "x")
	eventually(t, "a to be latched", func() bool { return b.r.Sessions()[0].Streams[0].Sides[0].Latched })
	reach(t, z, a)
	talk(t, a, z)
	capabilities := strings.Replace(z.sdp(), fmt.Sprint("m=audio ", z.port()), "m=audio 9", 1)
	if _, res := c.within("OPTIONS", a, z, 200, "", capabilities); string(res.Body) != capabilities {
		t.Errorf("%s", res.Body)
	}
	talk(t, a, z)
	moved := newPhone(t, "127.0.0.3", "10.1.0.3")
	moved.tag = z.tag
	_, res := c.within("INVITE", a, z, 200, a.sdp(), moved.sdp())
	z = moved
	z.peer = netip.AddrPortFrom(b.r.faces[0], b.r.Sessions()[0].Streams[0].Sides[1].Local.Port())
	a.hear(res)
	say(t, z.rtp, z.peer, "here")
	if got, _ := next(t, a.rtp); got != "here" {
		t.Fatal(got)
	}
	again := response(req, 200, z.tag, old)
	if b.r.Response(c.leg, again); string(again.Body) == old {
		t.Error("the 200 reads differently the second time")
	}
	talk(t, a, z)
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"too few ports": {Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, First: 20000, Last: 20002},
		"no address":    {First: 20000, Last: 20100},
	} {
		if _, err := New(c); err == nil {
			t.Error(name)
		}
	}
}

// BenchmarkPacket is what a packet costs from the socket of one phone to that of the other, and what the same costs without a relay between: user and
// system time of this process, which plays the phones as well. The difference is the relay's.
func BenchmarkPacket(b *testing.B) {
	for _, relayed := range []bool{true, false} {
		b.Run(fmt.Sprint("relayed=", relayed), func(b *testing.B) {
			k := newBench(b, nil)
			var pairs [][2]*phone
			for i := range 20 {
				a, z := natted(b)
				z.own = z.ip
				k.call(fmt.Sprint(i), a, z).establish()
				if !relayed {
					a.peer = z.rtp.LocalAddr().(*net.UDPAddr).AddrPort()
				}
				pairs = append(pairs, [2]*phone{a, z})
			}
			packet := make([]byte, 172) // 20 ms of G.711
			buf := make([]byte, maxPacket)
			b.ReportAllocs()
			start, n := cpu(), 0
			for b.Loop() {
				n += len(pairs)
				for _, p := range pairs {
					if _, err := p[0].rtp.WriteToUDPAddrPort(packet, p[0].peer); err != nil {
						b.Fatal(err)
					}
				}
				for _, p := range pairs {
					if _, _, err := p[1].rtp.ReadFromUDPAddrPort(buf); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(cpu()-start)/float64(n), "cpu-ns/packet")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCall is a call from INVITE to BYE, with its four ports.
func BenchmarkCall(b *testing.B) {
	k := newBench(b, func(c *Config) { c.First, c.Last = 1024, 65535 })
	a, z := natted(b)
	for b.Loop() {
		k.call("1", a, z).establish().bye()
		k.now = k.now.Add(drain)
		k.r.now = k.now
	}
}

// BenchmarkMemory is what a call that goes on takes of heap and stacks; the kernel has its sockets besides.
func BenchmarkMemory(b *testing.B) {
	for name, engine := range map[string]func(*shard) (engine, error){"of this host": newEngine, "portable": newPortable} {
		b.Run(name, func(b *testing.B) {
			k := newBench(b, func(c *Config) { c.First, c.Last, c.engine = 20000, 30000, engine })
			a, z := natted(b)
			used := func() uint64 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				return m.HeapAlloc + m.StackInuse
			}
			for b.Loop() {
				before := used()
				var calls []*call
				for i := range 500 {
					calls = append(calls, k.call(fmt.Sprint("m", i), a, z).establish())
				}
				b.ReportMetric(float64(used()-before)/500, "B/call")
				for _, c := range calls {
					c.bye()
				}
				k.pass(drain)
			}
		})
	}
}
