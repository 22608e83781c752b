package sipusage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
)

var (
	errBusy   = errors.New("too many lookups at once")
	errClosed = errors.New("service stopped")
)

// unavailable says that the overlay did not do what it was asked, which is never the same as "not found".
func unavailable(what string, err error) error {
	return fmt.Errorf("sipusage: %s: %w: %w", what, location.ErrUnavailable, err)
}

// lookups asks for values by key: each key once at a time however many want it, a bounded number of keys at once, and remembers
// the answers. Errors are not remembered.
type lookups[V any] struct {
	// ask does the work and says how long the answer may be used.
	ask func(ctx context.Context, key string) (V, time.Duration, error)
	// own is ask as far as it need not block: ok is false otherwise. It must not use the lookups.
	own   func(key string) (v V, ttl time.Duration, ok bool)
	ctx   context.Context
	stop  context.CancelFunc
	slots chan struct{}

	mu      sync.Mutex
	known   *cache[string, V]
	flights map[string]*flight[V]
	closed  bool
	running sync.WaitGroup
}

// flight is one question on its way.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newLookups[V any](ask func(ctx context.Context, key string) (V, time.Duration, error),
	own func(key string) (V, time.Duration, bool)) *lookups[V] {
	l := &lookups[V]{ask: ask, own: own, slots: make(chan struct{}, maxLookups), known: newCache[string, V](maxCached), flights: make(map[string]*flight[V])}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// get answers from memory or asks. It returns when the answer is there or ctx ends; the question goes on, for others.
func (l *lookups[V]) get(ctx context.Context, key string) (v V, err error) {
	f, v, ok, err := l.join(key)
	if ok || err != nil {
		return v, err
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return v, unavailable("lookup", ctx.Err())
	}
}

// begin has key asked for, unless the answer is at hand: a get that follows waits for less.
func (l *lookups[V]) begin(key string) {
	_, _, _, _ = l.join(key) // what is wrong the get will tell
}

// join finds or starts the flight for key.
func (l *lookups[V]) join(key string) (f *flight[V], v V, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, v, false, unavailable("lookup", errClosed)
	}
	if v, ok = l.known.get(key, time.Now()); ok {
		return nil, v, true, nil
	}
	if f = l.flights[key]; f != nil {
		return f, v, false, nil
	}
	if len(l.flights) >= maxWaiting {
		return nil, v, false, unavailable("lookup", errBusy)
	}
	f = &flight[V]{done: make(chan struct{})}
	l.flights[key] = f
	l.running.Go(func() { l.fly(key, f) })
	return f, v, false, nil
}

func (l *lookups[V]) fly(key string, f *flight[V]) {
	defer close(f.done)
	var ttl time.Duration
	select {
	case l.slots <- struct{}{}:
		var ok bool
		if f.value, ttl, ok = l.own(key); !ok {
			ctx, cancel := context.WithTimeout(l.ctx, lookupTimeout)
			f.value, ttl, f.err = l.ask(ctx, key)
			cancel()
		}
		<-l.slots
	case <-l.ctx.Done():
		f.err = unavailable("lookup", errClosed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flights[key] != f {
		return // forgotten meanwhile: the answer may be older than what made it so
	}
	delete(l.flights, key)
	if f.err == nil {
		l.known.put(key, f.value, time.Now(), ttl)
	}
}

// cached answers without asking anybody else.
func (l *lookups[V]) cached(key string) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	v, ok := l.known.get(key, now)
	if ok || l.closed {
		return v, ok
	}
	v, ttl, ok := l.own(key)
	if ok {
		l.known.put(key, v, now, ttl)
	}
	return v, ok
}

// forget makes the next get ask anew.
func (l *lookups[V]) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.remove(key)
	delete(l.flights, key)
}

// close ends every flight and waits for them.
func (l *lookups[V]) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.running.Wait()
}
