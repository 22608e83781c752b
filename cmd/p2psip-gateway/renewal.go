package main

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// renewal keeps the certificate of an identity fresh that was made by join. Nil does nothing: the operator issues certificates.
type renewal struct {
	enroll.Renewer
	node *trust.Signer
	told func(*trust.Signer) // who has to know of a new one; set before start
}

// openIdentity is the keyring of the identity in dir. When it was made by join, certificates that are missing or old are got over
// the network, and the node's own is renewed.
func openIdentity(dir string, o *config.Overlay, node *trust.Signer, log zerolog.Logger) (*identity.Keyring, *renewal, error) {
	e, ok, err := identity.LoadEnrollment(dir)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return identity.OpenKeyring(dir, o, node), nil, nil
	}
	client, err := enrollClient(e)
	if err != nil {
		return nil, nil, err
	}
	log = log.With().Str("component", "enroll").Logger()
	r := &renewal{node: node, told: func(*trust.Signer) {}}
	r.Renewer = enroll.Renewer{
		Enroll: func(ctx context.Context) (*trust.Signer, error) {
			return client.Enroll(ctx, o, enroll.Request{Key: node.Key(), Node: node.Identity().Node})
		},
		Renewed: func(s *trust.Signer) error {
			if err := identity.SaveNode(dir, s, o.InstanceName); err != nil {
				return err
			}
			log.Info().Time("until", s.Identity().Cert.NotAfter).Msg("certificate renewed; links use it from the next start on")
			r.told(s)
			return nil
		},
		Failed: func(err error, until time.Time) {
			log.Warn().Err(err).Time("until", until).Msg("the certificate was not renewed; the present one is good for now")
		},
	}
	certifier := enroll.NewCertifier(client, o, node)
	return identity.EnrollingKeyring(dir, o, node, certifier.Signer), r, nil
}

// start renews in the background until ctx ends or stop is called, which waits for it.
func (r *renewal) start(ctx context.Context) (stop func()) {
	if r == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx, r.node) })
	return func() { cancel(); wg.Wait() }
}
