package gateway

import (
	"context"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/metrics"
	plan "github.com/p2psip/p2psip-gateway/numbers"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/p2psip/p2psip-gateway/sip/digest"
)

// emptyPeer holds nothing, and writes down how often it was asked for certificates.
type emptyPeer struct {
	sipusage.Peer
	certificates int
}

func (p *emptyPeer) FetchOwn(_ wire.ResourceID, kind wire.KindID) ([]overlay.Value, bool) {
	if kind == wire.KindCertificateByUser {
		p.certificates++
	}
	return nil, true
}

func (p *emptyPeer) Fetch(_ context.Context, res wire.ResourceID, kind wire.KindID) ([]overlay.Value, error) {
	v, _ := p.FetchOwn(res, kind)
	return v, nil
}

func (*emptyPeer) NodeID() wire.NodeID { return wire.NodeID{} }
func (*emptyPeer) Ranges() plan.Plan   { return plan.Plan{} }

func TestNoCertificateIsLookedForWherePhonesAreRegistered(t *testing.T) {
	peer := &emptyPeer{}
	usage := sipusage.NewService(peer, func(string) (location.AOR, bool) { return "", false })
	defer usage.Close()
	l := &locator{bindings: location.NewBindings(), usage: usage, metrics: metrics.New(metrics.Sources{}),
		user: func(string) (u digest.HA1, ok bool) { return u, false }}
	there := location.Binding{Contact: "sip:a@192.0.2.1", Expires: time.Now().Add(time.Hour)}
	l.bindings.Update("alice@example.org", func([]location.Binding) ([]location.Binding, error) { return []location.Binding{there}, nil },
		func([]location.Binding, error) {})
	for aor, c := range map[location.AOR]struct {
		asked int
		known bool
	}{"alice@example.org": {0, true}, "bob@example.org": {1, false}} {
		peer.certificates = 0
		if r, ok := l.RemoteCached(aor); len(r) > 0 || !ok {
			t.Errorf("%s: %v %v", aor, r, ok)
		}
		if r, err := l.Remote(t.Context(), aor); len(r) > 0 || err != nil {
			t.Errorf("%s: %v %v", aor, r, err)
		}
		if peer.certificates != c.asked || l.Known(aor) != c.known {
			t.Errorf("%s: %d looks for a certificate, known %v", aor, peer.certificates, l.Known(aor))
		}
	}
}
