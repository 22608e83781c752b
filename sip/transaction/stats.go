package transaction

import (
	"sync/atomic"

	"github.com/p2psip/p2psip-gateway/sip/expiring"
)

// dropReason is a label of Stats.Dropped. The set is closed.
type dropReason uint8

const (
	dropStray dropReason = iota
	dropMerged
	dropOverload
	dropDraining
	dropCancel
	dropLate
	dropForbidden
	dropCalls
	dropACK
	dropResponse
	reasons
)

var reasonNames = [reasons]string{
	dropStray:     "stray_response",     // of no transaction
	dropMerged:    "merged_request",     // answered 482
	dropOverload:  "overload",           // answered 503: the table is full
	dropDraining:  "draining",           // answered 503: the gateway is going down
	dropCancel:    "unmatched_cancel",   // answered 481
	dropLate:      "late_response",      // a core's, behind its final response
	dropForbidden: "forbidden_response", // a core's that RFC 4320 forbids
	dropCalls:     "user_queue_full",    // a response that the user of its transaction had no time for
	dropACK:       "early_ack",          // for an INVITE without final response
	dropResponse:  "unexpected_response",
}

var kindNames = [kinds]string{
	inviteClient: "invite_client", otherClient: "non_invite_client", inviteServer: "invite_server", otherServer: "non_invite_server",
}

type counters struct {
	begun, ended  [kinds]atomic.Int64 // ended: have a final response, or have been given up
	dropped       [reasons]atomic.Uint64
	repeated      atomic.Uint64
	retransmitted atomic.Uint64
	unsent        atomic.Uint64
	stateless     atomic.Uint64
}

func (c *counters) drop(r dropReason) { c.dropped[r].Add(1) }

// refused counts an event that had no place in its state.
func (c *counters) refused(k kind, ev event) {
	client := k == inviteClient || k == otherClient
	switch ev {
	case evACK:
		c.drop(dropACK)
	case evProvisional, evSuccess, evFinal:
		if client {
			c.drop(dropResponse)
		} else {
			c.drop(dropLate)
		}
	}
}

func (c *counters) started(k kind) { c.begun[k].Add(1) }

// finished counts the first of the states from completed on.
func (c *counters) finished(k kind, before state) {
	if before < completed {
		c.ended[k].Add(1)
	}
}

// live is the number of transactions without final response.
func (c *counters) live() int64 {
	n := int64(0)
	for k := range c.begun {
		n += c.begun[k].Load() - c.ended[k].Load()
	}
	return n
}

// Stats is a snapshot. Every label of its closed set is present in each map.
type Stats struct {
	Started map[string]uint64 // transactions by kind: invite_client, non_invite_client, invite_server, non_invite_server
	Live    map[string]int64  // those without final response
	Kept    int64             // transactions in the table, finished ones included
	Octets  int64             // of memory that finished ones take
	Dropped map[string]uint64 // by reason

	Stateless   uint64 // requests that were answered without a transaction
	Sent        uint64 // retransmissions that we sent
	Received    uint64 // retransmissions that came
	SendFailure uint64 // messages that the transport refused
}

// Stats takes a snapshot.
func (l *Layer) Stats() Stats {
	c := &l.counters
	s := Stats{Started: map[string]uint64{}, Live: map[string]int64{}, Dropped: map[string]uint64{}, Kept: l.table.count.Load() + l.table.kept(),
		Octets:    l.table.pages.taken.Load() * expiring.PageSize,
		Stateless: c.stateless.Load(), Sent: c.repeated.Load(), Received: c.retransmitted.Load(), SendFailure: c.unsent.Load()}
	for k, n := range kindNames {
		begun := c.begun[k].Load()
		s.Started[n], s.Live[n] = uint64(begun), begun-c.ended[k].Load()
	}
	for r, n := range reasonNames {
		s.Dropped[n] = c.dropped[r].Load()
	}
	return s
}
