package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// load registers and looks up, and hands what comes of it to the recorder.
type load struct {
	c      config
	ring   *ring
	phones []*phones // by site
	rec    *recorder

	mu    sync.Mutex
	rng   *rand.Rand
	users []*user
}

// user is an AOR with one phone, that may move from gateway to gateway.
type user struct {
	name string
	home int // number of the gateway, -1 for none
	busy bool
	at   map[int]*registration
}

func newLoad(c config, r *ring, p []*phones, rec *recorder) *load {
	l := &load{c: c, ring: r, phones: p, rec: rec, rng: rand.New(rand.NewPCG(c.seed, 1))}
	for i := range c.users {
		l.users = append(l.users, &user{name: userName(i), home: -1, at: map[int]*registration{}})
	}
	return l
}

// run offers both loads at their rates until ctx ends, and waits for what is under way.
func (l *load) run(ctx context.Context) {
	var all sync.WaitGroup
	each := func(rate float64, f func(context.Context)) {
		all.Go(func() {
			tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					all.Go(func() { f(context.WithoutCancel(ctx)) })
				}
			}
		})
	}
	each(l.c.registers, l.registerOne)
	each(l.c.lookups, l.lookUpOne)
	all.Wait()
}

// living draws a gateway that is up, nil if there is none. The caller holds mu.
func (l *load) living() *peer {
	var up []*peer
	for _, p := range l.ring.peers {
		if p.up() {
			up = append(up, p)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[l.rng.IntN(len(up))]
}

// registerOne lets a phone that is not busy refresh, move to another gateway, or leave.
func (l *load) registerOne(ctx context.Context) {
	l.mu.Lock()
	u := l.users[l.rng.IntN(len(l.users))]
	to, what := l.living(), l.rng.IntN(10)
	if u.busy || to == nil {
		l.mu.Unlock()
		return
	}
	u.busy = true
	old := u.home
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		u.busy = false
	}()
	home := old >= 0 && l.ring.peers[old].up()
	switch {
	case home && what < 6: // refresh
		l.register(ctx, u, l.ring.peers[old], false)
	case home && what < 7: // leave
		l.register(ctx, u, l.ring.peers[old], true)
		u.home = -1
	default: // first registration, or another gateway; a home that is down keeps its record
		if l.register(ctx, u, to, false) {
			u.home = to.number
		}
		if home && old != to.number {
			l.register(ctx, u, l.ring.peers[old], true)
		}
	}
}

func (l *load) register(ctx context.Context, u *user, at *peer, remove bool) bool {
	g := u.at[at.number]
	if g == nil {
		g = &registration{user: u.name, callID: fmt.Sprintf("%s-%d", u.name, at.number)}
		u.at[at.number] = g
	}
	expires := registerFor
	if remove {
		expires = 0
	}
	end := l.rec.register(key{u.name, at.number}, remove)
	err := l.phones[at.site].register(ctx, at, g, expires)
	end(err)
	return err == nil
}

func (l *load) lookUpOne(ctx context.Context) {
	l.mu.Lock()
	name, at := l.users[l.rng.IntN(len(l.users))].name, l.living()
	l.mu.Unlock()
	if at != nil {
		l.lookUp(ctx, name, at, false)
	}
}

func (l *load) lookUp(ctx context.Context, name string, at *peer, sweep bool) {
	a := answer{user: name, at: at.number, begin: time.Now(), sweep: sweep}
	a.peers, a.err = l.ring.lookup(ctx, at, name)
	a.end = time.Now()
	if a.err != nil && !at.up() {
		return // it was ended while it was asked
	}
	l.rec.lookup(a)
}

const sweepers = 8

// sweep asks these gateways for everybody.
func (l *load) sweep(ctx context.Context, at []*peer) {
	type question struct {
		name string
		at   *peer
	}
	questions := make(chan question)
	var all sync.WaitGroup
	for range sweepers {
		all.Go(func() {
			for q := range questions {
				l.lookUp(ctx, q.name, q.at, true)
			}
		})
	}
	for _, p := range at {
		for _, u := range l.users {
			if p.up() {
				questions <- question{u.name, p}
			}
		}
	}
	close(questions)
	all.Wait()
}
