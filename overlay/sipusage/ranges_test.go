package sipusage

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"pgregory.net/rapid"
)

// planOf has the ring look for ranges of these names.
func (r *ring) planOf(t testing.TB, names ...string) {
	t.Helper()
	var shapes []numbers.Shape
	for _, name := range names {
		one, ok := numbers.Parse(name)
		if !ok {
			t.Fatal(name)
		}
		shapes = append(shapes, one.Shape())
	}
	r.conf.Ranges = numbers.NewPlan(shapes...)
}

func at(user string) location.AOR { return location.AOR(user + "@" + domain) }

// TestWhoGetsANumber: the exact address-of-record beats any range, a longer prefix a shorter one, and a number of another length is not in a range
// that says how many digits there are.
//
// Feature: TRK-02
func TestWhoGetsANumber(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx", "23x", "+49301234*")
		gw3 := r.gateway("gw3")
		gw2.registerHere(at("2xx"))
		gw3.registerHere(at("23x"))
		gw2.registerHere(at("+49301234*"))
		gw3.registerHere(at("+4930123477"))
		gw3.registerHere(at("245"))
		for user, place := range map[string]location.Remote{
			"201":           {Node: gw2.gr(), Range: at("2xx")},
			"231":           {Node: gw3.gr(), Range: at("23x")},
			"245":           {Node: gw3.gr()},
			"+493012340":    {Node: gw2.gr(), Range: at("+49301234*")},
			"+493012349999": {Node: gw2.gr(), Range: at("+49301234*")},
			"+4930123477":   {Node: gw3.gr()},
		} {
			if _, ok := s.RemoteCached(at(user)); ok {
				t.Errorf("%s is known before anybody asked", user)
			}
			want(t, remote(t, s, at(user)), place)
			if got, ok := s.RemoteCached(at(user)); !ok || len(got) != 1 || got[0] != place {
				t.Errorf("%s from memory: %v %v", user, got, ok)
			}
		}
		for _, user := range []string{"20", "2010", "2ab", "+4930123", "alice"} {
			want(t, remote(t, s, at(user)))
		}
	})
}

// TestARangeCostsNoSecondRoundTrip: the address-of-record and its ranges are asked for at once, and what is known is not asked for again.
//
// Feature: TRK-02
func TestARangeCostsNoSecondRoundTrip(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx", "23x", "2*", "+49301234*")
		gw2.registerHere(at("2xx"))
		r.set(func(r *ring) { r.delay = time.Second })
		ask := func(user string, fetches int, took time.Duration) {
			t.Helper()
			before, begun := r.fetched(), time.Now()
			remote(t, s, at(user))
			if got, d := r.fetched()-before, time.Since(begun); got != fetches || d != took {
				t.Errorf("%s: %d fetches in %v, want %d in %v", user, got, d, fetches, took)
			}
		}
		ask("231", 4, time.Second) // 231, 23x, 2xx, 2*
		ask("231", 0, 0)
		ask("232", 1, time.Second) // who may have it as an address-of-record of its own
		ask("alice", 1, time.Second)
		time.Sleep(foundFor)
		ask("231", 3, time.Second) // 2xx is known for longer
		gw2.registerHere(at("299"))
		ask("299", 2, time.Second) // 299, 29x
		ask("299", 0, 0)
		time.Sleep(rangeFor)
		ask("231", 4, time.Second)
	})
}

func TestAnOverlayWithoutRangesIsAskedForNone(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw2.registerHere(at("2xx"))
		want(t, remote(t, s, at("231")))
		if r.fetched() != 1 {
			t.Errorf("%d fetches", r.fetched())
		}
	})
}

// TestNobodyElseGetsANumberForWantOfAnAnswer: when the overlay does not say whose a number is, the call is not sent to the holder of a shorter prefix.
func TestNobodyElseGetsANumberForWantOfAnAnswer(t *testing.T) {
	for _, silent := range []string{"231", "23x"} {
		inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
			r.planOf(t, "2xx", "23x")
			gw2.registerHere(at("2xx"))
			r.dumb = wire.ResourceIDOf(string(at(silent)))
			if got, err := s.Remote(t.Context(), at("231")); !errors.Is(err, location.ErrUnavailable) || !errors.Is(err, overlay.ErrTimeout) {
				t.Errorf("without an answer for %s: %v %v", silent, got, err)
			}
			if got, ok := s.RemoteCached(at("231")); ok {
				t.Errorf("without an answer for %s: %v from memory", silent, got)
			}
		})
	}
}

// TestTwoHoldersOfARange: both are named, with the name of the range, so that one of them is tried after the other.
func TestTwoHoldersOfARange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx")
		gw3 := r.gateway("gw3")
		gw2.registerHere(at("2xx"))
		gw3.registerHere(at("2xx"))
		got := remote(t, s, at("231"))
		if len(got) != 2 || got[0].Range != at("2xx") || got[1].Range != at("2xx") || got[0].Node == got[1].Node {
			t.Errorf("%v", got)
		}
	})
}

// TestOurOwnRangeBeatsAShorterOneElsewhere: what is routed here is not sent to the holder of a shorter prefix.
func TestOurOwnRangeBeatsAShorterOneElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx", "23x")
		gw1.registerHere(at("23x"))
		gw2.registerHere(at("2xx"))
		want(t, remote(t, s, at("231")))
		if name, err := s.Name(t.Context(), at("231")); name != at("23x") || err != nil {
			t.Errorf("%s %v", name, err)
		}
	})
}

// TestANumberOfARangeIsKnown: when nobody serves a range that there is, its numbers are those of users who are not there, but none of them is a user.
func TestANumberOfARangeIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx")
		gw2.certify(at("2xx"))
		for user, want := range map[string]bool{"231": true, "331": false, "alice": false} {
			if _, known := s.CertifiedCached(at(user)); known {
				t.Errorf("%s is known before anybody asked", user)
			}
			if got, err := s.Certified(t.Context(), at(user)); got != want || err != nil {
				t.Errorf("%s: %v %v", user, got, err)
			}
			if got, known := s.CertifiedCached(at(user)); got != want || !known || s.CertifiedUserCached(at(user)) {
				t.Errorf("%s from memory: %v %v", user, got, known)
			}
		}
	})
}

// TestAForwardToANumber follows an address-of-record to a number in a range.
func TestAForwardToANumber(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		r.planOf(t, "2xx")
		gw2.registerHere(at("2xx"))
		gw2.forward(bob, "sip:231@"+domain)
		want(t, remote(t, s, bob), location.Remote{URI: "sip:231@" + domain, Depth: 1})
	})
}

// TestLookupsAgreeWithTheOracle: whatever ranges and addresses-of-record there are, a number is found under the name that looking at all of them gives.
//
// Feature: TRK-02
func TestLookupsAgreeWithTheOracle(t *testing.T) {
	r := newRing(t)
	gw1, gw2 := r.gateway("gw1"), r.gateway("gw2")
	for _, user := range []string{"1*", "1xx", "12x", "12*", "+1*", "+12xx", "122", "+1222", "1x", "2x"} { // certificates are made once
		if _, err := gw2.Signer(string(at(user))); err != nil {
			t.Fatal(err)
		}
	}
	var all []string
	for _, plus := range []string{"", "+"} {
		for i := range 81 {
			all = append(all, plus+fmt.Sprintf("%d%d%d", 1+i%3, 1+i/3%3, 1+i/9%3), plus+fmt.Sprintf("%d%d%d%d", 1+i%3, 1+i/3%3, 1+i/9%3, 1+i/27))
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		var held []string
		r.set(func(r *ring) { r.reset() })
		for user := range gw2.users {
			if rapid.Bool().Draw(rt, user) {
				held = append(held, user[:len(user)-len("@"+domain)])
				gw2.registerHere(location.AOR(user))
			}
		}
		r.planOf(t, "1*", "1xx", "12x", "12*", "+1*", "+12xx", "1x")
		s := NewService(gw1, aorOf)
		defer s.Close()
		for _, n := range rapid.SliceOfN(rapid.SampledFrom(all), 1, 30).Draw(rt, "numbers") {
			want := location.AOR("")
			if user := oracle(held, n); user != "" && user != "2x" { // nobody looks for a shape that the document does not name
				want = at(user)
			}
			if got, err := s.Name(t.Context(), at(n)); err != nil || got != want {
				rt.Fatalf("%s: %q %v, want %q of %v", n, got, err, want, held)
			}
		}
	})
}

// oracle is the one of held that gets the number n.
func oracle(held []string, n string) (best string) {
	rank := -1
	for _, name := range held {
		r, ok := numbers.Parse(name)
		score := 2 * len(r.Prefix)
		if ok && r.Digits != numbers.AnyDigits {
			score++
		}
		switch {
		case name == n:
			return name
		case ok && r.Contains(n) && score > rank:
			best, rank = name, score
		}
	}
	return best
}

func BenchmarkRemoteCached(b *testing.B) {
	r := newRing(b)
	gw1, gw2 := r.gateway("gw1"), r.gateway("gw2")
	r.planOf(b, "2xx", "+49301234*", "+4930*")
	for _, user := range []string{"bob", "1001", "2xx", "+49301234*"} {
		gw2.registerHere(at(user))
	}
	s := NewService(gw1, aorOf)
	defer s.Close()
	for _, user := range []string{"bob", "1001", "231", "+493012341"} {
		b.Run(user, func(b *testing.B) {
			b.ReportAllocs()
			aor := at(user)
			for b.Loop() {
				if got, ok := s.RemoteCached(aor); ok && len(got) == 1 {
					continue
				}
				if got, err := s.Remote(b.Context(), aor); err != nil || len(got) != 1 {
					b.Fatal(got, err)
				}
			}
		})
	}
}
