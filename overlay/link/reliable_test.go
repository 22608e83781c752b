package link

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

var epoch = time.Unix(1e9, 0)

// played is a sender with a clock, and what it did when.
type played struct {
	sender
	now time.Time
	log []string
}

func play(rtt time.Duration, messages ...string) *played {
	p := &played{sender: newSender(rtt), now: epoch}
	for _, m := range messages {
		p.push([]byte(m))
	}
	return p
}

// until runs the sender, as its driver does, up to a time after the beginning.
func (p *played) until(d time.Duration) *played {
	for end := epoch.Add(d); ; {
		p.steps()
		wake := p.wake()
		if wake.IsZero() || wake.After(end) {
			p.now = end
			return p
		}
		p.now = wake
	}
}

func (p *played) steps() {
	for {
		e := p.step(p.now)
		if e.message == nil && !e.dead {
			return
		}
		line := fmt.Sprintf("%v ", p.now.Sub(epoch))
		if e.message != nil {
			line += fmt.Sprintf("#%d %s", e.seq, e.message)
		}
		if e.stalled {
			line += " stalled"
		}
		if e.dead {
			line += "dead"
			p.stop()
		}
		p.log = append(p.log, line)
	}
}

// acked takes an ACK now and returns whether it restored the link.
func (p *played) acked(seq uint32) bool {
	restored := p.ack(p.now, seq, 0)
	p.steps()
	return restored
}

func (p *played) want(t *testing.T, lines ...string) {
	t.Helper()
	if d := cmp.Diff(lines, p.log); d != "" {
		t.Error(d)
	}
}

// Conformance: A-14 A-18
func TestRFC6940_6_6_3_1_FiveCopiesThenDead(t *testing.T) {
	p := play(0, "m", "next").until(time.Minute)
	p.want(t, "0s #0 m", "0s #1 next", "500ms #2 m", "1.5s #3 m", "3.5s #4 m stalled", "7.5s #5 m", "15.5s dead")
}

// Conformance: A-14 A-19
func TestRFC6940_6_6_3_1_AnAckOfAnyCopyCompletesTheMessage(t *testing.T) {
	for seq := range uint32(3) {
		p := play(0, "m").until(1600 * ms)
		p.acked(seq)
		p.until(time.Minute).want(t, "0s #0 m", "500ms #1 m", "1.5s #2 m")
		if !p.idle() {
			t.Errorf("ACK of #%d: still waiting", seq)
		}
	}
}

// Conformance: A-20
func TestRFC6940_6_6_3_1_AcksRestoreAStalledLink(t *testing.T) {
	p := play(0, "m", "n").until(4 * time.Second)
	if !p.stalled {
		t.Fatal("not stalled")
	}
	p.log = nil
	if !p.acked(0) || p.stalled {
		t.Error("not restored")
	}
	if p.acked(0) || p.acked(77) {
		t.Error("an ACK that says nothing new restored the link again")
	}
	p.until(4011*ms).want(t, "4s #5 n") // the window is one: it waited for m
}

// A late ACK of an earlier message shows that the peer lives: the three copies begin anew.
func TestRFC6940_6_6_3_1_LateAcksPutOffTheStall(t *testing.T) {
	p := play(0, "a", "b").until(1900 * ms) // copies of a at 500 ms and 1.5 s
	p.acked(1)
	p.until(3500 * ms) // b is done, and the third copy of a is due later for that
	if p.stalled || p.silent != 0 {
		t.Errorf("stalled, or %d silent copies are counted", p.silent)
	}
	if len(p.active) != 1 || string(p.active[0].message) != "a" {
		t.Error("a is not what is left")
	}
}

// Conformance: A-19
func TestRFC6940_6_6_3_1_NoCopiesAfterTheEnd(t *testing.T) {
	p := play(0, "a", "b").until(700 * ms)
	p.stop()
	p.until(time.Minute).want(t, "0s #0 a", "0s #1 b", "500ms #2 a")
	if !p.idle() || p.octets != 0 {
		t.Error("something is left")
	}
}

// Conformance: A-17
func TestRFC6940_6_6_3_1_RTOFromEveryAck(t *testing.T) {
	p := play(0)
	if p.rtt.rto != 500*ms {
		t.Errorf("RTO is %v before any measurement", p.rtt.rto)
	}
	for i, c := range []struct{ rtt, srtt, rttvar, rto time.Duration }{
		{400 * ms, 400 * ms, 200 * ms, 1200 * ms},
		{300 * ms, 387500 * time.Microsecond, 175 * ms, 1088 * ms}, // 1087.5, rounded up to a millisecond
		{1 * ms, 339187500, 227875 * time.Microsecond, 1251 * ms},
	} {
		p.push([]byte("m"))
		p.until(p.now.Sub(epoch))
		seq := p.next - 1
		p.until(p.now.Sub(epoch) + c.rtt)
		p.acked(seq)
		if p.rtt != (estimator{c.srtt, c.rttvar, c.rto}) {
			t.Errorf("sample %d: %+v, want %+v", i, p.rtt, c)
		}
	}
	if s := newSender(300 * ms); s.rtt.srtt != 300*ms || s.rtt.rto != 900*ms {
		t.Errorf("RFC 6298 §2.2 from the RTT of STUN: %+v", s.rtt)
	}
	if s := newSender(time.Microsecond); s.rtt.rto != minSRRTO {
		t.Errorf("RTO %v, want the floor", s.rtt.rto)
	}
	if s := newSender(time.Hour); s.rtt.rto != maxSRRTO {
		t.Errorf("RTO %v, want the ceiling", s.rtt.rto)
	}
}

func TestRFC6940_6_6_2_SequenceNumbersWrap(t *testing.T) {
	p := play(0)
	p.next, p.low = 1<<32-1, 1<<32-1
	p.push([]byte("m"))
	p.until(600*ms).want(t, "0s #4294967295 m", "500ms #0 m")
	p.acked(0)
	if !p.idle() {
		t.Error("the ACK behind the wrap did not count")
	}
}

func TestSenderQueueIsBounded(t *testing.T) {
	p := play(0)
	for i := range maxQueue {
		if !p.push(make([]byte, 100)) {
			t.Fatalf("message %d refused", i)
		}
	}
	if p.push([]byte("x")) {
		t.Error("one message too many")
	}
	p = play(0)
	big := slices.Repeat([][]byte{make([]byte, 10_000)}, 200)
	if !p.push(big...) {
		t.Error("the only message there is was refused for its size")
	}
	if p.push(make([]byte, 1)) || p.octets != 2_000_000 {
		t.Error("too many octets")
	}
}
