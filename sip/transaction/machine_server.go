package transaction

// inviteServer is RFC 3261 figure 7 as replaced by RFC 6026 figure 7.
func (m *machine) inviteServer(ev event, now instant, t timers) action {
	switch ev {
	case evStart:
		m.state, m.start, m.again, m.end = proceeding, now, now+tryingAfter, now+longestWait
		return doPass
	case evTick:
		return m.inviteServerTick(now, t)
	case evRequest:
		return m.inviteServerAgain()
	case evTrying:
		if m.state == proceeding && m.again != 0 {
			m.again = 0
			return doTrying
		}
		return 0
	case evProvisional:
		if m.state != proceeding {
			return doRefuse
		}
		m.again, m.end = 0, now+longestWait
		return doSend
	case evSuccess:
		return m.inviteServerSuccess(now, t)
	case evFinal:
		if m.state != proceeding {
			return doRefuse
		}
		// §17.2.1: Timer H "is set to fire in 64*T1 seconds for all transports", Timer G to T1 over unreliable ones.
		//
		// Deviation: not when no provisional response has gone out. Until it hears something the client repeats its INVITE, and has the
		// answer again each time; somebody in whose name another one asks, whom §26.3.2.4 is about, has it once and not eleven times.
		repeats := m.again != 0
		m.finish(completed, now, t.span())
		if !repeats {
			m.retransmit(now, t.T1)
		}
		return doSend
	case evACK:
		return m.inviteServerACK(now, t)
	default:
		return doRefuse
	}
}

func (m *machine) inviteServerTick(now instant, t timers) action {
	switch {
	case m.state == proceeding && now >= m.end:
		return doAnswer
	case m.state == proceeding:
		m.again = 0
		return doTrying
	case m.state != completed:
		return doDestroy // Timer I, Timer L
	case now >= m.end:
		return doEnded | doForget | doDestroy // Timer H: the ACK never came
	default:
		// §17.2.1: "If timer G fires, the response is passed to the transport layer once more", next "MIN(2*T1, T2)".
		m.interval = min(2*m.interval, t.T2)
		m.again = now + m.interval
		return doRepeat
	}
}

func (m *machine) inviteServerAgain() action {
	switch m.state {
	case proceeding:
		if m.again != 0 {
			m.again = 0
			return doTrying
		}
		// §17.2.1: "the most recent provisional response that was received from the TU MUST be passed to the transport layer".
		return doRepeat
	case completed:
		return doRepeat
	default:
		// RFC 6026 §7.1: in Accepted "any retransmissions of the INVITE [...] will be absorbed by the machine without changing its state".
		return 0
	}
}

func (m *machine) inviteServerSuccess(now instant, t timers) action {
	switch m.state {
	case proceeding:
		// RFC 6026 §7.1: "the state machine MUST transition to the "Accepted" state and set Timer L to 64*T1".
		return m.finish(accepted, now, t.span()) | doSend | doEnded | doForget
	case accepted:
		// "Any retransmission of the 2xx response passed from the TU [...] MUST be passed to the transport layer".
		return doSend
	default:
		return doRefuse
	}
}

func (m *machine) inviteServerACK(now instant, t timers) action {
	switch m.state {
	case completed:
		// §17.2.1: Timer I "is set to fire in T4 seconds for unreliable transports, and zero seconds for reliable transports".
		return m.finish(confirmed, now, m.unlessReliable(t.T4)) | doEnded | doForget
	case confirmed:
		return 0
	case accepted:
		// RFC 6026 §7.1: ACKs "received from the network while in the "Accepted" state MUST be passed directly to the TU".
		return doPass
	default:
		return doRefuse
	}
}

// otherServer is RFC 3261 figure 8, with the 100 of RFC 4320.
func (m *machine) otherServer(ev event, now instant, t timers) action {
	switch ev {
	case evStart:
		// RFC 4320 §4.1: a 100 is owed "after the amount of time it takes a client transaction's Timer E to be reset to T2". §4.2: who
		// "cannot respond before the transaction expires will not send a final response at all".
		m.start, m.again, m.end = now, now+t.resetToT2(), now+t.span()
		return doPass
	case evTick:
		return m.otherServerTick(now)
	case evRequest:
		if m.state == trying {
			return 0
		}
		return doRepeat
	case evTrying:
		return 0
	case evProvisional:
		// RFC 4320 §4.1: no 100 "over any unreliable transport, such as UDP, before the amount of time [...]".
		if !m.unanswered() || !m.reliable && now < m.start+t.resetToT2() {
			return doRefuse
		}
		m.state, m.again = proceeding, 0
		return doSend
	case evSuccess, evFinal:
		if !m.unanswered() {
			return doRefuse
		}
		return m.finish(completed, now, m.unlessReliable(t.span())) | doSend | doEnded | doForget
	case evSilence:
		if !m.unanswered() {
			return doRefuse
		}
		return m.finish(completed, now, t.span()) | doEnded | doForget
	default:
		return doRefuse
	}
}

func (m *machine) otherServerTick(now instant) action {
	switch {
	case now >= m.end && m.unanswered():
		return doEnded | doForget | doDestroy
	case now >= m.end:
		return doDestroy // Timer J
	default:
		m.state, m.again = proceeding, 0
		return doTrying
	}
}
