package wire

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func drawDiagnosticsRequest(t *rapid.T) DiagnosticsRequest {
	return DiagnosticsRequest{
		Expiration: rapid.Uint64().Draw(t, "expiration"), Initiated: rapid.Uint64().Draw(t, "initiated"), Flags: rapid.Uint64().Draw(t, "flags"),
		Extensions: draw(t, func(t *rapid.T) DiagnosticExtension {
			return DiagnosticExtension{DiagnosticKind(rapid.Uint16().Draw(t, "kind")), drawBytes(t, 9)}
		}),
	}
}

func drawDiagnosticsResponse(t *rapid.T) DiagnosticsResponse {
	return DiagnosticsResponse{
		Expiration: rapid.Uint64().Draw(t, "expiration"), Initiated: rapid.Uint64().Draw(t, "initiated"),
		Received: rapid.Uint64().Draw(t, "received"), HopCounter: rapid.Byte().Draw(t, "hops"),
		Info: draw(t, func(t *rapid.T) DiagnosticInfo {
			return DiagnosticInfo{DiagnosticKind(rapid.Uint16().Draw(t, "kind")), drawBytes(t, 9)}
		}),
	}
}

const (
	hexTimes = "0000018bcfe5f240" + "0000018bcfe568ff" // expiration, timestamp_initiated
	hexAsk   = hexTimes + "0000000000000104" + "00000007" + "00000007" + "f000" + "00000001" + "7f"
	hexTell  = hexTimes + "0000018bcfe56900" + "62" + "00000014" + "00000014" +
		"0002" + "0004" + "00000005" + "0008" + "0008" + "0000000000000e10"
)

func askExample() DiagnosticsRequest {
	return DiagnosticsRequest{
		Expiration: 0x18bcfe5f240, Initiated: 0x18bcfe568ff,
		Flags:      DiagnosticRoutingTableSize.Flag() | DiagnosticAppUptime.Flag(),
		Extensions: []DiagnosticExtension{{0xf000, []byte{0x7f}}},
	}
}

func tellExample() DiagnosticsResponse {
	return DiagnosticsResponse{
		Expiration: 0x18bcfe5f240, Initiated: 0x18bcfe568ff, Received: 0x18bcfe56900, HopCounter: 98,
		Info: []DiagnosticInfo{NewDiagnosticNumber(DiagnosticRoutingTableSize, 5), NewDiagnosticNumber(DiagnosticAppUptime, 3600)},
	}
}

// Conformance: K-02 K-03 K-04
func TestRFC7851_5_ByteVectors(t *testing.T) {
	bothWays(t, "021110"+hexAlice+hexAsk, &PathTrackReq{ToResource(ResourceID(unhex(t, hexAlice))), askExample()})
	bothWays(t, "0110"+hexN+hexTell, &PathTrackAns{ToNode(nodeN(t)), tellExample()})
	ask, tell := askExample(), tellExample()
	for want, got := range map[string][]byte{hexAsk: ask.AppendTo([]byte{9}), hexTell: tell.AppendTo([]byte{9})} {
		sameOctets(t, "structure", got[1:], unhex(t, want))
	}
	d, err := ParseDiagnosticsRequest(unhex(t, hexAsk))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "request", *d, ask)
	r, err := ParseDiagnosticsResponse(unhex(t, hexTell))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "response", *r, tell)
}

// TestRFC7851_5_1_LengthsAgree: "ext_length [...] is [...] the length of [...] the data making up the
// diagnostic_extensions_list".
//
// Conformance: K-03 K-04
func TestRFC7851_5_1_LengthsAgree(t *testing.T) {
	for _, n := range []string{"00000006", "00000008", "00000000", "ffffffff"} {
		_, err := ParseDiagnosticsRequest(unhex(t, strings.Replace(hexAsk, "00000007", n, 1)))
		refused(t, n, err, bad("DiagnosticsRequest.ext_length", 24, ErrTwoLengths))
		_, err = ParseDiagnosticsResponse(unhex(t, strings.Replace(hexTell, "00000014", n, 1)))
		refused(t, n, err, bad("DiagnosticsResponse.ext_length", 25, ErrTwoLengths))
	}
}

// Conformance: K-03 K-04
func TestDiagnosticsCutShort(t *testing.T) {
	ask, tell := unhex(t, hexAsk), unhex(t, hexTell)
	for n := range ask {
		if _, err := ParseDiagnosticsRequest(ask[:n]); err == nil {
			t.Errorf("the first %d octets of a request are accepted", n)
		}
	}
	for n := range tell {
		if _, err := ParseDiagnosticsResponse(tell[:n]); err == nil {
			t.Errorf("the first %d octets of a response are accepted", n)
		}
	}
	if _, err := ParseDiagnosticsRequest(append(ask, 0)); !errors.Is(err, ErrTrailing) {
		t.Errorf("an octet behind a request: %v", err)
	}
}

// Conformance: K-06
func TestRFC7851_9_1_FlagsOfKinds(t *testing.T) {
	for k, want := range map[DiagnosticKind]uint64{
		0: 0, DiagnosticStatusInfo: 0x2, DiagnosticRoutingTableSize: 0x4, DiagnosticProcessPower: 0x8, DiagnosticUpstreamBandwidth: 0x10,
		DiagnosticDownstreamBandwidth: 0x20, DiagnosticSoftwareVersion: 0x40, DiagnosticMachineUptime: 0x80, DiagnosticAppUptime: 0x100,
		DiagnosticMemoryFootprint: 0x200, DiagnosticDatasizeStored: 0x400, DiagnosticInstancesStored: 0x800,
		DiagnosticMessagesSentRcvd: 0x1000, DiagnosticEWMABytesSent: 0x2000, DiagnosticEWMABytesRcvd: 0x4000,
		DiagnosticUnderlayHop: 0x8000, DiagnosticBatteryStatus: 0x10000, 0x3e: 1 << 62, 0x3f: 0, 0xf000: 0,
	} {
		if got := k.Flag(); got != want {
			t.Errorf("%v: %#x, want %#x", k, got, want)
		}
	}
	if DiagnosticKind(0x11).String() != "diagnostic0x11" {
		t.Error(DiagnosticKind(0x11))
	}
}

// Conformance: K-09
func TestRFC7851_5_3_EncodingsOfKinds(t *testing.T) {
	for _, v := range []struct {
		info DiagnosticInfo
		want string
	}{
		{NewDiagnosticNumber(DiagnosticStatusInfo, 15), "0f"},
		{NewDiagnosticNumber(DiagnosticRoutingTableSize, 0x01020304), "01020304"},
		{NewDiagnosticNumber(DiagnosticAppUptime, 7), "0000000000000007"},
		{NewDiagnosticNumber(DiagnosticBatteryStatus, 0x80), "80"},
		{NewDiagnosticText(DiagnosticSoftwareVersion, "a/1.0\x00ü"), "612f312e303f3f00"},
		{NewDiagnosticText(DiagnosticSoftwareVersion, strings.Repeat("x", 999)), strings.Repeat("78", maxSoftware) + "00"},
		{NewDiagnosticInstances([]InstanceCount{{KindSIPRegistration, 3}}), "00000001" + "0000000000000003"},
		{NewDiagnosticInstances(make([]InstanceCount, 9999)), strings.Repeat("00", 5461*12)},
	} {
		sameOctets(t, v.info.Kind.String(), v.info.Contents, unhex(t, v.want))
	}
	r := DiagnosticsResponse{Info: []DiagnosticInfo{
		{DiagnosticStatusInfo, []byte{1, 2}}, {DiagnosticStatusInfo, []byte{3}}, {DiagnosticSoftwareVersion, []byte("a\x00b\x00")},
		NewDiagnosticText(DiagnosticSoftwareVersion, "b"), {DiagnosticInstancesStored, nil},
	}}
	if v, ok := r.Number(DiagnosticStatusInfo); !ok || v != 3 {
		t.Errorf("STATUS_INFO %d %v", v, ok)
	}
	if s, ok := r.Text(DiagnosticSoftwareVersion); !ok || s != "b" {
		t.Errorf("SOFTWARE_VERSION %q %v", s, ok)
	}
	for _, k := range []DiagnosticKind{DiagnosticAppUptime, DiagnosticInstancesStored} {
		if v, ok := r.Number(k); ok {
			t.Errorf("%v is the number %d", k, v)
		}
	}
}

// TestRFC7851_4_2_1_OnlyAPingHasTheExtension: "Receivers who receive a method other than Ping including this extension
// MUST ignore the extension."
//
// Conformance: K-01
func TestRFC7851_4_2_1_OnlyAPingHasTheExtension(t *testing.T) {
	ask, tell := askExample(), tellExample()
	x := func(b []byte) []Extension {
		return []Extension{{Type: 7, Contents: []byte("x")}, {Type: ExtensionDiagnosticPing, Contents: b}}
	}
	for _, v := range []struct {
		m         Message
		ask, tell bool
	}{
		{Message{Body: &PingReq{}, Extensions: x(ask.AppendTo(nil))}, true, false},
		{Message{Body: &PingAns{}, Extensions: x(tell.AppendTo(nil))}, false, true},
		{Message{Body: &PathTrackReq{Destination: ToNode(nodeN(t)), Request: ask}}, true, false},
		{Message{Body: &PathTrackAns{NextHop: ToNode(nodeN(t)), Response: tell}}, false, true},
		{Message{Body: &JoinReq{Joining: nodeN(t)}, Extensions: x(ask.AppendTo(nil))}, false, false},
		{Message{Body: &PingReq{}}, false, false},
	} {
		q, err1 := v.m.DiagnosticsRequest()
		r, err2 := v.m.DiagnosticsResponse()
		if err1 != nil || err2 != nil || (q != nil) != v.ask || (r != nil) != v.tell {
			t.Errorf("%v: %v %v, %v %v", v.m.Body.Code(), q, err1, r, err2)
		}
		var s Schema
		raw := v.m.AppendTo(nil)
		_, n, err := ParseHeader(raw)
		if err != nil {
			t.Fatal(err)
		}
		if p := s.PeekDiagnostics(raw[n:]); (p != nil) != v.ask {
			t.Errorf("%v: on the way %v", v.m.Body.Code(), p)
		} else if p != nil {
			same(t, "on the way", *p, ask)
		}
		for end := n; end < len(raw); end++ { // must not panic, and what is there must be whole
			if p := s.PeekDiagnostics(raw[n:end]); p != nil && p.Flags != ask.Flags {
				t.Errorf("%v: the first %d octets give %v", v.m.Body.Code(), end, p)
			}
		}
	}
	m := Message{Body: &PingReq{}, Extensions: x([]byte{1})}
	if _, err := m.DiagnosticsRequest(); !errors.Is(err, ErrTruncated) {
		t.Errorf("half an extension: %v", err)
	}
}

// Conformance: K-03 K-04
func FuzzDiagnostics(f *testing.F) {
	f.Add(unhex(f, hexAsk))
	f.Add(unhex(f, hexTell))
	f.Add(unhex(f, "0027"+"00000053"+"021110"+hexAlice+hexAsk+"00000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseDiagnosticsRequest(b); err == nil {
			sameOctets(t, "request", d.AppendTo(nil), b)
		}
		if d, err := ParseDiagnosticsResponse(b); err == nil {
			sameOctets(t, "response", d.AppendTo(nil), b)
			d.Number(DiagnosticAppUptime)
			d.Text(DiagnosticSoftwareVersion)
		}
		var s Schema
		s.PeekDiagnostics(b)
	})
}
