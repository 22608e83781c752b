package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/gateway"
	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
)

// documentFile is the configuration document of a running node on the disk. What the overlay changes is written there, and
// what an operator puts there is handed to the overlay on SIGHUP.
type documentFile struct {
	path     string
	identity string // directory; its certificates are read again, too
	keyring  *identity.Keyring
	log      zerolog.Logger
	again    chan struct{} // has room for one: read the files again
}

// reread has watch read document and certificates again.
func (f *documentFile) reread() {
	select {
	case f.again <- struct{}{}:
	default:
	}
}

// keep writes a document that has come over the overlay.
func (f *documentFile) keep(document []byte) {
	if err := identity.ReplaceDocument(f.path, document); err != nil {
		f.log.Error().Str("component", "config").Err(err).Msg("the new configuration document is in force, but was not written")
	}
}

// watch has g read its configuration again on every SIGHUP, and hands it document and certificates whenever it has done so, until ctx ends or stop is called, which waits for it.
func (f *documentFile) watch(ctx context.Context, g *gateway.Gateway) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer signal.Stop(hangup)
		for {
			select {
			case <-hangup:
				g.Reload()
			case <-f.again:
				f.publish(ctx, g)
				f.reload(g)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (f *documentFile) publish(ctx context.Context, g *gateway.Gateway) {
	document, err := identity.ReadDocument(f.path)
	if err == nil {
		err = g.Configure(ctx, document)
	}
	if errors.Is(err, gateway.ErrNotNewer) {
		f.log.Info().Str("component", "config").Str("file", f.path).Msg("the configuration document is not newer than the one in force")
		return
	}
	if err != nil {
		f.log.Error().Str("component", "config").Str("file", f.path).Err(err).Msg("the configuration document was not accepted")
		return
	}
	f.log.Info().Str("component", "config").Str("file", f.path).Msg("the configuration document is in force, and spreads")
}

// reload has g use the certificates that were put in the place of the old ones.
func (f *documentFile) reload(g *gateway.Gateway) {
	log := f.log.With().Str("component", "identity").Str("dir", f.identity).Logger()
	switch renewed, err := reload(f.identity, g, f.keyring); {
	case err != nil:
		log.Error().Err(err).Msg("the certificate of this node was not taken; the present one stays")
	case renewed:
		log.Info().Time("until", g.Signer().Identity().Cert.NotAfter).Msg("the certificate of this node was renewed")
	}
}
