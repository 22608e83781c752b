package link

import "time"

// sender is the stop-and-wait sender of Simple Reliability (RFC 6940 §6.6.3.1) as a value: the time is an argument, and
// what is to be done comes back from step. Every message on the link goes through it, whether this node made it or
// passes it on. It is not safe for concurrent use.
//
// Deviation: RFC 6940 §6.6.3.1 says in passing that "transit nodes do not retransmit at this layer". RFC 6940 §6.2.1
// and §6.6.3 ("each message [...] will get an ACK and be reliably retransmitted") say that they do, and without it a
// message across n hops would have but one try on n-1 of them.
//
// The receiver's half is wire.Received and an ACK for each frame. It does not look for copies: they have sequence
// numbers of their own, and octets that were seen a moment ago may as well be a retransmission of the request by the
// node that made it, which must travel on. What receives a request twice answers it twice alike (RFC 6940 §6.2.1).
type sender struct {
	rtt    estimator
	queue  [][]byte
	octets int // in queue

	current []byte // what is unacknowledged; nil: nothing
	copies  int    // of current that were sent
	first   uint32 // sequence number of the first of them
	next    uint32 // sequence number of the next data frame
	wait    time.Duration
	due     time.Time // for the next copy or, after the last one, for giving up

	gap     time.Time // the next message goes no earlier
	heard   time.Time // when an ACK came or, if that is later, when something began to wait for one
	silent  int       // copies that went out since, after an RTO without an ACK
	stalled bool
	recent  [recentFrames]frameSent
}

// effect is what a sender wants done.
type effect struct {
	message []byte // to be sent in a data frame; nil: nothing
	seq     uint32
	copied  bool // message was sent before
	stalled bool // the link is to be taken out of the Routing Table
	dead    bool // the link is to be closed
}

// newSender returns a sender for a path of which one round trip time is known, or 0.
func newSender(rtt time.Duration) sender {
	s := sender{rtt: estimator{rto: initialSRRTO}}
	if rtt > 0 {
		// RFC 6940 §6.6.3.1: "The RTT of a successful STUN transaction from the ICE stage is used as the initial
		// measurement for formula 2.2 of RFC 6298."
		s.rtt.fine(rtt)
	}
	return s
}

// fine is sample for Simple Reliability. RFC 6940 §6.6.3.1: "the value of RTO SHOULD NOT be rounded up to the nearest
// second, but instead rounded up to the nearest millisecond".
func (e *estimator) fine(r time.Duration) { e.rto = min(max(e.measure(r), minSRRTO), maxSRRTO) }

// push queues messages: all of them, or none and false when there is no room.
func (s *sender) push(messages ...[]byte) bool {
	octets := s.octets
	for _, m := range messages {
		octets += len(m)
	}
	// One message is always taken, however many fragments it has.
	if len(s.queue) > 0 && (len(s.queue)+len(messages) > maxQueue || octets > maxQueueOctets) {
		return false
	}
	s.queue, s.octets = append(s.queue, messages...), octets
	return true
}

// idle reports whether all that was pushed is acknowledged.
func (s *sender) idle() bool { return s.current == nil && len(s.queue) == 0 }

// step returns one thing that is to be done by now. It is called until there is none.
func (s *sender) step(now time.Time) effect {
	switch {
	case s.current == nil:
		return s.begin(now)
	case now.Before(s.due):
		return effect{}
	case s.copies == maxCopies:
		// RFC 6940 §6.6.3.1: "If all retransmissions for a message fail, then the sending node SHOULD close the
		// connection routing the message."
		return effect{dead: true}
	}
	return s.again(now)
}

// wake is when step has something to do, if nothing happens before; zero: never.
func (s *sender) wake() time.Time {
	switch {
	case s.current != nil:
		return s.due
	case len(s.queue) > 0:
		return s.gap
	}
	return time.Time{}
}

// begin starts with the next message. RFC 6940 §6.6.3.1: "A node MUST NOT have more than one unacknowledged message on
// the DTLS connection at a time."
func (s *sender) begin(now time.Time) effect {
	if len(s.queue) == 0 || now.Before(s.gap) {
		return effect{}
	}
	s.current, s.queue[0] = s.queue[0], nil
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.octets -= len(s.current)
	s.first, s.copies, s.wait = s.next, 0, s.rtt.rto
	s.heard, s.silent = now, 0
	return s.send(now)
}

// again sends another copy.
func (s *sender) again(now time.Time) effect {
	// RFC 6940 §6.6.3.1: "The node MUST double the time to wait after each retransmission."
	s.wait *= 2
	if now.Sub(s.heard) >= s.rtt.rto {
		s.silent++
	}
	e := s.send(now)
	e.copied = true
	// RFC 6940 §6.6.3.1: "observe when no ACKs have been received for an entire RTO interval, and then wait for three
	// retransmissions to occur beyond that point. If no ACKs have been received by the time the third retransmission
	// occurs, it is RECOMMENDED that the link be removed from the Routing Table." The copy that the end of the RTO
	// brings about is the first of the three.
	if s.silent >= silentCopies && !s.stalled {
		s.stalled, e.stalled = true, true
	}
	return e
}

// send puts the current message into a frame. RFC 6940 §6.6.3.1: "For each retransmission, the sequence number MUST be
// incremented."
func (s *sender) send(now time.Time) effect {
	seq := s.next
	s.next++
	s.copies++
	s.due = now.Add(s.wait)
	s.recent[seq%recentFrames] = frameSent{seq, now}
	return effect{message: s.current, seq: seq}
}

// ack takes the ACK for the frame seq. It reports whether the link, which was stalled, is not any more.
func (s *sender) ack(now time.Time, seq uint32) (restored bool) {
	f := &s.recent[seq%recentFrames]
	if f.seq != seq || f.at.IsZero() {
		return false // never sent, long ago, or acknowledged before
	}
	// RFC 6940 §6.6.3.1: "because retransmissions receive new sequence numbers, all received ACKs are used."
	s.rtt.fine(now.Sub(f.at))
	f.at = time.Time{}
	// RFC 6940 §6.6.3.1: "A sender MUST wait 10 ms between receipt of an ACK and transmission of the next message."
	s.gap = now.Add(ackGap)
	s.heard, s.silent = now, 0
	// RFC 6940 §6.6.3.1: "The sender knows a response was received when it receives an ACK with a sequence number that
	// indicates it is a response to one of the transmissions of this message."
	if s.current != nil && seq-s.first < uint32(s.copies) {
		s.current = nil
	}
	restored, s.stalled = s.stalled, false
	return restored
}

// stop forgets everything that is not acknowledged. RFC 6940 §6.6.3.1: "Retransmissions continue until [...] there has
// been a hard ICMP error [RFC1122], or until a TLS alert indicating the end of the connection has been sent or received."
// What is forgotten comes back.
func (s *sender) stop() (left [][]byte) {
	if s.current != nil {
		left = append(left, s.current)
	}
	left = append(left, s.queue...)
	s.current, s.queue, s.octets = nil, nil, 0
	return left
}
