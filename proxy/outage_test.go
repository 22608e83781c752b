package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
)

// withServers is a gateway whose senders may call elsewhere.example, which has three addresses; other.example shares the first of them.
func withServers(t *testing.T) (g *gateway, hops []location.Hop) {
	g = newGateway(t, 1, func(c *Config) { c.Trusted = func(location.Hop) bool { return true } })
	hops = []location.Hop{udp("192.0.2.11:5060"), stream("TCP", "192.0.2.12:5060", 0), udp("192.0.2.13:5060")}
	g.dns["elsewhere.example"] = hops
	g.dns["other.example"] = []location.Hop{hops[0], udp("192.0.2.14:5060")}
	return g, hops
}

// calls has one more INVITE sent to a name and returns its first attempt.
func (g *gateway) calls(name string) (*fakeTx, *sent) {
	g.t.Helper()
	g.mu.Lock()
	n := len(g.sent)
	g.mu.Unlock()
	x := g.receive(request(g.t, "INVITE", "sip:x@"+name, aliceURI), alice)
	wait()
	return x, g.branches(n + 1)[n]
}

// next is the attempt after those that there were.
func (g *gateway) next() *sent {
	g.t.Helper()
	wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent[len(g.sent)-1]
}

func wantHop(t *testing.T, s *sent, want location.Hop) {
	t.Helper()
	if s.hop != want {
		t.Fatalf("to %v, want %v", s.hop, want)
	}
}

// An address that fails is tried last for half a minute; then one request finds out whether it is back, and the others wait for that.
//
// Feature: PRX-19
func TestRFC3263_4_3_WhatIsKnownToBeDownWaitsItsTurn(t *testing.T) {
	for _, failure := range []error{sip.ErrTransport, sip.ErrTimeout} {
		bubble(t, func(t *testing.T) {
			g, hops := withServers(t)
			x, s := g.calls("elsewhere.example")
			wantHop(t, s, hops[0])
			s.user.Failed(failure)
			g.next().answer(200)
			wantStatuses(t, x, 200)

			x, s = g.calls("elsewhere.example")
			wantHop(t, s, hops[1])
			s.answer(503) // no Retry-After: only this request
			g.next().user.Failed(sip.ErrOverload)
			wantHop(t, g.next(), hops[0]) // the last resort
			g.next().answer(486)
			wantStatuses(t, x, 486)
			_, s = g.calls("elsewhere.example")
			wantHop(t, s, hops[0]) // it answers again
			s.user.Failed(failure)
			g.next().answer(200)

			pass(outageWait - time.Second)
			_, s = g.calls("elsewhere.example")
			wantHop(t, s, hops[1])
			s.answer(200)
			pass(time.Second)
			_, probe := g.calls("elsewhere.example")
			wantHop(t, probe, hops[0])
			_, s = g.calls("elsewhere.example") // meanwhile
			wantHop(t, s, hops[1])
			s.answer(200)
			probe.user.Failed(failure)
			pass(outageWait + time.Second) // twice as long now
			_, s = g.calls("elsewhere.example")
			wantHop(t, s, hops[1])
			s.answer(200)
			pass(2 * outageWait)
			_, probe = g.calls("elsewhere.example")
			wantHop(t, probe, hops[0])
			probe.answer(180)
			_, s = g.calls("elsewhere.example")
			wantHop(t, s, hops[0])
		})
	}
}

// It is about an address, not about a name.
//
// Feature: PRX-19
func TestRFC3263_4_3_AnAddressIsDownForEachNameAndNoNameIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, hops := withServers(t)
		_, s := g.calls("elsewhere.example")
		s.user.Failed(sip.ErrTimeout)
		_, s = g.calls("other.example")
		wantHop(t, s, udp("192.0.2.14:5060"))
		s.user.Failed(sip.ErrTransport) // now both are down: they are tried in their order
		wantHop(t, g.next(), hops[0])
		_, s = g.calls("other.example")
		wantHop(t, s, hops[0])
		_, s = g.calls("elsewhere.example")
		wantHop(t, s, hops[1])
	})
}

// RFC 3261 §21.5.4: a server that sends 503 with Retry-After is left alone for so long, but not for ever.
//
// Feature: PRX-19
func TestRFC3261_21_5_4_RetryAfterIsHeeded(t *testing.T) {
	for value, want := range map[string]time.Duration{"120": 2 * time.Minute, "120;duration=60": 2 * time.Minute, "120 (busy)": 2 * time.Minute,
		"4000000": outageMost, "soon": 0, "": 0, "-5": 0} {
		bubble(t, func(t *testing.T) {
			g, hops := withServers(t)
			_, s := g.calls("elsewhere.example")
			s.answer(503, "Retry-After: "+value)
			wantHop(t, g.next(), hops[1])
			if want > 0 {
				pass(want - time.Second)
				_, s = g.calls("elsewhere.example")
				wantHop(t, s, hops[1])
				pass(time.Second)
			}
			_, s = g.calls("elsewhere.example")
			wantHop(t, s, hops[0])
		})
	}
}

// Feature: PRX-19
func TestRFC3263_4_3_TheACKGoesWhereTheInviteWasAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, hops := withServers(t)
		_, s := g.calls("elsewhere.example")
		s.user.Failed(sip.ErrTimeout)
		g.next().answer(200)
		for range 2 {
			g.p.ACK(request(t, "ACK", "sip:x@elsewhere.example", aliceURI), alice)
			wait()
			wantHop(t, g.acks[len(g.acks)-1], hops[1])
			pass(outageWait + time.Second) // an ACK finds nothing out
		}
		_, s = g.calls("elsewhere.example")
		wantHop(t, s, hops[0])
	})
}

func TestOutagesAreBoundedAndForgotten(t *testing.T) {
	var o outages
	now := time.UnixMilli(0)
	hop := func(i int) location.Hop {
		return location.Hop{Transport: "UDP", Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}), 5060)}
	}
	for i := range 3 * maxOutages {
		o.failed(hop(i), now, 0)
	}
	if n := len(o.down); n != maxOutages {
		t.Errorf("%d are remembered", n)
	}
	two := []location.Hop{hop(3*maxOutages - 1), hop(5 * maxOutages)}
	if got := o.order(two, now, true); !slices.Equal(got, []location.Hop{two[1], two[0]}) {
		t.Errorf("%v", got)
	}
	later := now.Add(outageWait + outageMost + time.Second)
	if got := o.order(two, later, false); !slices.Equal(got, two) {
		t.Errorf("long after: %v", got)
	}
	o.failed(hop(5*maxOutages), later, 0)
	if len(o.down) != 1 || o.known.Load() != 1 {
		t.Errorf("%d are remembered of long ago", len(o.down))
	}
}

func BenchmarkOrder(b *testing.B) {
	for _, down := range []int{0, 1} {
		b.Run(fmt.Sprint("down=", down), func(b *testing.B) {
			var o outages
			hops := []location.Hop{udp("192.0.2.11:5060"), udp("192.0.2.12:5060")}
			now := time.UnixMilli(0)
			for range down {
				o.failed(hops[0], now, 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				o.order(hops, now, true)
			}
		})
	}
}
