package enroll

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// RenewAt is when a certificate is to be issued again: when two thirds of its lifetime are over, or up to a twentieth of it
// before. The part depends on the certificate, so that those that were issued together are not renewed together.
func RenewAt(cert *trust.Certificate) time.Time {
	sum := sha256.Sum256(cert.Raw)
	spread := cert.NotAfter.Sub(cert.NotBefore) / 20
	return twoThirds(cert).Add(-time.Duration(float64(spread) * (float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32))))
}

// Renewer keeps one certificate fresh (RFC 6940 §13.3: there is no revocation protocol, so that lifetimes are short). With the
// server out of reach it goes on trying; the certificate is good until its end.
type Renewer struct {
	// Enroll gets a new certificate.
	Enroll func(context.Context) (*trust.Signer, error)
	// Renewed gets each new one. An error is as if there were none.
	Renewed func(*trust.Signer) error
	// Failed gets each failure and the time until which the certificate that is there is good.
	Failed func(err error, until time.Time)
}

// Run renews current and its successors until ctx ends.
func (r *Renewer) Run(ctx context.Context, current *trust.Signer) {
	failures, renewed := 0, false
	for {
		cert := current.Identity().Cert
		pause := time.Until(RenewAt(cert))
		switch {
		case failures > 0:
			pause = max(backoff(failures+4), renewRetryLeast)
		case renewed: // the clocks differ, or the authority itself ends: then a new one may be as old as the one before
			pause = max(pause, renewLeast)
		}
		if sleep(ctx, pause) != nil {
			return
		}
		next, err := r.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			r.Failed(err, cert.NotAfter)
			continue
		}
		current, failures, renewed = next, 0, true
	}
}

func (r *Renewer) attempt(ctx context.Context) (*trust.Signer, error) {
	ctx, cancel := context.WithTimeout(ctx, renewBudget)
	defer cancel()
	next, err := r.Enroll(ctx)
	if err != nil {
		return nil, err
	}
	return next, r.Renewed(next)
}

// sleep lets d pass, whatever the deadline of ctx is.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
