package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const trunkConfig = `role: gateway
domain: example.org
trunks:
  pbx: {targets: [sip:10.0.0.9, sip:10.0.0.10], country: "49", inbound: [{match: "0*", format: e164}], outbound: [{match: "+*", format: national}]}
  itsp: {register: {server: sip.itsp.example, user: "49301234", secret: x}, max_calls: 8}
routes:
  - {match: "2xx", to: pbx, publish: true}
  - {match: "112", to: itsp, emergency: true}
  - {match: "0*", to: [itsp, pbx], strip: 1, prepend: "+49", require: auth}
`

func trunkFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(trunkConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What routes and translations make of numbers, as a table.
//
// Feature: TRK-07
func TestCheckDial(t *testing.T) {
	code, out, stderr := runCommand(t, "check", "-c", trunkFile(t), "--dial", "0301234,231,112,999")
	if code != exitOK {
		t.Fatal(code, stderr)
	}
	const want = `DIALLED  ROUTE  TRUNK  SENT AS    RECEIVED FROM IT AS
0301234  0*     itsp   +49301234  0301234
0301234  0*     pbx    0301234    +49301234
231      2xx    pbx    231        231
112      112    itsp   112        112
999      none                     
`
	if out != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
}

func TestRouteExplainOfAFile(t *testing.T) {
	file := trunkFile(t)
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"0301234 --from 1001", exitOK, []string{"emergency  no", "2xx -> pbx does not match", "0* -> itsp, pbx decides", "1001@example.org; the route is for somebody who is proven",
			"+49301234 by the route, 0301234 for trunk pbx", "result     sip:+49301234@sip.itsp.example over trunk itsp"}},
		{"231 --from overlay", exitOK, []string{"another gateway", "result     sip:231@10.0.0.9 over trunk pbx"}},
		{"0301 --from overlay", exitConfig, []string{"0* -> itsp, pbx matches, and is not published", "no route: as without trunks"}},
		{"0301 --from trunk:itsp", exitConfig, []string{"403 TRK403A"}},
		{"231 --from trunk:pbx", exitConfig, []string{"482 TRK482"}},
		{"112 --from 1001", exitOK, []string{"emergency  yes, by route 112 -> itsp", "sip:112@sip.itsp.example"}},
		{"urn:service:sos --from 1001", exitOK, []string{"sip:112@sip.itsp.example"}},
		{"999", exitConfig, []string{"no route: as without trunks"}},
	} {
		args := append([]string{"route", "explain", "-c", file}, strings.Fields(c.args)...)
		code, out, stderr := runCommand(t, args...)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.args, want, out)
			}
		}
		if code != c.code {
			t.Errorf("%s: exit %d %s", c.args, code, stderr)
		}
	}
	for _, bad := range []string{"1 --from trunk:none", "1 --from a@elsewhere.example", "''"} {
		if code, _, _ := runCommand(t, append([]string{"route", "explain", "-c", file}, strings.Fields(strings.ReplaceAll(bad, "''", ""))...)...); code == exitOK {
			t.Errorf("%q", bad)
		}
	}
}
