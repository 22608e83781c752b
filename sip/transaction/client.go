package transaction

import (
	"strconv"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// clientTx is what a user holds of a client transaction; it implements sip.ClientTransaction.
type clientTx struct {
	e       *entry
	user    sip.ClientUser // e.mu; nil when abandoned, and for a CANCEL
	receipt flow.Receipt
	cancel  bool // e.mu: Cancel has been called
	sent    bool // e.mu: the CANCEL is out
	reason  string
	room    [1]call // e.mu: for e.calls, which are seldom more
}

// SendFailed implements the owner of a flow.Receipt: locks may be held around the call, so others are told later.
func (c *clientTx) SendFailed(err error) { c.e.l.wheel.later(news{e: c.e, err: err}) }

func (c *clientTx) Cancel(reason string) {
	e := c.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.cancel || e.machine.kind != inviteClient {
		return
	}
	c.cancel, c.reason = true, reason
	c.sendCancel()
}

// sendCancel sends the CANCEL that was asked for, as soon as it may. The caller holds e.mu.
func (c *clientTx) sendCancel() {
	// RFC 3261 §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent".
	if !c.cancel || c.sent || c.e.req == nil || c.e.machine.state != proceeding {
		return
	}
	c.sent = true
	via, _ := c.e.req.TopVia()
	req := newCANCEL(c.e.req, c.reason)
	c.e.l.start(req, c.e.hop, via.Branch, nil)
	c.e.step(evCancelled, nil, nil)
}

func (c *clientTx) Abandon() {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	c.user = nil
	c.e.step(evAbandon, nil, nil)
}

// received takes a response; false when the transaction has just finished.
func (e *entry) received(m *message.Message) bool {
	e.mu.Lock()
	if e.out {
		e.mu.Unlock()
		return false
	}
	e.step(classify(m.StatusCode), m, nil)
	if c := e.client; c != nil {
		c.sendCancel()
	}
	e.mu.Unlock()
	e.run()
	return true
}

// start enters a client transaction and sends its request, which has its Via on top.
func (l *Layer) start(req *message.Message, to location.Hop, branch string, user sip.ClientUser) *clientTx {
	both := &struct { // one piece of memory
		e entry
		c clientTx
	}{entry{l: l, key: l.hasher.client(branch, req.Method), hop: to, req: req}, clientTx{user: user}}
	e, c := &both.e, &both.c
	c.e, c.receipt.Owner, e.client = e, c, c
	e.machine = machine{kind: otherClient, reliable: l.transport.Reliable(to), late: to.Node != ""}
	if req.Method == "INVITE" {
		e.machine.kind = inviteClient
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !l.enter(e) {
		e.machine.state, e.out = terminated, true
		e.client, e.req = nil, nil
		if user != nil {
			e.queue(call{what: callFailed, err: sip.ErrOverload, user: user})
		}
	} else {
		e.step(evStart, nil, req.AppendTo(nil))
	}
	e.hand()
	return c
}

// newACK is the ACK for a final response other than 2xx (RFC 3261 §17.1.1.3).
func newACK(req, res *message.Message) *message.Message {
	cseq, _ := req.CSeq()
	m := &message.Message{Method: "ACK", RequestURI: req.RequestURI, Fields: make([]message.Field, 0, 8)}
	// "The ACK MUST contain a single Via header field, and this MUST be equal to the top Via header field of the original request."
	follow(m, req)
	m.Add(message.From, req.Get(message.From))
	// "The To header field in the ACK MUST equal the To header field in the response being acknowledged".
	m.Add(message.To, res.Get(message.To))
	m.Add(message.CallID, req.Get(message.CallID))
	m.Add(message.CSeq, strconv.FormatUint(uint64(cseq.Seq), 10)+" ACK")
	return m
}

// newCANCEL is the CANCEL for an INVITE (RFC 3261 §9.1): "The Request-URI, Call-ID, To, the numeric part of CSeq, and From header
// fields in the CANCEL request MUST be identical to those in the request being cancelled, including tags."
func newCANCEL(req *message.Message, reason string) *message.Message {
	cseq, _ := req.CSeq()
	m := &message.Message{Method: "CANCEL", RequestURI: req.RequestURI, Fields: make([]message.Field, 0, 9)}
	// "A CANCEL constructed by a client MUST have only a single Via header field value matching the top Via value in the request".
	follow(m, req)
	m.Add(message.From, req.Get(message.From))
	m.Add(message.To, req.Get(message.To))
	m.Add(message.CallID, req.Get(message.CallID))
	m.Add(message.CSeq, strconv.FormatUint(uint64(cseq.Seq), 10)+" CANCEL")
	if reason != "" {
		m.Add(message.ReasonHeader, reason) // RFC 3326
	}
	return m
}

// follow has m take the path of req: its top Via, and its Route (RFC 3261 §9.1, §17.1.1.3).
func follow(m, req *message.Message) {
	via, _ := req.FirstValue(message.Via)
	m.Add(message.Via, via)
	m.Add(message.MaxForwards, maxForwards)
	for _, r := range req.Values(message.Route) {
		m.Add(message.Route, r)
	}
}
