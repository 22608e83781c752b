package link

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// numbered is a sender with so many messages to send.
func numbered(rtt time.Duration, n int) *played {
	p := play(rtt)
	for i := range n {
		p.push([]byte(fmt.Sprint(i)))
	}
	return p.until(0)
}

// Over a path that loses, doubles and reorders both ways, every message arrives, or the link is given up after five copies of
// one. What is under way stays within the window and within what an ACK can show.
//
// Conformance: A-14 A-15 A-16
func TestSenderOverALossyPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNetwork(rapid.Uint64().Draw(t, "seed"))
		n.loss = rapid.SampledFrom([]float64{0, 0.01, 0.05, 0.2, 0.5, 0.9}).Draw(t, "loss")
		n.twice = rapid.SampledFrom([]float64{0, 0.05, 0.5}).Draw(t, "twice")
		n.jitter = rapid.SampledFrom([]time.Duration{0, 5 * ms, 300 * ms}).Draw(t, "jitter")
		n.service = rapid.SampledFrom([]time.Duration{0, 3 * ms}).Draw(t, "service")
		n.buffer = rapid.IntRange(1, 40).Draw(t, "buffer")
		s := newSender(0)
		s.next = rapid.SampledFrom([]uint32{0, 1<<32 - 9}).Draw(t, "first")
		s.low = s.next
		f := n.add(&s, rapid.IntRange(1, 300).Draw(t, "messages"))
		messages := len(f.numbers)
		f.observed = func(now time.Time, e effect) {
			s.check(t)
			// A copy may go beyond the window when a loss has just been found (RFC 5681 §3.2).
			if e.message != nil && !e.copied && s.window.flight > s.window.size {
				t.Fatalf("%+v after a new message", s.window)
			}
			if wake := s.wake(); e.message == nil && !e.dead && !s.idle() && !wake.After(now) {
				t.Fatalf("nothing to do at %v, and yet to wake at %v", now, wake)
			}
		}
		n.run(epoch.Add(24 * time.Hour))
		for number, copies := range f.sent {
			if copies > maxCopies {
				t.Fatalf("%d copies of %d", copies, number)
			}
		}
		if f.dead {
			if !slices.ContainsFunc(s.active, func(m *outgoing) bool { return m.copies == maxCopies }) {
				t.Fatal("given up before five copies of anything")
			}
			return
		}
		if !s.idle() || len(f.got) != messages {
			t.Fatalf("%d of %d arrived", len(f.got), messages)
		}
		if n.loss+n.twice == 0 && n.jitter == 0 && n.service == 0 {
			for number := range f.got {
				if f.got[number] != 1 {
					t.Fatalf("%d arrived %d times on a path without faults", number, f.got[number])
				}
			}
		}
	})
}

// Conformance: A-16
func TestRFC5681_3_1_SlowStart(t *testing.T) {
	p := numbered(0, 200)
	for _, want := range []int{4, 8, 16, 32, 32} {
		if p.window.flight != want || p.window.size != want {
			t.Fatalf("%+v, want %d", p.window, want)
		}
		p.until(p.now.Sub(epoch) + 100*ms)
		first := p.low
		for q := range uint32(want) {
			p.ack(p.now, first+q, 0)
		}
		p.until(p.now.Sub(epoch) + 90*ms) // half a round trip, by the pace
		p.check(t)
	}
}

// Conformance: A-15 A-16
func TestWindowStaysWithinWhatAnAckCanShow(t *testing.T) {
	p := numbered(100*ms, 300)
	p.window.size = maxWindow
	p.until(90 * ms)
	if p.next != maskReach {
		t.Fatalf("%d under way", p.next)
	}
	for q := range uint32(2) { // too few to take the first for lost
		p.ack(p.now, 30+q, 0)
	}
	p.until(110 * ms)
	if p.check(t); p.next != maskReach {
		t.Errorf("#%d is out of reach for #%d, which is under way", p.low, p.next-1)
	}
	p.ack(p.now, 29, 0)
	p.until(111 * ms)
	if p.check(t); p.next == maskReach {
		t.Error("the first is lost, and nothing more goes")
	}
}

func TestRFC5681_3_2_ThreeLaterNumbersAreALoss(t *testing.T) {
	p := numbered(100*ms, 100)
	p.window.size, p.window.threshold = 16, 16
	p.until(100 * ms)
	p.acked(1)
	p.acked(2)
	p.log = nil
	if p.lost != 0 || p.window.size != 16 {
		t.Fatalf("two later numbers: %d lost, %+v", p.lost, p.window)
	}
	half := p.window.flight / 2
	p.acked(3)
	if half < 7 || p.window.size != half || p.window.threshold != half {
		t.Errorf("%+v, want half of what was under way", p.window)
	}
	if want := fmt.Sprintf("#%d 0", p.next-1); len(p.log) == 0 || !slices.Contains(p.log, "100ms "+want) {
		t.Errorf("sent %q, want 0 again, at once", p.log)
	}
	// The others that were lost with it do not make the window smaller.
	p.ack(p.now, 9, 0b0011_1000)
	if p.window.size != half {
		t.Errorf("%+v: halved twice for one window", p.window)
	}
	p.check(t)
}

func TestRFC5681_3_1_TimeoutCollapsesTheWindow(t *testing.T) {
	p := numbered(100*ms, 100)
	p.window.size = 16
	p.until(299 * ms)
	flight := p.window.flight
	p.until(301 * ms)
	if p.window.size != 1 || p.window.threshold != flight/2 || p.window.flight != 1 {
		t.Errorf("%+v, want 1 and a threshold of %d", p.window, flight/2)
	}
	p.until(2 * time.Second) // and another timeout of the same message
	if p.window.size != 1 || p.window.threshold != flight/2 {
		t.Errorf("%+v: the threshold is held constant", p.window)
	}
	p.check(t)
}

// A copy that is lost as well waits for its time, so that a receiver which refuses messages for a while does not end the link.
func TestLaterCopiesWaitForTheirTime(t *testing.T) {
	p := numbered(10*ms, 200)
	refused := func(seq uint32) bool { return string(p.sent[seq%recentFrames].of.message) == "0" }
	for seq := uint32(0); p.now.Sub(epoch) < 2500*ms; seq++ {
		p.until(p.now.Sub(epoch) + 10*ms)
		p.push([]byte("x"))
		p.steps()
		if !refused(seq) {
			p.acked(seq)
		}
	}
	p.check(t)
	if p.idle() {
		t.Error("the refused message is gone")
	}
	if m := p.active[0]; m.copies != 4 || string(m.message) != "0" { // at 0, 40 ms, 440 ms, 1240 ms
		t.Errorf("%d copies of %s", m.copies, m.message)
	}
	if p.window.size < 2 {
		t.Errorf("%+v: one message alone is no timeout", p.window)
	}
}

func TestRFC5681_4_1_RestartAfterIdleness(t *testing.T) {
	p := numbered(100*ms, 4)
	p.window.size = 20
	p.until(100 * ms)
	p.ack(p.now, 3, 0b111)
	p.until(10 * time.Second)
	for range 30 {
		p.push([]byte("m"))
	}
	p.until(10 * time.Second)
	if p.window.size != initialWindow || p.window.flight != initialWindow {
		t.Errorf("%+v after ten seconds", p.window)
	}
}

// RFC 7661: a window that is not used does not grow.
func TestUnusedWindowDoesNotGrow(t *testing.T) {
	p := numbered(100*ms, 0)
	for i := range uint32(50) {
		p.push([]byte("m"))
		p.until(p.now.Sub(epoch) + 100*ms)
		p.acked(i)
	}
	if p.window.size != initialWindow {
		t.Errorf("%+v", p.window)
	}
}

// RFC 8085: no more than a few packets leave at once when the window has opened a lot.
func TestBurstsAreShort(t *testing.T) {
	p := numbered(100*ms, 200)
	p.window.size, p.window.threshold = maxWindow, maxWindow
	p.until(ms)
	if n := int(p.next); n > 6 {
		t.Errorf("%d packets in a millisecond", n)
	}
	p.until(70 * ms)
	if p.window.flight != maxWindow {
		t.Errorf("%d packets in half a round trip", p.window.flight)
	}
	short := numbered(100*time.Microsecond, 200)
	short.window.size = maxWindow
	if short.until(0); short.window.flight != maxWindow {
		t.Errorf("%d packets at once on a path that is too short for a pace", short.window.flight)
	}
}

func TestLargeMessagesCountForSeveralPackets(t *testing.T) {
	p := play(0)
	for range 4 {
		p.push(make([]byte, 3*pathMTU))
	}
	p.until(0)
	if p.window.flight != 6 || p.next != 2 {
		t.Errorf("%+v with #%d next", p.window, p.next)
	}
}

// Conformance: A-15 A-16 A-21
func TestWindowAgainstStopAndWait(t *testing.T) {
	for _, c := range []struct {
		loss    float64
		delay   time.Duration
		atLeast float64
	}{{0, 20 * ms, 20}, {0.05, 20 * ms, 5}, {0.05, ms / 2, 10}} {
		path := func() *network {
			n := newNetwork(7)
			n.loss, n.delay = c.loss, c.delay
			return n
		}
		s := newSender(0)
		with, without := rate(t, &s, path(), 3000), rate(t, &waiter{}, path(), 3000)
		t.Logf("loss %v, round trip %v: %.0f messages/s, stop and wait %.0f", c.loss, 2*c.delay, with, without)
		if with < c.atLeast*without {
			t.Errorf("loss %v: %.0f messages/s, stop and wait %.0f", c.loss, with, without)
		}
	}
}

// Two senders share a bottleneck, one after the other has filled it: neither gets more than twice what the other gets.
//
// Conformance: A-16
func TestTwoSendersShareABottleneck(t *testing.T) {
	for seed := range uint64(10) {
		n := newNetwork(seed)
		n.service, n.buffer, n.jitter = 2*ms, 8*(1+int(seed%3)), ms
		var s [2]sender
		var f [2]*stream
		for i := range s {
			s[i] = newSender(0)
			f[i] = n.add(&s[i], 1_000_000)
			n.run(n.now.Add(10 * time.Second))
		}
		before := [2]int{len(f[0].got), len(f[1].got)}
		n.run(n.now.Add(60 * time.Second))
		a, b := len(f[0].got)-before[0], len(f[1].got)-before[1]
		if a > 2*b || b > 2*a || a+b < 60*500*6/10 {
			t.Errorf("seed %d: %d and %d of %d", seed, a, b, 60*500)
		}
		t.Log(a, b)
	}
}

// A peer whose sender waits, and whose receiver says of each frame only that it has come, without a bit mask, is a good peer.
//
// Conformance: A-15 A-16
func TestStopAndWaitPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, peer := datagramPipe()
		link := runDatagram(end.association(0), trust.Identity{}, testMax, nil)
		const n = 50
		var w waiter
		for i := range uint64(n) {
			w.push(reload(i, 100))
			_ = link.Send(reload(i, 100))
		}
		heard := make(map[uint64]bool)
		for !w.idle() || len(heard) < n {
			if e := w.step(time.Now()); e.message != nil {
				_, _ = peer.Write(wire.AppendData(nil, e.seq, e.message))
			}
			time.Sleep(ms)
			for i, f := range peer.frames(t) {
				switch {
				case f.Type == wire.FrameAck:
					w.ack(time.Now(), f.Sequence, f.Received)
				case i != 2: // of what comes at once one is lost
					heard[transaction(t, f.Message)] = true
					_, _ = peer.Write(wire.AppendAck(nil, f.Sequence, 0))
				}
			}
		}
		synctest.Wait()
		if s := link.Stats(); s.Received != n || s.Sent != n || s.Copies == 0 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		_ = link.finish(t)
	})
}
