package gateway

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func loaded(t *testing.T, s Source) *Loaded {
	t.Helper()
	l, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag counts before the environment, that before the file, and the file before the default; and it is known which it was.
//
// Feature: CFG-02 CFG-04
func TestFlagsBeforeEnvironmentBeforeFileBeforeDefaults(t *testing.T) {
	path := configFile(t, "domain: a.example\nregistrar:\n  users: u\n  max_contacts: 3\n  expires: {max: 3h}\nsecurity:\n  trusted: [192.0.2.0/24]\n")
	l := loaded(t, Source{
		File: path,
		Environ: []string{"PATH=/bin", "P2PSIP_GATEWAY_REGISTRAR_MAX_CONTACTS=4", "P2PSIP_GATEWAY_DOMAIN=b.example", "P2PSIP_GATEWAY_SECURITY_TRUSTED=10.0.0.0/8 192.0.2.1",
			"P2PSIP_GATEWAY_REGISTRAR_EXPIRES_JITTER=5%", "P2PSIP_GATEWAY_SERVICE_HOST=10.1.2.3", "P2PSIP_GATEWAY_PORT_5060_UDP_ADDR=10.1.2.3"},
		Flags: []Override{{"domain", "c.example", "flag --domain"}, {"sip.listen", "[udp://127.0.0.1:0]", "flag --set"}, {"registrar.users", "v", "flag --set"},
			{"overlay.turn.servers", "[{address: 192.0.2.1:3478, user: u, password: p}]", "flag --set"}, {"sip.queue_delay", "0", "flag --set"}},
	})
	for key, want := range map[string]struct{ value, origin string }{
		"domain":                   {"c.example", "flag --domain"},
		"registrar.max_contacts":   {"4", "env P2PSIP_GATEWAY_REGISTRAR_MAX_CONTACTS"},
		"registrar.expires.jitter": {"5%", "env P2PSIP_GATEWAY_REGISTRAR_EXPIRES_JITTER"},
		"registrar.expires.max":    {"3h", path + ":5:18"},
		"registrar.expires.min":    {"1m", "default"},
		"registrar.users":          {"v", "flag --set"}, // where the program was started
		"security.trusted":         {"[10.0.0.0/8, 192.0.2.1]", "env P2PSIP_GATEWAY_SECURITY_TRUSTED"},
		"sip.listen":               {"[udp://127.0.0.1:0]", "flag --set"},
		"sip.queue_delay":          {"0s", "flag --set"},
		"overlay.turn.servers":     {`[{address: "192.0.2.1:3478", user: u, password: ` + masked + "}]", "flag --set"},
		"data":                     {filepath.Join(filepath.Dir(path), "data"), "default"},
	} {
		s, ok := settingOf(key)
		if got, from := l.Config.Value(s), l.Origin(key); !ok || got != want.value || from != want.origin {
			t.Errorf("%s is %s from %s, want %s from %s", key, got, from, want.value, want.origin)
		}
	}
}

// Feature: CFG-02
func TestWhatIsWrongInFlagsAndEnvironmentIsNamed(t *testing.T) {
	path := configFile(t, "registrar: {users: u}\n")
	for _, c := range []struct {
		source Source
		want   string
	}{
		{Source{Environ: []string{"P2PSIP_GATEWAY_DOMIAN=x"}}, `env P2PSIP_GATEWAY_DOMIAN: E0102 unknown key; did you mean "P2PSIP_GATEWAY_DOMAIN"?`},
		{Source{Environ: []string{"P2PSIP_GATEWAY_SIP_DSCP=many"}}, `env P2PSIP_GATEWAY_SIP_DSCP: E0104 sip.dscp: "many" is no whole number`},
		{Source{Environ: []string{"P2PSIP_GATEWAY_SIP_DSCP=99"}}, `env P2PSIP_GATEWAY_SIP_DSCP: E0104 sip.dscp: 99: want 0 to 63`},
		{Source{Flags: []Override{{"sip.dcsp", "1", "flag --set"}}}, `flag --set: E0102 unknown key "sip.dcsp"; did you mean "sip.dscp"?`},
		{Source{Flags: []Override{{"sip", "1", "flag --set"}}}, `flag --set: E0102 unknown key "sip"`},
		{Source{Flags: []Override{{"overlay.turn.servers", "x", "flag --set"}}}, `flag --set: E0104 overlay.turn.servers: want a list`},
	} {
		c.source.File = path
		if _, err := Load(c.source); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v\n got %v\nwant %s", c.source, err, c.want)
		}
	}
}

// Feature: CFG-02
func TestTheFileMayNameVariables(t *testing.T) {
	path := configFile(t, "domain: ${NAME}.example\nregistrar:\n  users: \"${NONE:-users.txt}\"\n  max_contacts: ${MANY}\n  publish_wait: ${WAIT:-1s}\nsecurity: {deny: [\"${NET}\", 192.0.2.2]}\n")
	l := loaded(t, Source{File: path, Environ: []string{"NAME=two", "MANY=7", "NET=198.51.100.0/24"}})
	if c := l.Config; c.Domain != "two.example" || c.Registrar.MaxContacts != 7 || c.Registrar.PublishWait != time.Second || c.Security.Deny[0] != "198.51.100.0/24" ||
		c.Registrar.Users != filepath.Join(filepath.Dir(path), "users.txt") {
		t.Errorf("%+v", c)
	}
	want := ":1:9 E0105 domain: there is no environment variable NAME, and no default as in ${NAME:-default}"
	if _, err := Load(Source{File: path}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// All that is wrong is named at once.
//
// Feature: CFG-01 CFG-03
func TestEachMistakeHasItsPlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"registrar: {users: u}\nrole: queen\nsip: {dscp: 99}\n", "gateway.yaml:2:7 E0104 role: \"queen\" is none of proxy, redirect, gateway\n|gateway.yaml:3:13 E0104 sip.dscp: 99"},
		{"sip: {dscp: x, queue_delay: 5}\nlog: {level: 1}\nlgo: 2\n", `:1:13 E0104 sip.dscp: "x" is no whole number|:1:29 E0104 sip.queue_delay: "5" is no duration such as 30s|:3:1 E0102`},
		{"overlay: {turn: {servers: [{user_: x}]}}\n", `:1:29 E0102 unknown key "user_"; did you mean "user"?`},
		{"sip: 5\n", ":1:6 E0104 sip: want keys and values"},
		{"sip: {listen: {a: b}}\n", ":1:15 E0104 sip.listen:"},
		{"domain: a\ndomain: b\n", ":2:1 E0104 domain: stands here twice"},
		{"registrar: {users: u}\nsecurity:\n  ban:\n    window: 0\n", ":4:13 E0104 security.ban: "},
		{"registrar: {users: u}\nsip: {tls: {cert: x}}\n", ":2:19 E0104 sip.tls: cert and key go together"},
	} {
		_, err := load(t, c.text)
		for want := range strings.SplitSeq(c.want, "|") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q\n got %v\nwant %s", c.text, err, want)
			}
		}
	}
	if _, err := load(t, "registrar: {users: u}\nsip:\ndomain:\nx: &a [192.0.2.1]\n"); err == nil {
		t.Error("x is a key")
	}
	if c, err := load(t, "registrar: {users: u, trusted: &lan [192.0.2.1]}\nsip:\ndomain:\nsecurity: {trusted: *lan}\n"); err != nil || c.Security.Trusted[0] != "192.0.2.1" {
		t.Errorf("%+v, %v", c.Security, err)
	}
}
