package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// fakeMedia writes down what it is told of, and marks each body.
type fakeMedia struct {
	told   []string
	refuse bool
}

func (f *fakeMedia) Request(leg uint64, m *message.Message, from, to location.Hop) bool {
	f.told = append(f.told, fmt.Sprintf("%d %s %v>%v", leg, m.Method, from.Remote.Addr(), to.Remote.Addr()))
	m.Body = append(slices.Clone(m.Body), "request"...)
	return !f.refuse
}

func (f *fakeMedia) Response(leg uint64, m *message.Message) {
	f.told = append(f.told, fmt.Sprintf("%d %d", leg, m.StatusCode))
	m.Body = append(slices.Clone(m.Body), "response"...)
}

func (f *fakeMedia) End(leg uint64) { f.told = append(f.told, fmt.Sprintf("%d end", leg)) }

func (f *fakeMedia) ACK(m *message.Message, from, to location.Hop) {
	f.told = append(f.told, fmt.Sprintf("%s %v>%v", m.Method, from.Remote.Addr(), to.Remote.Addr()))
	m.Body = []byte("ack")
}

// The Media sees each branch under a number of its own, the same one at the next hop, and the end of all of them; a 2xx that comes again too. What it
// writes goes out.
func TestMediaSeesWhatPasses(t *testing.T) {
	f := &fakeMedia{}
	g := withPhones(t, 2)
	g.p.c.Media = f
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	bs := g.branches(2)
	if string(bs[0].req.Body) != "request" || string(bs[1].req.Body) != "request" || len(x.req.Body) != 0 {
		t.Errorf("bodies %q, %q; the request's own %q", bs[0].req.Body, bs[1].req.Body, x.req.Body)
	}
	bs[0].answer(180)
	bs[1].answer(200)
	bs[0].answer(487)
	bs[1].answer(200)
	if got := string(x.last(t).Body); got != "response" {
		t.Errorf("the caller reads %q", got)
	}
	want := []string{"1 INVITE 198.51.100.1>203.0.113.1", "2 INVITE 198.51.100.1>203.0.113.2", "1 180", "2 200", "1 487", "1 end", "2 end", "0 200"}
	if !slices.Equal(f.told, want) {
		t.Errorf("told %q, want %q", f.told, want)
	}
	g.wantIdle()
}

func TestMediaSeesTheNextHopAsTheSameLeg(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := &fakeMedia{}
		g := newGateway(t, 1, func(c *Config) { c.Trusted = func(location.Hop) bool { return true }; c.Media = f })
		g.dns["far.example.net"] = []location.Hop{udp("203.0.113.8:5060"), udp("203.0.113.9:5060")}
		g.receive(request(t, "INVITE", "sip:x@far.example.net", aliceURI), alice)
		wait()
		g.branches(1)[0].answer(503)
		g.branches(2)[1].answer(404)
		want := "1 INVITE 198.51.100.1>203.0.113.8,1 503,1 INVITE 198.51.100.1>203.0.113.9,1 404,1 end"
		if got := strings.Join(f.told, ","); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	})
}

func TestMediaSeesACKs(t *testing.T) {
	g := withBob(t, nil)
	d := establish(t, &phone{contact: "sip:alice@198.51.100.1:5060", hop: alice, g: g}, &phone{contact: bobPhone, hop: bob, g: g})
	f := &fakeMedia{}
	g.p.c.Media = f
	if ack := d.send("ACK", d.caller, d.callee); string(ack.Body) != "ack" || len(f.told) != 1 || !strings.HasPrefix(f.told[0], "ACK 198.51.100.1>") {
		t.Errorf("told %q, and sends %q", f.told, ack.Body)
	}
}

// No ports: the branch ends with 503, whatever the caller makes of it.
func TestMediaMayRefuse(t *testing.T) {
	g := withBob(t, nil)
	g.p.c.Media = &fakeMedia{refuse: true}
	x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
	g.branches(0)
	res := x.last(t)
	if res.StatusCode != 503 || !strings.Contains(res.Get(message.Warning), "PRX503M") {
		t.Errorf("\n%s", res.AppendTo(nil))
	}
	g.wantIdle()
}
