package proxy

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
)

// docs/decisions/0003.
//
// Feature: REG-21 NAT-01
func TestTheWayToAPhone(t *testing.T) {
	live, gone := uint64(1), uint64(404)
	for _, c := range []struct {
		name    string
		contact string
		hop     location.Hop // where the REGISTER came from
		want    location.Hop // zero: the binding is skipped
	}{
		{"a Contact with the source's address is taken at its word", "sip:bob@203.0.113.2:7000", udp("203.0.113.2:40000"), udp("203.0.113.2:7000")},
		{"its port defaults to 5060", "sip:bob@203.0.113.2", udp("203.0.113.2:40000"), udp("203.0.113.2:5060")},
		{"behind a NAT the way in is the way out", "sip:bob@10.0.0.2:5060", udp("203.0.113.2:40000"), udp("203.0.113.2:40000")},
		{"a name says nothing", "sip:bob@phone.example:5060", udp("203.0.113.2:40000"), udp("203.0.113.2:40000")},
		{"a connection that stands is used", "sip:bob@203.0.113.2:7000;transport=tcp", stream("TCP", "203.0.113.2:40000", live), stream("TCP", "203.0.113.2:40000", live)},
		{"one that is gone is dialled anew where the phone listens", "sip:bob@203.0.113.2:7000;transport=tcp", stream("TCP", "203.0.113.2:40000", gone),
			location.Hop{Transport: "TCP", Remote: udp("203.0.113.2:7000").Remote, Host: location.AnyHost}},
		{"but not at the end of the connection itself", "sip:bob@203.0.113.2:40000;transport=tcp", stream("TCP", "203.0.113.2:40000", gone), location.Hop{}},
		{"unless that is a port to listen on", "sip:bob@203.0.113.2:5062;transport=tcp", stream("TCP", "203.0.113.2:5062", gone),
			location.Hop{Transport: "TCP", Remote: udp("203.0.113.2:5062").Remote, Host: location.AnyHost}},
		{"nor behind a NAT", "sip:bob@10.0.0.2:7000;transport=tcp", stream("TCP", "203.0.113.2:40000", gone), location.Hop{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, 1, nil)
			g.dead[gone] = true
			g.cached["bob@example.org"] = nil
			g.register("bob", c.contact, c.hop)
			tx := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
			if (c.want == location.Hop{}) {
				if got := tx.last(t); got.StatusCode != 480 {
					t.Errorf("status %d, want 480", got.StatusCode)
				}
				return
			}
			if got := g.branches(1)[0].hop; got != c.want {
				t.Errorf("sent to %+v, want %+v", got, c.want)
			}
		})
	}
}
