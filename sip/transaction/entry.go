package transaction

import (
	"errors"
	"sync"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// entry is what table and wheel hold of a transaction that is under way. When only time can end it any more, remains take its place.
//
// The lock guards the machine and lasts for a step, sending included; no user is called under it. What users are to be told queues up
// in calls and is run by whoever finds it waiting and may call them: a reader of the network or the wheel's goroutine, one at a
// time. A user who calls in (Respond, Cancel) never finds himself called back from there.
type entry struct {
	l     *Layer
	key   key
	merge key // zero: none
	place place

	mu         sync.Mutex
	machine    machine
	watched    instant          // what the wheel was told
	reattached bool             // the connection was replaced once
	out        bool             // it is not in the table any longer
	hop        location.Hop     // client: where the request went; server: where the responses go
	req        *message.Message // as sent or as received; nil when there is nothing more to be made of it
	last       []byte           // what a retransmission repeats; nil: nothing
	server     *serverTx        // nil when the core has been told Ended, and in the answer to a CANCEL
	client     *clientTx        // nil when its user needs to be told nothing more
	calls      []call
	calling    bool // somebody runs calls
}

// call is something to tell a user.
type call struct {
	what   callKind
	m      *message.Message
	err    error
	server *serverTx
	user   sip.ClientUser
}

type callKind uint8

const (
	callRequest callKind = iota
	callCancel
	callEnded
	callResponse
	callFailed
	callTrying
)

// step runs the machine and does what it says. The caller holds mu. m is what came, or what a server is to send; wire is what doSend writes.
func (e *entry) step(ev event, m *message.Message, wire []byte) action {
	now, before := e.l.now(), e.machine.state
	if e.machine.late {
		e.machine.reliable = e.l.transport.Reliable(e.hop)
	}
	a := e.machine.step(ev, now, e.l.timers())
	if a&doAnswer != 0 && e.server != nil {
		m = forgotten.Response(e.req, e.l.hasher.tag(e.key))
		wire = m.AppendTo(nil)
		a = e.machine.step(evFinal, now, e.l.timers())
	}
	if a&doRefuse != 0 {
		e.l.counters.refused(e.machine.kind, ev)
	}
	a |= e.transmit(a, m, wire)
	if e.machine.settled() && !e.out {
		var room [remainsRoom]byte
		e.l.remove(now, e, e.left(m, room[:0]))
		a |= doEnded // Timer H will find nobody who could tell it
	}
	e.tell(a, m)
	if before != e.machine.state && e.machine.state >= completed {
		e.l.counters.finished(e.machine.kind, before)
	}
	if a&doDestroy != 0 {
		e.l.remove(now, e, remains{})
	}
	due := e.machine.due()
	if e.out {
		due = 0
	}
	if due != e.watched {
		e.watched = due
		e.l.wheel.set(e, due)
	}
	return a
}

// transmit writes what an action wants written, and returns what comes of a failure.
func (e *entry) transmit(a action, m *message.Message, wire []byte) action {
	switch {
	case a&doSend != 0:
		e.last = wire
		return e.send(wire)
	case a&doTrying != 0:
		wire = message.NewResponse(e.req, 100, "", "").AppendTo(nil)
		e.last = wire
		return e.send(wire)
	case a&doACK != 0:
		return e.send(newACK(e.req, m).AppendTo(nil))
	case a&doRepeat != 0 && e.last != nil:
		e.l.counters.repeated.Add(1)
		return e.send(e.last)
	}
	return 0
}

func (e *entry) send(wire []byte) action {
	unanswered := e.client != nil && e.machine.unanswered()
	var err error
	if unanswered {
		err = e.l.transport.Send(e.hop, wire, &e.client.receipt)
	} else {
		// RFC 6026 §7.1: a server transaction "MUST remain in its current state" when a response cannot be sent.
		err = e.l.transport.Send(e.hop, wire, nil)
	}
	if err == nil {
		return 0
	}
	e.l.counters.unsent.Add(1)
	if !unanswered {
		return 0
	}
	return e.machine.step(evBroken, e.l.now(), e.l.timers())
}

// tell queues what the user is to learn, then drops what is not needed any longer.
func (e *entry) tell(a action, m *message.Message) {
	if s := e.server; s != nil && a&doEnded != 0 {
		e.queue(call{what: callEnded, server: s})
		e.server = nil
	}
	if e.out {
		e.req, e.last = nil, nil
	}
	c := e.client
	if c == nil {
		return
	}
	switch {
	case c.user == nil:
	case a&doPass != 0 && m != nil && m.StatusCode != 100:
		e.queue(call{what: callResponse, m: m, user: c.user})
	case a&doPass != 0 && m != nil:
		if _, wants := c.user.(sip.TryingUser); wants {
			e.queue(call{what: callTrying, user: c.user})
		}
	case a&doTimeout != 0:
		e.queue(call{what: callFailed, err: sip.ErrTimeout, user: c.user})
	case a&doBroken != 0:
		e.queue(call{what: callFailed, err: sip.ErrTransport, user: c.user})
	}
	if a&doForget == 0 {
		return
	}
	c.receipt.Release()
	e.req, e.last, e.client = nil, nil, nil
}

func (e *entry) queue(c call) {
	if len(e.calls) >= maxCalls && e.comesAgain(&c) {
		e.l.counters.drop(dropCalls)
		return
	}
	switch {
	case e.calls != nil:
	case c.server != nil:
		e.calls = c.server.room[:0]
	case e.client != nil:
		e.calls = e.client.room[:0]
	}
	e.calls = append(e.calls, c)
}

// comesAgain reports whether news for a user is repeated, or not needed: provisional responses, and a 2xx to INVITE.
func (e *entry) comesAgain(c *call) bool {
	return c.what == callTrying || c.what == callResponse && (c.m.StatusCode < 200 || e.machine.kind == inviteClient && c.m.StatusCode < 300)
}

// run tells the users what is queued, unless somebody does so already. Only who may call users runs it, without locks.
func (e *entry) run() {
	e.mu.Lock()
	if e.calling {
		e.mu.Unlock()
		return
	}
	e.calling = true
	for len(e.calls) > 0 {
		c := e.calls[0]
		e.calls[0] = call{}
		if e.calls = e.calls[1:]; len(e.calls) == 0 {
			e.calls = nil
		}
		e.mu.Unlock()
		e.call(c)
		e.mu.Lock()
	}
	e.calling = false
	e.mu.Unlock()
}

// hand has somebody else run what is queued. The caller holds mu.
func (e *entry) hand() {
	if len(e.calls) > 0 && !e.calling {
		e.l.wheel.later(news{e: e})
	}
}

func (e *entry) call(c call) {
	switch c.what {
	case callRequest:
		if rest := c.server.rest; rest != nil {
			c.server.rest = nil
			rest(c.server)
		} else {
			e.l.handler.Request(c.server)
		}
	case callCancel:
		e.l.handler.Cancel(c.server, c.m)
	case callEnded:
		e.l.handler.Ended(c.server)
	case callResponse:
		c.user.Response(c.m)
	case callFailed:
		c.user.Failed(c.err)
	case callTrying:
		c.user.(sip.TryingUser).Trying()
	}
}

// tick is the wheel's: the time that the entry waited for has come.
func (e *entry) tick() {
	e.mu.Lock()
	e.watched = 0
	e.step(evTick, nil, nil)
	e.mu.Unlock()
	e.run()
}

// told is the wheel's: the transport failed, or calls wait.
func (e *entry) told(err error) {
	if err != nil {
		e.mu.Lock()
		if !errors.Is(err, flow.ErrLost) || !e.reattach() {
			e.step(evBroken, nil, nil)
		}
		e.mu.Unlock()
	}
	e.run()
}

// reattach repeats, once, a request to a gateway of the overlay that nothing is known of but that its connection has ended: a new
// connection to the same node takes it, which may have started again. The caller holds mu.
func (e *entry) reattach() bool {
	c := e.client
	if c == nil || e.reattached || e.hop.Node == "" || e.machine.state != trying {
		return false
	}
	e.reattached = true
	c.receipt.Renew()
	e.l.counters.repeated.Add(1)
	return e.l.transport.Send(e.hop, e.last, &c.receipt) == nil
}
