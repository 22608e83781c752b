package main

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: K-09
func TestDecodeShowsDiagnostics(t *testing.T) {
	node, err := wire.ParseNodeID("00112233445566778899aabbccddeeff")
	if err != nil {
		t.Fatal(err)
	}
	ask := wire.DiagnosticsRequest{Expiration: 9, Initiated: 8, Flags: 0x102,
		Extensions: []wire.DiagnosticExtension{{Kind: 0xf000, Contents: []byte{1}}}}
	tell := wire.DiagnosticsResponse{Expiration: 9, Initiated: 7, Received: 8, HopCounter: 98, Info: []wire.DiagnosticInfo{
		wire.NewDiagnosticNumber(wire.DiagnosticAppUptime, 3600), wire.NewDiagnosticText(wire.DiagnosticSoftwareVersion, "x/1")}}
	ping := func(b []byte) []wire.Extension {
		return []wire.Extension{{Type: wire.ExtensionDiagnosticPing, Contents: b}}
	}
	const asked = `{"expiration":9,"timestamp_initiated":8,"dMFlags":"0000000000000102",` +
		`"diagnostic_extensions_list":[{"kind":"diagnostic0xf000","diagnostic_extension_contents":"01"}]}`
	const told = `{"expiration":9,"timestamp_initiated":7,"timestamp_received":8,"hop_counter":98,"diagnostic_info_list":[` +
		`{"kind":"APP_UPTIME","diagnostic_info_contents":3600},{"kind":"SOFTWARE_VERSION","diagnostic_info_contents":"782f3100"}]}`
	for _, c := range []struct {
		m     wire.Message
		wants []string
	}{
		{wire.Message{Body: &wire.PingReq{}, Extensions: ping(ask.AppendTo(nil))}, []string{`"extension_contents":` + asked}},
		{wire.Message{Body: &wire.PingAns{}, Extensions: ping(tell.AppendTo(nil))}, []string{`"extension_contents":` + told}},
		{wire.Message{Body: &wire.PingAns{}, Extensions: ping([]byte{7})}, []string{`"extension_contents":"07"`}},
		{wire.Message{Body: &wire.ProbeReq{}, Extensions: []wire.Extension{{Type: wire.ExtensionSelfTuning,
			Contents: wire.SelfTuningData{NetworkSize: 9, JoinRate: 8, LeaveRate: 7}.AppendTo(nil)}}},
			[]string{`"extension_contents":{"network_size":9,"join_rate":8,"leave_rate":7}`}},
		{wire.Message{Body: &wire.PathTrackReq{Destination: wire.ToNode(node), Request: ask}},
			[]string{`"message_code":"path_track_req"`, `"request":` + asked}},
		{wire.Message{Body: &wire.PathTrackAns{NextHop: wire.ToNode(node), Response: tell}},
			[]string{`"next_hop":`, node.String(), `"response":` + told}},
	} {
		c.m.Header = wire.Header{Version: wire.Version, TTL: 100, Fragment: wire.Unfragmented, Destinations: wire.NewDestinationList(wire.ToNode(node))}
		c.m.Security.Signature = wire.Unsigned()
		code, out, errs := decode(t, hex.EncodeToString(c.m.AppendTo(nil))+"\n")
		for _, want := range c.wants {
			if code != exitOK || !strings.Contains(out, want) {
				t.Errorf("%v: exit %d, no %s in %s%s", c.m.Body.Code(), code, want, out, errs)
			}
		}
	}
}
