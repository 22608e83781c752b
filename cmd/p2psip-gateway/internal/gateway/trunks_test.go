package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/trunk"
)

const trunkFile = `role: gateway
domain: example.org
sip: {listen: [udp://10.0.0.2:5060, tls://10.0.0.2:5061], advertise: 10.0.0.2}
overlay: {join: example.org, identity: identity/}
trunks:
  pbx:
    targets: [sip:10.0.0.9:5060, sip:10.0.0.10:5060]   # second = failover
    accept_from: [10.0.0.9, 10.0.0.10]
    trust_identity: true          # take and give P-Asserted-Identity
    health: {options: 20s, down: 3, up: 2}
  itsp:
    register:
      server: sip.itsp.example
      user: "49301234"
      secret_file: itsp.secret    # or secret: "${ITSP_SECRET}"
    max_calls: 8
routes:
  - {match: "2xx", to: pbx, publish: true}          # extensions, visible overlay-wide
  - {match: "+49301234*", to: pbx, publish: true}   # DID block
  - {match: "112", to: itsp, emergency: true}
  - {match: "0*", to: itsp, strip: 1, prepend: "+49", require: auth}
outbound_identity: "+49301234000"
security: {trusted: [10.0.0.0/24]}
admin: {listen: 127.0.0.1:8061, token_file: admin.token}
`

func writeTrunkFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"gateway.yaml": text, "itsp.secret": "s3cret\n", "admin.token": strings.Repeat("a", 64) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "gateway.yaml")
}

// The configuration for a PBX in front of which a gateway stands.
func TestTrunkConfiguration(t *testing.T) {
	l := loaded(t, Source{File: writeTrunkFile(t, trunkFile)})
	p, err := l.Config.plan()
	if err != nil {
		t.Fatal(err)
	}
	pbx, itsp := p.Trunk("pbx"), p.Trunk("itsp")
	if len(pbx.Targets) != 2 || !pbx.TrustIdentity || pbx.Health != (trunk.HealthConfig{Options: 20 * time.Second, Down: 3, Up: 2}) || pbx.Timeout != 4*time.Second {
		t.Errorf("%+v", pbx)
	}
	if r := itsp.Register; r == nil || r.Secret != "s3cret" || r.Realm != "sip.itsp.example" || r.AuthUser != "49301234" || r.Expires != time.Hour || itsp.MaxCalls != 8 {
		t.Errorf("%+v", itsp)
	}
	if len(itsp.Targets) != 1 || itsp.Targets[0].URI != "sip:sip.itsp.example" {
		t.Errorf("the registrar is the target: %+v", itsp.Targets)
	}
	for number, want := range map[string]string{"231": "2xx -> pbx", "+4930123499": "+49301234* -> pbx", "112": "112 -> itsp", "0301234": "0* -> itsp"} {
		if r := p.Route(number, "", false); r == nil || r.String() != want {
			t.Errorf("%s: %v, want %s", number, r, want)
		}
	}
	if p.Identity() != "+49301234000" || len(p.EmergencyNumbers()) != 1 {
		t.Errorf("%q %q", p.Identity(), p.EmergencyNumbers())
	}
}

// What is shown of trunks is YAML that means the same, and shows no secret.
func TestTrunksAreShownWithoutSecrets(t *testing.T) {
	text := strings.Replace(trunkFile, "secret_file: itsp.secret", `secret: "${ITSP_SECRET}"`, 1)
	path := writeTrunkFile(t, text)
	l := loaded(t, Source{File: path, Environ: []string{"ITSP_SECRET=top-secret"}})
	if s := l.Config.Trunks["itsp"].Register.Secret; s != "top-secret" {
		t.Errorf("%q", s)
	}
	for _, key := range []string{"trunks", "routes"} {
		s, _ := settingOf(key)
		shown := l.Config.Value(s)
		if strings.Contains(shown, "top-secret") {
			t.Errorf("%s: %s", key, shown)
		}
		again := loaded(t, Source{File: path, Environ: []string{"ITSP_SECRET=" + masked}, Flags: []Override{{key, strings.ReplaceAll(shown, masked, `"`+masked+`"`), "flag --set"}}})
		if got := again.Config.Value(s); got != shown {
			t.Errorf("%s\n%s\n%s", key, got, shown)
		}
	}
}

func TestBadTrunkConfiguration(t *testing.T) {
	const t1 = "role: gateway\ntrunks:\n  pbx: {targets: sip:10.0.0.9}\n"
	for _, c := range []struct{ text, want string }{
		{t1 + "routes: [{match: 112, to: pbx}]\n", `:4:18 E0104 routes[0].match: a number that is dialled, or a name, is written in quotes: "112"`},
		{t1 + "routes: [{match: +4930, to: pbx}]\n", `in quotes: "+4930"`},
		{t1 + "routes: [{match: \"2xx\", to: pbx, prepend: 0}]\n", `:4:43 E0104 routes[0].prepend: a number`},
		{"role: gateway\ntrunks:\n  0301: {targets: sip:10.0.0.9}\n", `:3:3 E0104 trunks: a number that is dialled, or a name, is written in quotes: "0301"`},
		{"role: gateway\ntrunks: {p: {register: {server: h, user: 0301, secret: s}}}\n", `register.user: a number`},
		{"role: gateway\ntrunks: {p: {target: sip:h}}\n", `E0102 unknown key "target"; did you mean "targets"?`},
		{"role: gateway\ntrunks: {p: {targets: sip:h}, p: {targets: sip:h}}\n", "trunks.p: stands here twice"},
		{"role: gateway\ntrunks: [p]\n", "trunks: want names"},
		{"role: gateway\ntrunks: {a b: {targets: sip:h}}\n", `"a b" is no name`},
		{"role: gateway\ntrunks: {p: {}}\n", ":2:10 E0104 trunks.p.targets: want targets, register.server or registered_as"},
		{"role: gateway\ntrunks: {p: {targets: tel:123}}\n", "want a URI such as sip:10.0.0.9:5060"},
		{"role: gateway\ntrunks: {p: {targets: \"<sip:h>;weight=0\"}}\n", "want 1 to 1000"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, accept_from: x}}\n", "trunks.p.accept_from: \"x\" is neither"},
		{"role: gateway\ntrunks: {p: {targets: sip:h.example, header: {X-T: a}}}\n", "anybody can write a header field"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, load_share: random}}\n", "none of ordered, weighted"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, timeout: 1m}}\n", "want 500ms to 32s"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, health: {options: 1s}}}\n", "options of 0 or 5s"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, registered_as: \"pbx\"}}\n", "its bindings are the targets"},
		{"role: gateway\ntrunks: {p: {register: {server: h, user: \"1\"}}}\n", "want either secret or secret_file"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, register: {user: \"1\", secret: s}}}\n", "want a realm, or a server"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, inbound: [{match: \"1x2\", strip: 1}]}}\n", "trunks.p.inbound[0].match: \"1x2\": x stands for a digit at the end"},
		{"role: gateway\ntrunks: {p: {targets: sip:h, outbound: [{match: \"*\", format: e163}]}}\n", "outbound[0].format: \"e163\" is none of digits, e164"},
		{t1 + "routes: [{match: \"2xx\", to: pxb}]\n", `:4:29 E0104 routes[0].to: there is no trunk "pxb"; known here: pbx`},
		{t1 + "routes: [{match: \"2xx\"}]\n", "routes[0].to: want the name of a trunk"},
		{t1 + "routes: [{match: \"\", to: pbx}]\n", "routes[0].match: \"\": empty"},
		{t1 + "routes: [{match: \"*@b.example\", to: pbx, publish: true}]\n", "only users of this domain can be published"},
		{t1 + "routes: [{match: \"2xx\", to: pbx, require: maybe}]\n", "none of known, auth, none"},
		{t1 + "outbound_identity: 4930\n", "in quotes"},
		{t1 + "caps: {calls: -1}\n", "a limit below 0"},
		{"role: redirect\ntrunks:\n  pbx: {targets: sip:10.0.0.9}\n", "a redirect peer has none"},
	} {
		_, err := load(t, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// Feature: TRK-01 TRK-03
func TestCheckWarnsOfShadowedRoutesAndOverlappingSources(t *testing.T) {
	l := loaded(t, Source{File: writeTrunkFile(t, `role: gateway
data: .
sip: {listen: udp://127.0.0.1:0}
overlay: {listen: tls://127.0.0.1:0}
admin: {listen: 127.0.0.1:0}
trunks:
  a: {targets: sip:192.0.2.9, accept_from: [192.0.2.0/24, 10.0.0.1]}
  b: {targets: sip:192.0.2.66, accept_from: [192.0.2.66, 10.0.0.1]}
routes:
  - {match: "2xx", to: a}
  - {match: "21x", to: b}
  - {match: "2xx", to: b}
`)})
	var all []string
	for _, p := range Examine(t.Context(), l, time.Now()) {
		if !p.Warning {
			t.Error(p.Text)
		}
		all = append(all, p.Text)
	}
	for _, want := range []string{
		`gateway.yaml:12:13 E0110 routes[2].match: "2xx" never decides: "2xx" does for all of its numbers`,
		`gateway.yaml:8:45 E0111 trunks.b.accept_from: 192.0.2.66/32 is within what trunk a accepts`,
		`gateway.yaml:7:44 E0111 trunks.a.accept_from: 10.0.0.1/32 is within what trunk b accepts`,
	} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("no %s in\n%s", want, strings.Join(all, "\n"))
		}
	}
	if len(all) != 3 {
		t.Errorf("%d warnings:\n%s", len(all), strings.Join(all, "\n"))
	}
}
