package proxy

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"pgregory.net/rapid"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// script plays events on a fork, one word each, and returns what the fork wanted after each of them.
//
//	+2@500,1@0   targets by q         hold, release       a lookup begins, ends
//	1:180    response on branch 1     1!408               branch 1 fails as 408
//	cancel   the caller cancels       after=32s           time passes
func script(f *fork, words string) []string {
	now, out := epoch, []string(nil)
	for w := range strings.FieldsSeq(words) {
		now = play(f, now, w)
		var did []string
		for _, a := range f.step(now) {
			did = append(did, a.String())
		}
		out = append(out, w+" -> "+strings.Join(did, " "))
	}
	return out
}

func play(f *fork, now time.Time, w string) time.Time {
	switch {
	case w == "hold":
		f.held++
	case w == "release":
		f.held--
	case w == "cancel":
		f.abort(now, "")
	case w == "orphan":
		f.orphan(now)
	case strings.HasPrefix(w, "after="):
		d, _ := time.ParseDuration(w[6:])
		now = now.Add(d)
		f.tick(now)
	case strings.HasPrefix(w, "+"):
		for group := range strings.SplitSeq(w[1:], ",") {
			n, q, _ := strings.Cut(group, "@")
			for range number(n) {
				f.add(number(q))
			}
		}
	case strings.Contains(w, "!"):
		i, status, _ := strings.Cut(w, "!")
		f.fail(number(i), codeOf(number(status)))
	default:
		i, status, _ := strings.Cut(w, ":")
		f.response(now, number(i), &message.Message{StatusCode: number(status)})
	}
	return now
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(s)
	}
	return n
}

func codeOf(status int) code {
	for c := fine + 1; c < codes; c++ {
		if c.status() == status {
			return c
		}
	}
	panic(status)
}

func (a action) String() string {
	switch a.do {
	case start:
		return fmt.Sprintf("start%d", a.branch)
	case cancel:
		return fmt.Sprintf("cancel%d", a.branch)
	case abandon:
		return fmt.Sprintf("abandon%d", a.branch)
	case relay:
		return fmt.Sprintf("relay:%d", a.res.StatusCode)
	}
	if a.best.res == nil {
		return fmt.Sprintf("finish:own%d", a.best.status())
	}
	return fmt.Sprintf("finish:%d", a.best.status())
}

// Conformance: H-35
// Feature: PRX-04 PRX-09
func TestRFC3261_16_7_ResponseContext(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		words  string
		want   string // the last lines, "|" between them
	}{
		{"provisional responses are forwarded at once, 100 is not", "INVITE",
			"+2@1000 0:100 0:180 1:183", "0:100 -> |0:180 -> relay:180|1:183 -> relay:183"},
		{"the first 2xx is forwarded and the others are cancelled", "INVITE",
			"+3@1000 0:180 1:200", "1:200 -> relay:200 cancel0 cancel2"},
		{"any 2xx after a 2xx is forwarded", "INVITE",
			"+2@1000 0:200 1:200 0:200 1:487", "0:200 -> relay:200 cancel1|1:200 -> relay:200|0:200 -> relay:200|1:487 -> "},
		{"nothing but 2xx is forwarded after a 2xx", "INVITE",
			"+2@1000 0:200 1:180 1:486", "1:180 -> |1:486 -> "},
		{"a final response waits for all branches", "INVITE",
			"+2@1000 0:486 1:404", "0:486 -> |1:404 -> finish:486"},
		{"6xx cancels the others and is forwarded when they ended", "INVITE",
			"+3@1000 0:180 1:603 0:487 2:487", "1:603 -> cancel0 cancel2|0:487 -> |2:487 -> finish:603"},
		{"6xx then 2xx on another branch: the 2xx is forwarded alone", "INVITE",
			"+2@1000 0:603 1:200", "0:603 -> cancel1|1:200 -> relay:200"},
		{"6xx keeps new branches from being made", "INVITE",
			"+1@1000 hold 0:603 +1@1000", "0:603 -> finish:603|+1@1000 -> "},
		{"503 alone becomes 500", "INVITE", "+1@1000 0:503", "0:503 -> finish:own500"},
		{"503, 407, 501 and 404: the 407", "INVITE",
			"+4@1000 0:503 1:407 2:501 3:404", "3:404 -> finish:407"},
		{"lowest class wins", "INVITE", "+3@1000 0:500 1:302 2:486", "2:486 -> finish:302"},
		{"a decision of somebody beats nobody there", "INVITE", "+3@1000 0:480 1:486 2!408", "2!408 -> finish:486"},
		{"no final response at all is 408", "INVITE", "+1@1000 0!408", "0!408 -> finish:own408"},
		{"a lookup under way delays the decision", "INVITE", "+1@1000 hold 0:486 release", "0:486 -> |release -> finish:486"},
		{"the target of a late lookup rings beside the others", "INVITE", "hold +1@1000 0:180 +1@1000 release", "+1@1000 -> start1|release -> "},
		{"no target is tried after a 2xx", "INVITE", "+1@1000 hold 0:200 +1@1000 release", "+1@1000 -> |release -> "},
		{"CANCEL goes to each branch and 487 back", "INVITE",
			"+2@1000 0:180 cancel 0:487 1:487", "cancel -> cancel0 cancel1|0:487 -> |1:487 -> finish:487"},
		{"CANCEL while a lookup runs ends at once", "INVITE", "hold cancel", "cancel -> finish:own487"},
		{"2xx that crosses CANCEL is forwarded", "INVITE", "+2@1000 cancel 0:200 1:487", "0:200 -> relay:200|1:487 -> "},
		{"a branch that ignores CANCEL is given up after 64*T1", "INVITE",
			"+1@1000 0:180 cancel after=32s", "after=32s -> abandon0 finish:own487"},
		{"Timer C after a provisional response cancels", "INVITE",
			"+1@1000 0:180 after=181s 0:487", "after=181s -> cancel0|0:487 -> finish:own408"},
		{"Timer C starts again with each provisional response", "INVITE",
			"+1@1000 after=180s 0:180 after=180s after=1s", "after=180s -> |after=1s -> cancel0"},
		{"Timer C is not started again by 100", "INVITE", "+1@1000 after=180s 0:180 0:100", "0:100 -> "},
		{"Timer C without a provisional response is 408", "INVITE", "+1@1000 after=181s", "after=181s -> abandon0 finish:own408"},
		{"lower q follows higher", "INVITE", "+1@1000,2@500 0:180 0:486", "+1@1000,2@500 -> start0|0:180 -> relay:180|0:486 -> start1 start2"},
		{"lower q follows when the time of the group is up", "INVITE",
			"+1@1000,1@500 0:180 after=30s 0:487 1:486", "after=30s -> cancel0 start1|0:487 -> |1:486 -> finish:486"},
		{"a lookup under way keeps lower q waiting", "INVITE",
			"hold +1@1000,1@500 0:486 +1@1000 release 2:486", "0:486 -> |+1@1000 -> start2|release -> |2:486 -> start1"},
		{"the caller's end cancels and sends nothing", "INVITE", "+2@1000 0:180 orphan 0:487", "orphan -> cancel0 cancel1|0:487 -> "},
		{"other methods: first 2xx only, no CANCEL", "MESSAGE", "+2@1000 0:200 1:200", "0:200 -> relay:200|1:200 -> "},
		{"other methods: no provisional responses (RFC 4320 §4.1)", "MESSAGE", "+1@1000 0:183", "0:183 -> "},
		{"other methods: no 408 (RFC 4320 §4.2)", "MESSAGE", "+2@1000 0!408 1:408", "0!408 -> |1:408 -> "},
		{"other methods: all q at once", "MESSAGE", "+1@1000,1@500", "+1@1000,1@500 -> start0 start1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fork{invite: c.method == "INVITE", breadth: 60}
			want := strings.Split(c.want, "|")
			got := script(f, c.words)
			if diff := cmp.Diff(want, got[len(got)-len(want):]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Conformance: H-17
// Feature: PRX-14
func TestRFC5393_5_3_3_OutgoingMaxBreadthNeverExceedsIncoming(t *testing.T) {
	f := &fork{invite: true, breadth: 4}
	for range 8 {
		f.add(1000)
	}
	started := 0
	for range 20 {
		for _, a := range f.step(epoch) {
			if a.do == start {
				started++
			}
		}
		sum := 0
		for _, b := range f.branches {
			sum += b.breadth
		}
		if sum > 4 {
			t.Fatalf("outgoing Max-Breadth %d", sum)
		}
		for i := range f.branches {
			if f.branches[i].active() {
				f.response(epoch, i, &message.Message{StatusCode: 486})
				break
			}
		}
	}
	if started != 8 || f.sent != failure {
		t.Errorf("%d of 8 targets tried, sent %d: what is freed must be used again (§5.3.3.1)", started, f.sent)
	}
}

func TestRFC5393_5_3_3_OneTargetGetsTheWholeBreadth(t *testing.T) {
	f := &fork{invite: true, breadth: 60}
	f.add(1000)
	f.step(epoch)
	if got := f.branches[0].breadth; got != 60 {
		t.Errorf("Max-Breadth %d of 60", got)
	}
}

// TestRFC3261_16_7_ExactlyOneFinal plays random orders of events: whatever happens, exactly one final non-2xx or at least
// one 2xx is forwarded, the others are cancelled, and it ends.
func TestRFC3261_16_7_ExactlyOneFinal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &randomFork{t: t, f: fork{invite: rapid.Bool().Draw(t, "invite"), breadth: rapid.IntRange(1, 60).Draw(t, "breadth")}, now: epoch}
		for range rapid.IntRange(0, 5).Draw(t, "targets") {
			w.f.add(rapid.SampledFrom([]int{1000, 1000, 500, 0}).Draw(t, "q"))
		}
		w.f.held = rapid.IntRange(0, 2).Draw(t, "lookups")
		if len(w.f.branches)+w.f.held == 0 {
			w.f.note(unknownUser)
		}
		w.step()
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			w.event()
		}
		w.settle()
		w.check()
	})
}

type randomFork struct {
	t         *rapid.T
	f         fork
	now       time.Time
	ok, bad   int // forwarded
	cancelled map[int]bool
}

func (w *randomFork) step() {
	for _, a := range w.f.step(w.now) {
		switch a.do {
		case relay:
			if a.res.StatusCode >= 200 {
				w.ok++
			} else if w.ok+w.bad > 0 {
				w.t.Fatalf("%d forwarded after a final response", a.res.StatusCode)
			}
		case finish:
			w.bad++
		case cancel:
			if w.cancelled == nil {
				w.cancelled = map[int]bool{}
			}
			if w.cancelled[a.branch] {
				w.t.Fatalf("branch %d cancelled twice", a.branch)
			}
			w.cancelled[a.branch] = true
		case start:
			if w.f.closed() {
				w.t.Fatalf("branch %d started when none may be", a.branch)
			}
		case abandon:
		}
	}
}

func (w *randomFork) event() {
	f, t := &w.f, w.t
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	i := -1
	if n := len(f.branches); n > 0 {
		i = rapid.IntRange(0, n-1).Draw(t, "branch")
	}
	switch {
	case kind == 0 && f.invite:
		f.abort(w.now, "")
	case kind == 1 && f.held > 0:
		f.add(1000)
	case kind == 2 && f.held > 0:
		f.held--
		if len(f.branches)+len(f.results)+f.held == 0 {
			f.note(unknownUser)
		}
	case kind == 3:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "seconds")) * time.Second)
		f.tick(w.now)
	case i < 0 || f.branches[i].state == waiting:
		return
	case kind == 4 && f.branches[i].state != over:
		f.fail(i, rapid.SampledFrom([]code{timedOut, gatewayUnreachable}).Draw(t, "code"))
	case f.branches[i].state == over: // a transaction that has ended says nothing more
		return
	default:
		status := rapid.SampledFrom([]int{100, 180, 183, 200, 202, 302, 401, 407, 408, 486, 487, 500, 503, 603}).Draw(t, "status")
		if f.branches[i].state == accepted {
			status = 200
		}
		f.response(w.now, i, &message.Message{StatusCode: status})
	}
	w.step()
}

// settle lets everything end: lookups answer, and time passes.
func (w *randomFork) settle() {
	if w.f.held > 0 {
		w.f.held = 0
		if len(w.f.branches)+len(w.f.results) == 0 {
			w.f.note(unknownUser)
		}
		w.step()
	}
	for range 40 {
		if w.f.done() {
			return
		}
		if !w.f.invite {
			for i := range w.f.branches {
				if w.f.branches[i].active() {
					w.f.fail(i, timedOut) // Timer F
				}
			}
		}
		w.now = w.now.Add(time.Hour)
		w.f.tick(w.now)
		w.step()
	}
	w.t.Fatalf("did not end: %+v", w.f)
}

func (w *randomFork) check() {
	switch {
	case w.f.sent == silenced:
		if w.f.invite || w.ok+w.bad > 0 {
			w.t.Fatalf("ended without a response: %+v", w.f)
		}
	case w.ok > 0 && w.bad == 0 && (w.f.invite || w.ok == 1):
	case w.ok == 0 && w.bad == 1:
	default:
		w.t.Fatalf("%d 2xx and %d other final responses forwarded", w.ok, w.bad)
	}
	if w.ok > 0 && w.f.invite && w.f.anyActive() {
		w.t.Fatalf("branches left: %+v", w.f.branches)
	}
}
