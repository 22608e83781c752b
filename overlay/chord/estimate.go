package chord

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Estimates is what RFC 7363 §6 tunes a peer by.
type Estimates struct {
	Size  float64 // N: peers in the overlay, at least 1
	Joins float64 // L: peers that join the overlay, per second
	Fails float64 // U: how often one peer fails or leaves, per second
}

// Density is the estimate of the number of peers of RFC 7363 §6.1: the whole ring, divided by "the average inter-peer distance d
// between the successive peers starting from the most distant predecessor and ending to the most distant successor in the
// successor list". When the two lists meet, that is everybody.
//
// Deviation: SizeEstimate, which does without RFC 7363, counts where it can; peers of a self-tuning overlay compare their estimates, so
// that all have to compute the same.
func (r *Ring) Density() float64 {
	n := len(r.peers)
	if n < 2*r.near {
		return float64(n + 1)
	}
	span := r.peers[r.near-1].at.Sub(r.peers[n-r.near].at).fraction()
	return min(maxEstimate, max(float64(n+1), float64(2*r.near)/max(span, 1.0/maxEstimate)))
}

// ListSize is how long the successor list and the predecessor list are to be: "a maximum of ceiling(log2(N))", and
// "ceiling(log2(N))" (RFC 7363 §6.2).
//
// Deviation: the predecessor list has no lower limit there; RFC 6940 §10.7 has three predecessors as well as three successors.
func (e Estimates) ListSize() int { return max(Neighbors, min(MaxNear, e.log())) }

// FingerSize is how long the finger table is to be: "max(ceiling(log2(N)), 16)" (RFC 7363 §6.2).
func (e Estimates) FingerSize() int { return max(FingerGoal, min(MaxFingers, e.log())) }

// log is ceiling(log2(N)).
func (e Estimates) log() int { return int(math.Ceil(math.Log2(max(1, min(maxEstimate, e.Size))))) }

// Interval is the stabilization interval of RFC 7363 §6.6: the time in which half of the peers fail, 1/(2*U), or the one in which
// as many join as there are, N/L, whichever is shorter, divided by square(log2(N)). It is at least MinStabilization, and
// at most longest, which counts where nothing happens.
func (e Estimates) Interval(longest time.Duration) time.Duration {
	log := max(1, math.Log2(max(1, e.Size)))
	seconds := min(1/(2*e.Fails), e.Size/e.Joins) / (log * log) // infinite where nobody fails or joins
	// RFC 7363 §6.6: "a lower limit of 15 s is RECOMMENDED".
	if seconds >= longest.Seconds() || math.IsNaN(seconds) {
		return max(MinStabilization, longest)
	}
	return max(MinStabilization, time.Duration(seconds*float64(time.Second)))
}

// JoinRate estimates L, joins per second, from the ages of the peers in the routing table: "L = N / Ages[floor(rsize/2)]" (RFC
// 7363 §6.4). It sorts ages. Without any it is 0. An age counts as a second at least: they are told in whole ones.
func JoinRate(size float64, ages []time.Duration) float64 {
	if len(ages) == 0 {
		return 0
	}
	slices.Sort(ages)
	return size / max(time.Second, ages[len(ages)/2]).Seconds()
}

// History is when the last failures were noticed, oldest first: RFC 7363 §6.3. The zero History is empty. It begins with the time
// at which the peer has joined.
type History []time.Time

// Note enters a failure. peers is the size of the routing table, of which the history keeps a quarter: "K is set to 25% of the
// routing table size. Use of this value is RECOMMENDED."
func (h *History) Note(at time.Time, peers int) {
	*h = append(*h, at)
	if extra := len(*h) - historySize(peers); extra > 0 {
		*h = slices.Delete(*h, 0, extra)
	}
}

func historySize(peers int) int { return max(minHistory, peers/4) }

// Rate estimates U, failures per second of one peer, as k/(M*Tk): "Tk is the time between the first and the last failure in the
// history". "If k is smaller than K, the estimate is computed as if there was a failure at the current time."
//
// Deviation: it is computed so as well when no peer has failed for longer than Tk, or it would never fall again after a churn
// that is over.
func (h History) Rate(now time.Time, peers int) float64 {
	if len(h) == 0 || peers == 0 {
		return 0
	}
	first, last := h[0], h[len(h)-1]
	if len(h) < historySize(peers) || now.Sub(last) > last.Sub(first) {
		last = now
	}
	return float64(len(h)) / (float64(peers) * max(time.Second, last.Sub(first)).Seconds())
}

// Quartile is the 75th percentile of RFC 7363 §2: of values in ascending order the one whose rank is (75/100)*N, rounded "to the
// nearest integer". It sorts values, of which there must be one.
func Quartile[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[max(1, (3*len(values)+2)/4)-1]
}
