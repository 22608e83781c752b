package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
)

type fakeNode struct{ notReady []string }

func (f fakeNode) status() StatusReport {
	return StatusReport{NodeID: "00", NotReady: f.notReady, Ready: len(f.notReady) == 0}
}
func (fakeNode) registrations() RegistrationsReport {
	return RegistrationsReport{Registrations: []Registration{{AOR: "a@d", State: "stored"}}}
}
func (fakeNode) ring() RingReport { return RingReport{Self: "00", Successors: []string{"11"}} }
func (fakeNode) canonical(s string) (location.AOR, error) {
	if s == "" {
		return "", errors.New("no address-of-record")
	}
	return location.AOR(s), nil
}
func (fakeNode) lookup(_ context.Context, aor location.AOR) (LookupReport, error) {
	if aor == "slow@d" {
		return LookupReport{}, location.ErrUnavailable
	}
	return LookupReport{AOR: string(aor), Found: true}, nil
}
func (fakeNode) configuration() ConfigReport {
	return ConfigReport{Settings: []SettingReport{{Key: "domain", Value: "d", Origin: "default"}}}
}
func (f fakeNode) Reload() ReloadReport {
	r := ReloadReport{Changed: []ChangeReport{{Key: "log.level"}}}
	if len(f.notReady) > 0 {
		r.Error = "no such file"
	}
	return r
}
func (fakeNode) Drain() {}

func (fakeNode) peers() PeersReport {
	return PeersReport{Self: "00", Peers: []PeerReport{{Peer: "11", Transport: "tls"}}}
}
func (fakeNode) target(s string) (target, error) {
	if s == "" {
		return target{}, errors.New("no address-of-record")
	}
	return target{report: TargetReport{Asked: s}}, nil
}
func (fakeNode) ping(_ context.Context, to target) (PingReport, error) {
	if to.report.Asked == "slow@d" {
		return PingReport{}, location.ErrUnavailable
	}
	return PingReport{Target: to.report, Hop: HopReport{Node: "11"}}, nil
}
func (fakeNode) trace(_ context.Context, to target) TraceReport {
	return TraceReport{Target: to.report, Hops: []HopReport{{Node: "00", Next: "11"}}, Error: "timeout"}
}

// Conformance: G-09
func TestAdminAnswers(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) })
	for _, c := range []struct {
		node         fakeNode
		method, path string
		status       int
		contains     string
	}{
		{fakeNode{}, "GET", "/livez", 200, "ok"},
		{fakeNode{}, "GET", "/api/v1/media", 200, `"ports_total": 7`},
		{fakeNode{}, "GET", "/readyz", 200, "ready"},
		{fakeNode{[]string{"overlay: joining", "draining"}}, "GET", "/readyz", 503, "not ready: overlay: joining, draining"},
		{fakeNode{[]string{"overlay: joining"}}, "GET", "/livez", 200, "ok"},
		{fakeNode{}, "GET", "/metrics", 200, "metrics"},
		{fakeNode{}, "GET", "/api/v1/status", 200, `"node_id": "00"`},
		{fakeNode{}, "GET", "/api/v1/registrations", 200, `"state": "stored"`},
		{fakeNode{}, "GET", "/api/v1/ring", 200, `"successors": [`},
		{fakeNode{}, "GET", "/api/v1/lookup?aor=a@d", 200, `"found": true`},
		{fakeNode{}, "GET", "/api/v1/lookup", 400, "no address-of-record"},
		{fakeNode{}, "GET", "/api/v1/lookup?aor=slow@d", 504, "unavailable"},
		{fakeNode{}, "GET", "/api/v1/peers", 200, `"transport": "tls"`},
		{fakeNode{}, "GET", "/api/v1/ping?to=11", 200, `"node": "11"`},
		{fakeNode{}, "GET", "/api/v1/ping?to=slow@d", 504, "unavailable"},
		{fakeNode{}, "GET", "/api/v1/ping", 400, "no address-of-record"},
		{fakeNode{}, "GET", "/api/v1/trace?to=11", 200, `"error": "timeout"`},
		{fakeNode{}, "GET", "/api/v1/trace", 400, "no address-of-record"},
		{fakeNode{}, "GET", "/api/v1/config", 200, `"origin": "default"`},
		{fakeNode{}, "POST", "/api/v1/reload", 200, `"key": "log.level"`},
		{fakeNode{[]string{"x"}}, "POST", "/api/v1/reload", 422, `"error": "no such file"`},
		{fakeNode{}, "GET", "/api/v1/reload", 405, ""},
		{fakeNode{}, "POST", "/api/v1/drain", 202, ""},
		{fakeNode{}, "GET", "/api/v1/drain", 405, ""},
		{fakeNode{}, "GET", "/api/v1/services", 200, `"name": "voice-mail"`},
		{fakeNode{}, "GET", "/api/v1/service?name=voice-mail", 200, `"nearest": "11"`},
		{fakeNode{}, "GET", "/api/v1/service?name=slow", 504, "unavailable"},
		{fakeNode{}, "GET", "/api/v1/service", 400, "name of a service"},
		{fakeNode{}, "GET", "/api/v1/proof?aor=a@d", 200, "{}"},
		{fakeNode{}, "GET", "/api/v1/proof?aor=nobody@d", 404, "no such user"},
		{fakeNode{}, "GET", "/api/v1/proof?aor=slow@d", 504, "unavailable"},
		{fakeNode{}, "GET", "/api/v1/proof", 400, "no address-of-record"},
		{fakeNode{}, "POST", "/api/v1/status", 405, ""},
		{fakeNode{}, "GET", "/nothing", 404, ""},
	} {
		w := httptest.NewRecorder()
		adminHandler(c.node, metrics).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("%s %s: %d %q, want %d with %q", c.method, c.path, w.Code, w.Body, c.status, c.contains)
		}
		if strings.HasPrefix(c.path, "/api/") && w.Code != 405 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: not JSON: %s", c.path, w.Body)
		}
	}
}

func (fakeNode) trunkReports() TrunksReport {
	return TrunksReport{Trunks: []TrunkReport{{Name: "pbx", State: "up", Targets: []TrunkTargetReport{}}}}
}

func (fakeNode) testTrunk(_ context.Context, name string) (TrunkTestReport, error) {
	if name != "pbx" {
		return TrunkTestReport{}, errNoTrunk(name)
	}
	return TrunkTestReport{Name: name, Answers: []TrunkAnswerReport{{Status: 200}}}, nil
}

func (fakeNode) explainRoute(_ context.Context, number, _ string) (RouteReport, error) {
	return RouteReport{Number: number}, nil
}
