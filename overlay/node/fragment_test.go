package node_test

import (
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/sim"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Every link cuts what is longer than 600 octets. A client sends requests of 3000 octets to every peer: those on the way pass
// the fragments on.
//
// Conformance: B-39 B-40 B-44
func TestRFC6940_6_7_FragmentsTravelAndAreJoinedAtTheDestination(t *testing.T) {
	w := sim.New(sim.Config{Seed: 7, Peers: 24, MaxDelay: 3 * time.Millisecond, PathMTU: 600})
	w.Start(5 * time.Second)
	w.Run(10 * time.Second)
	if err := w.Check(nil); err != nil {
		t.Fatal(err)
	}
	client := w.NewClient(w.Host(0))
	hops, parts := 0, 0
	for i := range 24 {
		before := w.Fragments
		m := client.Message(&wire.PingReq{Padding: make([]byte, 3000)}, toHost(w.Host(i)))
		answer := client.Call(m)
		if code(answer) != wire.CodePingAns {
			t.Errorf("host %d: %v", i, code(answer))
			continue
		}
		parts = max(parts, w.Fragments-before)
		hops = max(hops, int(m.Header.TTL-answer.Header.TTL)+1)
	}
	if hops < 2 || parts < 7 {
		t.Errorf("%d fragments at most for one request, over %d links", parts, hops)
	}
	for _, reason := range []string{"bad_fragment", "fragment_conflict", "fragments_full"} {
		if n := w.Counts["dropped:"+reason]; n > 0 {
			t.Errorf("%d fragments dropped: %s", n, reason)
		}
	}
}

// What waits for more of its fragments is forgotten after 15 s, and the neighbour can have it only once.
//
// Conformance: B-42
func TestRFC6940_6_7_IncompleteMessageIsForgotten(t *testing.T) {
	w := ring(t, 2)
	client := w.NewClient(w.Host(0))
	m := client.Message(&wire.PingReq{Padding: make([]byte, 600)}, toHost(w.Host(0)))
	raw := client.Seal(m, nil)
	h, n, err := wire.ParseHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	part := func(from, to int, last uint32) []byte {
		p := h
		p.Fragment = wire.FragmentHigh | last | uint32(from)
		p.Length = uint32(n + to - from)
		return append(p.AppendTo(nil), raw[n+from:n+to]...)
	}
	body := len(raw) - n
	client.Send(part(300, body, wire.FragmentLast))
	w.Run(16 * time.Second)
	client.Send(part(0, 300, 0))
	w.Run(time.Second)
	if got := w.Host(0).Status().Load.Fragmented; got != 1 {
		t.Errorf("%d incomplete messages, want the one that came late", got)
	}
	client.Send(part(300, body, wire.FragmentLast))
	w.Run(time.Second)
	if got := w.Host(0).Status().Load.Fragmented; got != 0 {
		t.Errorf("%d incomplete messages", got)
	}
}
