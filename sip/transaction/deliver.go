package transaction

import (
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Deliver implements flow.Receiver.
func (l *Layer) Deliver(m *message.Message, from location.Hop) {
	via, err := m.TopVia()
	if err != nil {
		return // the reader has checked it
	}
	l.wheel.enter()
	defer l.leave()
	switch {
	case !m.IsRequest():
		l.response(m, via)
	case m.Method == "ACK":
		l.ack(m, via, from)
	case m.Method == "CANCEL":
		l.cancel(m, via, from)
	default:
		l.request(m, via, from)
	}
}

// leave ends a delivery: what came up in it that could not be told under a lock is told now.
func (l *Layer) leave() {
	for soon := l.wheel.leave(nil); soon != nil; soon = l.wheel.leave(soon) {
		tell(soon)
	}
}

func (l *Layer) response(m *message.Message, via message.ViaValue) {
	cseq, _ := m.CSeq()
	k := l.hasher.client(via.Branch, cseq.Method)
	e, left := l.table.find(l.now(), k)
	if e != nil {
		if e.received(m) {
			return
		}
		_, left = l.table.find(l.now(), k) // it has just finished
	}
	if left.role == nobody {
		// RFC 6026 §7.3: "The proxy MUST NOT forward the response if there is no matching transaction state machine."
		l.counters.drop(dropStray)
		return
	}
	left.response(l, m)
}

func (l *Layer) ack(m *message.Message, via message.ViaValue, from location.Hop) {
	// RFC 3261 §17.2.3: "The method of the request matches the one that created the transaction, except for ACK, where the method of
	// the request that created the transaction is INVITE."
	k := l.hasher.server(m, via, "INVITE")
	e, left := l.table.find(l.now(), k)
	if e != nil {
		if e.acknowledged() {
			return
		}
		_, left = l.table.find(l.now(), k)
	}
	// Deviation from §17.2.1: what waits for its ACK as inviteServerCompleted does so to the end; a copy of the INVITE behind the ACK has the answer
	// again.
	if left.role != inviteServerConfirmed && left.role != inviteServerCompleted {
		// RFC 6026 §7.1: ACKs "received from the network while in the "Accepted" state MUST be passed directly to the TU".
		l.handler.ACK(m, from)
	}
}

// again reports whether a request is a retransmission, and deals with it then.
func (l *Layer) again(k key, m *message.Message, via message.ViaValue, from location.Hop) bool {
	e, left := l.table.find(l.now(), k)
	if e != nil {
		if e.repeated(from, via) {
			return true
		}
		_, left = l.table.find(l.now(), k)
	}
	return left.request(l, m, via, from)
}

func (l *Layer) request(m *message.Message, via message.ViaValue, from location.Hop) {
	k := l.hasher.server(m, via, m.Method)
	if l.again(k, m, via, from) {
		return
	}
	rest, answered := l.offer(m, via, from)
	if answered {
		l.transport.Recycle(m)
		return
	}
	initial := message.Tag(m.Get(message.To)) == ""
	if initial && l.draining.Load() {
		l.counters.drop(dropDraining)
		l.reply(m, via, from, goingDown)
		return
	}
	e := l.newServer(k, m, via, from)
	e.server.rest = rest
	if initial {
		e.merge = l.hasher.merge(m, via)
		if !l.table.put(l.now(), e.merge, e, false) {
			// RFC 3261 §8.2.2.2: "the UAS core SHOULD generate a 482 (Loop Detected) response".
			l.counters.drop(dropMerged)
			l.reply(m, via, from, merged)
			return
		}
	}
	e.mu.Lock()
	if !l.enter(e) {
		e.mu.Unlock()
		l.unmerge(e)
		l.counters.drop(dropOverload)
		l.reply(m, via, from, overloaded)
		return
	}
	e.step(evStart, nil, nil)
	e.queue(call{what: callRequest, server: e.server})
	e.mu.Unlock()
	e.run()
}

func (l *Layer) newServer(k key, m *message.Message, via message.ViaValue, from location.Hop) *entry {
	both := &struct { // one piece of memory
		e entry
		s serverTx
	}{entry{l: l, key: k, hop: l.transport.ResponseHop(from, via), req: m}, serverTx{req: m, from: from}}
	e, s := &both.e, &both.s
	e.machine = machine{kind: otherServer, reliable: from.Transport != flow.UDP && from.Transport != flow.DTLS}
	if m.Method == "INVITE" {
		e.machine.kind = inviteServer
	}
	s.e, e.server = e, s
	return e
}

// cancel answers a CANCEL (RFC 3261 §9.2), in a transaction of its own, and tells the core of the INVITE.
func (l *Layer) cancel(m *message.Message, via message.ViaValue, from location.Hop) {
	k := l.hasher.server(m, via, "CANCEL")
	if l.again(k, m, via, from) {
		return
	}
	of := l.hasher.server(m, via, "INVITE")
	invite, left := l.table.find(l.now(), of)
	var res *message.Message
	if invite != nil || left.role != nobody {
		// "the To tag of the response to the CANCEL and the To tag in the response to the original request SHOULD be the same".
		res = message.NewResponse(m, 200, "", l.hasher.tag(of))
	} else {
		l.counters.drop(dropCancel)
		res = noTransaction.Response(m, l.hasher.tag(k))
	}
	e := l.newServer(k, m, via, from)
	e.server = nil // the core is not concerned
	e.mu.Lock()
	if l.enter(e) {
		e.step(evStart, nil, nil)
		e.step(evFinal, res, res.AppendTo(nil))
	} else {
		_ = e.send(res.AppendTo(nil))
	}
	e.mu.Unlock()
	if invite != nil {
		invite.cancelled(m)
	}
}

// reply answers without a transaction: a retransmission asks anew. The To tag depends on the request alone, as RFC 3261 §8.2.7 wants of a
// stateless answer.
func (l *Layer) reply(m *message.Message, via message.ViaValue, from location.Hop, why *sip.Refusal) {
	res := why.Response(m, l.hasher.tag(l.hasher.server(m, via, m.Method)))
	if why.Status == 503 {
		res.Set(message.RetryAfter, retryAfter)
	}
	if l.transport.Send(l.transport.ResponseHop(from, via), res.AppendTo(nil), nil) != nil {
		l.counters.unsent.Add(1)
	}
}
