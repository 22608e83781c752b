package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// get asks the admin server of g.
func get(t *testing.T, g *Gateway, path string, v any) {
	t.Helper()
	res, err := http.Get("http://" + g.admin.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
}

// Conformance: K-01 K-02
func TestPeersPingAndTrace(t *testing.T) {
	gs := ring(t, 3, 1)
	ids := make([]string, len(gs))
	for i, g := range gs {
		ids[i] = g.peer.NodeID().String()
	}
	for i, g := range gs {
		eventually(t, "links with both others", func() error { return linked(t, g, ids, i) })
	}
	for _, id := range ids {
		var p PingReport
		get(t, gs[0], "/api/v1/ping?to="+strings.ToUpper(id), &p)
		if p.Hop.Node != id || p.Target.NodeID != id || p.Hop.UptimeSeconds < 0 || p.Hop.RoutingTable < 1 {
			t.Errorf("%+v", p)
		}
		checkLinks(t, p.Hop, ids[0])
		var r TraceReport
		get(t, gs[0], "/api/v1/trace?to="+id, &r)
		if n := len(r.Hops); !r.Reached || n == 0 || r.Hops[0].Node != ids[0] || r.Hops[n-1].Node != id || r.Hops[n-1].Next != id {
			t.Fatalf("%+v", r)
		}
		for _, h := range r.Hops {
			checkLinks(t, h, ids[0])
		}
	}
	var r TraceReport
	get(t, gs[1], "/api/v1/trace?to="+url.QueryEscape("1001@"+testDomain), &r)
	aor, err := gs[1].canonical("1001")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Hops); !r.Reached || n == 0 || r.Target.AOR != string(aor) || r.Target.ResourceID == "" || r.Hops[n-1].Next != r.Hops[n-1].Node {
		t.Errorf("%+v", r)
	}
	absent := strings.Repeat("42", 16)
	get(t, gs[1], "/api/v1/trace?to="+absent, &r)
	if r.Reached || !strings.Contains(r.Error, "no such node") || len(r.Hops) == 0 {
		t.Errorf("%+v", r)
	}
}

// checkLinks: one link is between each two of three gateways, and none leads to a node itself.
func checkLinks(t *testing.T, h HopReport, self string) {
	t.Helper()
	if want := map[bool]int{true: 0, false: 1}[h.Node == self]; h.Links != want || h.Millis <= 0 || h.Millis > 10_000 {
		t.Errorf("%+v from %s: want %d links", h, self, want)
	}
}

func linked(t *testing.T, g *Gateway, ids []string, self int) error {
	var r PeersReport
	get(t, g, "/api/v1/peers", &r)
	if r.Self != ids[self] {
		return fmt.Errorf("self is %s", r.Self)
	}
	for i, id := range ids {
		found := i == self
		for _, p := range r.Peers {
			found = found || p.Peer == id && p.Ready && p.Transport == "tls" && strings.HasPrefix(p.Address, "127.0.0.1:") &&
				(p.Direction == "in" || p.Direction == "out") && time.Since(p.Since) < time.Hour
		}
		if !found {
			return fmt.Errorf("no link with %s: %+v", id, r)
		}
	}
	return nil
}

func TestTraceSaysWhereItEnds(t *testing.T) {
	gs := ring(t, 2, 1)
	to, err := gs[0].target("1001")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := gs[0].trace(ctx, to); r.Reached || r.Error == "" || len(r.Hops) != 0 {
		t.Errorf("%+v", r)
	}
	for _, s := range []string{"", "1001@elsewhere.example", strings.Repeat("ff", 16)} {
		if to, err := gs[0].target(s); err == nil && to.report.NodeID != "" {
			t.Errorf("%q: %+v", s, to)
		}
	}
	if _, err := gs[0].target("1001@elsewhere.example"); err == nil {
		t.Error("a foreign address-of-record has a way")
	}
}
