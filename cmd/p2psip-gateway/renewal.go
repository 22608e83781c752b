package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/enroll"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// renewal keeps the certificate and the configuration document of an identity fresh that was made by join, or the certificate of
// one that made it itself. Nil does nothing: the operator issues certificates.
type renewal struct {
	certificate enroll.Renewer
	document    enroll.Follower
	contacts    *enroll.Contacts
	node        *trust.Signer
	log         zerolog.Logger
	said        string // the last failure that was logged of the document

	// Set before start.
	told    func(*trust.Signer) error           // who uses the certificate
	current func() *config.Overlay              // the configuration that is in force
	newer   func(context.Context, []byte) error // who takes a newer document
	every   time.Duration                       // between two looks at the document; 0: never
}

// openIdentity is the keyring of the identity in dir. When it was made by join, certificates that are missing or old are got over
// the network, and the node's own is renewed; when it is self-signed, so are they.
func openIdentity(dir string, o *config.Overlay, node *trust.Signer, log zerolog.Logger) (*identity.Keyring, *renewal, error) {
	client, err := openEnrollment(dir)
	if err != nil {
		return nil, nil, err
	}
	r := &renewal{node: node, log: log.With().Str("component", "enroll").Logger(),
		told: func(*trust.Signer) error { return nil }, current: func() *config.Overlay { return o }}
	var certify func(aor string) (*trust.Signer, error)
	switch {
	case client != nil:
		r.contacts = client.Contacts
		r.document = enroll.Follower{Client: client, Current: func() *config.Overlay { return r.current() },
			Newer: r.newerDocument, Failed: r.documentFailed}
		r.certificate.Enroll = func(ctx context.Context) (*trust.Signer, error) {
			return client.Enroll(ctx, r.current(), enroll.Request{Key: node.Key(), Node: node.Identity().Node})
		}
		certify = enroll.NewCertifier(client, func() *config.Overlay { return r.current() }, node).Signer
	case o.SelfSignedPermitted && trust.SelfSigned(node):
		r.log.Warn().Msg("the overlay has no authority: any of its nodes can take any user name")
		certify = r.selfSign
		r.certificate.Enroll = func(context.Context) (*trust.Signer, error) { return r.selfSign(node.Identity().User) }
	default:
		return identity.OpenKeyring(dir, o, node), nil, nil
	}
	r.keep(dir, o.InstanceName)
	return identity.EnrollingKeyring(dir, o, node, certify), r, nil
}

// selfSign makes a certificate that is good for as long as the node's first one.
func (r *renewal) selfSign(user string) (*trust.Signer, error) {
	cert := r.node.Identity().Cert
	return trust.SelfSign(r.current(), r.node.Key(), user, time.Now(), cert.NotAfter.Sub(cert.NotBefore))
}

// keep says what becomes of renewed certificates.
func (r *renewal) keep(dir, overlay string) {
	r.certificate.Renewed = func(s *trust.Signer) error {
		if err := identity.SaveNode(dir, s, overlay); err != nil {
			return err
		}
		r.log.Info().Time("until", s.Identity().Cert.NotAfter).Msg("certificate renewed")
		return r.told(s)
	}
	r.certificate.Failed = func(err error, until time.Time) {
		r.log.Warn().Err(err).Time("until", until).Msg("the certificate was not renewed; the present one is good for now")
	}
}

// openEnrollment is the client of the account that the identity in dir was made with; nil when it was not made over the network.
func openEnrollment(dir string) (*enroll.Client, error) {
	e, ok, err := identity.LoadEnrollment(dir)
	if err != nil || !ok {
		return nil, err
	}
	client, err := enrollClient(e)
	if err != nil {
		return nil, err
	}
	client.Contacts = &enroll.Contacts{}
	return client, nil
}

func (r *renewal) newerDocument(ctx context.Context, d *enroll.Document) error {
	if err := r.newer(ctx, d.Raw); err != nil && !errors.Is(err, gateway.ErrNotNewer) { // the overlay was faster
		return err
	}
	r.said = ""
	r.log.Info().Uint16("sequence", d.Overlay.Sequence).Msg("a newer configuration document was fetched, and spreads")
	return nil
}

// documentFailed logs a failure once, and again when it is another one.
func (r *renewal) documentFailed(err error) {
	if what := err.Error(); what != r.said {
		r.said = what
		r.log.Warn().Err(err).Msg("no newer configuration document was fetched; the present one stays")
	}
}

// start renews in the background until ctx ends or stop is called, which waits for it.
func (r *renewal) start(ctx context.Context) (stop func()) {
	if r == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.certificate.Run(ctx, r.node) })
	if r.document.Interval = r.every; r.every > 0 && r.document.Client != nil {
		wg.Go(func() { r.document.Run(ctx) })
	}
	return func() { cancel(); wg.Wait() }
}

// servers is how the servers stand, for the status page.
func (r *renewal) servers() []gateway.ServerReport {
	list := []gateway.ServerReport{}
	if r == nil {
		return list
	}
	for _, c := range r.contacts.List() {
		s := gateway.ServerReport{Server: c.Server, Answered: c.Answered.UTC(), Since: c.Since.UTC()}
		if c.Err != nil {
			s.Error = c.Err.Error()
		}
		list = append(list, s)
	}
	return list
}

// follows has the renewal serve g.
func (r *renewal) follows(g *gateway.Gateway, every time.Duration) {
	if r != nil {
		r.told, r.current, r.newer, r.every = g.Renewed, g.Overlay, g.Configure, every
	}
}

// reload takes a certificate for g that was put into the identity directory dir.
func reload(dir string, g *gateway.Gateway, keyring *identity.Keyring) (renewed bool, err error) {
	keyring.Forget() // those of users, too
	s, err := identity.LoadNode(dir, g.Overlay(), time.Now())
	if err != nil {
		return false, err
	}
	if s.Identity().Cert.Equal(g.Signer().Identity().Cert) {
		return false, nil
	}
	if err := g.Renewed(s); err != nil {
		return false, fmt.Errorf("%s: %w", dir, err)
	}
	return true, nil
}
