package proxy

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// quick is a sip.Sender that keeps the last request only.
type quick struct {
	*gateway
	req  *message.Message
	user sip.ClientUser
}

func (q *quick) Send(req *message.Message, to location.Hop, branch string, user sip.ClientUser) sip.ClientTransaction {
	req.Prepend(message.Via, q.via(to, branch))
	q.req, q.user = req, user
	return q
}

func (q *quick) SendStateless(req *message.Message, _ location.Hop, _ string) error {
	q.req = req
	return nil
}

func (q *quick) Cancel(string) {}
func (q *quick) Abandon()      {}

func (q *quick) answer(status int) {
	res := message.NewResponse(q.req, status, "", "callee")
	res.Add(message.RecordRoute, q.req.Get(message.RecordRoute))
	q.user.Response(res)
}

// BenchmarkCall takes INVITE, 180, 200, ACK, BYE and 200 through the proxy, between fakes: what remains is the proxy's
// own work and that of package message.
func BenchmarkCall(b *testing.B) {
	q := &quick{}
	q.gateway = withBob(b, func(c *Config) { c.Sender = q })
	invite := request(b, "INVITE", bobURI, aliceURI)
	x := &fakeTx{req: invite, src: alice}
	q.p.Request(x)
	q.answer(200)
	route := x.last(b).Get(message.RecordRoute)
	ack, bye := within(b, "ACK", bobPhone, "caller", "callee", route), within(b, "BYE", bobPhone, "caller", "callee", route)
	b.ReportAllocs()
	for b.Loop() {
		x := &fakeTx{req: invite, src: alice}
		q.p.Request(x)
		q.answer(180)
		q.answer(200)
		q.p.ACK(ack, alice)
		y := &fakeTx{req: bye, src: alice}
		q.p.Request(y)
		q.answer(200)
		if len(x.responses) != 2 || len(y.responses) != 1 {
			b.Fatal("lost")
		}
	}
}

// BenchmarkCaller takes the INVITE of a call over the overlay: without a claim of who calls, and with one whose proof is known.
func BenchmarkCaller(b *testing.B) {
	for name, req := range map[string]*message.Message{
		"unknown":  request(b, "INVITE", bobURI, "sip:x@foreign.example", "X: <sip:alice@example.org>"),
		"verified": request(b, "INVITE", bobURI, aliceURI, assertsAlice),
	} {
		b.Run(name, func(b *testing.B) {
			q := &quick{}
			q.gateway = withBob(b, func(c *Config) { c.Sender, c.Identity = q, Identity{Phones: true, Mark: true, Callers: constant{}} })
			b.ReportAllocs()
			for b.Loop() {
				x := &fakeTx{req: req, src: location.Hop{Node: "other"}}
				q.p.Request(x)
				q.answer(486)
			}
		})
	}
}

// BenchmarkAssertedCall is BenchmarkCall's INVITE of a registered phone, whose identity is asserted or not.
func BenchmarkAssertedCall(b *testing.B) {
	for name, assert := range map[string]bool{"plain": false, "asserted": true} {
		b.Run(name, func(b *testing.B) {
			q := &quick{}
			q.gateway = withBob(b, func(c *Config) { c.Sender, c.Identity = q, Identity{Assert: assert, Phones: true} })
			registeredAlice(q.gateway)
			req := request(b, "INVITE", bobURI, aliceURI)
			b.ReportAllocs()
			for b.Loop() {
				x := &fakeTx{req: req, src: alice}
				q.p.Request(x)
				q.answer(486)
			}
		})
	}
}

func BenchmarkFork(b *testing.B) {
	ringing, ok := &message.Message{StatusCode: 180}, &message.Message{StatusCode: 200}
	b.ReportAllocs()
	for b.Loop() {
		f := fork{invite: true, breadth: 60}
		for range 3 {
			f.add(1000)
		}
		f.step(epoch)
		for i := range 3 {
			f.response(epoch, i, ringing)
		}
		f.response(epoch, 1, ok)
		f.step(epoch)
	}
}
