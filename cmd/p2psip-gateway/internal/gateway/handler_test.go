package gateway

import (
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// asked is a request and, when there is one, its answer.
type asked struct{ req, res *message.Message }

func (a *asked) Request() *message.Message    { return a.req }
func (a *asked) Source() location.Hop         { return location.Hop{} }
func (a *asked) Respond(res *message.Message) { a.res = res }
func (a *asked) Trying()                      {}

// passed is a core that counts what it gets.
type passed struct{ requests int }

func (p *passed) Request(sip.ServerTransaction)                  { p.requests++ }
func (p *passed) Cancel(sip.ServerTransaction, *message.Message) {}
func (p *passed) ACK(*message.Message, location.Hop)             {}
func (p *passed) Ended(sip.ServerTransaction)                    {}
func (p *passed) Relay(*message.Message, []byte) bool            { return false }

// RFC 3261 §11: an OPTIONS that is about the gateway itself is answered here, and any other passed on.
//
// Conformance: H-46
// Feature: PRX-27
func TestRFC3261_11_OptionsAboutTheGateway(t *testing.T) {
	n, err := newNames("example.org", []string{"192.0.2.1:5060"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, uri, hops string
		status            int // 0: passed on
	}{
		{"OPTIONS", "sip:example.org", "70", 200},
		{"OPTIONS", "sip:192.0.2.1:5060", "70", 200},
		{"OPTIONS", "sip:bob@example.org", "70", 0},
		{"OPTIONS", "sip:bob@example.org", "0", 200},
		{"OPTIONS", "sip:other.example", "70", 0},
		{"INVITE", "sip:example.org", "70", 0},
		{"REGISTER", "sip:example.org", "70", 405}, // a redirect peer has no registrar
	} {
		req, err := message.Parse([]byte(c.method + " " + c.uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK1\r\n" +
			"Max-Forwards: " + c.hops + "\r\nFrom: <sip:x@y>;tag=1\r\nTo: <sip:z@y>\r\nCall-ID: c\r\nCSeq: 1 " + c.method + "\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		tx, core := &asked{req: req}, &passed{}
		h := &handler{core: core, names: n, answered: func(sip.ServerTransaction, int, string) {}, checked: func(*message.Message, location.Hop) {}}
		h.Request(tx)
		switch {
		case c.status == 0 && (core.requests != 1 || tx.res != nil):
			t.Errorf("%s %s: not passed on", c.method, c.uri)
		case c.status != 0 && (core.requests != 0 || tx.res == nil || tx.res.StatusCode != c.status):
			t.Errorf("%s %s: %+v, want %d", c.method, c.uri, tx.res, c.status)
		case c.status != 0 && !strings.Contains(tx.res.Get(message.Allow), "INVITE"):
			t.Errorf("%s %s: Allow %q", c.method, c.uri, tx.res.Get(message.Allow))
		}
	}
}
