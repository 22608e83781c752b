package overlay

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: K-01 K-02 K-04 K-07
func TestTraceAndDiagnoseInARingOfRealPeers(t *testing.T) {
	for _, open := range []bool{true, false} {
		w := newWorld(t)
		if !open { // RFC 7851 §7: nobody may ask for anything
			w.overlay.MandatoryExtensions = []string{config.NamespaceDiagnostics}
		}
		first := w.member(t, nil)
		waitJoined(t, first)
		others := []*member{w.member(t, first), w.member(t, first)}
		for _, m := range others {
			waitJoined(t, m)
		}
		to := others[1].NodeID()
		h, err := others[0].Diagnose(t.Context(), wire.NewDestinationList(wire.ToNode(to)))
		if err != nil || h.Node != to || h.RTT <= 0 || h.Links < 1 || (h.Uptime >= 0) != open || (h.RoutingTable >= 0) != open || !h.Next.IsZero() {
			t.Errorf("open %v: %+v %v", open, h, err)
		}
		hops, err := others[0].Trace(t.Context(), wire.ToNode(to))
		if err != nil || len(hops) < 2 || hops[0].Node != others[0].NodeID() || hops[len(hops)-1].Node != to {
			t.Fatalf("open %v: %+v %v", open, hops, err)
		}
		for i, h := range hops {
			if h.Links != i || h.RTT <= 0 || h.Next != hops[min(i+1, len(hops)-1)].Node || i > 0 && (h.Uptime >= 0) != open {
				t.Errorf("open %v, hop %d: %+v", open, i, h)
			}
		}
		links := first.Links()
		for _, m := range others {
			if !slices.ContainsFunc(links, func(l LinkInfo) bool {
				return l.Peer == m.NodeID() && l.Transport == "tls" && l.Address != "" && !l.Since.IsZero()
			}) {
				t.Errorf("no link with %v: %+v", m.NodeID().Short(), links)
			}
		}
	}
}

func waitJoined(t *testing.T, m *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case <-m.Joined():
	case <-ctx.Done():
		t.Fatal("not joined")
	}
}

func TestTraceBeforeJoining(t *testing.T) {
	w := newWorld(t)
	first := w.member(t, nil)
	waitJoined(t, first)
	first.stop()
	if hops, err := first.Trace(t.Context(), wire.ToNode(first.NodeID())); !errors.Is(err, ErrClosed) || len(hops) != 0 {
		t.Errorf("%v %v", hops, err)
	}
}
