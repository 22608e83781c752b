package link

import "time"

// estimator is the RTO calculation of RFC 6298 §2.
type estimator struct{ srtt, rttvar, rto time.Duration }

// sample takes one measured round trip time of a connection over TCP.
func (e *estimator) sample(r time.Duration) {
	// RFC 6298 §2.4: "if it is less than 1 second, then the RTO SHOULD be rounded up to 1 second". At most the
	// retention, after which the link is given up anyway.
	e.rto = min(max(e.measure(r), minRTO), retention)
}

// measure updates the smoothed values and returns the RTO that follows from them.
func (e *estimator) measure(r time.Duration) time.Duration {
	if e.srtt == 0 { // RFC 6298 §2.2
		e.srtt, e.rttvar = max(r, 1), r/2
	} else { // RFC 6298 §2.3, alpha 1/8, beta 1/4
		e.rttvar += ((e.srtt - r).Abs() - e.rttvar) / 4
		e.srtt = max(e.srtt+(r-e.srtt)/8, 1)
	}
	// RFC 6940 §6.6.3.1: "rounded up to the nearest millisecond".
	return (e.srtt + 4*e.rttvar + time.Millisecond - 1).Truncate(time.Millisecond)
}
