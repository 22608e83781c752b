package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Limits of vouchers.
const (
	maxVouched  = 10_000           // users remembered; more are looked at again
	vouchQueue  = 64               // that wait: a certificate may have to be got from the authority
	vouchRepeat = 10 * time.Minute // until a user is looked at again
)

// vouchers put the certificates of users into the overlay who call here and are registered at another gateway, or nowhere: they
// prove to others that this gateway may speak for them. Those who are registered here have a record that does. It is safe for concurrent use.
type vouchers struct {
	registered func(location.AOR) bool
	signer     func(aor string) (*trust.Signer, error) // may block
	show       func(*trust.Signer)
	log        zerolog.Logger
	queue      chan location.AOR

	mu   sync.Mutex
	next map[location.AOR]time.Time // when to look again
}

func (g *Gateway) newVouchers() *vouchers {
	return &vouchers{
		registered: func(aor location.AOR) bool { return len(g.locator.Local(aor)) > 0 }, signer: g.o.Keyring.Signer, show: g.shown.OfferFirst,
		log: g.refusals, queue: make(chan location.AOR, vouchQueue), next: map[location.AOR]time.Time{},
	}
}

// proved is told of each user who proved who he is with a call. It does not block: when many wait, the next call will do.
func (v *vouchers) proved(aor location.AOR) {
	now := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Before(v.next[aor]) {
		return
	}
	if len(v.next) >= maxVouched {
		clear(v.next)
	}
	select {
	case v.queue <- aor:
		v.next[aor] = now.Add(vouchRepeat)
	default:
	}
}

// run works until ctx ends.
func (v *vouchers) run(ctx context.Context) {
	for {
		select {
		case aor := <-v.queue:
			v.vouch(aor)
		case <-ctx.Done():
			return
		}
	}
}

func (v *vouchers) vouch(aor location.AOR) {
	if v.registered(aor) {
		return
	}
	s, err := v.signer(string(aor))
	if err != nil {
		v.log.Info().Str("component", "gateway").Str("aor", string(aor)).Err(err).Msg("no certificate for a user who calls here: other gateways will not believe it")
		return
	}
	v.show(s)
}
