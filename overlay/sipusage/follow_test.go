package sipusage

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// aor is a user of the ring's domain.
func aor(user string) location.AOR { return location.AOR(user + "@" + domain) }

// Forwardings that lead to each other are told from nobody, and so is a way that is too long; five are followed.
//
// Conformance: H-15
// Feature: PRX-32
func TestRFC7904_4_2_ForwardingsThatLeadNowhereAreNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		chain := func(name string, n int) {
			for i := range n {
				gw2.forward(aor(fmt.Sprint(name, i)), string(aor(fmt.Sprint(name, i+1))))
			}
			gw2.registerHere(aor(fmt.Sprint(name, n)))
		}
		chain("five", 5)
		chain("six", 6)
		gw1.forward(aor("a"), string(aor("b")))
		gw2.forward(aor("b"), "sip:"+string(aor("a")))
		gw1.forward(aor("self"), string(aor("self")))
		gw1.forward(aor("in"), string(aor("a"))) // into the circle
		gw1.forward(aor("x"), string(aor("y")))  // two ways to one who is not there are no loop
		gw2.forward(aor("x"), string(aor("z")))
		gw1.forward(aor("y"), string(aor("nobody")))
		gw1.forward(aor("z"), string(aor("nobody")))
		for user, want := range map[string]error{"six0": location.ErrForwardDepth, "a": location.ErrForwardLoop, "b": location.ErrForwardLoop, "in": location.ErrForwardLoop,
			"self": location.ErrForwardLoop, "x": nil, "five0": nil, "six1": nil} {
			got, err := s.Remote(t.Context(), aor(user))
			if !errors.Is(err, want) || want != nil && len(got) > 0 {
				t.Errorf("%s: %v, %v; want %v", user, got, err, want)
			}
		}
		want(t, remote(t, s, aor("five0")), location.Remote{URI: "sip:" + string(aor("five5")), Depth: 5})
	})
}

// No answer for one of the ways is no loop.
func TestAForwardingThatWasNotAnsweredMayHaveLedSomewhere(t *testing.T) {
	for _, c := range [][2]error{{location.ErrForwardLoop, overlay.ErrTimeout}, {overlay.ErrTimeout, location.ErrForwardDepth}, {nil, overlay.ErrTimeout}} {
		if got := worse(c[0], c[1]); !errors.Is(got, overlay.ErrTimeout) {
			t.Errorf("%v and %v: %v", c[0], c[1], got)
		}
	}
}

func TestExplainListsEveryURI(t *testing.T) {
	inBubble(t, func(t *testing.T, r *ring, gw1, gw2 *gateway, s *Service) {
		gw1.forward(bob, string(aor("c")))
		gw2.forward(bob, "sip:bob@elsewhere.example.net")
		gw2.forward(aor("c"), "sip:"+string(bob))
		gw1.registerHere(aor("c"))
		got, err := s.Explain(t.Context(), bob)
		if err != nil || len(got) != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
		outside := Step{AOR: bob, URI: "sip:bob@elsewhere.example.net", Depth: 1, End: StepOutside}
		c := Step{AOR: bob, URI: "sip:" + string(aor("c")), Depth: 1, End: StepFollowed, Here: true}
		if d := cmp.Diff([]Step{outside, c}, got[:2]); d != "" {
			if d := cmp.Diff([]Step{c, outside}, got[:2]); d != "" { // a dictionary has no order
				t.Error(d)
			}
		}
		if d := cmp.Diff(Step{AOR: aor("c"), URI: "sip:" + string(bob), Depth: 2, End: StepLoop}, got[2]); d != "" {
			t.Error(d)
		}
	})
}

// A forwarding stands in place of the route until it is taken back, is refreshed, and is removed.
//
// Feature: PRX-32
func TestRFC7904_3_1_AForwardingStandsInPlaceOfTheRoute(t *testing.T) {
	publishing(t, func(b *bench) {
		stands := func(want string) {
			b.Helper()
			values := b.stand(string(bob), wire.KindSIPRegistration)
			got := ""
			for _, v := range values {
				r, err := wire.ParseSipRegistration(v.Value.Data)
				if err != nil {
					b.Fatal(err)
				}
				got += fmt.Sprint(r.Type, r.URI)
			}
			if got != want {
				b.Fatalf("the overlay holds %q, want %q", got, want)
			}
		}
		route, other := fmt.Sprint(wire.SipRegistrationRoute), fmt.Sprint(wire.SipRegistrationURI, aor("carol"))
		b.publish(bob, time.Hour)
		stands(route)
		a := &answer{}
		if err := b.p.Forward(bob, "sip:"+string(aor("carol")), a.done); err != nil {
			b.Fatal(err)
		}
		b.after(0)
		b.answered(a, nil)
		stands(other)
		b.after(3 * maxLifetime)
		stands(other)
		b.publish(bob, time.Hour)
		stands(route)
		_ = b.p.Forward(bob, "sip:"+string(aor("carol")), a.done)
		b.after(0)
		b.withdraw(bob)
		stands("")
	})
}

func TestWhatIsPublishedAsAForwarding(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:a@example.org": "a@example.org", "sips:a@example.org": "sips:a@example.org", "sip:a@h:5070": "sip:a@h:5070", "sip:a@h;x": "sip:a@h;x", "sip:h": "sip:h",
		"a@example.org": "", "": "", "sip:a b@h": "", "http://h": "",
	} {
		v, err := elsewhere(wire.NodeID{}, uri)
		if want == "" {
			if err == nil {
				t.Errorf("%q is taken", uri)
			}
			continue
		}
		r, perr := wire.ParseSipRegistration(v.Data)
		if err != nil || perr != nil || r.URI != want {
			t.Errorf("%q: %q, %v, %v", uri, r.URI, err, perr)
		}
	}
}
