package gateway

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

func ask(t *testing.T, start string, lines string) *message.Message {
	t.Helper()
	req, err := message.Parse([]byte(start + " SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:x@y>;tag=1\r\n" +
		"Call-ID: c\r\nCSeq: 1 " + strings.Fields(start)[0] + "\r\n" + lines + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Feature: PRX-34
func TestRFC3261_21_5_4_OverloadIs503ButDialogsAndEmergenciesGoOn(t *testing.T) {
	const new, inside = "To: <sip:z@y>\r\n", "To: <sip:z@y>;tag=2\r\n"
	core := &passed{}
	h := &handler{core: core, load: besieged(time.Millisecond, "112"), answered: func(sip.ServerTransaction, int, string) {},
		checked: func(*message.Message, location.Hop) {}}
	h.load.share.Store(0)
	waits := map[string]bool{}
	for range 200 {
		tx := &asked{req: ask(t, "INVITE sip:bob@example.org", new)}
		h.Request(tx)
		if tx.res == nil || tx.res.StatusCode != 503 || core.requests != 0 {
			t.Fatalf("answered %+v", tx.res)
		}
		after, err := strconv.Atoi(tx.res.Get(message.RetryAfter))
		if err != nil || after < 1 || after > 10 {
			t.Fatalf("Retry-After %q", tx.res.Get(message.RetryAfter))
		}
		waits[tx.res.Get(message.RetryAfter)] = true
	}
	if len(waits) != 10 {
		t.Errorf("%d different Retry-After", len(waits))
	}
	for i, req := range []*message.Message{
		ask(t, "INVITE sip:bob@example.org", inside), ask(t, "BYE sip:bob@example.org", inside), ask(t, "INVITE sip:112@example.org", new),
		ask(t, "INVITE urn:service:sos.police", new), ask(t, "INVITE urn:service:sos", new),
	} {
		if h.Request(&asked{req: req}); core.requests != i+1 {
			t.Errorf("%s %s was refused", req.Method, req.RequestURI)
		}
	}
}

// besieged is an overload control in example.org that trusts 192.0.2.9.
func besieged(limit time.Duration, emergency ...string) *overload {
	o := newOverload(limit, emergency)
	o.ours = func(host string, _ uint16) bool { return host == "example.org" }
	o.trusted = func(h location.Hop) bool { return h.Remote.Addr() == netip.MustParseAddr("192.0.2.9") }
	return o
}

// What anybody can write in a request gets nobody past overload control: where it goes, or who sends it, does.
//
// Feature: PRX-34
func TestRFC5031_TheWordEmergencyOfStrangersCountsForNothing(t *testing.T) {
	const to, priority = "To: <sip:z@y>\r\n", "To: <sip:z@y>\r\nPriority: Emergency\r\n"
	stranger, known := location.Hop{Remote: netip.MustParseAddrPort("203.0.113.5:5060")}, location.Hop{Remote: netip.MustParseAddrPort("192.0.2.9:5060")}
	peer := location.Hop{Node: "far"}
	o := besieged(time.Millisecond, "112")
	o.share.Store(0)
	for _, c := range []struct {
		start, lines string
		from         location.Hop
		in           bool
	}{
		{"INVITE sip:bob@example.org", priority, stranger, false},
		{"INVITE sip:bob@example.org", priority, peer, false},
		{"INVITE sip:bob@example.org", priority, known, true},
		{"INVITE sip:bob@example.org", to, known, false},
		{"INVITE sip:112@example.org", to, stranger, true},
		{"INVITE sip:112@elsewhere.example", to, stranger, false},
		{"REGISTER sip:112@example.org", to, stranger, false},
		{"INVITE urn:service:sosume", to, stranger, false},
		{"INVITE urn:service:SOS.fire", to, stranger, true},
		{"INVITE sip:+49112@example.org;account=itsp;emergency", to, stranger, false},
		{"INVITE sip:+49112@example.org;account=itsp;emergency", to, peer, true},
	} {
		if got := o.admit(ask(t, c.start, c.lines), c.from); got != c.in {
			t.Errorf("%s %q from %v: %v", c.start, c.lines, c.from, got)
		}
	}
}

// A server that does 100 calls in a second, or refuses five in the time of one, is offered 200: it is to do 80 at least, and nobody waits
// long.
//
// Feature: PRX-34
func TestGoodputAtTwiceTheLoad(t *testing.T) {
	const limit, call, refusal = 200 * time.Millisecond, 10 * time.Millisecond, 2 * time.Millisecond
	o := besieged(limit)
	req := ask(t, "INVITE sip:bob@example.org", "To: <sip:z@y>\r\n")
	var backlog, longest time.Duration
	done := 0
	const seconds = 60
	for at := time.Duration(0); at < seconds*time.Second; at += 5 * time.Millisecond { // one call in 5 ms
		if o.admit(req, location.Hop{}) {
			backlog += call
			if backlog < 500*time.Millisecond { // later ones are sent again before they are answered
				done++
			}
		} else {
			backlog += refusal
		}
		backlog = max(0, backlog-5*time.Millisecond)
		if at > 5*time.Second {
			longest = max(longest, backlog)
		}
		if at%loadInterval == 0 {
			o.observe(backlog)
		}
	}
	// 100 calls and 100 refusals take 1.2 s: what can be done at all is 75 calls beside 125 refusals.
	if rate := float64(done) / seconds; rate < 0.8*75 {
		t.Errorf("%.1f calls in a second of 75 possible", rate)
	}
	if longest > time.Second {
		t.Errorf("the wait grew to %v", longest)
	}
	for range 30 {
		o.observe(0)
	}
	if o.share.Load() != allLoad {
		t.Error("still refusing when it is over")
	}
}

func TestOneHiccupIsNoOverload(t *testing.T) {
	o := besieged(time.Millisecond)
	o.observe(time.Second)
	o.observe(0)
	o.observe(time.Second)
	if o.share.Load() != allLoad {
		t.Errorf("%d of %d are let in", o.share.Load(), allLoad)
	}
	for range 100 {
		o.observe(time.Second)
	}
	if o.share.Load() != leastLoad {
		t.Errorf("%d of %d are let in", o.share.Load(), allLoad)
	}
}

// Feature: PRX-34
func TestTheWaitAtAListenerIsMeasured(t *testing.T) {
	g := ring(t, 1, 1)[0]
	w, err := newWaits(g.udpAddr().AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if got := w.kernel(); !w.answered || got <= 0 {
		t.Fatalf("%v, answered %v", got, w.answered)
	}
	slow, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4zero}) // read by nobody
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	deaf, err := newWaits(slow.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.close()
	if got := deaf.kernel(); got != 0 {
		t.Errorf("a listener that was never heard of makes it %v", got)
	}
	deaf.answered = true
	if got := deaf.kernel(); got != stunWait {
		t.Errorf("a listener that fell silent makes it %v", got)
	}
	none, err := newWaits(netip.AddrPort{})
	if err != nil || none.kernel() != 0 {
		t.Errorf("%v", err)
	}
	none.scheduler()
	if got := none.scheduler(); got < 0 || got > stunWait {
		t.Errorf("the scheduler makes it %v", got)
	}
}

// A gateway to which nobody speaks is not woken up five times in a second to find out how long nobody waits.
//
// Feature: PRX-34
func TestNothingIsMeasuredWhereNothingCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var received atomic.Uint64
		var measured atomic.Int64
		o := besieged(time.Millisecond)
		go o.run(ctx, received.Load, func() time.Duration { measured.Add(1); return time.Second })
		passes := func(d time.Duration, speaks bool) int64 {
			before := measured.Load()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(loadInterval / 4) {
				if speaks {
					received.Add(1)
				}
			}
			return measured.Load() - before
		}
		if n := passes(10*time.Second, false); n != 0 {
			t.Errorf("%d measurements while nothing came", n)
		}
		if n := passes(3*time.Second, true); n < 10 || !o.busy() {
			t.Errorf("%d measurements in 3 s with messages, busy %v", n, o.busy())
		}
		// What was let out is let in again by measuring, whoever speaks.
		o.set(time.Hour, nil)
		if passes(time.Minute, false); o.busy() {
			t.Error("requests are still refused a minute after the last one")
		}
		if n := passes(10*time.Second, false); n != 0 {
			t.Errorf("%d measurements afterwards", n)
		}
		cancel()
		synctest.Wait()
	})
}
