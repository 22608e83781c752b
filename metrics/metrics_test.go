package metrics

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay"
)

func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// Each metric moves: a dashboard of names that are never written is worse than none.
func TestEveryMetricMoves(t *testing.T) {
	m := New(Sources{
		Version: "1.2.3",
		Overlay: func() overlay.Stats {
			return overlay.Stats{
				Messages: map[overlay.MessageKey]uint64{{Direction: "in", Method: "store_req"}: 3},
				Requests: map[overlay.RequestKey]uint64{{Method: "store", Result: "ok"}: 4},
				Dropped:  map[string]uint64{"ttl": 5}, Events: map[string]uint64{"joined": 1}, Refused: map[string]uint64{"wrong_ca": 6},
				AppConns: map[string]uint64{"accepted": 7}, Reasons: map[overlay.ReasonKey]uint64{{Event: "store_refused", Reason: "access"}: 20}, Hops: map[int]uint64{2: 8}, InboxDepth: 9, Links: 10, Transports: map[string]int{"dtls": 21},
				Sessions: map[string]uint64{"no_pair": 22}, Pairs: map[overlay.PairKey]uint64{{Local: "host", Remote: "relay"}: 23},
				TURN: overlay.TURNStats{Allocations: 24, Made: 25, Unauthorized: 26, OverQuota: 27, BadPeer: 28, NoPort: 29, Received: 30, Sent: 31}, LinkQueueFull: 11,
			}
		},
		Gauges: func() Gauges {
			return Gauges{
				Joined: true, Stored: map[string]int{"SIP-REGISTRATION": 12}, Bindings: 13, Transactions: 14, Finished: 51, Connections: 15,
				CertificateExpiry: time.Unix(1_700_000_000, 0), Flow: map[string]uint64{"malformed": 16}, Transaction: map[string]uint64{"merged": 17},
				Published: map[string]int{"stored": 18},
				Media: &Media{Sessions: 41, Ports: 42, PortsTotal: 50, Begun: 43, Exhausted: 44, Packets: 45, Octets: 46,
					Dropped: map[string]uint64{"source": 47}, Ended: map[string]uint64{"bye": 48}, Skipped: map[string]uint64{"ice": 49}},
			}
		},
	})
	m.Response("registrar", "REGISTER", 403, "REG403U")
	m.Response("proxy", "X-MADE-UP", 501, "")
	m.Lookup("found", 3*time.Millisecond)
	got := page(t, m)
	for _, want := range []string{
		`p2psip_overlay_messages_total{direction="in",method="store_req"} 3`,
		`p2psip_overlay_requests_total{method="store",result="ok"} 4`,
		`p2psip_overlay_dropped_messages_total{reason="ttl"} 5`,
		`p2psip_overlay_events_total{event="joined"} 1`,
		`p2psip_overlay_refused_connections_total{reason="wrong_ca"} 6`,
		`p2psip_overlay_refusals_total{event="store_refused",reason="access"} 20`,
		`p2psip_overlay_app_connections_total{result="accepted"} 7`,
		`p2psip_overlay_request_hops_total{hops="2"} 8`,
		`p2psip_overlay_ice_sessions_total{outcome="no_pair"} 22`, `p2psip_overlay_ice_pairs_total{local="host",remote="relay"} 23`,
		`p2psip_overlay_turn_allocations 24`, `p2psip_overlay_turn_events_total{event="no_port"} 29`,
		`p2psip_overlay_turn_octets_total{direction="out"} 31`,
		`p2psip_overlay_inbox_depth 9`, `p2psip_overlay_links 10`, `p2psip_overlay_transport_links{transport="dtls"} 21`, `p2psip_overlay_link_queue_full_total 11`, `p2psip_overlay_joined 1`,
		`p2psip_overlay_stored_values{kind="SIP-REGISTRATION"} 12`,
		`p2psip_overlay_certificate_expiry_timestamp_seconds 1.7e+09`,
		`p2psip_location_bindings 13`, `p2psip_location_records{state="stored"} 18`,
		`p2psip_location_lookups_total{result="found"} 1`, `p2psip_location_lookup_duration_seconds_count 1`,
		`p2psip_sip_transactions 14`, `p2psip_sip_finished_octets 51`, `p2psip_sip_connections 15`,
		`p2psip_sip_transport_events_total{event="malformed"} 16`, `p2psip_sip_transaction_events_total{event="merged"} 17`,
		`p2psip_sip_responses_total{code="403",core="registrar",method="REGISTER"} 1`,
		`p2psip_sip_responses_total{code="501",core="proxy",method="other"} 1`,
		`p2psip_sip_refusals_total{word="REG403U"} 1`,
		`p2psip_media_sessions 41`, `p2psip_media_port_pairs{state="used"} 42`, `p2psip_media_port_pairs{state="free"} 8`, `p2psip_media_sessions_total 43`,
		`p2psip_media_exhausted_total 44`, `p2psip_media_packets_total 45`, `p2psip_media_octets_total 46`,
		`p2psip_media_dropped_packets_total{reason="source"} 47`, `p2psip_media_ended_total{reason="bye"} 48`, `p2psip_media_skipped_total{reason="ice"} 49`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if !strings.Contains(got, `version="1.2.3"`) {
		t.Error("no build_info")
	}
	unseen := regexp.MustCompile(`(?m)^p2psip_\S+ 0$`)
	if m := unseen.FindAllString(got, -1); len(m) > 0 && !strings.Contains(m[0], "bucket") {
		t.Errorf("never moved: %q", m)
	}
}

func BenchmarkResponse(b *testing.B) {
	m := New(Sources{})
	b.ReportAllocs()
	for b.Loop() {
		m.Response("registrar", "REGISTER", 200, "")
	}
}
