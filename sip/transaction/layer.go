// Package transaction is the transaction layer of the SIP stack: the four state machines of RFC 3261 §17 with the Accepted states of
// RFC 6026 and the rules of RFC 4320, CANCEL (§9) and merged requests (§8.2.2.2). It stands between sip/flow, which delivers
// messages and takes octets, and the cores (registrar, redirect, proxy), which it serves as sip.Handler and sip.Sender say.
//
// A Layer is safe for concurrent use. There is no goroutine and no timer for a transaction: messages are worked off in the
// goroutine of their flow, timers in one goroutine with a wheel. What comes up meanwhile that a lock is in the way of telling is told at the end of the
// delivery, by its goroutine. Users are called without locks held, one at a time for each
// transaction and in order, and never from inside their own calls. A finished transaction keeps what a retransmission needs.
package transaction

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Transport is what the layer needs of a flow.Table.
type Transport interface {
	Send(to location.Hop, b []byte, receipt *flow.Receipt) error
	ResponseHop(from location.Hop, via message.ViaValue) location.Hop
	Roomy(to location.Hop, octets int) location.Hop
	Via(to location.Hop, branch string) string
	Address(to location.Hop) sip.Address
	Alive(to location.Hop) bool
	Reliable(to location.Hop) bool
	Recycle(m *message.Message)
}

// Config is a layer's. The zero value is usable.
type Config struct {
	Timers TimerConfig
	// MaxTransactions limits the transactions that have no final response, or wait for an ACK; 0: 262,144. Requests beyond it are answered 503.
	MaxTransactions int
	// MaxFinished limits the octets that are kept for retransmissions of finished ones; 0: 256 MiB. Beyond it the oldest go before their time.
	MaxFinished int64
}

// Layer is the transaction layer. It implements sip.Sender and flow.Receiver.
type Layer struct {
	transport Transport
	handler   sip.Handler
	prompter  sip.Prompter // handler, if it is one
	hasher    *hasher
	table     *table
	wheel     *wheel
	counters  counters
	config    TimerConfig
	max       int64
	lives     []instant // of finished transactions
	epoch     time.Time
	draining  atomic.Bool
	keeps     atomic.Bool // something is left of finished transactions
	stop      chan struct{}
	done      chan struct{}
}

var (
	_ sip.Sender    = (*Layer)(nil)
	_ flow.Receiver = (*Layer)(nil)
)

// New makes a layer that sends through t. Serve starts it.
func New(c Config, t Transport) *Layer {
	l := &Layer{
		transport: t,
		hasher:    newHasher(),
		wheel:     &wheel{wake: make(chan struct{}, 1)},
		config:    c.Timers,
		max:       int64(c.MaxTransactions),
		epoch:     time.Now().Add(-tickLength),
		stop:      make(chan struct{}),
		done:      make(chan struct{}),
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&l.config.T1, defaultT1}, {&l.config.T2, defaultT2}, {&l.config.T4, defaultT4}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if l.max == 0 {
		l.max = defaultTransactions
	}
	if c.MaxFinished == 0 {
		c.MaxFinished = defaultFinished
	}
	timers := l.timers()
	l.lives = []instant{timers.span(), timers.d(), timers.T4}
	l.table = newTable(l.lives, c.MaxFinished)
	return l
}

// Serve gives the layer its core and starts its timers. It is called once, before the flow.Table is served with the layer.
func (l *Layer) Serve(h sip.Handler) {
	l.handler = h
	l.prompter, _ = h.(sip.Prompter)
	go l.run()
}

// StopAccepting has every new request outside of dialogs answered 503; what has begun goes on.
func (l *Layer) StopAccepting() { l.draining.Store(true) }

// Drain waits until no transaction lacks its final response, or ctx ends.
func (l *Layer) Drain(ctx context.Context) error {
	t := time.NewTicker(drainPoll)
	defer t.Stop()
	for l.counters.live() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close stops the timers. Transactions that are left end without a word. Serve must have been called, and Close is called once, when
// the flow.Table is closed.
func (l *Layer) Close() {
	close(l.stop)
	<-l.done
	l.table.clear()
}

func (l *Layer) now() instant { return time.Since(l.epoch) }

func (l *Layer) timers() timers { return timers{l.config} }

// enter puts a new transaction into the table; false when there is no room, or the key is taken.
func (l *Layer) enter(e *entry) bool {
	if l.table.count.Load() >= l.max || !l.table.put(l.now(), e.key, e, e.client != nil) {
		return false
	}
	l.table.count.Add(1)
	l.counters.started(e.machine.kind)
	return true
}

// remove takes e out of the table, and leaves there what a retransmission needs, if anything. The caller holds e.mu.
func (l *Layer) remove(now instant, e *entry, left remains) {
	if e.out {
		return
	}
	e.out = true
	l.table.count.Add(-1)
	if left.role == nobody {
		l.table.del(e.key, e)
		l.unmerge(e)
		return
	}
	class := max(slices.Index(l.lives, e.machine.end-now), 0)
	l.table.keep(now, e.key, e, left, class)
	if e.merge != (key{}) {
		l.table.keep(now, e.merge, e, remains{role: mergedRequest}, class)
	}
	if !l.keeps.Load() && !l.keeps.Swap(true) {
		l.wheel.kick()
	}
}

// unmerge forgets by what else e's request is known.
func (l *Layer) unmerge(e *entry) {
	if e.merge != (key{}) {
		l.table.del(e.merge, e)
		e.merge = key{}
	}
}

// Send implements sip.Sender.
func (l *Layer) Send(req *message.Message, to location.Hop, branch string, user sip.ClientUser) sip.ClientTransaction {
	if branch == "" {
		branch = l.hasher.branch()
	}
	to = l.transport.Roomy(to, req.Size()+viaRoom)
	req.Prepend(message.Via, l.transport.Via(to, branch))
	return l.start(req, to, branch, user)
}

// SendStateless implements sip.Sender.
func (l *Layer) SendStateless(req *message.Message, to location.Hop, branch string) error {
	if branch == "" {
		branch = l.hasher.branch()
	}
	req.Prepend(message.Via, l.transport.Via(to, branch))
	if err := l.transport.Send(to, req.AppendTo(nil), nil); err != nil {
		l.counters.unsent.Add(1)
		return sip.ErrTransport
	}
	return nil
}

// Address implements sip.Sender.
func (l *Layer) Address(to location.Hop) sip.Address { return l.transport.Address(to) }

// Alive implements sip.Sender.
func (l *Layer) Alive(to location.Hop) bool { return l.transport.Alive(to) }
