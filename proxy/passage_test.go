package proxy

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// What is kept of a call for further 2xx says all that its passage says.
func TestNotesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := passage{anonymous: rapid.Bool().Draw(t, "anonymous"), renamed: rapid.Bool().Draw(t, "renamed")}
		if p.renamed {
			p.from, p.to = rapid.String().Draw(t, "from"), rapid.String().Draw(t, "to")
		}
		b := p.note()
		got, ok := readNote(b)
		if diff := cmp.Diff(p, got, cmp.AllowUnexported(passage{})); diff != "" || !ok {
			t.Fatal(diff, ok)
		}
		if !p.renamed && len(b) != 1 {
			t.Fatalf("%d octets", len(b))
		}
		_, _ = readNote(b[:len(b)/2])
	})
}

// RFC 6026 §7.2: a 2xx behind the first goes to the caller, and reads as the first did: without our Via, with From and To as the caller wrote
// them, and without what the called side says of itself.
//
// Feature: PRX-16
func TestRFC6026_7_2_AFurther2xxReadsAsTheFirst(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		g := newGateway(t, 1, func(c *Config) {
			c.Identity.Trusted = trusted
			c.Trusted = func(location.Hop) bool { return true }
		})
		x := g.receive(request(t, "INVITE", "sip:x@203.0.113.9", aliceURI), alice)
		out := g.branches(1)[0]
		for range 3 {
			out.answer(200, "P-Asserted-Identity: <sip:x@203.0.113.9>")
		}
		wantStatuses(t, x, 200, 200, 200)
		for _, res := range x.responses {
			if got, want := res.AppendTo(nil), x.responses[0].AppendTo(nil); !slices.Equal(got, want) {
				t.Errorf("%s\nwant %s", got, want)
			}
			if n := len(res.Values(message.Via)); n != 1 || res.Has(message.PAssertedIdentity) != trusted {
				t.Errorf("%d Via, asserted %q", n, res.Get(message.PAssertedIdentity))
			}
		}
		g.wantIdle()
		if g.p.Relay(message.NewResponse(out.req, 200, "", "x"), nil) {
			t.Error("relayed without a note")
		}
		lone := message.NewResponse(out.req, 200, "", "x")
		for len(lone.Values(message.Via)) > 1 {
			lone.PopValue(message.Via)
		}
		if g.p.Relay(lone, []byte{0}) {
			t.Error("RFC 3261 §16.7 step 3: a response for this element was forwarded")
		}
	}
}
