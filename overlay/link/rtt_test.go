package link

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Conformance: A-22
func TestRFC6298_2_Estimator(t *testing.T) {
	const ms = time.Millisecond
	var e estimator
	for i, c := range []struct{ r, srtt, rttvar, rto time.Duration }{
		{800 * ms, 800 * ms, 400 * ms, 2400 * ms},                                   // §2.2
		{400 * ms, 750 * ms, 400 * ms, 2350 * ms},                                   // §2.3
		{750*ms + 1, 750*ms + 0, 300*ms + 0, 1951 * ms},                             // rounded up to a millisecond
		{100 * ms, 668750 * time.Microsecond, 387500 * time.Microsecond, 2219 * ms}, // 2218.75
	} {
		e.sample(c.r)
		if d := (e.srtt - c.srtt).Abs() + (e.rttvar - c.rttvar).Abs(); d > 2 || e.rto != c.rto {
			t.Errorf("sample %d: SRTT %v, RTTVAR %v, RTO %v; want %v, %v, %v", i, e.srtt, e.rttvar, e.rto, c.srtt, c.rttvar, c.rto)
		}
	}
}

func TestRFC6298_2_4_RTOFloor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e estimator
		for _, r := range rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 50).Draw(t, "samples") {
			e.sample(time.Duration(r))
			if e.rto < minRTO || e.rto > retention || e.srtt <= 0 || e.rttvar < 0 {
				t.Fatalf("after %v: %+v", time.Duration(r), e)
			}
		}
	})
}

// The ring against a plain list.
//
// Conformance: A-11
func TestFlightAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1e9, 0)
		next := rapid.SampledFrom([]uint32{0, 1 << 31, 1<<32 - 5}).Draw(t, "first")
		var f flight
		var list []frameSent
		for i := range rapid.IntRange(1, 3*maxFlight).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "ack") > 0 {
				at := start.Add(time.Duration(i))
				f.sent(next, at)
				if len(list) < maxFlight {
					list = append(list, frameSent{next, at})
				}
				next++
				continue
			}
			seq := next - uint32(rapid.IntRange(0, 40).Draw(t, "back"))
			var want time.Time
			before := len(list)
			for len(list) > 0 && int32(list[0].seq-seq) <= 0 {
				if list[0].seq == seq {
					want = list[0].at
				}
				list = list[1:]
			}
			if at, progress := f.acked(seq); !at.Equal(want) || progress != (len(list) < before) {
				t.Fatalf("ACK of %d: %v, %v; want %v, %v", seq, at, progress, want, len(list) < before)
			}
			if f.size != len(list) {
				t.Fatalf("%d frames in flight, want %d", f.size, len(list))
			}
		}
	})
}
