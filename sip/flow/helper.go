package flow

import (
	"hash/maphash"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// helper works off half of what the reader of a UDP socket reads, on a goroutine of its own, while the reader has had no pause for some milliseconds:
// then one processor is not enough. Otherwise it sleeps, and costs nothing. Messages of one Call-ID stay in order: the helper has those of half
// of all Call-IDs, and has them until it has nothing left to do.
type helper struct {
	u     *udpSocket
	seed  maphash.Seed
	able  bool            // there is another processor
	since time.Time       // when the reader last had a pause
	part  bool            // messages of this batch are divided
	given []delivery      // the helper's part of this batch
	queue chan []delivery // nil: the goroutine does not run yet
	spare chan []delivery // for their memory
	work  atomic.Int32    // batches that were queued, and not worked off yet
}

// delivery is a message that was read.
type delivery struct {
	m    *message.Message
	err  *message.ParseError
	from location.Hop
}

func newHelper(u *udpSocket, now time.Time) *helper {
	return &helper{u: u, seed: maphash.MakeSeed(), able: runtime.GOMAXPROCS(0) > 1, since: now}
}

// begin is told of a batch of n datagrams that came at now, and when it was asked for.
func (h *helper) begin(n int, asked, now time.Time) {
	if n < batchSize || now.Sub(asked) > busyAfter { // it has waited, however many came then
		h.since = now
	}
	h.part = h.able && now.Sub(h.since) > busyAfter || h.work.Load() > 0
}

// deliver delivers d, or leaves it to the helper.
func (h *helper) deliver(d delivery) {
	if h.part && d.m != nil && maphash.String(h.seed, d.m.Get(message.CallID))%2 == 1 {
		h.given = append(h.given, d)
		return
	}
	h.u.t.deliver(d.m, d.err, d.from)
}

// pass gives the helper its part of the batch.
func (h *helper) pass() {
	if len(h.given) == 0 {
		return
	}
	if h.queue == nil {
		h.queue, h.spare = make(chan []delivery, helperQueue), make(chan []delivery, helperQueue)
		h.u.t.wg.Go(h.run)
	}
	h.work.Add(1)
	h.queue <- h.given
	select {
	case h.given = <-h.spare:
	default:
		h.given = make([]delivery, 0, batchSize)
	}
}

// end ends the goroutine, when it has worked off what it has.
func (h *helper) end() {
	if h.queue != nil {
		close(h.queue)
	}
}

func (h *helper) run() {
	for part := range h.queue {
		h.u.cork()
		for _, d := range part {
			h.u.t.deliver(d.m, d.err, d.from)
		}
		h.u.uncork()
		h.work.Add(-1)
		clear(part)
		select {
		case h.spare <- part[:0]:
		default:
		}
	}
}
