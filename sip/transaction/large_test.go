package transaction

import (
	"net"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// RFC 3261 §18.1.1: "If a request is [..] larger than 1300 bytes [..] the request MUST be sent using an RFC 2914 congestion controlled
// transport protocol, such as TCP": where one is known to be there. The Via says what is used, and a small request afterwards uses UDP.
//
// Feature: TRN-06
func TestRFC3261_18_1_1_LargeRequestsGoOverTheTCPThatIsThere(t *testing.T) {
	g := newGateway(t, &core{})
	udp, hop := listen(t, flow.UDP)
	large := func() *message.Message {
		m := request("MESSAGE", "large")
		m.Body = []byte(strings.Repeat("x", 1300))
		return m
	}
	ln, err := net.Listen("tcp4", hop.Remote.String())
	check(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	// Nobody knows of that listener: fragments, which is no error.
	g.Send(large(), hop, "", newUser())
	if via := udp.next().Get(message.Via); !strings.HasPrefix(via, "SIP/2.0/UDP ") || g.table.Stats().Oversize != 1 {
		t.Fatalf("Via %q, %d counted", via, g.table.Stats().Oversize)
	}
	g.Send(request("OPTIONS", "first"), location.Hop{Transport: flow.TCP, Remote: hop.Remote}, "", newUser())
	c := &accepting{ln: ln}
	tcp := &peer{t: t, c: c, reader: message.NewReader(c)}
	if m := tcp.next(); m.Method != "OPTIONS" {
		t.Fatal(m.Method)
	}
	g.Send(large(), hop, "", newUser())
	m := tcp.next()
	if via := m.Get(message.Via); m.Method != "MESSAGE" || !strings.HasPrefix(via, "SIP/2.0/TCP ") {
		t.Fatalf("%s with Via %q", m.Method, via)
	}
	g.Send(request("INFO", "small"), hop, "", newUser())
	for m := udp.next(); m.Method != "INFO"; m = udp.next() {
		if m.Method != "MESSAGE" { // copies of the first
			t.Fatal(m.Method)
		}
	}
}
