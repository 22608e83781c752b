package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

const (
	deskID = "urn:uuid:00000000-0000-1000-8000-000000000001"
	walkID = "urn:uuid:00000000-0000-1000-8000-000000000002"
)

// flowOf is a binding of bob's device over a connection of its own.
func flowOf(instance string, regID uint32, flow uint64, age time.Duration) location.Binding {
	at := time.UnixMilli(1_700_000_000_000)
	return location.Binding{Contact: fmt.Sprintf("sip:bob@10.0.0.9:%d;transport=tcp", 5000+flow), Q: 1000, Instance: instance, RegID: regID,
		CallID: "reg", Since: at, Updated: at.Add(-age), Hop: stream("TCP", fmt.Sprintf("203.0.113.9:%d", 40000+flow), flow)}
}

// withDevices is a gateway at which bob has a desk phone with two flows and a telephone to walk about with.
func withDevices(t testing.TB, n int) *gateway {
	g := newGateway(t, n, nil)
	g.cached["bob@example.org"] = nil
	g.users["bob@example.org"] = true
	g.bindings["bob@example.org"] = []location.Binding{
		flowOf(deskID, 1, 1, time.Minute), flowOf(deskID, 2, 2, 0), flowOf(walkID, 1, 3, 0),
	}
	return g
}

func flows(ss []*sent) string {
	var out []string
	for _, s := range ss {
		out = append(out, fmt.Sprint(s.hop.Flow))
	}
	return strings.Join(out, " ")
}

// Feature: REG-18
func TestRFC3327_5_4_PathBecomesRoute(t *testing.T) {
	edge := udp("192.0.2.77:5060")
	for _, c := range []struct {
		name string
		from location.Hop // of the REGISTER
		want location.Hop
	}{
		{"over UDP", udp("192.0.2.78:33000"), edge},
		{"over a connection that stands", stream("TCP", "192.0.2.78:33000", 1), stream("TCP", "192.0.2.78:33000", 1)},
		{"over one that is gone", stream("TCP", "192.0.2.78:33000", 666), edge},
	} {
		g := newGateway(t, 1, nil)
		g.cached["bob@example.org"], g.dead[666], g.dns["edge1.example"] = nil, true, []location.Hop{edge}
		g.bindings["bob@example.org"] = []location.Binding{{Contact: bobPhone, Hop: c.from, Q: 1000,
			Path: []string{"<sip:edge1.example;lr>", "<sip:edge2.example;lr>"}}}
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		g.p.pool.all.Wait()
		s := g.branches(1)[0]
		wantValues(t, s.req, message.Route, "<sip:edge1.example;lr>", "<sip:edge2.example;lr>")
		if s.hop != c.want || s.req.RequestURI != bobPhone {
			t.Errorf("%s: %s to %v", c.name, s.req.RequestURI, s.hop)
		}
		s.answer(486)
		wantStatuses(t, x, 486)
	}
}

// Feature: REG-20 PRX-05
func TestRFC5626_7_OneFlowOfADeviceAtATime(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(s *sent)
	}{
		{"430", func(s *sent) { s.answer(430) }},
		{"408", func(s *sent) { s.answer(408) }},
		{"the connection breaks", func(s *sent) { s.user.Failed(sip.ErrTransport) }},
		{"no answer", func(s *sent) { s.user.Failed(sip.ErrTimeout) }},
	} {
		g := withDevices(t, 1)
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		if got := flows(g.branches(2)); got != "2 3" {
			t.Fatalf("%s: tried flows %s; the newest of each device is wanted", c.name, got)
		}
		c.end(g.branches(2)[0])
		if got := flows(g.branches(3)); got != "2 3 1" {
			t.Fatalf("%s: tried flows %s", c.name, got)
		}
		bs := g.branches(3)
		if bs[2].req.RequestURI != "sip:bob@10.0.0.9:5001;transport=tcp" {
			t.Errorf("%s: Request-URI %s", c.name, bs[2].req.RequestURI)
		}
		bs[0].answer(200) // too late: that flow was given up
		bs[2].answer(180)
		bs[2].answer(200)
		bs[1].answer(487)
		wantStatuses(t, x, 180, 200)
		g.wantIdle()
	}
}

// Feature: REG-20
func TestRFC5626_7_AnyOtherResponseIsTheAnswerOfTheDevice(t *testing.T) {
	g := withDevices(t, 1)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(2)
	bs[0].answer(486)
	bs[1].answer(503)
	wantStatuses(t, x, 486)
	g.branches(2)
	g.wantIdle()
}

// Feature: REG-20
func TestRFC5626_11_5_EndpointsNeverReceive430(t *testing.T) {
	g := withDevices(t, 1)
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(2)[0].answer(430)
	g.branches(3)[1].answer(430)
	g.branches(3)[2].answer(430)
	wantStatuses(t, x, 480)
}

// Feature: REG-20 REG-21
func TestRFC5626_7_AFlowThatIsGoneIsNotTried(t *testing.T) {
	g := withDevices(t, 1)
	g.dead[2] = true
	g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	if got := flows(g.branches(2)); got != "1 3" {
		t.Errorf("tried flows %s", got)
	}
}

// Feature: REG-19
func TestRFC5627_6_1_APublicGRUUReachesItsDeviceOnly(t *testing.T) {
	g := withDevices(t, 1)
	x := g.receive(request(t, "INVITE", "sip:bob@EXAMPLE.org;gr="+walkID, aliceURI), alice)
	s := g.branches(1)[0]
	if s.hop.Flow != 3 || s.req.RequestURI != "sip:bob@10.0.0.9:5003;transport=tcp" {
		t.Errorf("%s to %v", s.req.RequestURI, s.hop)
	}
	s.answer(430)
	wantStatuses(t, x, 480)

	g.bindings["bob@example.org"] = g.bindings["bob@example.org"][:2]
	wantStatuses(t, g.receive(request(t, "INVITE", "sip:bob@example.org;gr="+walkID, aliceURI), alice), 480)
	g.branches(1)
}

// Feature: REG-19
func TestRFC5627_6_1_TemporaryGRUUs(t *testing.T) {
	home, far := withDevices(t, 1), newGateway(t, 2, nil)
	join(home, far)
	home.p.c.GRUUs = location.NewGRUUs([]byte("1"), domain, home.node)
	far.p.c.GRUUs = location.NewGRUUs([]byte("2"), domain, far.node)
	set := home.bindings["bob@example.org"]
	temp := home.p.c.GRUUs.Temporary("bob@example.org", &set[1])
	for _, g := range []*gateway{home, far} {
		n := len(home.sent)
		g.receive(request(t, "INVITE", temp, aliceURI), alice)
		if len(home.sent) != n+1 || home.sent[n].hop.Flow != 2 {
			t.Errorf("by way of %s: %d requests sent", g.node, len(home.sent)-n)
		}
	}
	set[1].CallID = "other"
	wantStatuses(t, home.receive(request(t, "INVITE", temp, aliceURI), alice), 404)
	wantStatuses(t, home.receive(request(t, "INVITE", "sip:tg.AAAA@example.org;gr=node1%2F+~", aliceURI), alice), 404)
}

// Feature: REG-19 PRX-25
func TestRFC5627_6_1_APublicGRUUIsFoundFromAnyGateway(t *testing.T) {
	far, home := newGateway(t, 1, nil), withDevices(t, 2)
	join(far, home)
	far.cached["bob@example.org"] = []location.Remote{{Node: home.node}, {URI: "sip:carol@example.org"}}
	far.receive(request(t, "INVITE", "sip:bob@example.org;gr="+walkID, aliceURI, "Replaces: x;to-tag=1;from-tag=2"), alice)
	s := home.branches(1)[0]
	if s.hop.Flow != 3 || s.req.Get(message.Replaces) != "x;to-tag=1;from-tag=2" {
		t.Errorf("to %v with Replaces %q", s.hop, s.req.Get(message.Replaces))
	}
	far.branches(1)
}

// Phones that have GRUUs put them into Contact, so requests within a dialog come for them.
//
// Feature: REG-19 PRX-10
func TestRFC5627_6_1_RequestsWithinADialogComeForTheGRUU(t *testing.T) {
	for _, across := range []bool{false, true} {
		home := withDevices(t, 1)
		near := home
		if across {
			near = newGateway(t, 2, nil)
			join(home, near)
			near.cached["bob@example.org"] = []location.Remote{{Node: home.node}}
		}
		gruu := "sip:bob@example.org;gr=" + deskID
		home.bindings["bob@example.org"] = home.bindings["bob@example.org"][:2]
		caller := &phone{contact: aliceURI + ";gr=" + walkID, hop: stream("TCP", "203.0.113.1:40000", 77), g: near}
		near.bindings["alice@example.org"] = []location.Binding{{Contact: "sip:alice@10.0.0.1;transport=tcp", Q: 1000, Instance: walkID, Hop: caller.hop}}
		callee := &phone{contact: gruu, hop: stream("TCP", "203.0.113.9:40002", 2), g: home}
		d := establish(t, caller, callee)
		caller.contact, callee.contact = "sip:alice@10.0.0.1;transport=tcp", "sip:bob@10.0.0.9:5002;transport=tcp" // what arrives
		d.send("ACK", caller, callee)
		for _, method := range []string{"INVITE", "NOTIFY", "BYE"} {
			d.send(method, caller, callee)
			d.send(method, callee, caller)
		}
	}
}

// A registration that came by way of a proxy says nothing about who else is behind it.
//
// Feature: PRX-29
func TestRFC3261_22_3_AFlowOfAnotherProxyIsNoCredential(t *testing.T) {
	edge := stream("TCP", "192.0.2.50:40000", 5)
	for _, c := range []struct {
		name string
		path []string
		via  string
		want int
	}{
		{"the phone itself", nil, "", 0},
		{"another phone behind the proxy", nil, "Via: SIP/2.0/TCP 10.0.0.66;branch=z9hG4bKmallory", 407},
		{"the proxy itself", []string{"<sip:edge.example;lr>"}, "", 407},
	} {
		g := newGateway(t, 1, func(c *Config) { c.RequireAuth, c.Authenticator = true, denied{} })
		g.cached["bob@example.org"] = nil
		g.register("bob", bobPhone, bob)
		g.bindings["alice@example.org"] = []location.Binding{{Contact: "sip:alice@10.0.0.1", Path: c.path, Hop: edge}}
		req := request(t, "INVITE", bobURI, aliceURI)
		if c.via != "" {
			req.Add(message.Via, strings.TrimPrefix(c.via, "Via: "))
		}
		x := g.receive(req, edge)
		if c.want == 0 {
			g.branches(1)
			continue
		}
		if got := x.statuses(); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s got %v, want %d", c.name, got, c.want)
		}
	}
}

type denied struct{}

func (denied) Authenticate(*message.Message) (string, []string, bool) {
	return "", []string{`Digest realm="example.org"`}, false
}

// Feature: REG-25
func TestRFC3261_11_AContactIsAskedTheWayThatACallTakes(t *testing.T) {
	g := withDevices(t, 1)
	g.dead[1] = true
	for _, c := range []struct {
		b    location.Binding
		hop  location.Hop
		uri  string
		want bool
	}{
		{flowOf(deskID, 2, 2, 0), stream("TCP", "203.0.113.9:40002", 2), "sip:bob@10.0.0.9:5002;transport=tcp", true},
		{flowOf(deskID, 1, 1, 0), location.Hop{}, "", false},
		{location.Binding{Contact: bobPhone, Hop: bob}, bob, bobPhone, true},
		{location.Binding{Contact: bobPhone, Hop: bob, Path: []string{"<sip:192.0.2.77;lr>"}}, udp("192.0.2.77:5060"), bobPhone, true},
		{location.Binding{Contact: bobPhone, Hop: bob, Path: []string{"<sip:edge.example;lr>"}}, location.Hop{}, "", false},
	} {
		g.sent = nil
		if got := g.p.Ask(c.b, nil); got != c.want {
			t.Errorf("%s: asked: %v", c.b.Contact, got)
		}
		if !c.want {
			continue
		}
		s := g.branches(1)[0]
		if s.hop != c.hop || s.req.RequestURI != c.uri || s.req.Method != "OPTIONS" || len(s.req.Values(message.Route)) != len(c.b.Path) {
			t.Errorf("asked %s over %v: %s", s.req.RequestURI, s.hop, s.req.AppendTo(nil))
		}
	}
}
