package link

import "time"

// flight holds what was sent and not acknowledged: a ring, in the order of sending.
type flight struct {
	frames      [maxFlight]frameSent
	first, size int
}

type frameSent struct {
	seq uint32
	at  time.Time
}

// sent notes a data frame. With the ring full the frame goes untimed: an ACK for it still clears those before it.
func (f *flight) sent(seq uint32, at time.Time) {
	if f.size < maxFlight {
		f.frames[(f.first+f.size)%maxFlight] = frameSent{seq, at}
		f.size++
	}
}

// acked removes the frame seq and all before it, which TCP has delivered first. It returns when seq was sent, or zero.
func (f *flight) acked(seq uint32) (at time.Time, progress bool) {
	for f.size > 0 {
		s := f.frames[f.first]
		if int32(s.seq-seq) > 0 {
			break
		}
		f.first, f.size, progress = (f.first+1)%maxFlight, f.size-1, true
		if s.seq == seq {
			return s.at, true
		}
	}
	return time.Time{}, progress
}

// oldest is the frame that waits longest.
func (f *flight) oldest() (at time.Time, ok bool) { return f.frames[f.first].at, f.size > 0 }
