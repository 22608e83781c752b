package transaction

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	second = time.Second
	ms     = time.Millisecond
)

var usual = timers{TimerConfig{defaultT1, defaultT2, defaultT4}}

var actionNames = []string{"send", "repeat", "trying", "answer", "ack", "pass", "timeout", "broken", "ended", "forget", "destroy", "refuse"}

func (a action) String() string {
	var s []string
	for i, n := range actionNames {
		if a&(1<<i) != 0 {
			s = append(s, n)
		}
	}
	return strings.Join(s, "|")
}

// row is one event and what is to come of it.
type row struct {
	at    instant
	ev    event
	do    action
	state state
}

type script struct {
	name     string
	kind     kind
	reliable bool
	rows     []row
}

var scripts = []script{
	{"RFC3261_17_1_1_2 timers A and B: seven requests, then timeout", inviteClient, false, []row{
		{0, evStart, doSend, trying},
		{499 * ms, evTick, 0, trying},
		{500 * ms, evTick, doRepeat, trying},
		{1500 * ms, evTick, doRepeat, trying},
		{3500 * ms, evTick, doRepeat, trying},
		{7500 * ms, evTick, doRepeat, trying},
		{15500 * ms, evTick, doRepeat, trying},
		{31500 * ms, evTick, doRepeat, trying},
		{32 * second, evTick, doTimeout | doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_1_1_2 no timer A over a reliable transport", inviteClient, true, []row{
		{0, evStart, doSend, trying},
		{20 * second, evTick, 0, trying},
		{32 * second, evTick, doTimeout | doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_1_1_2 a provisional response ends timers A and B", inviteClient, false, []row{
		{0, evStart, doSend, trying},
		{ms, evProvisional, doPass, proceeding},
		{40 * second, evTick, 0, proceeding},
		{41 * second, evProvisional, doPass, proceeding},
		{longestWait, evTick, 0, proceeding},
		{longestWait + 41*second, evTick, doTimeout | doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_1_1_2 a final response is acknowledged, passed once, and each copy acknowledged until timer D", inviteClient, false, []row{
		{0, evStart, doSend, trying},
		{ms, evFinal, doACK | doPass | doForget, completed},
		{500 * ms, evFinal, doRepeat, completed},
		{501 * ms, evProvisional, doRefuse, completed},
		{502 * ms, evSuccess, doRefuse, completed},
		{503 * ms, evBroken, 0, completed},
		{31 * second, evFinal, doRepeat, completed},
		{32*second + ms, evTick, doDestroy, terminated},
		{33 * second, evFinal, doRefuse, terminated},
	}},
	{"RFC3261_17_1_1_2 timer D is zero over a reliable transport", inviteClient, true, []row{
		{0, evStart, doSend, trying},
		{ms, evProvisional, doPass, proceeding},
		{2 * ms, evFinal, doACK | doPass | doForget | doDestroy, terminated},
	}},
	{"RFC6026_7_2 every 2xx is passed until timer M", inviteClient, true, []row{
		{0, evStart, doSend, trying},
		{ms, evProvisional, doPass, proceeding},
		{second, evSuccess, doPass | doForget, accepted},
		{2 * second, evSuccess, doPass, accepted},
		{3 * second, evFinal, doRefuse, accepted},
		{32 * second, evSuccess, doPass, accepted},
		{33 * second, evTick, doDestroy, terminated},
	}},
	{"RFC3261_17_1_4 a transport error", inviteClient, true, []row{
		{0, evStart, doSend, trying},
		{ms, evProvisional, doPass, proceeding},
		{second, evBroken, doBroken | doForget | doDestroy, terminated},
	}},
	{"RFC3261_9_1 64*T1 after the CANCEL the INVITE is over", inviteClient, false, []row{
		{0, evStart, doSend, trying},
		{ms, evProvisional, doPass, proceeding},
		{second, evCancelled, 0, proceeding},
		{10 * second, evProvisional, doPass, proceeding},
		{33 * second, evTick, doTimeout | doForget | doDestroy, terminated},
	}},
	{"an abandoned INVITE still acknowledges", inviteClient, false, []row{
		{0, evStart, doSend, trying},
		{ms, evAbandon, 0, trying},
		{600 * ms, evTick, 0, trying},
		{second, evFinal, doACK | doPass | doForget, completed},
	}},
	{"RFC3261_17_1_2_2 timers E and F", otherClient, false, []row{
		{0, evStart, doSend, trying},
		{500 * ms, evTick, doRepeat, trying},
		{1500 * ms, evTick, doRepeat, trying},
		{3500 * ms, evTick, doRepeat, trying},
		{7500 * ms, evTick, doRepeat, trying},
		{11500 * ms, evTick, doRepeat, trying},
		{15499 * ms, evTick, 0, trying},
		{32 * second, evTick, doTimeout | doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_1_2_2 in Proceeding timer E has T2", otherClient, false, []row{
		{0, evStart, doSend, trying},
		{ms, evProvisional, doPass, proceeding},
		{500 * ms, evTick, doRepeat, proceeding},
		{4499 * ms, evTick, 0, proceeding},
		{4500 * ms, evTick, doRepeat, proceeding},
		{5 * second, evSuccess, doPass | doForget, completed},
		{6 * second, evSuccess, 0, completed},
		{7 * second, evProvisional, doRefuse, completed},
		{10 * second, evTick, doDestroy, terminated},
	}},
	{"RFC3261_17_1_2_2 timer K is zero over a reliable transport", otherClient, true, []row{
		{0, evStart, doSend, trying},
		{ms, evFinal, doPass | doForget | doDestroy, terminated},
	}},
	{"an abandoned request is gone", otherClient, false, []row{
		{0, evStart, doSend, trying},
		{ms, evAbandon, doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_2_1 100 within 200 ms, retransmissions get the last provisional response", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{tryingAfter, evTick, doTrying, proceeding},
		{500 * ms, evRequest, doRepeat, proceeding},
		{600 * ms, evTrying, 0, proceeding},
		{700 * ms, evProvisional, doSend, proceeding},
		{1500 * ms, evRequest, doRepeat, proceeding},
		{1600 * ms, evACK, doRefuse, proceeding},
	}},
	{"a retransmission before any response gets a 100", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{100 * ms, evRequest, doTrying, proceeding},
		{200 * ms, evTick, 0, proceeding},
	}},
	{"the core asks for its 100", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{ms, evTrying, doTrying, proceeding},
		{2 * ms, evTrying, 0, proceeding},
	}},
	{"RFC3261_26_3_2_4 an INVITE refused at once has one answer for each time that it comes", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{ms, evFinal, doSend, completed},
		{501 * ms, evTick, 0, completed},
		{502 * ms, evRequest, doRepeat, completed},
		{10 * second, evTick, 0, completed},
		{11 * second, evRequest, doRepeat, completed},
		{32001 * ms, evTick, doEnded | doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_2_1 timers G, H", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{0, evTrying, doTrying, proceeding},
		{ms, evFinal, doSend, completed},
		{501 * ms, evTick, doRepeat, completed},
		{1501 * ms, evTick, doRepeat, completed},
		{1600 * ms, evRequest, doRepeat, completed},
		{1700 * ms, evProvisional, doRefuse, completed},
		{1701 * ms, evSuccess, doRefuse, completed},
		{1702 * ms, evFinal, doRefuse, completed},
		{3501 * ms, evTick, doRepeat, completed},
		{7501 * ms, evTick, doRepeat, completed},
		{11501 * ms, evTick, doRepeat, completed},
		{32001 * ms, evTick, doEnded | doForget | doDestroy, terminated},
	}},
	{"RFC3261_17_2_1 the ACK and timer I", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{ms, evFinal, doSend, completed},
		{100 * ms, evACK, doEnded | doForget, confirmed},
		{200 * ms, evACK, 0, confirmed},
		{300 * ms, evRequest, 0, confirmed},
		{301 * ms, evFinal, doRefuse, confirmed},
		{5100 * ms, evTick, doDestroy, terminated},
	}},
	{"RFC3261_17_2_1 no timer G, and timer I is zero, over a reliable transport", inviteServer, true, []row{
		{0, evStart, doPass, proceeding},
		{ms, evFinal, doSend, completed},
		{10 * second, evTick, 0, completed},
		{11 * second, evACK, doEnded | doForget | doDestroy, terminated},
	}},
	{"RFC6026_7_1 Accepted absorbs INVITE, sends each 2xx, passes ACK, ends with timer L", inviteServer, true, []row{
		{0, evStart, doPass, proceeding},
		{ms, evSuccess, doSend | doEnded | doForget, accepted},
		{second, evRequest, 0, accepted},
		{2 * second, evSuccess, doSend, accepted},
		{3 * second, evACK, doPass, accepted},
		{4 * second, evFinal, doRefuse, accepted},
		{5 * second, evProvisional, doRefuse, accepted},
		{32001 * ms, evTick, doDestroy, terminated},
	}},
	{"an INVITE that the core forgets is answered in the end", inviteServer, false, []row{
		{0, evStart, doPass, proceeding},
		{tryingAfter, evTick, doTrying, proceeding},
		{longestWait, evTick, doAnswer, proceeding},
	}},
	{"RFC4320_4_1 100 when timer E of the client reaches T2, not before", otherServer, false, []row{
		{0, evStart, doPass, trying},
		{second, evProvisional, doRefuse, trying},
		{1100 * ms, evRequest, 0, trying},
		{3500 * ms, evTick, doTrying, proceeding},
		{3600 * ms, evProvisional, doSend, proceeding},
		{4 * second, evRequest, doRepeat, proceeding},
		{5 * second, evFinal, doSend | doEnded | doForget, completed},
		{6 * second, evRequest, doRepeat, completed},
		{7 * second, evFinal, doRefuse, completed},
		{37 * second, evTick, doDestroy, terminated},
	}},
	{"RFC4320_4_1 100 at any time over a reliable transport, timer J is zero", otherServer, true, []row{
		{0, evStart, doPass, trying},
		{ms, evProvisional, doSend, proceeding},
		{2 * ms, evFinal, doSend | doEnded | doForget | doDestroy, terminated},
	}},
	{"RFC4320_4_2 no answer in time means none at all", otherServer, false, []row{
		{0, evStart, doPass, trying},
		{3500 * ms, evTick, doTrying, proceeding},
		{32 * second, evTick, doEnded | doForget | doDestroy, terminated},
	}},
	{"RFC4320_4_2 silence in place of 408", otherServer, false, []row{
		{0, evStart, doPass, trying},
		{second, evSilence, doEnded | doForget, completed},
		{2 * second, evRequest, doRepeat, completed},
		{33 * second, evTick, doDestroy, terminated},
	}},
}

func TestMachines(t *testing.T) {
	const epoch = tickLength
	for _, s := range scripts {
		m := machine{kind: s.kind, reliable: s.reliable}
		for i, r := range s.rows {
			if a := m.step(r.ev, epoch+r.at, usual); a != r.do || m.state != r.state {
				t.Errorf("%s, row %d: %v in state %d, want %v in %d", s.name, i, a, m.state, r.do, r.state)
				break
			}
		}
	}
}

// TestMachinesAlwaysEnd feeds random events and then nothing but time.
func TestMachinesAlwaysEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := machine{kind: kind(rapid.IntRange(0, int(kinds)-1).Draw(t, "kind")), reliable: rapid.Bool().Draw(t, "reliable")}
		now := tickLength
		m.step(evStart, now, usual)
		finals := 0
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			now += instant(rapid.Int64Range(0, int64(20*second)).Draw(t, "pause"))
			a := m.step(event(rapid.IntRange(int(evTick), int(events)-1).Draw(t, "event")), now, usual)
			if a&(doTimeout|doBroken) != 0 {
				finals++
			}
			if m.state != terminated && m.end <= 0 {
				t.Fatalf("nothing will end %+v", m)
			}
		}
		for n := 0; m.state != terminated; n++ {
			if n > 2000 {
				t.Fatalf("%+v does not end", m)
			}
			now = max(now, m.due())
			if a := m.step(evTick, now, usual); a&doAnswer != 0 {
				m.step(evFinal, now, usual)
			} else if a&(doTimeout|doBroken) != 0 {
				finals++
			}
		}
		if finals > 1 || m.due() != 0 {
			t.Fatalf("%d failures, due %v", finals, m.due())
		}
	})
}

func TestWheel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &wheel{wake: make(chan struct{}, 1)}
		due := map[*entry]instant{}
		now := tickLength
		es := make([]*entry, 20)
		for i := range es {
			es[i] = &entry{}
		}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			e := es[rapid.IntRange(0, len(es)-1).Draw(t, "entry")]
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				at := now + instant(rapid.Int64Range(1, int64(200*second)).Draw(t, "at"))
				w.set(e, at)
				due[e] = at
			case 1:
				w.set(e, 0)
				delete(due, e)
			default:
				now += instant(rapid.Int64Range(0, int64(100*second)).Draw(t, "time"))
				for _, f := range w.advance(now, nil) {
					if at, ok := due[f]; !ok || at > now {
						t.Fatalf("fired at %v, due %v, %v", now, at, ok)
					}
					delete(due, f)
				}
				for _, at := range due {
					if at < now-2*tickLength {
						t.Fatalf("missed %v at %v", at, now)
					}
				}
			}
			if w.count != len(due) {
				t.Fatalf("%d in the wheel, want %d", w.count, len(due))
			}
		}
	})
}

func TestBranchesAreUniqueAndHaveTheCookie(t *testing.T) {
	a, b := newHasher(), newHasher()
	seen := map[string]bool{}
	for range 5000 {
		for _, h := range []*hasher{a, b} {
			br := h.branch()
			if seen[br] || !strings.HasPrefix(br, cookie) || len(br) < len(cookie)+16 {
				t.Fatal(br)
			}
			seen[br] = true
		}
	}
}

func TestKeysOfDifferentPartsDiffer(t *testing.T) {
	h, r := newHasher(), rand.New(rand.NewPCG(1, 2))
	seen := map[key]string{}
	for range 20000 {
		s := [2]string{strings.Repeat("a", r.IntN(200)), strings.Repeat("b", r.IntN(200))}
		k := h.key(0, s[0], s[1])
		if was, ok := seen[k]; ok && was != s[0]+"|"+s[1] {
			t.Fatal("collision")
		}
		seen[k] = s[0] + "|" + s[1]
	}
	if h.key(0, "ab", "c") == h.key(0, "a", "bc") || h.key(1, "a") == h.key(2, "a") {
		t.Fatal("parts run together")
	}
}

// Each transaction of a busy server is the only one for a moment: they must not wake a goroutine each.
func TestTransactionsThatFollowEachOtherDoNotWakeTheWheel(t *testing.T) {
	w := &wheel{wake: make(chan struct{}, 1)}
	woken := func() int {
		select {
		case <-w.wake:
			return 1
		default:
			return 0
		}
	}
	var n int
	for range 3 {
		for range 10 {
			e := &entry{}
			w.set(e, tickLength)
			w.set(e, 0)
			n += woken()
		}
		if _, ticks := w.take(nil); !ticks {
			t.Fatal("a wheel that was in use is not looked at again")
		}
	}
	if n != 1 {
		t.Errorf("30 transactions in three ticks woke the goroutine %d times, want once", n)
	}
	if _, ticks := w.take(nil); ticks {
		t.Error("an empty wheel that nobody used is looked at again")
	}
	e := &entry{}
	if w.set(e, tickLength); woken() != 1 {
		t.Error("a wheel at rest was not woken")
	}
}
