package transaction

// inviteClient is RFC 3261 figure 5 as replaced by RFC 6026 figure 5.
func (m *machine) inviteClient(ev event, now instant, t timers) action {
	switch ev {
	case evStart:
		// §17.1.1.2: Timer A starts with T1, Timer B with 64*T1.
		m.start, m.end = now, now+t.span()
		m.retransmit(now, t.T1)
		return doSend
	case evTick:
		return m.inviteClientTick(now)
	case evProvisional:
		return m.inviteClientRings(now)
	case evSuccess:
		return m.inviteClientSuccess(now, t)
	case evFinal:
		return m.inviteClientFailure(now, t)
	case evBroken:
		if m.unanswered() {
			// §17.1.4: "The client transaction SHOULD inform the TU that a transport failure has occurred, and the client transaction SHOULD
			// transition directly to the "Terminated" state."
			return doBroken | doForget | doDestroy
		}
	case evCancelled:
		if m.unanswered() && !m.last {
			// §9.1: without a final response 64*T1 after the CANCEL, "the client SHOULD consider the original transaction cancelled".
			m.last, m.end = true, now+t.span()
		}
	case evAbandon:
		// The machine goes on without a user, so that a late final response is acknowledged.
		if !m.unanswered() {
			return doForget
		}
		m.last, m.again, m.end = true, 0, now+t.span()
	default:
		return doRefuse
	}
	return 0
}

func (m *machine) unanswered() bool { return m.state == trying || m.state == proceeding }

func (m *machine) inviteClientTick(now instant) action {
	if now >= m.end {
		if m.unanswered() {
			return doTimeout | doForget | doDestroy // Timer B
		}
		return doDestroy // Timer D or M
	}
	// §17.1.1.2: "When timer A fires, the client transaction MUST retransmit the request [...] and MUST reset the timer with a value of 2*T1."
	m.interval *= 2
	m.again = now + m.interval
	return m.repeat()
}

func (m *machine) inviteClientRings(now instant) action {
	if !m.unanswered() {
		return doRefuse
	}
	// §17.1.1.2: "the client transaction SHOULD NOT retransmit the request any longer".
	m.state, m.again = proceeding, 0
	if !m.last {
		m.end = now + longestWait
	}
	return doPass
}

func (m *machine) inviteClientSuccess(now instant, t timers) action {
	switch m.state {
	case trying, proceeding:
		// RFC 6026 §7.2: "it MUST transition to the "Accepted" state, pass the 2xx response to the TU, and set Timer M to 64*T1".
		return m.finish(accepted, now, t.span()) | doPass | doForget
	case accepted:
		return doPass
	default:
		return doRefuse
	}
}

func (m *machine) inviteClientFailure(now instant, t timers) action {
	switch m.state {
	case trying, proceeding:
		// §17.1.1.2: "the client transaction MUST generate an ACK request, even if the transport is reliable".
		return m.finish(completed, now, m.unlessReliable(t.d())) | doACK | doPass | doForget
	case completed:
		return doRepeat // "MUST cause the ACK to be re-passed to the transport layer"
	default:
		return doRefuse
	}
}

// otherClient is RFC 3261 figure 6.
func (m *machine) otherClient(ev event, now instant, t timers) action {
	switch ev {
	case evStart:
		m.start, m.end = now, now+t.span() // Timer F
		m.retransmit(now, t.T1)            // Timer E
		return doSend
	case evTick:
		return m.otherClientTick(now, t)
	case evProvisional:
		if !m.unanswered() {
			return doRefuse
		}
		m.state = proceeding
		return doPass
	case evSuccess, evFinal:
		if m.state == completed {
			return 0 // Timer K is there to absorb it
		}
		return m.finish(completed, now, m.unlessReliable(t.T4)) | doPass | doForget
	case evBroken:
		if m.unanswered() {
			return doBroken | doForget | doDestroy
		}
	case evAbandon:
		return doForget | doDestroy
	case evCancelled:
	default:
		return doRefuse
	}
	return 0
}

func (m *machine) otherClientTick(now instant, t timers) action {
	if now >= m.end {
		if m.unanswered() {
			return doTimeout | doForget | doDestroy // Timer F
		}
		return doDestroy // Timer K
	}
	// §17.1.2.2: in Trying "MIN(2*T1, T2)" and so on; in Proceeding Timer E "MUST be reset with a value of T2 seconds".
	m.interval = min(2*m.interval, t.T2)
	if m.state == proceeding {
		m.interval = t.T2
	}
	m.again = now + m.interval
	return m.repeat()
}
