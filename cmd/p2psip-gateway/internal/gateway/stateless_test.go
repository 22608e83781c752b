package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// knownTo knows where bob is, and notes what is sent and what goes on.
type knownTo struct{ log []string }

func (k *knownTo) Redirection(req *message.Message, _ location.Hop) *message.Message {
	if !strings.Contains(req.RequestURI, "bob") {
		return nil
	}
	return message.NewResponse(req, 302, "", "t")
}

func (k *knownTo) Deliver(m *message.Message, _ location.Hop) {
	k.log = append(k.log, "on "+m.Method)
}

func (k *knownTo) ResponseHop(from location.Hop, via message.ViaValue) location.Hop {
	return location.Hop{Host: via.Host}
}

func (k *knownTo) Send(to location.Hop, b []byte, _ *flow.Receipt) error {
	line, _, _ := strings.Cut(string(b), "\r\n")
	k.log = append(k.log, to.Host+" "+line)
	return nil
}

// RFC 3261 §8.2.7: only what needs no transaction has none: new requests over UDP whose answer is at hand.
//
// Feature: RDR-01 RDR-06
func TestRFC3261_8_2_7_WhatARedirectPeerKnowsItAnswersWithoutATransaction(t *testing.T) {
	udp, tcp := location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("192.0.2.9:5060")}, location.Hop{Transport: "TCP", Flow: 1}
	const answered = "h SIP/2.0 302 Moved Temporarily"
	for _, c := range []struct {
		method, user, to string
		from             location.Hop
		draining         bool
		want             string
	}{
		{"INVITE", "bob", "", udp, false, answered},
		{"MESSAGE", "bob", "", udp, false, answered},
		{"OPTIONS", "bob", "", udp, false, answered},
		{"SUBSCRIBE", "bob", "", udp, false, answered},
		{"INVITE", "carol", "", udp, false, "on INVITE"},
		{"INVITE", "bob", ";tag=1", udp, false, "on INVITE"},
		{"INVITE", "bob", "", tcp, false, "on INVITE"},
		{"INVITE", "bob", "", location.Hop{Transport: "UDP", Node: "x"}, false, "on INVITE"},
		{"INVITE", "bob", "", udp, true, "on INVITE"},
		{"ACK", "bob", "", udp, false, "on ACK"},
		{"CANCEL", "bob", "", udp, false, "on CANCEL"},
		{"REGISTER", "bob", "", udp, false, "on REGISTER"},
	} {
		m, err := message.Parse(fmt.Appendf(nil, "%[1]s sip:%[2]s@d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:%[2]s@d>%[3]s\r\nCall-ID: c\r\nCSeq: 1 %[1]s\r\n\r\n", c.method, c.user, c.to))
		if err != nil {
			t.Fatal(err)
		}
		k, draining := &knownTo{}, &atomic.Bool{}
		draining.Store(c.draining)
		(&stateless{next: k, server: k, flows: k, draining: draining}).Deliver(m, c.from)
		if len(k.log) != 1 || k.log[0] != c.want {
			t.Errorf("%+v: %q", c, k.log)
		}
	}
}
