package transaction

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// relaying answers a server transaction with what its request was answered.
type relaying struct {
	tx     sip.ServerTransaction
	status int
}

func (r *relaying) Response(m *message.Message) { r.tx.Respond(answer(r.tx.Request(), r.status)) }
func (*relaying) Failed(error)                  {}

// TestForwardedAnswerEndsItsTransactionWithinTheDelivery: the end of a server transaction is told by who delivers the response that brought it,
// without waking the goroutine of the timers, which does not run here. The core's own calls do not find themselves called back.
func TestForwardedAnswerEndsItsTransactionWithinTheDelivery(t *testing.T) {
	l := New(Config{}, nowhere{})
	ended, within := 0, false
	c := &core{
		request: func(tx sip.ServerTransaction) {
			within = true
			l.Send(request("MESSAGE", "relayed"), udpHop, "z9hG4bKrelayed", &relaying{tx, 200})
			within = false
		},
		ended: func(sip.ServerTransaction) {
			if within {
				t.Error("called back from inside a call")
			}
			ended++
		},
	}
	l.Serve(c)
	close(l.stop)
	<-l.done
	l.Deliver(parse(ask{method: "MESSAGE", branch: "z9hG4bKin"}), udpHop)
	l.Deliver(answer(parse(ask{method: "MESSAGE", branch: "z9hG4bKrelayed"}), 200), udpHop)
	if ended != 1 {
		t.Fatalf("%d have ended, want 1", ended)
	}
	c.request = func(tx sip.ServerTransaction) {
		within = true
		tx.Respond(answer(tx.Request(), 200))
		within = false
	}
	l.Deliver(parse(ask{method: "MESSAGE", branch: "z9hG4bKown"}), udpHop)
	if ended != 2 || l.wheel.turns != 0 || len(l.wheel.soon) != 0 {
		t.Fatalf("%d have ended, want 2; %d deliveries, %d news are left", ended, l.wheel.turns, len(l.wheel.soon))
	}
}
