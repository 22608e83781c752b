package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectorLines are the messages, fragments and frames of the golden vectors of overlay/wire, in hexadecimal.
func vectorLines(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "overlay", "wire", "testdata", "reload-vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct{ Hex string }
	var v struct{ Messages, Fragments, Frames []entry }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, list := range [][]entry{v.Messages, v.Fragments, v.Frames} {
		if len(list) == 0 {
			t.Fatal("no vectors")
		}
		for _, e := range list {
			lines = append(lines, e.Hex)
		}
	}
	return lines
}

// decode runs the command on some input.
func decode(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = runDecode(t.Context(), stdio{strings.NewReader(in), &o, &e}, args)
	return code, o.String(), e.String()
}

func TestDecodeReencodesEveryVector(t *testing.T) {
	in := strings.Join(vectorLines(t), "\n") + "\n"
	code, out, errs := decode(t, in, "--reencode")
	if code != exitOK || errs != "" {
		t.Errorf("exit code %d, errors %q", code, errs)
	}
	if out != in {
		t.Errorf("encoded again:\ngot  %s\nwant %s", out, in)
	}
}

func TestDecodePrintsOneObjectPerVector(t *testing.T) {
	lines := vectorLines(t)
	code, out, errs := decode(t, strings.Join(lines, "\n"))
	if code != exitOK || errs != "" {
		t.Errorf("exit code %d, errors %q", code, errs)
	}
	objects := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(objects) != len(lines) {
		t.Fatalf("%d objects for %d lines", len(objects), len(lines))
	}
	for _, o := range objects {
		if !json.Valid([]byte(o)) {
			t.Errorf("not JSON: %s", o)
		}
	}
	for _, want := range []string{
		`"message_code":"store_req"`, `"kind":"SIP-REGISTRATION"`, `"contact_prefs":"(sip.schemes=SIP)"`,
		`"unknown_kinds":["0xf0000001","0xf0000002"]`, `"store_ans":{"kind_responses":[{"kind":"SIP-REGISTRATION","generation_counter":9,`,
		`"chord_leave_data":{"type":"from_succ","successors":["b0b1b2b3`, `"fragment_payload":"0017`, `"ack_sequence":40,"received":"80000005"`,
		`"type":"neighbors","predecessors":["e0e1`, `"addr_port":"192.0.2.10:6084","overlay_link":"TLS-TCP-FH-NO-ICE"`,
		`"indices":[{"first":0,"last":1},{"first":5,"last":"0xffffffff"}]`, `"response_id":"1122334455667788"`,
		`"config_data":"<overlay`, `"identity":{"identity_type":"none"}`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// privateStore is a StoreReq, not signed, with one value of Kind 0xf0000002, "abc".
func privateStore() string {
	value := "01" + "00000003" + "616263"
	stored := "0000001b" + "00000000000003e8" + "0000003c" + value + "00000300000000"
	kind := "f0000002" + "0000000000000005" + "0000001f" + stored
	body := "0101" + "00" + "0000002f" + kind
	contents := "0007" + "00000036" + body + "00000000"
	header := "d2454c4f" + "01020304" + "0001" + "0a" + "64" + "c0000000" + "00000073" + "0102030405060708" + "00000000" +
		"000000040000" + "02020101"
	return header + contents + "0000" + "00000300000000"
}

func TestDecodeOfPrivateKinds(t *testing.T) {
	in := privateStore()
	code, out, errs := decode(t, in)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if want := `{"kind":"0xf0000002","generation_counter":5,"values":"0000001b00000000000003e8`; !strings.Contains(out, want) {
		t.Errorf("%s is missing in %s", want, out)
	}
	_, out, _ = decode(t, in, "--kind", "0xf0000002:GREETING:single")
	if want := `{"kind":"GREETING","generation_counter":5,"values":[{"storage_time":1000,"lifetime":60,` +
		`"value":{"single_value_entry":{"exists":true,"value":"616263"}},`; !strings.Contains(out, want) {
		t.Errorf("%s is missing in %s", want, out)
	}
	for _, args := range [][]string{{"--reencode"}, {"--reencode", "--kind", "0xf0000002:GREETING:SINGLE"}} {
		if _, out, errs := decode(t, in, args...); out != in+"\n" {
			t.Errorf("%v: %s%s", args, out, errs)
		}
	}
}

func TestDecodeReadsWhatPeoplePaste(t *testing.T) {
	in := "# a comment\n\n  > 81 00000001 0000 0000 # ack\n<810000000200000001810000000300000000\n"
	code, out, errs := decode(t, in)
	want := `{"direction":">","framed_message":{"type":"ack","ack_sequence":1,"received":"00000000"}}
{"direction":"<","framed_message":{"type":"ack","ack_sequence":2,"received":"00000001"}}
{"direction":"<","framed_message":{"type":"ack","ack_sequence":3,"received":"00000000"}}
`
	if code != exitOK || out != want {
		t.Errorf("exit code %d\ngot  %swant %s%s", code, out, want, errs)
	}
}

func TestDecodeReportsBadLinesAndGoesOn(t *testing.T) {
	ping := vectorLines(t)[0]
	in := "zz\n" + ping + "\n" + ping[:len(ping)-2] + "\nd2454c4f\n8000000001000004d2454c4f810000000100000000\n81\n"
	code, out, errs := decode(t, in, "--reencode")
	if want := ping + "\n810000000100000000\n"; code != exitConfig || out != want {
		t.Errorf("exit code %d\ngot  %swant %s", code, out, want)
	}
	want := `line 1: encoding/hex: invalid byte: U+007A 'z'
line 3: wire: ForwardingHeader.length: not the length of the message at byte 16
line 4: wire: ForwardingHeader.overlay: truncated at byte 4
line 5: FramedMessage.message, sequence 1: wire: ForwardingHeader.overlay: truncated at byte 4
line 6: wire: FramedMessage: not complete
`
	if errs != want {
		t.Errorf("errors:\ngot  %swant %s", errs, want)
	}
}

func TestDecodeUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--node-id-length", "15"}, {"--node-id-length", "21"}, {"--kind", "1:2"}, {"--kind", "x:NAME:single"}, {"--kind", "1:NAME:tree"},
		{"file"}, {"--frames"},
	} {
		if code, _, errs := decode(t, "", args...); code != exitUsage || errs == "" {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
	if code, _, _ := decode(t, "", "--help"); code != exitOK {
		t.Errorf("--help: exit code %d", code)
	}
}
