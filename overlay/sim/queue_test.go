package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The queue against a list that is sorted again and again.
func TestQueueGivesEventsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			q    queue
			want []place
			now  time.Duration
		)
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "put") > 0 {
				d := time.Duration(rapid.IntRange(0, 5).Draw(t, "delay"))
				q.put(now+d, d == 0, event{life: int32(i)})
				want = append(want, place{now + d, q.seq, int32(i)}) // slot stands for the event here
				slices.SortFunc(want, func(a, b place) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.seq, b.seq)) })
				continue
			}
			p, ok := q.next()
			if ok != (len(want) > 0) {
				t.Fatalf("next is %v with %d events", ok, len(want))
			}
			if !ok {
				continue
			}
			if e := q.take(p); p.at != want[0].at || e.life != want[0].slot {
				t.Fatalf("got event %d at %v, want %d at %v", e.life, p.at, want[0].slot, want[0].at)
			}
			now, want = p.at, want[1:]
		}
	})
}

// BenchmarkQueue holds a hundred thousand events and replaces one after the other.
func BenchmarkQueue(b *testing.B) {
	var q queue
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		q.put(time.Duration(r.Int64N(int64(time.Second))), false, event{})
	}
	b.ReportAllocs()
	for b.Loop() {
		p, _ := q.next()
		q.put(p.at+time.Duration(r.Int64N(int64(time.Second))), false, q.take(p))
	}
}
