package transaction

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/expiring"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// pair is what a proxy is to a request: each response to the one that it sent goes out over the one that came.
type pair struct {
	tx     sip.ServerTransaction
	failed int
}

func (p *pair) Response(m *message.Message) {
	m.PopValue(message.Via)
	p.tx.Respond(m)
}

func (p *pair) Failed(error)                            { p.failed++ }
func (p *pair) Relays() (sip.ServerTransaction, []byte) { return p.tx, []byte("note") }

// relay is the same when the pair is gone.
func relay(m *message.Message, note []byte) bool {
	m.PopValue(message.Via)
	return string(note) == "note" && m.Has(message.Via)
}

// proxying is a core that sends every request on.
func proxying(l **Layer) *core {
	return &core{relay: relay, request: func(tx sip.ServerTransaction) { (*l).Send(tx.Request().Clone(), udpHop, "", &pair{tx: tx}) }}
}

// octets is what w was given last.
func (w *wire) octets() string { return string(w.latest().AppendTo(nil)) }

// RFC 3261 §17.2.2: "While in the "Completed" state, the server transaction MUST pass the final response to the transport layer for
// retransmission whenever a retransmission of the request is received", and Timer J ends it.
//
// Feature: PRX-02
func TestRFC3261_17_2_2_RetransmissionGetsTheSameOctetsUntilTimerJ(t *testing.T) {
	requests := 0
	c := &core{request: func(tx sip.ServerTransaction) {
		requests++
		res := answer(tx.Request(), 200)
		res.Reason = "Fine"
		res.Add(message.Contact, "<sip:b@192.0.2.9>;expires=60")
		res.AddOther("X-Own", "a, b")
		res.Body = []byte("with a body")
		tx.Respond(res)
	}}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		ask := ask{method: "MESSAGE", branch: "z9hG4bK1"}
		l.Deliver(parse(ask), udpHop)
		first := w.octets()
		for range 3 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			w.last = nil
			l.Deliver(parse(ask), udpHop)
			if s := w.octets(); s != first || requests != 1 {
				t.Errorf("%d requests, got %s\nwant %s", requests, s, first)
			}
		}
		time.Sleep(3 * time.Second)
		l.Deliver(parse(ask), udpHop)
		if requests != 2 {
			t.Errorf("after Timer J the core has seen %d requests, want 2", requests)
		}
	})
}

// RFC 3261 §17.2.1: an INVITE that is refused at once is answered with the same octets each time that it comes, until Timer H. Nobody is told of its ACK,
// and no more is kept of it than of any other finished transaction: most such INVITEs are to be challenged, or a scanner's.
//
// Feature: PRX-02
func TestRFC3261_17_2_1_ARefusedINVITEIsNoObject(t *testing.T) {
	requests, ended, acks := 0, 0, 0
	c := &core{
		request: func(tx sip.ServerTransaction) {
			requests++
			tx.Respond(answer(tx.Request(), 407))
		},
		ended: func(sip.ServerTransaction) { ended++ },
		ack:   func(*message.Message, location.Hop) { acks++ },
	}
	virtual(t, Config{MaxTransactions: 1}, c, func(l *Layer, w *wire) {
		invite := ask{method: "INVITE", branch: "z9hG4bK1"}
		for _, hop := range []location.Hop{udpHop, tcpHop} {
			invite.branch += "x"
			requests, ended = 0, 0
			l.Deliver(parse(invite), hop)
			first := w.octets()
			for range 2 {
				time.Sleep(15 * time.Second)
				w.last = nil
				l.Deliver(parse(invite), hop)
				if s := w.octets(); s != first || l.table.count.Load() != 0 {
					t.Errorf("%d under way, got %s\nwant %s", l.table.count.Load(), s, first)
				}
			}
			l.Deliver(parse(ask{method: "ACK", branch: invite.branch}), hop)
			if requests != 1 || ended != 1 || acks != 0 {
				t.Errorf("%d requests, %d ended, %d ACKs", requests, ended, acks)
			}
			time.Sleep(3 * time.Second)
			l.Deliver(parse(invite), hop)
			if requests != 2 {
				t.Errorf("after Timer H: %d requests", requests)
			}
		}
	})
}

// RFC 6026 §7.1: in Accepted retransmissions of the INVITE are absorbed, ACKs are passed to the TU, and a further 2xx is passed to the
// transport; §7.2: the client passes each 2xx. All of that until 64*T1, and nothing of it afterwards.
//
// Feature: PRX-16
func TestRFC6026_7_1_7_2_AcceptedUntilTimersLAndM(t *testing.T) {
	var l *Layer
	acks := 0
	c := proxying(&l)
	c.ack = func(*message.Message, location.Hop) { acks++ }
	virtual(t, Config{}, c, func(layer *Layer, w *wire) {
		l = layer
		invite := ask{method: "INVITE", branch: "z9hG4bKin"}
		l.Deliver(parse(invite), udpHop)
		out := w.latest()
		ok := func(tag string) *message.Message { return message.NewResponse(out, 200, "", tag) }
		l.Deliver(ok("x"), udpHop)
		if s := w.log(); s != "0.0s INVITE, 0.0s 200" || l.counters.live() != 0 {
			t.Fatal(s, l.counters.live())
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		l.Deliver(parse(invite), udpHop)
		l.Deliver(parse(ask{method: "ACK", branch: "z9hG4bKin"}), udpHop)
		l.Deliver(parse(ask{method: "CANCEL", branch: "z9hG4bKin"}), udpHop)
		if s := w.log(); s != "31.0s 200" || acks != 1 || w.latest().Get(message.CSeq) != "1 CANCEL" {
			t.Error(s, acks)
		}
		for _, tag := range []string{"x", "y"} {
			l.Deliver(ok(tag), udpHop)
			m := w.latest()
			if v := m.Values(message.Via); len(v) != 1 || !strings.Contains(v[0], "z9hG4bKin") || message.Tag(m.Get(message.To)) != tag {
				t.Errorf("%s", m.AppendTo(nil))
			}
		}
		l.Deliver(message.NewResponse(out, 180, "", "x"), udpHop)
		l.Deliver(message.NewResponse(out, 486, "", "x"), udpHop)
		if s := w.log(); s != "31.0s 200, 31.0s 200" || l.Stats().Dropped["unexpected_response"] != 2 {
			t.Error(s, l.Stats().Dropped)
		}
		time.Sleep(2 * time.Second)
		l.Deliver(ok("x"), udpHop)
		if s := w.log(); s != "" || l.Stats().Dropped["stray_response"] != 1 {
			t.Error(s, l.Stats().Dropped)
		}
	})
}

// RFC 3261 §8.2.2.2: a copy that comes by another way is refused also when the first has been answered, as long as that is remembered.
func TestRFC3261_8_2_2_2_CopyOfAFinishedRequestIsRefused(t *testing.T) {
	requests := 0
	c := &core{request: func(tx sip.ServerTransaction) {
		requests++
		tx.Respond(answer(tx.Request(), 200))
	}}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		for i, method := range []string{"MESSAGE", "INVITE"} {
			for branch, want := range []string{"200", "482"} {
				l.Deliver(parse(ask{method: method, branch: fmt.Sprint("z9hG4bK", method, branch), call: method}), udpHop)
				if s := w.log(); !strings.HasSuffix(s, " "+want) || requests != i+1 {
					t.Errorf("%s: %s, %d requests", method, s, requests)
				}
			}
		}
	})
}

// RFC 6026 §7.1: a 2xx that the core has after the first is sent, for 64*T1.
func TestRFC6026_7_1_TheCoreSendsFurther2xx(t *testing.T) {
	var tx sip.ServerTransaction
	ended := 0
	c := &core{request: func(s sip.ServerTransaction) { tx = s }, ended: func(sip.ServerTransaction) { ended++ }}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), udpHop)
		for range 3 {
			tx.Respond(answer(tx.Request(), 200))
			time.Sleep(15 * time.Second)
		}
		tx.Respond(answer(tx.Request(), 200))
		if s := w.log(); s != "0.0s 200, 15.0s 200, 30.0s 200" || ended != 1 || l.Stats().Dropped["late_response"] != 1 {
			t.Error(s, ended, l.Stats().Dropped)
		}
	})
}

// A 2xx that crosses a final answer upstream has no way any more; nor has one whose user wants none.
func TestFurther2xxBehindAnotherAnswerIsDropped(t *testing.T) {
	var tx sip.ServerTransaction
	c := &core{relay: relay, request: func(s sip.ServerTransaction) { tx = s }}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), udpHop)
		l.Send(request("INVITE", "a"), udpHop, "", &pair{tx: tx})
		out := w.latest()
		tx.Respond(answer(tx.Request(), 487))
		l.Deliver(answer(out, 200), udpHop)
		l.Deliver(parse(ask{method: "ACK", branch: "z9hG4bK1"}), udpHop)
		l.Deliver(answer(out, 200), udpHop)
		l.Send(request("INVITE", "b"), udpHop, "", newUser())
		other := w.latest()
		l.Deliver(answer(other, 200), udpHop)
		l.Deliver(answer(other, 200), udpHop)
		if s := w.log(); s != "0.0s INVITE, 0.0s 487, 0.0s INVITE" || l.Stats().Dropped["late_response"] != 2 {
			t.Error(s, l.Stats().Dropped)
		}
	})
}

// RFC 3261 §17.1.1.2: "Any retransmissions of the final response that are received while in the "Completed" state MUST cause the ACK to
// be re-passed to the transport layer for retransmission", over the hop that the INVITE went.
func TestRFC3261_17_1_1_2_TheACKComesAgainUntilTimerD(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		l.Send(request("INVITE", "busy"), udpHop, "", newUser())
		busy := func() *message.Message { return answer(w.latest(), 486) }
		req := w.latest()
		l.Deliver(busy(), udpHop)
		ack := w.octets()
		time.Sleep(31 * time.Second)
		w.last = req
		l.Deliver(busy(), udpHop)
		if s := w.octets(); s != ack {
			t.Errorf("%s\nwant %s", s, ack)
		}
		time.Sleep(2 * time.Second)
		l.Deliver(answer(req, 486), udpHop)
		if s := w.log(); s != "0.0s INVITE, 0.0s ACK, 31.0s ACK" {
			t.Error(s)
		}
	})
}

// The key of a transaction is compared as a whole: one that is made up and ends up at the same place of the table finds nothing.
func TestForgedKeyWithTheSameHashIsNotAnswered(t *testing.T) {
	c := &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 200)) }}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		m := parse(ask{method: "OPTIONS", branch: "z9hG4bK1"})
		l.Deliver(m, udpHop)
		via, _ := m.TopVia()
		k := l.hasher.server(m, via, "OPTIONS")
		if _, left := l.table.find(l.now(), k); left.role != serverCompleted {
			t.Fatal(left.role)
		}
		for _, forged := range []key{{k[0] + shards, k[1]}, {k[0], k[1] + 1<<40}, {k[0] + shards<<8, k[1] + 1<<40}} {
			if e, left := l.table.find(l.now(), forged); e != nil || left.role != nobody {
				t.Errorf("%v: %v", forged, left)
			}
		}
	})
}

// What the request says again is not kept, and what comes back is what was sent, whatever it was.
func TestAbridgedMessagesAreWhatTheyWere(t *testing.T) {
	names := []message.Name{message.Via, message.From, message.To, message.CallID, message.Contact, message.Other, message.ContentLength}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{"", "a", "ab", "b;tag=x", "SIP/2.0/UDP 192.0.2.1"})
		fields := func(of string) (fs []message.Field) {
			for range rapid.IntRange(0, 12).Draw(t, of) {
				f := message.Field{Name: rapid.SampledFrom(names).Draw(t, "name"), Value: word.Draw(t, "value")}
				if f.Name == message.Other {
					f.Text = "X-" + word.Draw(t, "text")
				}
				fs = append(fs, f)
			}
			return fs
		}
		base := &message.Message{Method: "OPTIONS", RequestURI: "sip:a", Fields: fields("base")}
		m := &message.Message{Fields: fields("message"), Body: []byte(word.Draw(t, "body"))}
		if rapid.Bool().Draw(t, "request") {
			m.Method, m.RequestURI = "ACK", word.Draw(t, "uri")
		} else {
			m.StatusCode, m.Reason = rapid.SampledFrom([]int{100, 200, 699}).Draw(t, "status"), rapid.SampledFrom([]string{"", "OK", "x"}).Draw(t, "reason")
		}
		b := appendAbridged(nil, m, base)
		got := abridged(b, base)
		if got == nil || !bytes.Equal(got.AppendTo(nil), m.AppendTo(nil)) {
			t.Fatalf("%+v\nwant %+v", got, m)
		}
		_ = abridged(b, &message.Message{Method: "OPTIONS"}) // no copy of the request
		for n := range b {
			_ = abridged(b[:n], base)
		}
	})
}

func TestHopsAreWhatTheyWere(t *testing.T) {
	for _, h := range []location.Hop{
		{}, udpHop, tcpHop, {Node: "bm9kZQ"}, {Transport: flow.DTLS, Node: "bm9kZQ", Flow: 1 << 60},
		{Transport: flow.TLS, Remote: netip.MustParseAddrPort("[2001:db8::1]:5061"), Local: netip.MustParseAddrPort("[2001:db8::2]:40000"), Flow: 7, Host: "example.org"},
	} {
		b := append(appendHop(nil, h), "rest"...)
		got, rest, ok := cutHop(b)
		if diff := cmp.Diff(h, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" || !ok || string(rest) != "rest" {
			t.Error(diff, ok, string(rest))
		}
		for n := range len(b) - len("rest") {
			if _, _, ok := cutHop(b[:n]); ok {
				t.Errorf("%d octets of %d are a hop", n, len(b))
			}
		}
	}
}

// Finished transactions take no more memory than they may: the oldest go before their time. New ones are served all the same.
func TestMemoryOfFinishedTransactionsIsBounded(t *testing.T) {
	requests := 0
	c := &core{request: func(tx sip.ServerTransaction) {
		requests++
		tx.Respond(answer(tx.Request(), 200))
	}}
	const most = 2 * shards * expiring.PageSize
	virtual(t, Config{MaxFinished: most, MaxTransactions: 1}, c, func(l *Layer, w *wire) {
		const n = 800 * shards
		for i := range n {
			l.Deliver(parse(ask{method: "OPTIONS", branch: fmt.Sprint("z9hG4bK", i), call: fmt.Sprint(i)}), udpHop)
		}
		s := l.Stats()
		if requests != n || s.Octets > most || s.Kept < n/8 || s.Kept > n/2 || s.Dropped["overload"] != 0 {
			t.Fatalf("%d requests, %d octets, %d kept, %v", requests, s.Octets, s.Kept, s.Dropped)
		}
	})
}

// TestMemoryOfFinishedCalls holds what a call of two INVITE and two BYE transactions leaves for its 32 seconds: in the table's own pages, which
// are no matter for the garbage collector.
func TestMemoryOfFinishedCalls(t *testing.T) {
	const n, limit, heapLimit = 20000, 400, 60
	synctest.Test(t, func(t *testing.T) { // no time passes meanwhile
		pages, heap := finish(t, n, []string{"INVITE", "BYE"})
		t.Logf("%d octets each, %d on the heap", pages/n, heap/n)
		if pages/n > limit || heap/n > heapLimit {
			t.Fatalf("of each call %d octets in pages and %d on the heap are kept", pages/n, heap/n)
		}
	})
}
