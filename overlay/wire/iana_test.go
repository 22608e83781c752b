package wire

import (
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"
)

type codePoint struct {
	code uint32
	name string
}

// registryTable reads a table of RFC 6940 §14 that is kept in testdata. Ranges and code points that are not
// assigned, reserved or for experiments are left out.
func registryTable(t *testing.T, file string) (rows []codePoint) {
	t.Helper()
	f, err := os.Open("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines[1:] {
		name := strings.ToLower(l[1])
		unused := false
		for _, p := range []string{"unassigned", "reserved", "invalid", "exp_", "exp-", "error_exp"} {
			unused = unused || strings.HasPrefix(name, p)
		}
		if unused {
			continue
		}
		code, err := strconv.ParseUint(l[0], 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, codePoint{uint32(code), l[1]})
	}
	return rows
}

func TestRFC6940_14_CodePoints(t *testing.T) {
	for _, r := range []struct {
		file string
		rows int
		name func(uint32) string
	}{
		{"message_codes.csv", len(codeNames), func(c uint32) string { return CodeName(MessageCode(c)) }},
		{"error_codes.csv", len(errorNames), func(c uint32) string { return ErrorCode(c).String() }},
		{"diagnostic_kinds.csv", len(diagnosticKinds), func(c uint32) string { return DiagnosticKind(c).String() }},
		{"kind_ids.csv", len(registry), func(c uint32) string { return KindID(c).String() }},
		{"overlay_link_types.csv", 3, func(c uint32) string { return LinkType(c).String() }},
		{"probe_information_types.csv", 3, func(c uint32) string { return ProbeName(uint8(c)) }},
	} {
		rows := registryTable(t, r.file)
		if len(rows) != r.rows {
			t.Errorf("%s has %d assigned code points, we know %d", r.file, len(rows), r.rows)
		}
		for _, p := range rows {
			if got := r.name(p.code); got != p.name {
				t.Errorf("%s: %#x is %q, want %q", r.file, p.code, got, p.name)
			}
		}
	}
	apps := registryTable(t, "application_ids.csv")
	if len(apps) != 2 || apps[0].code != uint32(ApplicationSIP) || apps[1].code != uint32(ApplicationSIPS) {
		t.Errorf("Application-IDs: %v", apps)
	}
}

func TestNamesOfUnknownCodePoints(t *testing.T) {
	for got, want := range map[string]string{
		CodeName(0x99): "unknown", MessageCode(0x99).String(): "0x99", ErrorCode(0x1b).String(): "Error_0x1b",
		KindSIPGateway.String(): "0xf0000001", LinkType(9).String(): "link9", ProbeName(9): "probe9", DataModel(0).String(): "model0",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestRFC6940_6_3_3_CodesArePaired: "requests being an odd value and the corresponding response being the request
// code plus 1".
//
// Conformance: B-19
func TestRFC6940_6_3_3_CodesArePaired(t *testing.T) {
	for code, name := range codeNames {
		if code == CodeError {
			continue
		}
		base, isRequest := strings.CutSuffix(name, "_req")
		if code.IsRequest() != isRequest {
			t.Errorf("%s: a request is %v", name, code.IsRequest())
		}
		if isRequest && CodeName(code.Answer()) != base+"_ans" {
			t.Errorf("the answer to %s is %v", name, code.Answer())
		}
	}
	if CodeError.IsRequest() || MessageCode(0).IsRequest() {
		t.Error("error or 0 taken for a request")
	}
	for code := range bodies {
		if got := newBody(code).Code(); got != code {
			t.Errorf("the body of %v says %v", code, got)
		}
	}
}
