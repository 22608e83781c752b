package proxy

import (
	"context"
	"sync"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestManyThingsAtOnce has phones, the overlay and the caller act on the same calls from goroutines of their own.
// Whatever wins, each call ends with one kind of final response and nothing is left.
func TestManyThingsAtOnce(t *testing.T) {
	for range 50 {
		g := withPhones(t, 4)
		delete(g.cached, "bob@example.org")
		g.remote = func(context.Context, location.AOR) ([]location.Remote, error) {
			return []location.Remote{{Node: "other"}}, nil
		}
		x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
		var all sync.WaitGroup
		acts := []func(s *sent){
			func(s *sent) { s.answer(180); s.answer(200) },
			func(s *sent) { s.answer(183); s.answer(486) },
			func(s *sent) { s.user.Failed(sip.ErrTransport) },
			func(s *sent) { s.answer(603) },
		}
		g.mu.Lock()
		phones := append([]*sent(nil), g.sent[:4]...)
		g.mu.Unlock()
		for i, act := range acts {
			all.Go(func() { act(phones[i]) })
		}
		all.Go(func() { g.p.Cancel(x, request(t, "CANCEL", bobURI, aliceURI)) })
		all.Wait()
		g.p.pool.close()
		g.mu.Lock()
		late := g.sent[4:]
		g.mu.Unlock()
		for _, s := range late {
			s.answer(487)
		}
		good, bad := 0, 0
		for _, s := range x.statuses() {
			if s >= 300 {
				bad++
			} else if s >= 200 {
				good++
			}
		}
		if good+bad != 1 {
			t.Fatalf("final responses %v", x.statuses())
		}
		g.wantIdle()
	}
}
