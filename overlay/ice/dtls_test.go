package ice

import (
	"context"
	"crypto/x509"
	"io"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/link"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// authority makes nodes' DTLS.
func authority(t testing.TB) func() (*link.DTLS, wire.NodeID) {
	t.Helper()
	ca, err := trust.NewAuthority(overlayName, trust.P256, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &config.Overlay{InstanceName: overlayName, NodeIDLength: 16, RootCerts: []*x509.Certificate{ca.Certificate()}}
	return func() (*link.DTLS, wire.NodeID) {
		key, err := trust.GenerateKey(trust.P256)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := ca.IssueNode(time.Now(), "gw@example.org", key.Public())
		if err != nil {
			t.Fatal(err)
		}
		s, err := trust.NewSigner(overlayName, key, cert)
		if err != nil {
			t.Fatal(err)
		}
		d, err := link.NewDTLS(s, trust.NewVerifier(o), false)
		if err != nil {
			t.Fatal(err)
		}
		return d, s.Identity().Node
	}
}

// RFC 6940 §6.5.1.13: "once ICE processing completes, the agent will begin TLS or DTLS procedures [...] The node that sent
// the Attach request MUST be the TLS server."
func TestRFC6940_6_5_1_13_DTLSOverICE(t *testing.T) {
	node := authority(t)
	x, y := join(t, gather(t, Config{Mux: newMux(t), Controlling: true}), gather(t, Config{Mux: newMux(t)}))
	d, self := node()
	other, _ := node()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, _, err := d.Server(ctx, x.conn, wire.NodeID{})
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = a.Write([]byte("RELOAD"))
		_, _ = io.Copy(a, a)
	}()
	a, peer, err := other.Client(ctx, y.conn, self)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, datagramSize)
	if n, err := a.Read(b); err != nil || string(b[:n]) != "RELOAD" || peer.Node != self {
		t.Errorf("got %q, %v", b[:n], err)
	}
	_ = a.Close()
	_ = x.conn.Close()
	<-done
}
