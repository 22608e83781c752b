package gateway

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

func TestOurs(t *testing.T) {
	n, err := newNames("Example.org", []string{"192.0.2.1:5060", "192.0.2.1:5070", "sip.example.org:5061", "[2001:db8::1]:5060", "0.0.0.0:5090"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host string
		port uint16
		want bool
	}{
		{"example.org", 0, true}, {"EXAMPLE.ORG.", 0, true}, {"example.org", 9999, true}, {"other.example", 0, false},
		{"192.0.2.1", 0, true}, {"192.0.2.1", 5060, true}, {"192.0.2.1", 5070, true}, {"192.0.2.1", 5080, false}, {"192.0.2.2", 5060, false},
		{"sip.example.org", 0, true}, {"SIP.example.org", 5061, true}, {"sip.example.org", 5062, false},
		{"2001:db8::1", 0, true}, {"2001:db8:0::1", 5060, true}, {"2001:db8::2", 0, false}, {"::ffff:192.0.2.1", 5060, true},
		{"127.0.0.1", 5090, true}, {"127.0.0.1", 5091, false}, {"203.0.113.77", 5090, false},
	} {
		if got := n.ours(c.host, c.port); got != c.want {
			t.Errorf("ours(%q, %d) = %v", c.host, c.port, got)
		}
	}
}

// Conformance: H-02
// Feature: REG-10
func TestAddressOfRecordIsCanonical(t *testing.T) {
	n, err := newNames("example.org", []string{"192.0.2.1:5060"})
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"sip:Alice@EXAMPLE.org":                         "Alice@example.org",
		"sip:al%69ce:pw@example.org:5070;transport=tls": "alice@example.org",
		"sips:alice@192.0.2.1":                          "alice@example.org",
	} {
		u, err := message.ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := n.aor(u); !ok || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", uri, got, ok, want)
		}
	}
}
