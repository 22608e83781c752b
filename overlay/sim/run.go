package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/chord"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Times of the runner.
const (
	storeRetry   = 2 * time.Second        // after a Store that failed, as a gateway does
	publishAgain = time.Second            // over which a gateway stores everything again
	storesPerS   = 500                    // registrations per second before the measurement
	auditsPerS   = 2000                   // lookups per second at the end
	auditWait    = 5 * time.Second        // between two attempts to find a registration
	auditTries   = 3                      // then it is lost
	healStep     = 500 * time.Millisecond // between two looks at whether the ring is whole
	maxSeries    = 240                    // points of Result.Series
	calmToStart  = 5 * time.Minute        // for all to have joined
)

// Options of Play.
type Options struct {
	// Progress, when set, is told now and then which part of the virtual time has passed, 0 to 1.
	Progress func(part float64)
	// Stop, when set, is asked now and then whether to give up.
	Stop func() bool
	// Trace and Event are those of Config.
	Trace func(Step)
	Event func(at time.Duration, h *Host, e node.Event)
	// Strict has the invariants of World.Check asked for when the ring is whole again.
	Strict bool
}

// ErrStopped is the error of Play when Options.Stop said so.
var ErrStopped = errors.New("sim: stopped")

// run is a scenario that is being played.
type run struct {
	*World
	s     Scenario
	o     Options
	users []*user
	homes map[*Host][]*user
	begin time.Duration // of the measurement
	total time.Duration // virtual time, about
	step  time.Duration // of the series
	m     Result
	load  []Traffic // of each host when the measurement began
	sent  int       // octets, then
}

// Play runs a scenario from its beginning to its end. The error says which invariant did not hold; the result is filled in as
// far as it came.
func (s Scenario) Play(o Options) (Result, error) {
	s = s.fill()
	if err := s.Check(); err != nil {
		return Result{}, err
	}
	c := s.config()
	r := &run{s: s, o: o, homes: make(map[*Host][]*user)}
	c.Trace, c.Event = o.Trace, r.event
	r.World = New(c)
	r.lookups = make(map[txid]*lookup)
	r.total = s.Join + s.Warm + time.Duration(s.Users/storesPerS)*time.Second + s.Run + time.Duration(s.Users/auditsPerS)*time.Second
	err := r.play()
	r.finish()
	if err != nil {
		err = fmt.Errorf("seed %d, %d peers: %w", s.Seed, s.Peers, err)
	}
	return r.m, err
}

func (r *run) play() error {
	if err := r.assemble(); err != nil {
		return err
	}
	r.enlist()
	r.pass(r.s.Warm)
	r.begin = r.Elapsed()
	r.sent = r.Octets
	r.load = make([]Traffic, len(r.hosts))
	for i, h := range r.hosts {
		r.load[i] = h.traffic
	}
	r.schedule()
	r.watch()
	r.sample()
	r.poisson(r.s.Lookups, r.begin+r.s.Run, r.lookUpAny)
	r.pass(r.s.Run)
	r.measured()
	r.heal()
	if r.violated != nil {
		return r.violated
	}
	r.audit()
	if r.o.Strict && r.violated == nil {
		return r.strict()
	}
	return r.violated
}

// assemble makes the ring.
func (r *run) assemble() error {
	if r.s.Join == 0 {
		r.Born()
		return nil
	}
	r.Start(r.s.Join)
	r.pass(r.s.Join)
	return r.Settle(calmToStart)
}

// pass lets time pass, and tells how much.
func (r *run) pass(d time.Duration) {
	for step := max(r.total/200, 100*time.Millisecond); d > 0 && r.violated == nil; d -= step {
		r.Run(min(step, d))
		if r.o.Progress != nil {
			r.o.Progress(min(1, float64(r.Elapsed())/float64(r.total)))
		}
		if r.o.Stop != nil && r.o.Stop() && r.violated == nil {
			r.violated = ErrStopped
		}
	}
}

// faultsOver is when the last fault is over, in the time of the world.
func (r *run) faultsOver() time.Duration {
	over := time.Duration(0)
	for i := range r.s.Faults {
		over = max(over, r.s.Faults[i].ends())
	}
	return r.begin + over
}

// watch looks, from when the last fault is over, when the ring is whole, and notes how long that took. Without a fault it takes
// no time.
func (r *run) watch() {
	if len(r.s.Faults) == 0 {
		return
	}
	r.m.HealSeconds = -1
	over := r.faultsOver()
	var look func()
	look = func() {
		if r.whole() {
			r.m.HealSeconds = (r.Elapsed() - over).Seconds()
		} else {
			r.After(healStep, look)
		}
	}
	r.After(over-r.Elapsed(), look)
}

// heal waits until the ring is whole, if it is not.
func (r *run) heal() {
	for limit := max(r.faultsOver(), r.Elapsed()) + r.s.Heal; r.m.HealSeconds < 0 && r.Elapsed() < limit && r.violated == nil; {
		r.pass(healStep)
	}
}

// wholeRing reports whether all hosts that are up make one ring.
func (w *World) wholeRing() bool {
	ring := w.ring()
	for i, h := range ring {
		next, previous := ring[(i+1)%len(ring)], ring[(i+len(ring)-1)%len(ring)]
		if h.Node.State() != node.Joined || h.paused {
			return false
		}
		if len(ring) == 1 {
			return true
		}
		before, after := h.Node.Neighbors()
		if len(after) == 0 || after[0] != next.ID || before[0] != previous.ID {
			return false
		}
	}
	return true
}

// whole reports whether there is one ring, and each acknowledged registration of which there is a copy is where it is looked for.
func (r *run) whole() bool {
	if !r.wholeRing() {
		return false
	}
	ring := r.ring()
	return !slices.ContainsFunc(r.users, func(u *user) bool {
		at, _ := chord.PointOfResource(u.Resource)
		return u.acked > 0 && !ring[ownerOf(ring, at)].Node.Holds(u.Resource) && !r.gone(u.Resource)
	})
}

// gone reports whether no host that is up holds something.
func (w *World) gone(res wire.ResourceID) bool {
	return !slices.ContainsFunc(w.hosts, func(h *Host) bool { return h.Up && h.Node.Holds(res) })
}

// goneFor is gone with the eyes of a host: what is behind a wall is not there.
func (w *World) goneFor(from *Host, res wire.ResourceID) bool {
	return !slices.ContainsFunc(w.hosts, func(h *Host) bool { return h.Up && w.SameSide(from, h) && h.Node.Holds(res) })
}

// strict asks for all invariants of World.Check.
func (r *run) strict() error {
	if r.m.HealSeconds < 0 {
		if err := r.checkCycle(nil); err != nil {
			return fmt.Errorf("not whole after %v: %w", r.s.Heal, err)
		}
		return fmt.Errorf("after %v some registrations are not where they belong", r.s.Heal)
	}
	if r.m.Lost > 0 {
		return fmt.Errorf("%d acknowledged registrations lost: %v", r.m.Lost, r.m.LostUsers)
	}
	for _, u := range r.users {
		u.still = true
	}
	r.RunUntil(r.s.Heal, time.Second, func() bool { return r.checkCycle(nil) == nil })
	r.Run(requestLifetime + r.hold())
	var records []*Record
	for _, u := range r.users {
		records = append(records, u.Record)
	}
	return r.Check(records)
}

func (r *run) hold() time.Duration {
	if r.s.HoldDown > 0 {
		return r.s.HoldDown
	}
	return node.DefaultHoldDown
}
