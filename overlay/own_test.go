package overlay

import (
	"context"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// What a peer holds itself it answers on the caller's goroutine, beside all that its loop does, as long as it runs and is not busy.
func TestFetchOwn(t *testing.T) {
	w := newWorld(t)
	m := w.ring(t, 1)[0]
	const user = "alice@example.org"
	res := w.register(t, m, user)
	by := w.user(m.cfg.Self, user)
	stores := make(chan struct{})
	go func() { // beside which the node is used
		defer close(stores)
		for range 20 {
			_, _ = m.Store(t.Context(), by, res, wire.KindSIPRegistration, record(m.NodeID()), time.Now(), time.Hour)
		}
	}()
	eventually(t, func() bool {
		got, ok := m.FetchOwn(res, wire.KindSIPRegistration)
		return ok && len(got) == 1 && got[0].Signer.User == user
	}, func() string { return "no answer" })
	for waiting := true; waiting; {
		_, _ = m.FetchOwn(res, wire.KindSIPRegistration)
		select {
		case <-stores:
			waiting = false
		default:
		}
	}
	want, err := m.Fetch(context.Background(), res, wire.KindSIPRegistration)
	if err != nil || len(want) != 1 {
		t.Fatalf("%d values, %v", len(want), err)
	}
	if _, ok := m.FetchOwn(res, 1<<31); ok {
		t.Error("a Kind that the overlay does not have")
	}
	m.turn.Lock()
	if _, ok := m.FetchOwn(res, wire.KindSIPRegistration); ok {
		t.Error("answered while the node was in use")
	}
	m.turn.Unlock()
	m.stop()
	if _, ok := m.FetchOwn(res, wire.KindSIPRegistration); ok {
		t.Error("answered after the end")
	}
}
