package sipusage

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

func wantHolds(t *testing.T, s *Service, gr string, aor location.AOR, want location.Holding) {
	t.Helper()
	if holds, err := s.Holds(t.Context(), gr, aor); holds != want || err != nil {
		t.Fatalf("%s: %v, %v, want %v", aor, holds, err, want)
	}
	if holds, known := s.HoldsCached(gr, aor); holds != want || !known {
		t.Fatalf("%s: cached %v, %v, want %v", aor, holds, known, want)
	}
}

// certify puts the certificate of aor at g into the overlay (RFC 6940 §8).
func (g *gateway) certify(aor location.AOR) {
	g.t.Helper()
	by, err := g.Signer(string(aor))
	if err != nil {
		g.t.Fatal(err)
	}
	v := wire.StoredValue{Model: wire.Array, Index: appendIndex, Exists: true, Data: by.Chain()[0].Raw}
	d := wire.StoredData{StorageTime: uint64(time.Now().UnixMilli()), Lifetime: 3600, Value: v}
	if err := g.put(by, resource(aor), wire.KindCertificateByUser, d); err != nil {
		g.t.Fatal(err)
	}
}

func TestARegistrationProvesThatAGatewayHoldsTheCertificate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw3 := r.gateway("gw3")
		gw2.registerHere(bob)
		if _, known := s.HoldsCached(gw2.gr(), bob); known {
			t.Fatal("known before anybody asked")
		}
		wantHolds(t, s, gw2.gr(), bob, location.Held)
		if r.fetched() != 1 {
			t.Errorf("%d fetches for a registered user", r.fetched())
		}
		wantHolds(t, s, gw3.gr(), bob, location.HeldByOthers)
		wantHolds(t, s, gw2.gr(), "carol@"+domain, location.HeldByNobody)
		before := r.fetched()
		wantHolds(t, s, gw3.gr(), bob, location.HeldByOthers)
		wantHolds(t, s, gw2.gr(), bob, location.Held)
		if r.fetched() != before {
			t.Error("asked again for what is known")
		}
	})
}

func TestACertificateInTheOverlayProvesItToo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, _, gw2 *gateway, s *Service) {
		gw2.certify(bob)
		wantHolds(t, s, gw2.gr(), bob, location.Held)
		wantHolds(t, s, r.gateway("gw3").gr(), bob, location.HeldByOthers)
	})
}

func TestWhatWasRefutedMayBeProvenSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, _, gw2 *gateway, s *Service) {
		wantHolds(t, s, gw2.gr(), bob, location.HeldByNobody)
		gw2.registerHere(bob)
		time.Sleep(foundFor + time.Second)
		wantHolds(t, s, gw2.gr(), bob, location.Held)
		r.set(func(r *ring) { r.fail = func(string) error { return overlay.ErrTimeout } })
		time.Sleep(provenFor - time.Second)
		wantHolds(t, s, gw2.gr(), bob, location.Held)
		time.Sleep(time.Second)
		if _, err := s.Holds(t.Context(), gw2.gr(), bob); !errors.Is(err, location.ErrUnavailable) {
			t.Errorf("without an answer: %v", err)
		}
		if _, err := s.Holds(t.Context(), "nonsense", bob); !errors.Is(err, location.ErrNotFound) {
			t.Errorf("no gateway: %v", err)
		}
	})
}

func TestWhoAskedIsRememberedForWhatThisPeerHolds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, _, gw2 *gateway, s *Service) {
		gw2.registerHere(bob)
		r.set(func(r *ring) { r.own = true })
		if holds, known := s.HoldsCached(gw2.gr(), bob); holds != location.Held || !known {
			t.Errorf("%v, %v", holds, known)
		}
		gr := gw2.gr()
		if n := testing.AllocsPerRun(100, func() { s.HoldsCached(gr, bob) }); n != 0 {
			t.Errorf("%v allocations for what is known", n)
		}
	})
}

func TestOneGatewayIsAskedAboutOnlySoOftenAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, _, gw2 *gateway, s *Service) {
		gw3 := r.gateway("gw3")
		r.set(func(r *ring) { r.delay = time.Second })
		for range maxAsking {
			go func() { _, _ = s.Holds(t.Context(), gw2.gr(), bob) }()
		}
		synctest.Wait()
		if _, err := s.Holds(t.Context(), gw2.gr(), bob); !errors.Is(err, location.ErrUnavailable) {
			t.Errorf("one more: %v", err)
		}
		wantHolds(t, s, gw3.gr(), bob, location.HeldByNobody)
		synctest.Wait() // until those who have asked about gw2 are gone
		wantHolds(t, s, gw2.gr(), bob, location.HeldByNobody)
	})
}

// A number that is nobody's own is held by who holds the range with the longest prefix; who has it as its own keeps it.
func TestANumberIsHeldWithItsRange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx", "23x")
		gw3 := r.gateway("gw3")
		gw2.registerHere(at("2xx"))
		gw3.registerHere(at("23x"))
		gw1.registerHere(at("231"))
		for aor, holder := range map[location.AOR]*gateway{"200@" + domain: gw2, "230@" + domain: gw3, "231@" + domain: gw1} {
			for _, gw := range []*gateway{gw1, gw2, gw3} {
				want := location.HeldByOthers
				if gw == holder {
					want = location.Held
				}
				wantHolds(t, s, gw.gr(), aor, want)
			}
		}
		wantHolds(t, s, gw2.gr(), "300@"+domain, location.HeldByNobody)
	})
}
