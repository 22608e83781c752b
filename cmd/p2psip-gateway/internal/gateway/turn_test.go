package gateway

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/overlay"
)

// The secret in the identity directory is found without being named, an old one may stand below it, and a bad one is refused.
func TestTURNSecrets(t *testing.T) {
	dir := t.TempDir()
	var c TURNConfig
	if s, err := c.secrets(dir); err != nil || s != nil {
		t.Errorf("no file: %q, %v", s, err)
	}
	path := filepath.Join(dir, turnSecretFile)
	for text, want := range map[string]string{
		"0123456789abcdef\n\n  fedcba9876543210 \n": "",
		"short\n": "less than 16 octets",
		"\n":      "is empty",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := c.secrets(dir)
		switch {
		case want == "" && (err != nil || len(s) != 2 || string(s[0]) != "0123456789abcdef" || string(s[1]) != "fedcba9876543210"):
			t.Errorf("%q: %q, %v", text, s, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	c.Secret = filepath.Join(dir, "none")
	if _, err := c.secrets(dir); err == nil {
		t.Error("a file that was named and is not there is no error")
	}
}

func TestTURNOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	g := &Gateway{}
	c := &g.o.Config.Overlay
	c.Identity = dir
	c.TURN = TURNConfig{Listen: "udp://127.0.0.1:0", Advertise: "203.0.113.1:3478", Ports: "40000-40100", MaxPerNode: 3,
		Servers: []TURNServer{{"203.0.113.2:3478", "u", "p"}}}
	var pc overlay.Config
	if err := g.openTURN(&pc); err == nil || !strings.Contains(err.Error(), "E0103 overlay.turn.secret") {
		t.Fatalf("without a secret: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, turnSecretFile), []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.openTURN(&pc); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.turn.Close() }()
	got := pc.TURN
	if got.Socket != g.turn || got.Address.String() != "203.0.113.1:3478" || got.MinPort != 40000 || got.MaxPort != 40100 || got.MaxPerUser != 3 ||
		len(got.Secrets) != 1 || len(got.Servers) != 1 || got.Servers[0].User != "u" {
		t.Errorf("%+v", got)
	}
}

// An overlay with ICE needs sockets for DTLS: they need not be named.
func TestSocketsForICE(t *testing.T) {
	for _, c := range []struct{ list, links, apps List }{
		{List{"tls://0.0.0.0:6084"}, List{"tls://0.0.0.0:6084", "dtls://0.0.0.0:6084"}, List{"dtls://0.0.0.0:6084"}},
		{List{"dtls://0.0.0.0:7"}, List{"dtls://0.0.0.0:7"}, List{"dtls://0.0.0.0:7"}},
		{List{"tls://0.0.0.0:6", "dtls://0.0.0.0:7"}, List{"tls://0.0.0.0:6", "dtls://0.0.0.0:7"}, List{"dtls://0.0.0.0:7"}},
	} {
		if got := withDTLS(c.list); !slices.Equal(got, c.links) {
			t.Errorf("links of %q: %q", c.list, got)
		}
		if got := dtlsOnly(c.list); !slices.Equal(got, c.apps) {
			t.Errorf("connections of %q: %q", c.list, got)
		}
	}
}
