package overlay_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

// The smallest overlay there is: an authority, one peer, one address-of-record.
func ExamplePeer() {
	const name, user = "dht.example.org", "alice@example.org"
	now := time.Now()
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}

	// What "p2psip-gateway init" and "identity issue" make.
	ca, err := trust.NewAuthority(name, trust.P256, now, nil)
	must(err)
	kind, _ := config.Registered(wire.KindSIPRegistration)
	kind.MaxCount, kind.MaxSize = 10, 1000
	o := &config.Overlay{InstanceName: name, Sequence: 1, TopologyPlugin: "CHORD-RELOAD", NodeIDLength: 16, NoICE: true,
		RootCerts: []*x509.Certificate{ca.Certificate()}, Kinds: []config.Kind{kind}, MaxMessageSize: 65000, InitialTTL: 100,
		ReliabilityTimer: 3 * time.Second, ChordReactive: true, ChordPingInterval: time.Hour, ChordUpdateInterval: time.Hour}
	key, err := trust.GenerateKey(trust.P256)
	must(err)
	cert, err := ca.IssueNode(now, "gw1@example.org", key.Public())
	must(err)
	self, err := trust.NewSigner(name, key, cert)
	must(err)
	cert, err = ca.IssueUser(now, user, self.Identity().Node, key.Public())
	must(err)
	alice, err := trust.NewSigner(name, key, cert)
	must(err)

	// A peer, the first of its overlay.
	links, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	apps, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	p, err := overlay.New(overlay.Config{Overlay: o, Self: self, Listener: links, AppListener: apps, First: true,
		Log: zerolog.Nop()})
	must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	<-p.Joined()

	// Alice can be reached at this node.
	here := wire.NewDestinationList(wire.ToNode(p.NodeID()))
	_, err = p.Store(ctx, alice, wire.ResourceIDOf(user), wire.KindSIPRegistration, wire.StoredValue{
		Model: wire.Dictionary, Key: string(p.NodeID().Bytes()), Exists: true,
		Data: wire.SipRegistration{Type: wire.SipRegistrationRoute, Destinations: here}.AppendTo(nil),
	}, now, time.Hour)
	must(err)
	values, err := p.Fetch(ctx, wire.ResourceIDOf(user), wire.KindSIPRegistration)
	must(err)
	for _, v := range values {
		fmt.Println(v.Signer.User, "at this node:", v.Signer.Node == p.NodeID())
	}

	stop()
	must(<-done)
	// Output: alice@example.org at this node: true
}
