package link

import "time"

// window is the congestion control of a sender: that of TCP (RFC 5681), as RFC 8085 §3.1 recommends it to applications
// over UDP, counted in packets as DCCP does (RFC 4341). A packet is what fits into one datagram without IP
// fragmentation. The zero value is not usable. It is not safe for concurrent use.
type window struct {
	size      int // congestion window, at most maxWindow
	threshold int // slow start ends there
	flight    int // neither acknowledged nor taken for lost
	arrived   int // acknowledged since the size last changed

	used   bool   // at least half of the size was, within a round trip
	usedAt uint32 // with used: the last frame that left then

	recovering bool
	recover    uint32 // with recovering: a loss before this sequence number is not another reason for a smaller window
	extra      bool   // one copy may go whatever the size

	left  time.Time // when the last packet went
	clear time.Time // the next one goes no earlier
}

func newWindow() window { return window{size: initialWindow, threshold: maxWindow} }

// weight is how many packets a message counts for.
func weight(message []byte) int { return 1 + (len(message)-1)/pathMTU }

// room reports whether a packet may leave; again, whether a copy of one may that was lost.
func (w *window) room() bool  { return w.flight < w.size }
func (w *window) again() bool { return w.extra || w.room() }

// leave notes that n packets leave, in the frame seq. RFC 8085 and RFC 9002 §7.7 have bursts avoided: what the window admits is spread
// over half a round trip, but for short bursts, and never more finely than paceUnit.
func (w *window) leave(now time.Time, seq uint32, n int, rtt time.Duration) {
	w.extra = false
	w.flight += n
	w.left = now
	if 2*w.flight >= w.size {
		w.used, w.usedAt = true, seq
	}
	apart := rtt / time.Duration(2*w.size)
	w.clear = later(w.clear, now.Add(-max(paceUnit, (maxBurst-1)*apart))).Add(time.Duration(n) * apart)
}

// arrive notes that n packets were acknowledged that had not been taken for lost.
func (w *window) arrive(n int) {
	w.flight -= n
	w.arrived += n
}

// grow makes the window larger after an ACK. low is the first sequence number that is still under way.
func (w *window) grow(low uint32) {
	if w.recovering && int32(low-w.recover) >= 0 {
		w.recovering, w.arrived = false, 0
	}
	switch {
	case w.recovering || !w.used:
		// RFC 7661: a window that is less than half used says nothing of what the path carries.
		w.arrived = 0
	case w.size < w.threshold:
		// RFC 3465: a single ACK, after others were lost, opens the window by two at most.
		w.size += min(w.arrived, maxStride)
		w.arrived = 0
	case w.arrived >= w.size:
		// RFC 5681 §3.1: "During congestion avoidance, cwnd is incremented by roughly 1 full-sized segment per round-trip
		// time (RTT)."
		w.arrived -= w.size
		w.size++
	}
	w.size = min(w.size, maxWindow)
	if int32(low-w.usedAt) > 0 {
		w.used = false
	}
}

// lose makes the window smaller, once for everything that was under way then: flight, before next.
func (w *window) lose(seq, next uint32, flight int) {
	if w.recovering && int32(seq-w.recover) < 0 {
		return
	}
	w.halve(flight)
	w.size = w.threshold
	w.recovering, w.recover, w.extra = true, next, true
}

// halve is RFC 5681 §3.1, formula 4: "ssthresh = max (FlightSize / 2, 2*SMSS)".
func (w *window) halve(flight int) { w.threshold, w.arrived = max(flight/2, 2), 0 }

// collapse is for a timeout, the first of its message or another one. RFC 5681 §3.1: "upon a timeout [...] cwnd MUST be set
// to no more than the loss window, LW, which equals 1 full-sized segment", and "when a TCP sender detects segment loss using
// the retransmission timer and the given segment has already been retransmitted by way of the retransmission timer at least
// once, the value of ssthresh is held constant."
func (w *window) collapse(first bool) {
	if first {
		w.halve(w.flight)
	}
	w.size, w.arrived, w.recovering, w.extra = 1, 0, false, false
}

// restart is for a packet that leaves after nothing was sent for an RTO. RFC 5681 §4.1: "a TCP SHOULD set cwnd to no more
// than RW before beginning transmission". RFC 2861 has ssthresh keep the memory of what there was.
func (w *window) restart(now time.Time, rto time.Duration) {
	if w.flight == 0 && w.size > initialWindow && now.Sub(w.left) > rto {
		w.threshold = max(w.threshold, w.size*3/4)
		w.size = initialWindow
	}
}
