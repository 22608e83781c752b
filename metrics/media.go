package metrics

import "github.com/prometheus/client_golang/prometheus"

// Media is what a relay for the media of calls does and has done.
type Media struct {
	Sessions, Ports, PortsTotal       int
	Begun, Exhausted, Packets, Octets uint64
	Dropped, Ended, Skipped           map[string]uint64 // by reason
}

var (
	descMediaSessions  = desc("media_sessions", "Calls, and branches of calls that ring, whose media is relayed.")
	descMediaPorts     = desc("media_port_pairs", "Pairs of ports of the media relay, by what they are.", "state")
	descMediaBegun     = desc("media_sessions_total", "Calls and branches whose media was relayed.")
	descMediaExhausted = desc("media_exhausted_total", "Calls, branches and streams for which there were no ports.")
	descMediaPackets   = desc("media_packets_total", "Packets that were relayed.")
	descMediaOctets    = desc("media_octets_total", "Octets in them.")
	descMediaDropped   = desc("media_dropped_packets_total", "Packets that were not relayed.", "reason")
	descMediaEnded     = desc("media_ended_total", "Ends of relaying.", "reason")
	descMediaSkipped   = desc("media_skipped_total", "Calls that were left alone, though a relay might have helped.", "reason")
)

func collectMedia(m *Media, count func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	gauge(descMediaSessions, float64(m.Sessions))
	gauge(descMediaPorts, float64(m.Ports), "used")
	gauge(descMediaPorts, float64(m.PortsTotal-m.Ports), "free")
	count(descMediaBegun, m.Begun)
	count(descMediaExhausted, m.Exhausted)
	count(descMediaPackets, m.Packets)
	count(descMediaOctets, m.Octets)
	for d, by := range map[*prometheus.Desc]map[string]uint64{descMediaDropped: m.Dropped, descMediaEnded: m.Ended, descMediaSkipped: m.Skipped} {
		for reason, n := range by {
			count(d, n, reason)
		}
	}
}
