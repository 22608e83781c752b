package link

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
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
	restored := p.ack(p.now, seq)
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
	p.want(t, "0s #0 m", "500ms #1 m", "1.5s #2 m", "3.5s #3 m stalled", "7.5s #4 m", "15.5s dead")
}

// Conformance: A-15 A-16
func TestRFC6940_6_6_3_1_OneUnacknowledgedMessage(t *testing.T) {
	p := play(0, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j").until(7499 * ms)
	p.want(t, "0s #0 a", "500ms #1 a", "1.5s #2 a", "3.5s #3 a stalled")
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

// Conformance: A-21
func TestRFC6940_6_6_3_1_TenMillisecondsAfterAnAck(t *testing.T) {
	p := play(0, "a", "b").until(3 * ms)
	p.acked(0)
	p.until(5 * ms).push([]byte("c")) // a push does not shorten it
	p.until(50 * ms)
	p.acked(1)
	p.until(300 * ms) // RTO after samples of 3 ms and 37 ms: the floor
	p.want(t, "0s #0 a", "13ms #1 b", "60ms #2 c", "260ms #3 c")
}

// Conformance: A-20
func TestRFC6940_6_6_3_1_AcksRestoreAStalledLink(t *testing.T) {
	p := play(0, "m", "n").until(4 * time.Second)
	if !p.stalled {
		t.Fatal("not stalled")
	}
	if !p.acked(0) || p.stalled {
		t.Error("not restored")
	}
	if p.acked(0) || p.acked(77) {
		t.Error("an ACK that says nothing new restored the link again")
	}
	p.log = nil
	p.until(4011*ms).want(t, "4.01s #4 n")
}

// A late ACK of an earlier message shows that the peer lives: the three copies begin anew.
func TestRFC6940_6_6_3_1_LateAcksPutOffTheStall(t *testing.T) {
	p := play(0, "a", "b").until(600 * ms)
	p.acked(1)
	p.until(2 * time.Second) // b at 610 ms; with an RTO of 300 ms, copies at 910 ms, 1510 ms and 2710 ms
	if p.acked(0) {
		t.Error("restored what was not stalled")
	}
	if p.current == nil || p.silent != 0 {
		t.Errorf("b is done, or %d silent copies are counted", p.silent)
	}
}

// Conformance: A-19
func TestRFC6940_6_6_3_1_NoCopiesAfterTheEnd(t *testing.T) {
	p := play(0, "a", "b").until(700 * ms)
	p.stop()
	p.until(time.Minute).want(t, "0s #0 a", "500ms #1 a")
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
		p.until(p.now.Sub(epoch) + ackGap)
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
	p.next = 1<<32 - 1
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

// wave is a frame under way.
type wave struct {
	at    time.Time
	seq   uint32
	ack   bool
	value byte
}

// Over a path that loses and reorders both ways, every message arrives, in order of the first arrivals, with one message
// unacknowledged at a time, or the link is given up after five copies of one.
func TestSenderOverALossyPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loss := rapid.SampledFrom([]float64{0, 0.05, 0.2, 0.5, 0.9}).Draw(t, "loss")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.IntRange(1, 40).Draw(t, "messages")
		s := newSender(0)
		s.next = rapid.SampledFrom([]uint32{0, 1<<32 - 3}).Draw(t, "first")
		for i := range n {
			s.push([]byte{byte(i)})
		}
		var path []wave
		var got []byte
		var seen wire.Received
		copies := map[byte]int{}
		now, lastAck := epoch, epoch.Add(-time.Hour)
		post := func(w wave) {
			if r.Float64() >= loss {
				w.at = now.Add(time.Duration(r.IntN(300)) * ms)
				path = append(path, w)
			}
		}
		for !s.idle() {
			e := s.step(now)
			switch {
			case e.dead:
				if copies[s.current[0]] != maxCopies {
					t.Fatalf("given up after %v", copies)
				}
				return
			case e.message != nil:
				v := e.message[0]
				if copies[v]++; copies[v] > maxCopies || copies[v] == 1 && now.Sub(lastAck) < ackGap {
					t.Fatalf("copy %d of %d, %v after an ACK", copies[v], v, now.Sub(lastAck))
				}
				post(wave{seq: e.seq, value: v})
				continue
			}
			next := -1
			at := s.wake()
			for i, w := range path {
				if w.at.Before(at) {
					next, at = i, w.at
				}
			}
			now = at
			if next < 0 {
				continue
			}
			w := path[next]
			path = slices.Delete(path, next, next+1)
			if w.ack {
				before := s.current
				s.ack(now, w.seq)
				lastAck = now
				if before != nil && s.current == nil && !slices.Contains(got, before[0]) {
					t.Fatalf("%d completed before it arrived", before[0])
				}
				continue
			}
			if !slices.Contains(got, w.value) {
				got = append(got, w.value)
			}
			_ = seen.Add(w.seq)
			post(wave{seq: w.seq, ack: true})
		}
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("arrived: %v", got)
		}
	})
}
