package sipusage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// aorOf takes URIs of the ring's domain.
func aorOf(uri string) (location.AOR, bool) {
	_, rest, _ := strings.Cut(uri, ":")
	aor, _, _ := strings.Cut(rest, ";")
	return location.AOR(aor), strings.HasSuffix(aor, "@"+domain)
}

// inBubble runs a test with a ring, two gateways and a service at the first, on fake time.
func inBubble(t *testing.T, test func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t)
		gw1, gw2 := r.gateway("gw1"), r.gateway("gw2")
		s := NewService(gw1, aorOf)
		defer s.Close()
		test(t, r, gw1, gw2, s)
	})
}

const bob = location.AOR("bob@" + domain)

func remote(t *testing.T, s *Service, aor location.AOR) []location.Remote {
	t.Helper()
	r, err := s.Remote(t.Context(), aor)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, got []location.Remote, want ...location.Remote) {
	t.Helper()
	if len(got)+len(want) > 0 {
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	}
}

// Conformance: H-14
func TestRFC7904_4_2_Remote(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		want(t, remote(t, s, bob))
		time.Sleep(missingFor)
		gw1.registerHere(bob) // our own entry leads to no other place
		want(t, remote(t, s, bob))
		gw2.registerHere(bob)
		s.Invalidate(bob)
		want(t, remote(t, s, bob), location.Remote{Node: gw2.gr()})
	})
}

// Conformance: H-15
func TestRFC7904_4_2_FollowsAORs(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw2.forward(bob, "b@"+domain)
		gw2.forward("b@"+domain, "sip:c@"+domain)
		gw2.registerHere("c@" + domain)
		want(t, remote(t, s, bob), location.Remote{URI: "sip:c@" + domain, Depth: 2})
		gw1.forward("d@"+domain, "e@"+domain)
		gw1.registerHere("e@" + domain) // a forward to somebody who is here only
		want(t, remote(t, s, "d@"+domain), location.Remote{URI: "sip:e@" + domain, Depth: 1})
		// A loop ends, and what hangs on it is found, whether it is elsewhere, here, or outside.
		gw1.forward("b@"+domain, string(bob))
		gw1.registerHere("c@" + domain)
		gw1.forward(bob, "sip:bob@elsewhere.example.net")
		gw3 := r.gateway("gw3")
		gw3.registerHere(bob)
		time.Sleep(foundFor)
		got := remote(t, s, bob)
		if len(got) != 3 || got[0] != (location.Remote{Node: gw3.gr()}) {
			t.Fatalf("%v", got)
		}
		for _, uri := range []string{"sip:c@" + domain, "sip:bob@elsewhere.example.net"} {
			if got[1].URI != uri && got[2].URI != uri {
				t.Errorf("%v lacks %s", got, uri)
			}
		}
		if cached, ok := s.RemoteCached(bob); !ok || len(cached) != 3 {
			t.Errorf("cached %v, %v", cached, ok)
		}
	})
}

// Conformance: H-15 H-17
func TestRFC7904_4_2_ChainsAndForksAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		aor := func(i int) location.AOR { return location.AOR(fmt.Sprintf("u%d@%s", i, domain)) }
		for i := range 10 {
			gw2.forward(aor(i), string(aor(i+1)))
		}
		gw2.registerHere(aor(10))
		if got, err := s.Remote(t.Context(), aor(0)); !errors.Is(err, location.ErrForwardDepth) || len(got) > 0 {
			t.Errorf("ten forwardings: %v, %v", got, err)
		}
		if r.fetched() != 1+maxDepth {
			t.Errorf("%d fetches", r.fetched())
		}
		want(t, remote(t, s, aor(5)), location.Remote{URI: "sip:" + string(aor(10)), Depth: 5})
		for i := range 20 {
			r.gateway(fmt.Sprint("more", i)).registerHere(bob)
		}
		if got := remote(t, s, bob); len(got) != maxTargets {
			t.Errorf("%d targets", len(got))
		}
	})
}

func TestOneForwardThatFailsHoldsNothingBack(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw1.forward(bob, "carol@"+domain)
		gw2.registerHere(bob)
		calls := 0
		r.set(func(r *ring) {
			r.fail = func(string) error {
				if calls++; calls > 1 {
					return overlay.ErrTimeout
				}
				return nil
			}
		})
		want(t, remote(t, s, bob), location.Remote{Node: gw2.gr()})
		// When it is all there is, it is a failure and not "nobody".
		gw2.forward("dave@"+domain, "carol@"+domain)
		calls = 0
		if _, err := s.Remote(t.Context(), "dave@"+domain); !errors.Is(err, location.ErrUnavailable) {
			t.Fatal(err)
		}
	})
}

// Conformance: H-45
// A user who is registered at this gateway and nowhere else is not asked for at each call.
//
// Feature: PRX-33
func TestOwnUsersAreRememberedLikeOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw1.registerHere(bob)
		want(t, remote(t, s, bob))
		before := r.fetched()
		time.Sleep(foundFor - time.Millisecond)
		want(t, remote(t, s, bob))
		if r.fetched() != before {
			t.Error("fetched again within 5 s")
		}
		gw2.registerHere(bob)
		time.Sleep(time.Millisecond)
		want(t, remote(t, s, bob), location.Remote{Node: gw2.gr()})
	})
}

// Feature: PRX-33
func TestAResultIsUsedForAtMostFiveSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		if _, ok := s.RemoteCached(bob); ok {
			t.Fatal("cached before anybody asked")
		}
		remote(t, s, bob)
		gw2.registerHere(bob)
		if got, ok := s.RemoteCached(bob); !ok || len(got) != 0 {
			t.Fatalf("%v %v", got, ok)
		}
		time.Sleep(missingFor)
		if _, ok := s.RemoteCached(bob); ok {
			t.Fatal("absence remembered too long")
		}
		want(t, remote(t, s, bob), location.Remote{Node: gw2.gr()})
		before := r.fetched()
		time.Sleep(foundFor - time.Millisecond)
		want(t, remote(t, s, bob), location.Remote{Node: gw2.gr()})
		if r.fetched() != before {
			t.Fatal("fetched again within 5 s")
		}
		time.Sleep(time.Millisecond)
		remote(t, s, bob)
		if r.fetched() != before+1 {
			t.Fatal("not fetched again after 5 s")
		}
	})
}

func TestOneFetchForManyCallers(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw2.registerHere(bob)
		r.set(func(r *ring) { r.delay = time.Second })
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := s.Remote(impatient, bob); !errors.Is(err, location.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err) // its question goes on
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got, err := s.Remote(t.Context(), bob); err != nil || len(got) != 1 {
					t.Errorf("%v %v", got, err)
				}
			})
		}
		wg.Wait()
		if r.fetched() != 1 {
			t.Errorf("%d fetches", r.fetched())
		}
	})
}

func TestForgottenWhileOnItsWay(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.set(func(r *ring) { r.delay = time.Second })
		go func() { _, _ = s.Remote(t.Context(), bob) }()
		synctest.Wait()
		s.Invalidate(bob)
		time.Sleep(2 * time.Second)
		if _, ok := s.RemoteCached(bob); ok {
			t.Fatal("an answer older than the change is remembered")
		}
	})
}

func TestLookupsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.set(func(r *ring) { r.delay = time.Second })
		var wg sync.WaitGroup
		var mu sync.Mutex
		var refused int
		for i := range maxWaiting + 10 {
			wg.Go(func() {
				if _, err := s.Remote(t.Context(), location.AOR(fmt.Sprintf("%d@%s", i, domain))); err != nil {
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		synctest.Wait()
		if r.fetched() != maxLookups {
			t.Errorf("%d fetches at once", r.fetched())
		}
		s.Close()
		wg.Wait()
		if refused != maxWaiting+10 {
			t.Errorf("%d of %d ended without an error", maxWaiting+10-refused, maxWaiting+10)
		}
		if _, err := s.Remote(t.Context(), bob); !errors.Is(err, location.ErrUnavailable) {
			t.Error(err)
		}
	})
}

func TestNoAnswerIsNotNobody(t *testing.T) {
	for _, failure := range []error{overlay.ErrTimeout, overlay.ErrNotJoined, overlay.ErrOverload, &overlay.RemoteError{Code: wire.ErrorNotFound}} {
		inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
			r.set(func(r *ring) { r.fail = func(string) error { return failure } })
			if _, err := s.Remote(t.Context(), bob); !errors.Is(err, location.ErrUnavailable) || !errors.Is(err, failure) {
				t.Fatal(err)
			}
			r.set(func(r *ring) { r.fail = nil })
			want(t, remote(t, s, bob)) // a failure is not remembered
		})
	}
}

// Conformance: H-19
func TestRFC7904_5_1_Dial(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		conn, err := s.Dial(t.Context(), gw2.gr())
		if err != nil || conn.Application != 5060 || conn.Peer.Node != gw2.NodeID() {
			t.Fatalf("%+v %v", conn, err)
		}
		if _, err := s.Dial(t.Context(), gw1.gr()); !errors.Is(err, location.ErrUnavailable) {
			t.Errorf("to ourselves: %v", err)
		}
		if _, err := s.Dial(t.Context(), "x"); !errors.Is(err, location.ErrNotFound) {
			t.Errorf("to nowhere: %v", err)
		}
		if _, n := r.counted(); n != 1 {
			t.Errorf("%d AppAttach", n)
		}
	})
}

// The callee's preference is followed, and who takes one of SIP and SIPS only is reached nevertheless.
//
// Conformance: H-06 H-20 H-40
func TestRFC7904_5_1_PreferenceOfSIPOrSIPSIsFollowed(t *testing.T) {
	for prefs, want := range map[string]wire.ApplicationID{
		"": wire.ApplicationSIP, "(sip.schemes=SIP)": wire.ApplicationSIP, "(sip.schemes=SIPS)": wire.ApplicationSIPS,
		"(& (sip.schemes=sips) (sip.audio=TRUE))": wire.ApplicationSIPS, "(| (sip.schemes=SIP) (sip.schemes=SIPS))": wire.ApplicationSIP,
		"(! (sip.schemes=SIPS))": wire.ApplicationSIP, "((((": wire.ApplicationSIP, strings.Repeat("(sip.schemes=SIPS)", 200): wire.ApplicationSIP,
	} {
		inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
			gw2.register(bob, wire.SipRegistration{Type: wire.SipRegistrationRoute, ContactPrefs: prefs,
				Destinations: wire.NewDestinationList(wire.ToNode(gw2.NodeID()))})
			remote(t, s, bob)
			if conn, err := s.Dial(t.Context(), gw2.gr()); err != nil || conn.Application != want {
				t.Errorf("%q: %v %v", prefs, conn.Application, err)
			}
			for _, only := range []wire.ApplicationID{wire.ApplicationSIP, wire.ApplicationSIPS} {
				r.set(func(r *ring) { r.only = only })
				if conn, err := s.Dial(t.Context(), gw2.gr()); err != nil || conn.Application != only {
					t.Errorf("%q, %d alone: %v %v", prefs, only, conn.Application, err)
				}
			}
		})
	}
}

// liar answers AppAttach with the certificate of another node.
type liar struct {
	*gateway
	other  wire.NodeID
	closed bool
}

func (l *liar) AppAttach(ctx context.Context, dest wire.DestinationList, app wire.ApplicationID) (overlay.AppConn, error) {
	c, err := l.gateway.AppAttach(ctx, dest, app)
	c.Peer = trust.Identity{Node: l.other}
	c.Conn = closer{c, &l.closed}
	return c, err
}

type closer struct {
	overlay.AppConn
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return c.AppConn.Close() }

// Conformance: H-19
func TestRFC7904_5_1_OtherNodesCertificateIsNotUsed(t *testing.T) {
	r := newRing(t)
	gw1, gw2 := r.gateway("gw1"), r.gateway("gw2")
	l := &liar{gateway: gw1, other: gw1.NodeID()}
	s := NewService(l, aorOf)
	defer s.Close()
	if _, err := s.Dial(t.Context(), gw2.gr()); !errors.Is(err, location.ErrUnavailable) || !l.closed {
		t.Fatalf("%v, closed %v", err, l.closed)
	}
}

// Feature: PRX-33
func TestSilentNodesAreTriedLast(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw3 := r.gateway("gw3")
		gw2.registerHere(bob)
		gw3.registerHere(bob)
		gw2.registerHere("carol@" + domain)
		r.set(func(r *ring) { r.silent[gw2.NodeID()] = struct{}{}; r.delay = time.Second })
		if _, err := s.Dial(t.Context(), gw2.gr()); !errors.Is(err, overlay.ErrTimeout) {
			t.Fatal(err)
		}
		want(t, remote(t, s, bob), location.Remote{Node: gw3.gr()})
		want(t, remote(t, s, "carol@"+domain), location.Remote{Node: gw2.gr()}) // the only one
		// One at a time finds out whether it is there again.
		first := make(chan error)
		go func() {
			_, err := s.Dial(t.Context(), gw2.gr())
			first <- err
		}()
		synctest.Wait()
		start := time.Now()
		if _, err := s.Dial(t.Context(), gw2.gr()); !errors.Is(err, location.ErrUnavailable) || time.Since(start) > 0 {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		if err := <-first; !errors.Is(err, overlay.ErrTimeout) {
			t.Fatal(err)
		}
		r.set(func(r *ring) { clear(r.silent) })
		if _, err := s.Dial(t.Context(), gw2.gr()); err != nil {
			t.Fatal(err)
		}
		if got := remote(t, s, bob); len(got) != 2 {
			t.Fatalf("after it answered: %v", got)
		}
	})
}

func TestASilentNodeThatStoresIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw3 := r.gateway("gw3")
		gw2.registerHere(bob)
		gw3.registerHere(bob)
		r.set(func(r *ring) { r.silent[gw2.NodeID()] = struct{}{} })
		_, _ = s.Dial(t.Context(), gw2.gr())
		want(t, remote(t, s, bob), location.Remote{Node: gw3.gr()})
		time.Sleep(time.Second)
		gw2.registerHere(bob) // started again
		time.Sleep(foundFor)
		if got := remote(t, s, bob); len(got) != 2 {
			t.Fatalf("%v", got)
		}
	})
}

func TestSuspicionPasses(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.gateway("gw3").registerHere(bob)
		gw2.registerHere(bob)
		r.set(func(r *ring) { r.silent[gw2.NodeID()] = struct{}{} })
		_, _ = s.Dial(t.Context(), gw2.gr())
		time.Sleep(suspectFor)
		if got := remote(t, s, bob); len(got) != 2 {
			t.Fatalf("%v", got)
		}
	})
}

func TestCache(t *testing.T) {
	c := newCache[string, int](3)
	now := time.Unix(0, 0)
	for i := range 5 {
		c.put(fmt.Sprint(i), i, now, time.Minute)
	}
	if _, ok := c.get("1", now); ok || len(c.items) != 3 || c.order.Len() != 3 {
		t.Fatalf("%d items", len(c.items))
	}
	c.put("2", 22, now, time.Second)
	if v, ok := c.get("2", now); !ok || v != 22 {
		t.Fatal(v)
	}
	if _, ok := c.get("2", now.Add(time.Second)); ok || len(c.items) != 2 {
		t.Fatal("used after its time")
	}
	c.put("9", 9, now.Add(time.Hour), time.Second)
	if len(c.items) != 1 {
		t.Fatalf("%d items, want those that ended removed", len(c.items))
	}
}

// What this peer holds itself needs no lookup that somebody waits for, and is remembered like other answers.
func TestWhatThisPeerHoldsIsAtHand(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw2.registerHere(bob)
		if _, ok := s.RemoteCached(bob); ok {
			t.Fatal("known before anybody asked")
		}
		r.set(func(r *ring) { r.own = true })
		for range 2 {
			if got, ok := s.RemoteCached(bob); !ok || len(got) != 1 || got[0] != (location.Remote{Node: gw2.gr()}) {
				t.Errorf("%v, %v", got, ok)
			}
		}
		if r.fetched() != 1 {
			t.Errorf("%d fetches", r.fetched())
		}
		if certified, known := s.CertifiedCached(bob); certified || !known {
			t.Errorf("certified %v, known %v", certified, known)
		}
		if got, ok := s.AddressesCached(gw2.gr()); !ok || len(got) != 0 {
			t.Errorf("addresses %q, %v", got, ok)
		}
		s.Close()
		if _, ok := s.RemoteCached("carol@" + domain); ok {
			t.Error("asked after Close")
		}
	})
}
