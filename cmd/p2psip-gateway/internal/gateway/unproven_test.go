package gateway

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// refuser answers each request with 401, and counts.
type refuser struct {
	sip.Handler
	asked int
}

func (r *refuser) Request(tx sip.ServerTransaction) {
	r.asked++
	tx.Trying()
	tx.Respond(message.NewResponse(tx.Request(), 401, "", "tag"))
}

// passing counts what goes on to the transactions.
type passing int

func (p *passing) Deliver(*message.Message, location.Hop) { *p++ }

func TestRFC3261_26_3_2_4_OnlyARegisterWithoutCredentialsOverUDPIsRefusedStatelessly(t *testing.T) {
	phone := location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("192.0.2.1:5060")}
	insider, stream, gateway := phone, phone, location.Hop{Transport: "UDP", Node: "gr"}
	insider.Remote = netip.MustParseAddrPort("10.0.0.1:5060")
	stream.Transport = "TCP"
	for _, c := range []struct {
		name, method, more string
		from               location.Hop
		draining, here     bool
	}{
		{name: "no credentials", method: "REGISTER", from: phone, here: true},
		{name: "credentials", method: "REGISTER", more: "Authorization: Digest x\r\n", from: phone},
		{name: "trusted", method: "REGISTER", from: insider},
		{name: "over TCP nothing is repeated", method: "REGISTER", from: stream},
		{name: "another gateway", method: "REGISTER", from: gateway},
		{name: "another method", method: "INVITE", from: phone},
		{name: "draining", method: "REGISTER", from: phone, draining: true},
	} {
		m, err := message.Parse([]byte(c.method + " sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n" +
			"From: <sip:a@example.org>;tag=1\r\nTo: <sip:a@example.org>\r\nCall-ID: 1\r\nCSeq: 1 " + c.method + "\r\n" + c.more + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		var draining atomic.Bool
		draining.Store(c.draining)
		h, next, sent := &refuser{}, passing(0), []string(nil)
		u := &unproven{next: &next, handler: h, draining: &draining, trusted: func(h location.Hop) bool { return h == insider },
			send: func(_ *message.Message, to location.Hop, b []byte) {
				if to != c.from {
					t.Errorf("%s: to %v", c.name, to)
				}
				sent = append(sent, string(b))
			}}
		u.Deliver(m, c.from)
		u.Deliver(m, c.from) // a retransmission
		switch {
		case !c.here:
			if next != 2 || h.asked > 0 || len(sent) > 0 {
				t.Errorf("%s: %d passed on, %d answers", c.name, next, len(sent))
			}
		case next > 0 || h.asked != 2 || len(sent) != 2 || sent[0] != sent[1] || !strings.HasPrefix(sent[0], "SIP/2.0 401 "):
			t.Errorf("%s: %d passed on, asked %d times, answers %q", c.name, next, h.asked, sent)
		}
	}
}
