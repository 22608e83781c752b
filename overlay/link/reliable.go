package link

import (
	"slices"
	"time"
)

// sender is a sender of Simple Reliability (RFC 6940 §6.6.3) as a value: the time is an argument, and what is to be done
// comes back from step. RFC 6940 §6.6.3: "a wide variety of congestion control algorithms can be implemented on the sender
// side while using the same basic wire protocol. The sender algorithm used MUST meet the requirements of [RFC5405]." This
// one is TCP's, with a window counted in packets (see window); from the stop-and-wait sender of RFC 6940 §6.6.3.1 it has the
// RTO, the five copies of a message with twice the wait after each, and what ends the link. Every message on the link goes
// through it, whether this node made it or passes it on. It is not safe for concurrent use.
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
	window window
	queue  [][]byte
	octets int // in queue

	active []*outgoing // sent and not acknowledged, in the order of their first copies; at most maxWindow
	lost   int         // of these, how many have no copy under way
	sent   [recentFrames]transmission
	low    uint32 // no sequence number before it is under way
	next   uint32 // sequence number of the next data frame

	heard   time.Time // when an ACK came or, if that is later, when something began to wait for one
	silent  int       // copies that went out since, after an RTO without an ACK
	stalled bool
}

// outgoing is a message of which a copy was sent, and none acknowledged yet.
type outgoing struct {
	message []byte
	done    bool // acknowledged
	copies  int
	last    uint32        // sequence number of the newest copy
	wait    time.Duration // after that copy
	expired bool          // a copy has timed out before
	lost    bool          // the newest copy is taken for lost
	again   time.Time     // with lost: when the next copy is due or, after the fifth, when to give up
}

// transmission is one copy of a message.
type transmission struct {
	seq      uint32
	at       time.Time // zero: its own ACK has come, or there was none
	of       *outgoing
	underWay bool // neither acknowledged nor taken for lost
	arrived  bool
	later    int // sequence numbers after it that were acknowledged
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
	s := sender{rtt: estimator{rto: initialSRRTO}, window: newWindow()}
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
func (s *sender) idle() bool { return len(s.active) == 0 && len(s.queue) == 0 }

// waiting reports whether a message could go as soon as the window or the pace let it.
func (s *sender) waiting() bool { return len(s.queue) > 0 || s.lost > 0 }

// step returns one thing that is to be done by now. It is called until there is none.
func (s *sender) step(now time.Time) effect {
	if t := s.oldest(); t != nil && !now.Before(s.due(t)) {
		s.timeout(t)
	}
	m := s.first(now)
	switch {
	case m != nil && m.copies == maxCopies:
		// RFC 6940 §6.6.3.1: "If all retransmissions for a message fail, then the sending node SHOULD close the
		// connection routing the message."
		return effect{dead: true}
	case now.Before(s.window.clear):
	case m != nil && s.again():
		return s.repeat(now, m)
	case m == nil && s.more(): // what is lost goes before what is new
		return s.begin(now)
	}
	return effect{}
}

// wake is when step has something to do, if nothing happens before; zero: never.
func (s *sender) wake() (at time.Time) {
	earlier := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if t := s.oldest(); t != nil {
		earlier(s.due(t))
	}
	if s.more() {
		earlier(s.window.clear)
	}
	for _, m := range s.active {
		switch {
		case !m.lost:
		case m.copies == maxCopies:
			earlier(m.again)
		case s.again():
			earlier(later(m.again, s.window.clear))
		}
	}
	return at
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// again reports whether there is room for another copy of a message, and more whether there is a new message and room for
// it. No sequence number leaves the reach of the bit mask of ACKs while its frame is under way.
func (s *sender) again() bool { return s.window.again() && s.next-s.low < maskReach }

func (s *sender) more() bool {
	return len(s.queue) > 0 && len(s.active) < maxWindow && s.window.room() && s.next-s.low < maskReach
}

// oldest is the transmission that has been under way for longest; nil: none is.
func (s *sender) oldest() *transmission {
	if s.low == s.next {
		return nil
	}
	return &s.sent[s.low%recentFrames]
}

// due is when the oldest transmission has timed out. RFC 6298 §5.3: "When an ACK is received that acknowledges new data,
// restart the retransmission timer".
func (s *sender) due(t *transmission) time.Time { return later(t.at, s.heard).Add(t.of.wait) }

// first is the first message of which a copy is due now, or one that has had all its copies; nil: none.
func (s *sender) first(now time.Time) (first *outgoing) {
	if s.lost == 0 {
		return nil
	}
	for _, m := range s.active {
		if !m.lost || now.Before(m.again) {
			continue
		}
		if m.copies == maxCopies {
			return m
		}
		if first == nil {
			first = m
		}
	}
	return first
}

// begin sends the next message.
func (s *sender) begin(now time.Time) effect {
	m := &outgoing{message: s.queue[0], wait: s.rtt.rto}
	s.queue[0] = nil
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	s.octets -= len(m.message)
	if len(s.active) == 0 {
		s.heard, s.silent = now, 0
	}
	s.active = append(s.active, m)
	s.window.restart(now, s.rtt.rto)
	return s.send(now, m)
}

// repeat sends another copy.
func (s *sender) repeat(now time.Time, m *outgoing) effect {
	// RFC 6940 §6.6.3.1: "The node MUST double the time to wait after each retransmission."
	m.wait *= 2
	m.lost = false
	s.lost--
	if now.Sub(s.heard) >= s.rtt.rto {
		s.silent++
	}
	e := s.send(now, m)
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

// send puts a message into a frame. RFC 6940 §6.6.3.1: "For each retransmission, the sequence number MUST be
// incremented."
func (s *sender) send(now time.Time, m *outgoing) effect {
	seq := s.next
	s.next++
	m.copies++
	m.last = seq
	s.sent[seq%recentFrames] = transmission{seq: seq, at: now, of: m, underWay: true}
	s.window.leave(now, seq, weight(m.message), s.rtt.srtt)
	return effect{message: m.message, seq: seq}
}

// timeout takes everything that is under way for lost, because the oldest of it has had no ACK in time.
func (s *sender) timeout(oldest *transmission) {
	s.window.collapse(!oldest.of.expired)
	oldest.of.expired = true
	for ; s.low != s.next; s.low++ {
		if t := &s.sent[s.low%recentFrames]; t.underWay {
			s.lose(t)
		}
	}
}

// lose takes a transmission for lost. Its message goes again when the time to wait after that copy has passed.
func (s *sender) lose(t *transmission) {
	t.underWay = false
	s.window.flight -= weight(t.of.message)
	s.lost++
	t.of.lost, t.of.again = true, t.at.Add(t.of.wait)
}

// ack takes the ACK for the frame seq, with its bit mask. It reports whether the link, which was stalled, is not any more.
func (s *sender) ack(now time.Time, seq, received uint32) (restored bool) {
	t := s.find(seq)
	if t == nil {
		return false
	}
	flight := s.window.flight
	news := s.arrive(t)
	if !t.at.IsZero() {
		// RFC 6940 §6.6.3.1: "because retransmissions receive new sequence numbers, all received ACKs are used."
		s.rtt.fine(now.Sub(t.at))
		t.at, news = time.Time{}, true
	}
	for ; received != 0; received >>= 1 {
		seq-- // RFC 6940 §6.6.2: "the N-M bit of the received bitmask"
		if t := s.find(seq); received&1 != 0 && t != nil && s.arrive(t) {
			news = true
		}
	}
	if !news {
		return false
	}
	s.heard, s.silent = now, 0
	s.settle(now, flight)
	restored, s.stalled = s.stalled, false
	return restored
}

// find returns the transmission with a sequence number; nil: it was never sent, or long ago.
func (s *sender) find(seq uint32) *transmission {
	t := &s.sent[seq%recentFrames]
	if t.seq != seq || t.at.IsZero() && !t.arrived {
		return nil
	}
	return t
}

// arrive notes that the receiver has a transmission. It reports whether that is new.
func (s *sender) arrive(t *transmission) bool {
	if t.arrived {
		return false
	}
	m := t.of
	t.arrived, t.of = true, nil
	if t.underWay {
		t.underWay = false
		s.window.arrive(weight(m.message))
	}
	for q := s.low; int32(q-t.seq) < 0; q++ {
		s.sent[q%recentFrames].later++
	}
	if !m.done {
		s.complete(m)
	}
	return true
}

// complete forgets a message. RFC 6940 §6.6.3.1: "The sender knows a response was received when it receives an ACK with a
// sequence number that indicates it is a response to one of the transmissions of this message."
func (s *sender) complete(m *outgoing) {
	if t := &s.sent[m.last%recentFrames]; t.underWay && t.of == m { // a later copy, which need not arrive any more
		t.underWay = false
		s.window.flight -= weight(m.message)
	}
	if m.lost {
		s.lost--
	}
	m.done, m.message = true, nil
	i := slices.Index(s.active, m)
	s.active = slices.Delete(s.active, i, i+1)
}

// settle draws the conclusions from an ACK: so much was under way before it.
func (s *sender) settle(now time.Time, flight int) {
	for q := s.low; q != s.next; q++ {
		// RFC 5681 §3.2: "The fast retransmit algorithm uses the arrival of 3 duplicate ACKs [...] as an indication that a
		// segment has been lost." Here what three later numbers have overtaken is lost.
		t := &s.sent[q%recentFrames]
		if !t.underWay || t.later < overtaken {
			continue
		}
		s.window.lose(t.seq, s.next, flight)
		s.lose(t)
		if t.of.copies == 1 {
			// Once. A receiver that is overwhelmed leaves ACKs out, and the five copies must not pass in a few round trips.
			t.of.again = now
		}
	}
	for s.low != s.next && !s.sent[s.low%recentFrames].underWay {
		s.low++
	}
	s.window.grow(s.low)
}

// stop forgets everything that is not acknowledged. RFC 6940 §6.6.3.1: "Retransmissions continue until [...] there has
// been a hard ICMP error [RFC1122], or until a TLS alert indicating the end of the connection has been sent or received."
// What is forgotten comes back.
func (s *sender) stop() (left [][]byte) {
	for _, m := range s.active {
		left = append(left, m.message)
	}
	left = append(left, s.queue...)
	s.active, s.lost, s.low, s.queue, s.octets = nil, 0, s.next, nil, 0
	return left
}
