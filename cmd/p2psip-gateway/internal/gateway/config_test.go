package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return loadConfig(path)
}

func TestTheExampleConfigurationIsValid(t *testing.T) {
	c, err := loadConfig(filepath.Join("..", "..", "..", "..", "deploy", "gateway.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Domain != "example.org" || len(c.SIP.Listen) != 3 || c.Registrar.Expires.Max != 2*time.Hour || c.Registrar.PublishWait != 300*time.Millisecond {
		t.Errorf("read as %+v", c)
	}
	if !strings.HasSuffix(c.Overlay.Document, filepath.Join("p2psip-gateway", "identity", "overlay.xml")) {
		t.Errorf("document is %q", c.Overlay.Document)
	}
}

// Feature: CFG-01
func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	const ok = "registrar: {users: u}\n"
	for _, c := range []struct{ text, want string }{
		{ok + "domian: x\n", `gateway.yaml:2:1 E0102 unknown key "domian"; did you mean "domain"?`},
		{ok + "sip:\n  listen: udp://0.0.0.0:5060\n  advertize: x\n", `gateway.yaml:4:3 E0102 unknown key "advertize"; did you mean "advertise"?`},
		{"registrar:\n  users: u\n  expires: {defualt: 5m}\n", `gateway.yaml:3:13 E0102 unknown key "defualt"; did you mean "default"?`},
		{ok + "zzzzzz: 1\n", "known here: role, domain"},
		{ok + "role: queen\n", `role: "queen" is none of proxy, redirect`},
		{ok + "overlay: {role: guest}\n", `overlay.role: "guest" is none of peer, client`},
		{ok + "overlay: {role: client, first: true}\n", "overlay.first: a client needs a peer"},
		{ok + "sip: {listen: 5060}\n", "want udp|tcp|tls|ws|wss://host:port"},
		{ok + "security: {trusted: [here]}\n", `"here" is neither an address nor a network`},
		{ok + "overlay: {listen: [tls://0.0.0.0:6084, udp://0.0.0.0:6084]}\n", `overlay.listen: "udp://0.0.0.0:6084": want tls|dtls://host:port`},
		{ok + "overlay: {listen: [dtls://0.0.0.0:6084, dtls://0.0.0.0:6085]}\n", "overlay.listen: more than one dtls://"},
		{ok + "overlay: {turn: {listen: tcp://192.0.2.1:3478}}\n", "overlay.turn.listen: "},
		{ok + "overlay: {turn: {listen: udp://gw.example.org:3478}}\n", "want udp://IP:port"},
		{ok + "overlay: {turn: {listen: udp://0.0.0.0:3478}}\n", "overlay.turn.advertise: missing"},
		{ok + "overlay: {turn: {listen: udp://0.0.0.0:3478, advertise: here}}\n", `overlay.turn.advertise: "here": want IP:port`},
		{ok + "overlay: {turn: {advertise: 192.0.2.1:3478}}\n", "there is no overlay.turn.listen"},
		{ok + "overlay: {turn: {ports: 70000-80000}}\n", "overlay.turn.ports: "},
		{ok + "overlay: {turn: {ports: 50000-40000}}\n", "want a range such as 49152-65535"},
		{ok + "overlay: {turn: {servers: [{address: turn.example.org}]}}\n", "overlay.turn.servers: "},
		{ok + "overlay: {turn: {max_per_node: -1}}\n", "a limit below 0"},
		{ok + "overlay: {discover: wan}\n", `overlay.discover: "wan": want lan`},
		{ok + "overlay: {refresh: 1ms}\n", "overlay.refresh: 1ms: want at least a second"},
		{ok + "overlay: {listen: []}\n", "overlay.listen: no listener"},
		{ok + "overlay: {advertise: dtls://192.0.2.10:6084}\n", "overlay.listen has no dtls://"},
		{ok + "overlay: {advertise: udp://192.0.2.10:6084}\n", "overlay.advertise: "},
		{ok + "admin: {listen: 0.0.0.0:8060}\n", ":2:17 E0104 admin.listen: \"0.0.0.0:8060\" is no loopback address: that wants admin.tls.cert"},
		{ok + "admin: {listen: 0.0.0.0:8060, token_file: t}\n", "is no loopback address"},
		{ok + "admin: {listen: 0.0.0.0:8060, tls: {cert: c, key: k}}\n", "is no loopback address"},
		{ok + "admin: {listen: 8060}\n", "want address and port"},
		{ok + "admin: {tls: {cert: c}}\n", "admin.tls: cert and key go together"},
		{ok + "admin: {tls: {client_ca: c}}\n", "there is no admin.tls.cert"},
		{"registrar: {users: u, expires: {min: 2h}}\n", "want 0 < min <= default <= max"},
		{"registrar: {users: u, expires: {jitter: 10}}\n", `"10" is no percentage such as 10%`},
		{"registrar: {users: u, expires: {jitter: -1%}}\n", `"-1%" is no percentage`},
		{"registrar: {users: u, expires: {jitter: 60%}}\n", "more than 50% is no lifetime"},
		{"registrar: {users: u, path: maybe}\n", `"maybe" is none of accept, strict`},
		{"registrar: {users: u, service_route: gw1}\n", "registrar.service_route: \"gw1\": want a URI"},
		{"role: proxy\n", "registrar.users"},
		{ok + "sip: {tls: {cert: x}}\n", "cert and key go together"},
		{"role: [\n", "gateway.yaml: E0101 yaml:"},
	} {
		_, err := load(t, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestAMissingFileSaysWhatToDo(t *testing.T) {
	if _, err := loadConfig(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "try: p2psip-gateway run -c") {
		t.Errorf("%v", err)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	c, err := load(t, "data: d\nregistrar: {users: /abs/u}\n")
	if err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(c.Data) || c.Registrar.Users != "/abs/u" {
		t.Errorf("%q, %q", c.Data, c.Registrar.Users)
	}
}

// Feature: NAT-06
func TestAdvertisedAddressOfEachTransport(t *testing.T) {
	for _, c := range []struct{ text, tls, dtls string }{
		{"listen: tls://0.0.0.0:6084", "", ""},
		{"listen: [tls://0.0.0.0:6084, dtls://0.0.0.0:6084], advertise: 192.0.2.10:6084", "192.0.2.10:6084", "192.0.2.10:6084"},
		{"listen: [tls://0.0.0.0:6084, dtls://0.0.0.0:6084], advertise: [dtls://192.0.2.10:7000, 192.0.2.10:6084]", "192.0.2.10:6084", "192.0.2.10:7000"},
		{"listen: dtls://0.0.0.0:6084, advertise: dtls://192.0.2.10:7000", "", "192.0.2.10:7000"},
	} {
		cfg, err := load(t, "registrar: {users: u}\noverlay: {"+c.text+"}\n")
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if a, b := advertised(cfg.Overlay.Advertise, "tls"), advertised(cfg.Overlay.Advertise, "dtls"); a != c.tls || b != c.dtls {
			t.Errorf("%s: %q and %q, want %q and %q", c.text, a, b, c.tls, c.dtls)
		}
	}
}

// loadConfig is Load of a file alone.
func loadConfig(path string) (Config, error) {
	l, err := Load(Source{File: path})
	return l.Config, err
}
