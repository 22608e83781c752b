package gateway

import (
	"net"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Gateways whose overlay links are DTLS only: the registrations travel over UDP, the call over a TLS connection as ever.
//
// Conformance: A-01
func TestACallBetweenGatewaysLinkedOverDTLS(t *testing.T) {
	gs := ringOver(t, 3, 2, List{"udp://127.0.0.1:0"}, "dtls://127.0.0.1:0")
	alice, bob := newPhone(t, "1001", gs[0]), newPhone(t, "1002", gs[1])
	for _, p := range []*phone{alice, bob} {
		if res := p.register(300); res.StatusCode != 200 || len(res.Values(message.Contact)) != 1 {
			t.Fatalf("REGISTER of %s: %d", p.user, res.StatusCode)
		}
	}
	for _, g := range gs {
		eventually(t, "the record of 1002", func() error { return found(g, "1002", gs[1]) })
		s := g.status()
		if len(s.Overlay.Listen) != 1 || s.Overlay.Listen[0] != "dtls://"+s.Overlay.Address {
			t.Errorf("listens on %q, at %s", s.Overlay.Listen, s.Overlay.Address)
		}
		for _, l := range g.ring().Links {
			if l.Transport != "dtls" {
				t.Errorf("link over %q", l.Transport)
			}
		}
	}
	alice.call(bob)
	bob.call(alice)
}

func TestAUDPPortInUseSaysWhich(t *testing.T) {
	busy, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	_, err = listenPackets("overlay.listen", busy.LocalAddr().String())
	if err == nil || !strings.Contains(err.Error(), "E0201 overlay.listen: can not listen on "+busy.LocalAddr().String()) {
		t.Error(err)
	}
}
