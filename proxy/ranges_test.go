package proxy

import (
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
)

// TestHoldersOfARangeRingOneAfterTheOther: two gateways serve the range of a number. Only one gets the call, and the next when that one, or the PBX behind it, failed.
//
// Feature: TRK-02
func TestHoldersOfARangeRingOneAfterTheOther(t *testing.T) {
	holders := []location.Remote{{Node: "one", Range: "2xx@example.org"}, {Node: "two", Range: "2xx@example.org"}}
	for _, c := range []struct {
		name  string
		first int // its answer; 0: it can not be reached
		tried int
		want  int
	}{
		{"the first answers", 200, 1, 200},
		{"nobody declines twice", 486, 1, 486},
		{"nor does everybody", 603, 1, 603},
		{"not there", 404, 1, 404},
		{"about the request", 501, 1, 501},
		{"the trunk is down", 503, 2, 200},
		{"the trunk does not answer", 408, 2, 200},
		{"the trunk failed", 500, 2, 200},
		{"the gateway is gone", 0, 2, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, 1, nil)
			g.cached["bob@example.org"] = holders
			x := g.receive(request(t, "INVITE", bobURI, aliceURI), alice)
			first := g.branches(1)[0]
			if first.hop.Node != "one" {
				t.Errorf("first to %v", first.hop)
			}
			if c.first == 0 {
				first.user.Failed(sip.ErrTransport)
			} else {
				first.answer(c.first)
			}
			sent := g.branches(c.tried)
			if c.tried == 2 {
				if sent[1].hop.Node != "two" || sent[1].req.RequestURI != bobURI {
					t.Errorf("then %s to %v", sent[1].req.RequestURI, sent[1].hop)
				}
				sent[1].answer(200)
			}
			wantStatuses(t, x, c.want)
			g.wantIdle()
		})
	}
}
