package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// hand does the faults, one after the other: the ring is whole and at rest between them.
type hand struct {
	c    config
	ring *ring
	net  *network
	rec  *recorder
	load *load
	rng  *rand.Rand
	say  func(format string, args ...any)
}

// kinds of faults, each drawn as often as it is named. All end with what they did undone.
func (h *hand) kinds() []func(context.Context) error {
	return []func(context.Context) error{h.kill(1), h.kill(1), h.kill(2), h.kill(2), h.leave, h.pause, h.pause, h.cutSite, h.halves}
}

// run does faults until the time is over, and a sweep by everybody at the end.
func (h *hand) run(ctx context.Context, until time.Time) error {
	for n := 0; ; n++ {
		if !h.wait(ctx, h.c.calm) {
			return ctx.Err()
		}
		if time.Now().Add(h.c.hold + h.c.grace + h.c.calm).After(until) {
			return nil
		}
		kinds := h.kinds()
		order := h.rng.IntN(len(kinds))
		if n < len(kinds) {
			order = n * 4 % len(kinds) // each kind once before chance decides: 4 and 9 have no divisor in common
		}
		if err := kinds[order](ctx); err != nil {
			return err
		}
		if !h.wait(ctx, h.c.grace) {
			return ctx.Err()
		}
		h.load.sweep(ctx, h.draw(1))
	}
}

func (h *hand) wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// draw draws peers that are up.
func (h *hand) draw(n int) (drawn []*peer) {
	for _, i := range h.rng.Perm(len(h.ring.peers)) {
		if p := h.ring.peers[i]; p.up() && len(drawn) < n {
			drawn = append(drawn, p)
		}
	}
	return drawn
}

// hold is how long a fault stays.
func (h *hand) holding() time.Duration {
	return h.c.hold/4 + time.Duration(h.rng.Int64N(int64(h.c.hold*3/4)))
}

func (h *hand) begin(f *fault) {
	h.rec.beginFault(f)
	h.say("%s", f.Name)
}

// kill is kill -9 of so many peers at once, and a new start of them.
func (h *hand) kill(n int) func(context.Context) error {
	return func(ctx context.Context) error {
		peers := h.draw(n)
		f := &fault{Name: "kill"}
		for _, p := range peers {
			f.Name += fmt.Sprintf(" %d", p.number)
			p.set("down") // before it is: nobody asks it any more
		}
		h.begin(f)
		var errs []error
		for _, p := range peers {
			errs = append(errs, p.signal(syscall.SIGKILL))
		}
		for _, p := range peers {
			errs = append(errs, p.stop(syscall.SIGKILL))
		}
		h.wait(ctx, h.holding())
		return h.restart(ctx, f, peers, errors.Join(errs...))
	}
}

func (h *hand) restart(ctx context.Context, f *fault, peers []*peer, err error) error {
	for _, p := range peers {
		err = errors.Join(err, h.ring.start(ctx, p))
	}
	h.rec.endFault(f)
	return err
}

// leave is an orderly stop.
func (h *hand) leave(ctx context.Context) error {
	p := h.draw(1)[0]
	f := &fault{Name: fmt.Sprintf("leave %d", p.number)}
	p.set("down")
	h.begin(f)
	err := p.stop(syscall.SIGTERM)
	h.wait(ctx, h.holding())
	return h.restart(ctx, f, []*peer{p}, err)
}

// pause stops a process for a while: it keeps its sockets and says nothing.
func (h *hand) pause(ctx context.Context) error {
	p := h.draw(1)[0]
	p.set("stopped")
	f := &fault{Name: fmt.Sprintf("pause %d", p.number), partition: true} // it can not hear of what is removed meanwhile
	h.begin(f)
	err := p.signal(syscall.SIGSTOP)
	h.wait(ctx, h.holding())
	err = errors.Join(err, p.signal(syscall.SIGCONT))
	p.set("up")
	h.rec.endFault(f)
	return err
}

// cutSite cuts one site off from the others.
func (h *hand) cutSite(ctx context.Context) error {
	sides := make([]int, len(h.net.sites))
	i := h.rng.IntN(len(sides))
	sides[i] = 1
	return h.partition(ctx, fmt.Sprintf("cut site %d off", i), sides)
}

// halves cuts the sites in two.
func (h *hand) halves(ctx context.Context) error {
	sides := make([]int, len(h.net.sites))
	for _, i := range h.rng.Perm(len(sides))[:len(sides)/2] {
		sides[i] = 1
	}
	return h.partition(ctx, fmt.Sprintf("cut in halves %v", sides), sides)
}

func (h *hand) partition(ctx context.Context, name string, sides []int) error {
	f := &fault{Name: name, partition: true}
	h.begin(f)
	err := h.net.side(sides)
	h.wait(ctx, h.holding())
	err = errors.Join(err, h.net.side(make([]int, len(sides))))
	h.rec.endFault(f)
	return err
}
