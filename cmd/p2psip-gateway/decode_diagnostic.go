package main

import (
	"fmt"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// viewExtension shows the contents of a Diagnostic_Ping (RFC 7851 §4.2.1) and of self_tuning_data (RFC 7363 §6.5); those of
// others are a string.
func viewExtension(code wire.MessageCode, e wire.Extension) any {
	var contents any = hexOf(e.Contents)
	switch {
	case e.Type == wire.ExtensionSelfTuning:
		if d, err := wire.ParseSelfTuningData(e.Contents); err == nil {
			contents = object{{"network_size", d.NetworkSize}, {"join_rate", d.JoinRate}, {"leave_rate", d.LeaveRate}}
		}
	case e.Type != wire.ExtensionDiagnosticPing:
	case code == wire.CodePingReq:
		if d, err := wire.ParseDiagnosticsRequest(e.Contents); err == nil {
			contents = viewDiagnosticsRequest(d)
		}
	case code == wire.CodePingAns:
		if d, err := wire.ParseDiagnosticsResponse(e.Contents); err == nil {
			contents = viewDiagnosticsResponse(d)
		}
	}
	return object{{"type", e.Type}, {"critical", e.Critical}, {"extension_contents", contents}}
}

func viewPathTrack(b wire.Body) any {
	switch b := b.(type) {
	case *wire.PathTrackReq:
		return object{{"destination", viewDestination(b.Destination)}, {"request", viewDiagnosticsRequest(&b.Request)}}
	case *wire.PathTrackAns:
		return object{{"next_hop", viewDestination(b.NextHop)}, {"response", viewDiagnosticsResponse(&b.Response)}}
	}
	return nil
}

func viewDiagnosticsRequest(d *wire.DiagnosticsRequest) object {
	return object{
		{"expiration", d.Expiration}, {"timestamp_initiated", d.Initiated}, {"dMFlags", fmt.Sprintf("%016x", d.Flags)},
		{"diagnostic_extensions_list", each(d.Extensions, func(x wire.DiagnosticExtension) any {
			return object{{"kind", x.Kind.String()}, {"diagnostic_extension_contents", hexOf(x.Contents)}}
		})},
	}
}

func viewDiagnosticsResponse(d *wire.DiagnosticsResponse) object {
	return object{
		{"expiration", d.Expiration}, {"timestamp_initiated", d.Initiated}, {"timestamp_received", d.Received}, {"hop_counter", d.HopCounter},
		{"diagnostic_info_list", each(d.Info, func(i wire.DiagnosticInfo) any {
			if v, ok := (&wire.DiagnosticsResponse{Info: []wire.DiagnosticInfo{i}}).Number(i.Kind); ok {
				return object{{"kind", i.Kind.String()}, {"diagnostic_info_contents", v}}
			}
			return object{{"kind", i.Kind.String()}, {"diagnostic_info_contents", hexOf(i.Contents)}}
		})},
	}
}
