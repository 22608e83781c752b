package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// phone is one side of a dialog: what RFC 3261 §12 has a phone remember.
type phone struct {
	contact string
	hop     location.Hop // as the gateway sees it
	g       *gateway
	tag     string
	routes  []string // route set
	target  string   // remote Contact
}

// dialog is a call that was set up through gateways.
type dialog struct {
	t      testing.TB
	caller *phone
	callee *phone
	invite *fakeTx
	leg    *sent // the INVITE as the callee got it
	seq    int
}

// establish has caller call callee, who is registered as bob, and answer.
func establish(t testing.TB, caller, callee *phone) *dialog {
	t.Helper()
	caller.tag, callee.tag = "caller", "callee"
	d := &dialog{t: t, caller: caller, callee: callee, seq: 1}
	req := request(t, "INVITE", bobURI, aliceURI)
	req.Set(message.Contact, "<"+caller.contact+">")
	req.Body = []byte("v=0\r\n")
	d.invite = caller.g.receive(req, caller.hop)
	callee.g.mu.Lock()
	d.leg = callee.g.sent[len(callee.g.sent)-1]
	callee.g.mu.Unlock()
	if d.leg.hop != callee.hop {
		t.Fatalf("INVITE went to %v, not to %v", d.leg.hop, callee.hop)
	}
	// RFC 3261 §12.1.1: the callee takes the route set as it stands, the caller (§12.1.2) in reverse order.
	callee.routes, callee.target = d.leg.req.Values(message.RecordRoute), caller.contact
	d.leg.answer(200, "Contact: <"+callee.contact+">")
	res := d.invite.last(t)
	if res.StatusCode != 200 {
		t.Fatalf("the caller got %d", res.StatusCode)
	}
	caller.routes, caller.target = res.Values(message.RecordRoute), callee.contact
	slices.Reverse(caller.routes)
	if n := len(callee.routes); n > 2*hops(d) {
		t.Errorf("%d Record-Route values over %d gateways", n, hops(d))
	}
	return d
}

func hops(d *dialog) int {
	if d.caller.g == d.callee.g {
		return 1
	}
	return 2
}

// send sends a request within the dialog from one side; the request as the other side gets it comes back.
func (d *dialog) send(method string, from, to *phone) *message.Message {
	d.t.Helper()
	d.seq++
	req := within(d.t, method, from.target, from.tag, to.tag, from.routes...)
	req.Set(message.CSeq, fmt.Sprintf("%d %s", d.seq, method))
	req.Set(message.Contact, "<"+from.contact+">")
	var got *sent
	if method == "ACK" {
		n := len(to.g.acks)
		from.g.p.ACK(req, from.hop)
		if len(to.g.acks) != n+1 {
			d.t.Fatalf("the ACK did not arrive")
		}
		got = to.g.acks[n]
	} else {
		to.g.mu.Lock()
		n := len(to.g.sent)
		to.g.mu.Unlock()
		x := from.g.receive(req, from.hop)
		if len(to.g.sent) != n+1 {
			d.t.Fatalf("%s did not arrive; its sender got %v with %q", method, x.statuses(), x.last(d.t).Get(message.Warning))
		}
		got = to.g.sent[n]
		got.answer(200)
		if x.last(d.t).StatusCode != 200 {
			d.t.Fatalf("%s was answered %v", method, x.statuses())
		}
	}
	if got.hop != to.hop {
		d.t.Fatalf("%s went to %v, not to %v", method, got.hop, to.hop)
	}
	if got.req.RequestURI != to.contact {
		d.t.Errorf("Request-URI of %s is %s, want the Contact %s", method, got.req.RequestURI, to.contact)
	}
	if got.req.Has(message.Route) {
		d.t.Errorf("%s arrived with Route %q", method, got.req.Values(message.Route))
	}
	return got.req
}

// everything sends what a dialog may see, both ways.
func (d *dialog) everything() {
	d.t.Helper()
	d.send("ACK", d.caller, d.callee)
	for _, method := range []string{"INVITE", "UPDATE", "INFO", "PRACK", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "OPTIONS"} {
		d.send(method, d.caller, d.callee)
		d.send(method, d.callee, d.caller)
	}
	d.send("ACK", d.callee, d.caller)
	d.send("BYE", d.callee, d.caller)
	d.send("BYE", d.caller, d.callee)
	d.caller.g.wantIdle()
	d.callee.g.wantIdle()
}

// kinds are phones as a gateway meets them. The last element of the address is the phone's number.
var kinds = []struct {
	name    string
	contact string
	hop     func(n int) location.Hop
}{
	{"UDP", "sip:%s@203.0.113.%d:5060", func(n int) location.Hop { return udp(fmt.Sprintf("203.0.113.%d:5060", n)) }},
	{"UDP behind NAT", "sip:%s@10.0.0.%d:5060", func(n int) location.Hop { return udp(fmt.Sprintf("203.0.113.%d:31000", n)) }},
	{"UDP over IPv6", "sip:%s@[2001:db8:1::%d]:5060", func(n int) location.Hop { return udp(fmt.Sprintf("[2001:db8:1::%d]:5060", n)) }},
	{"TCP", "sip:%s@10.0.0.%d:40000;transport=tcp", func(n int) location.Hop {
		return stream("TCP", fmt.Sprintf("203.0.113.%d:40000", n), uint64(n))
	}},
	{"TLS", "sip:%s@10.0.0.%d:5061;transport=TLS", func(n int) location.Hop {
		return stream("TLS", fmt.Sprintf("203.0.113.%d:40001", n), uint64(n))
	}},
}

// Conformance: H-23 H-38 H-39
// Feature: PRX-10 PRX-11 NAT-03
func TestRFC5658_DialogsBetweenPhonesOfEveryKind(t *testing.T) {
	for _, a := range kinds {
		for _, b := range kinds {
			for _, gateways := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s to %s over %d", a.name, b.name, gateways), func(t *testing.T) {
					g1 := newGateway(t, 1, nil)
					g2 := g1
					if gateways == 2 {
						g2 = newGateway(t, 2, nil)
						join(g1, g2)
					}
					callee := &phone{contact: fmt.Sprintf(b.contact, "bob", 22), hop: b.hop(22), g: g2}
					g1.cached["bob@example.org"] = nil
					if gateways == 2 {
						g1.cached["bob@example.org"] = []location.Remote{{Node: g2.node}}
					}
					g2.register("bob", callee.contact, callee.hop)
					caller := &phone{contact: fmt.Sprintf(a.contact, "alice", 11), hop: a.hop(11), g: g1}
					d := establish(t, caller, callee)
					want := 2
					switch {
					case gateways == 2:
						want = 4
					case g1.Address(caller.hop) == g1.Address(callee.hop):
						want = 1
					}
					if got := len(d.callee.routes); got != want {
						t.Errorf("%d Record-Route values %q, want %d", got, d.callee.routes, want)
					}
					if string(d.leg.req.Body) != "v=0\r\n" {
						t.Errorf("body %q", d.leg.req.Body)
					}
					d.everything()
				})
			}
		}
	}
}

// between returns a call between a TCP phone at one gateway and a UDP phone behind NAT at another.
func between(t testing.TB) (d *dialog, g1, g2 *gateway) {
	g1, g2 = newGateway(t, 1, nil), newGateway(t, 2, nil)
	join(g1, g2)
	callee := &phone{contact: "sip:bob@10.0.0.22:5060", hop: udp("203.0.113.22:31000"), g: g2}
	g1.cached["bob@example.org"] = []location.Remote{{Node: g2.node}}
	g2.register("bob", callee.contact, callee.hop)
	caller := &phone{contact: "sip:alice@10.0.0.11:40000;transport=tcp", hop: stream("TCP", "203.0.113.11:40000", 11), g: g1}
	return establish(t, caller, callee), g1, g2
}

// Conformance: H-38
func TestH38_RecordRouteBetweenGateways(t *testing.T) {
	d, g1, g2 := between(t)
	rr := d.callee.routes
	want := []string{"<sip:rr.*@192.0.2.2:5060;lr>", "<sip:gw@example.org;gr=" + g2.node + ";lr>",
		"<sip:gw@example.org;gr=" + g1.node + ";lr>", "<sip:rr.*@192.0.2.1:5060;transport=tcp;lr>"}
	for i := range want {
		head, tail, star := strings.Cut(want[i], "*")
		if i >= len(rr) || !strings.HasPrefix(rr[i], head) || star && !strings.HasSuffix(rr[i], tail) {
			t.Fatalf("Record-Route %q, want %q", rr, want)
		}
	}
	if n := len(d.leg.req.Values(message.Via)); n != 3 {
		t.Errorf("%d Via values at the phone, want its own, and one of each gateway", n)
	}
}

// Conformance: H-38
func TestH38_DialogsOutliveRestartAndReRegistration(t *testing.T) {
	d, _, g2 := between(t)
	// The callee registers elsewhere and the gateways forget everything; the UDP side and the overlay are in the route set.
	g2.bindings["bob@example.org"] = nil
	fresh := newGateway(t, 2, nil)
	g2.p = fresh.p
	fresh.p.c.Sender, fresh.p.c.Locator = g2, g2
	d.send("BYE", d.caller, d.callee)
}

func TestRFC5626_5_3_AConnectionThatIsGoneIs430(t *testing.T) {
	d, g1, _ := between(t)
	g1.dead[11] = true
	x := d.callee.g.receive(within(t, "BYE", d.callee.target, "callee", "caller", d.callee.routes...), d.callee.hop)
	wantStatuses(t, x, 430)
}

func TestAPhoneThatConnectedAgainIsFoundByItsRegistration(t *testing.T) {
	d, g1, _ := between(t)
	g1.dead[11] = true
	again := stream("TCP", "203.0.113.11:40777", 12)
	g1.register("alice", d.caller.contact, again)
	req := within(t, "BYE", d.callee.target, "callee", "caller", d.callee.routes...)
	req.Set(message.To, "<"+aliceURI+">;tag=caller")
	d.callee.g.receive(req, d.callee.hop)
	g1.mu.Lock()
	defer g1.mu.Unlock()
	if s := g1.sent[len(g1.sent)-1]; s.hop != again || s.req.Method != "BYE" {
		t.Errorf("%s went to %v", s.req.Method, s.hop)
	}
}

func TestRFC5626_5_3_1_ATamperedTokenIs403(t *testing.T) {
	d, _, _ := between(t)
	own := d.caller.routes[0]
	for name, change := range map[string]func(req *message.Message){
		"one octet changed": func(req *message.Message) {
			c := "A"
			if own[12:13] == "A" {
				c = "B"
			}
			req.SetFirstValue(message.Route, own[:12]+c+own[13:])
		},
		"cut off":           func(req *message.Message) { req.SetFirstValue(message.Route, own[:8]+own[strings.Index(own, "@"):]) },
		"of another dialog": func(req *message.Message) { req.Set(message.CallID, "c2@example") },
	} {
		req := within(t, "BYE", d.caller.target, "caller", "callee", d.caller.routes...)
		change(req)
		x := d.caller.g.receive(req, d.caller.hop)
		if got := x.statuses(); !slices.Equal(got, []int{403}) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestATokenDoesNotOpenTheRelayOutsideItsDialog(t *testing.T) {
	d, g1, _ := between(t)
	req := request(t, "INVITE", "sip:x@192.0.2.99", "sip:eve@foreign.example", "Route: "+d.caller.routes[0])
	wantStatuses(t, g1.receive(req, alice), 403)
	g1.branches(1) // of the dialog itself
}

func TestRFC3261_22_1_ACKIsNeverAnsweredButDropped(t *testing.T) {
	g := withBob(t, nil)
	for _, ack := range []*message.Message{
		within(t, "ACK", "sip:x@192.0.2.99", "caller", "callee"),
		within(t, "ACK", bobURI, "caller", "callee"),
		within(t, "ACK", "sip:x@192.0.2.99", "caller", "callee", "<sip:rr.AAAA@192.0.2.1;lr>"),
		within(t, "ACK", "tel:1", "caller", "callee"),
	} {
		g.p.ACK(ack, alice)
	}
	if len(g.acks) != 0 || g.p.Stats().ACKs[ackDropped].N != 4 {
		t.Errorf("%d forwarded, %+v", len(g.acks), g.p.Stats().ACKs)
	}
}

// Feature: PRX-21
func TestRFC3261_16_11_ARetransmittedACKKeepsItsBranch(t *testing.T) {
	d, _, _ := between(t)
	ack := within(t, "ACK", d.caller.target, "caller", "callee", d.caller.routes...)
	d.caller.g.p.ACK(ack, d.caller.hop)
	d.caller.g.p.ACK(ack, d.caller.hop)
	acks := d.callee.g.acks
	if len(acks) != 2 || acks[0].req.Get(message.Via) != acks[1].req.Get(message.Via) {
		t.Errorf("%d ACKs", len(acks))
	}
	if n := len(acks[0].req.Values(message.Via)); n != 3 {
		t.Errorf("%d Via values", n)
	}
}

func TestACKToANameWaitsForTheResolver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := withBob(t, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } })
		g.dns["phone.example"] = []location.Hop{udp("192.0.2.70:5060")}
		g.p.ACK(within(t, "ACK", "sip:bob@phone.example", "caller", "callee"), alice)
		g.p.ACK(within(t, "ACK", "sip:bob@nowhere.example", "caller", "callee"), alice)
		wait()
		if len(g.acks) != 1 || g.acks[0].hop != udp("192.0.2.70:5060") || g.p.Stats().ACKs[ackDropped].N != 1 {
			t.Errorf("%d ACKs, %+v", len(g.acks), g.p.Stats().ACKs)
		}
	})
}

// Conformance: H-39
// Feature: PRX-35
func TestH39_CancelCrossesTheOverlayWithItsReason(t *testing.T) {
	g1, g2 := newGateway(t, 1, nil), newGateway(t, 2, nil)
	join(g1, g2)
	g1.register("bob", "sip:bob@203.0.113.21", udp("203.0.113.21:5060"))
	g1.cached["bob@example.org"] = []location.Remote{{Node: g2.node}}
	g2.register("bob", "sip:bob@203.0.113.22", udp("203.0.113.22:5060"))
	x := g1.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	here, there := g1.branches(2)[0], g2.branches(1)[0]
	here.answer(180)
	there.answer(180)
	here.answer(200)
	if len(there.cancelled()) != 1 || there.cancelled()[0] != elsewhere {
		t.Errorf("the other gateway's phone got CANCEL %q", there.cancelled())
	}
	there.answer(487)
	wantStatuses(t, x, 180, 180, 200)
	g1.wantIdle()
	g2.wantIdle()
}

// Feature: PRX-31
func TestPRX31_TwoGatewaysRingAndTheFirst2xxWins(t *testing.T) {
	g1, g2, g3 := newGateway(t, 1, nil), newGateway(t, 2, nil), newGateway(t, 3, nil)
	join(g1, g2, g3)
	g1.cached["bob@example.org"] = []location.Remote{{Node: g2.node}, {Node: g3.node}}
	g2.register("bob", "sip:bob@203.0.113.22", udp("203.0.113.22:5060"))
	g3.register("bob", "sip:bob@203.0.113.23", udp("203.0.113.23:5060"))
	x := g1.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	two, three := g2.branches(1)[0], g3.branches(1)[0]
	two.answer(180)
	three.answer(200)
	if len(two.cancelled()) != 1 {
		t.Error("not cancelled")
	}
	two.answer(200) // crosses the CANCEL: the caller gets both
	wantStatuses(t, x, 180, 200, 200)
}

func TestANativePeerWithoutRecordRouteIsReachedByTheToken(t *testing.T) {
	g := newGateway(t, 1, nil)
	g.cached["bob@example.org"] = []location.Remote{{Node: "native"}}
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(200, "Contact: <"+bobURI+">")
	routes := x.last(t).Values(message.RecordRoute)
	slices.Reverse(routes)
	g.receive(within(t, "BYE", bobURI, "caller", "callee", routes...), alice)
	if s := g.branches(2)[1]; s.hop.Node != "native" || s.req.RequestURI != bobURI {
		t.Errorf("BYE %s to %v", s.req.RequestURI, s.hop)
	}
}

// Feature: TRN-07
func TestWithinADialogAPhoneHearsFromTheSocketThatItKnows(t *testing.T) {
	here := netip.MustParseAddrPort("192.0.2.1:5070")
	g := withBob(t, nil)
	from, to := alice, bob
	from.Local, to.Local = here, here
	g.bindings["bob@example.org"][0].Hop = to
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), from)
	g.branches(1)[0].answer(200)
	route := x.last(t).Get(message.RecordRoute)
	g.p.ACK(within(t, "ACK", bobPhone, "caller", "callee", route), from)
	g.receive(within(t, "BYE", "sip:alice@198.51.100.1:5060", "callee", "caller", route), to)
	if g.acks[0].hop != to || g.branches(2)[1].hop != from {
		t.Errorf("ACK to %v, BYE to %v", g.acks[0].hop, g.sent[1].hop)
	}
}

func TestAnUpstreamProxyOverUDPIsFoundByItsRecordRoute(t *testing.T) {
	g := withBob(t, nil)
	g.receive(request(t, "INVITE", bobURI, "sip:x@foreign.example", "Record-Route: <sip:192.0.2.50:5070;lr>"), udp("192.0.2.50:31234"))
	s := g.branches(1)[0]
	routes := s.req.Values(message.RecordRoute)
	g.receive(within(t, "BYE", "sip:x@10.9.9.9", "callee", "caller", routes...), bob)
	if bye := g.branches(2)[1]; bye.hop != udp("192.0.2.50:5070") || bye.req.Get(message.Route) != "<sip:192.0.2.50:5070;lr>" {
		t.Errorf("BYE to %v with Route %q", bye.hop, bye.req.Get(message.Route))
	}
}

func TestRFC3261_12_ATargetRefreshOfAnUnhinderedUDPPhoneCounts(t *testing.T) {
	g := withBob(t, nil)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(1)[0].answer(200)
	route := x.last(t).Get(message.RecordRoute)
	g.receive(within(t, "BYE", "sip:bob@203.0.113.200:5080", "caller", "callee", route), alice)
	if s := g.branches(2)[1]; s.hop != udp("203.0.113.200:5080") {
		t.Errorf("BYE went to %v, not to the new Contact", s.hop)
	}
}
