package transaction

import "time"

// instant is a time, as the duration since a moment before the layer started; 0 is never.
type instant = time.Duration

// kind is one of the four state machines of RFC 3261 §17.
type kind uint8

const (
	inviteClient kind = iota
	otherClient
	inviteServer
	otherServer
	kinds
)

type state uint8

const (
	trying     state = iota // Calling of an INVITE client
	proceeding              // the first state of an INVITE server
	completed
	confirmed
	accepted // RFC 6026
	terminated
)

// event is what happens to a transaction. What a client receives, a server sends.
type event uint8

const (
	evStart       event = iota
	evTick              // some time has passed
	evProvisional       // 1xx
	evSuccess           // 2xx to INVITE
	evFinal             // any other final response
	evRequest           // server: a retransmission of the request
	evACK               // server
	evTrying            // server: the core wants its 100 now
	evSilence           // server: the core wants it over without a response
	evBroken            // client: the transport failed
	evCancelled         // client: a CANCEL went out
	evAbandon           // client: the user is gone
	events
)

// action is what is to be done about an event: a set.
type action uint16

const (
	doSend    action = 1 << iota // write the message of the event, and keep it for doRepeat
	doRepeat                     // write what was written last
	doTrying                     // write a 100 of our own
	doAnswer                     // answer with a final response of our own: the core has forgotten it
	doACK                        // write the ACK for a non-2xx, which takes the place of the request
	doPass                       // give the message to the user
	doTimeout                    // tell the user ErrTimeout
	doBroken                     // tell the user ErrTransport
	doEnded                      // tell the core Ended
	doForget                     // drop what only a transaction without final response needs
	doDestroy                    // take it out of the table
	doRefuse                     // the event has no place in this state: drop and count it
)

// TimerConfig holds the timer values of RFC 3261 §17; zero values become the defaults of its table 4.
type TimerConfig struct {
	T1, T2, T4 time.Duration
}

// timers are the values that a machine uses.
type timers struct{ TimerConfig }

func (t timers) span() time.Duration { return spans * t.T1 }

// d is Timer D (RFC 3261 §17.1.1.2).
func (t timers) d() time.Duration { return max(timerD, t.span()) }

// resetToT2 is how long a client retransmits before Timer E reaches T2 (RFC 4320 §4.1).
func (t timers) resetToT2() time.Duration {
	sum, d := time.Duration(0), t.T1
	for ; d < t.T2; d *= 2 {
		sum += d
	}
	return max(sum, t.T1)
}

// machine is the state of a transaction: a value, without clock, lock or message.
type machine struct {
	kind     kind
	state    state
	reliable bool          // the transport is (RFC 3261 §17: timers A, E, G do not run)
	late     bool          // reliable may change: the connection is opened for the transaction. Timers A and E run in any case
	last     bool          // the end of the wait is fixed: a CANCEL is out, or the user gone
	interval time.Duration // of Timer A, E or G
	again    instant       // when Timer A, E or G fires, or a 100 is due
	end      instant       // when Timer B, F, D, K, M, H, I, J or L fires
	start    instant
}

// step takes an event at a time and says what to do.
func (m *machine) step(ev event, now instant, t timers) action {
	if m.state == terminated {
		return doRefuse
	}
	if ev == evTick && (m.end == 0 || now < m.end) && (m.again == 0 || now < m.again) {
		return 0
	}
	var a action
	switch m.kind {
	case inviteClient:
		a = m.inviteClient(ev, now, t)
	case otherClient:
		a = m.otherClient(ev, now, t)
	case inviteServer:
		a = m.inviteServer(ev, now, t)
	default:
		a = m.otherServer(ev, now, t)
	}
	if a&doDestroy != 0 {
		m.state, m.again, m.end = terminated, 0, 0
	}
	return a
}

// due is when the next timer fires, 0 when none runs.
func (m *machine) due() instant {
	if m.again != 0 && m.again < m.end {
		return m.again
	}
	return m.end
}

// settled reports whether nothing begins any more in the state that m is in: it answers what comes until its time is over. An INVITE server in
// Completed is not as long as it repeats its response by itself.
func (m *machine) settled() bool {
	switch m.state {
	case confirmed, accepted:
		return true
	case completed:
		return m.kind != inviteServer || m.again == 0
	default:
		return false
	}
}

// finish enters a state that a timer ends; a timer of zero length ends it at once.
func (m *machine) finish(s state, now instant, d time.Duration) action {
	m.state, m.again, m.end = s, 0, now+d
	if d == 0 {
		return doDestroy
	}
	return 0
}

// unlessReliable is d over an unreliable transport, and zero over a reliable one: timers D, I, J, K.
func (m *machine) unlessReliable(d time.Duration) time.Duration {
	if m.reliable {
		return 0
	}
	return d
}

// retransmit starts Timer A, E or G.
func (m *machine) retransmit(now instant, d time.Duration) {
	if !m.reliable || m.late {
		m.interval, m.again = d, now+d
	}
}

// repeat is what Timer A or E, which has fired, wants.
func (m *machine) repeat() action {
	if m.reliable {
		return 0
	}
	return doRepeat
}
