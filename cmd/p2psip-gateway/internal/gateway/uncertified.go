package gateway

import (
	"errors"
	"sync"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
)

// codeUncertified is of a user who is registered here, and for whom this gateway has no certificate.
const codeUncertified = "E0117"

// maxUncertified bounds how many users are remembered: a gateway with more of them was told so often enough.
const maxUncertified = 1024

// uncertified remembers users whose registration stays in this gateway for want of a certificate, so that each is told of once. It is safe for
// concurrent use.
type uncertified struct {
	log   zerolog.Logger
	mu    sync.Mutex
	users map[location.AOR]struct{}
}

// stored takes what came of a Store: sipusage.Publisher.Watch.
func (u *uncertified) stored(aor location.AOR, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, told := u.users[aor]
	switch {
	case !errors.Is(err, location.ErrForbidden):
		delete(u.users, aor)
	case !told && len(u.users) < maxUncertified:
		if u.users == nil {
			u.users = map[location.AOR]struct{}{}
		}
		u.users[aor] = struct{}{}
		u.log.Warn().Str("code", codeUncertified).Str("aor", string(aor)).Err(err).Msg("other gateways do not find this user")
	}
}

// count is how many of them count.
func (u *uncertified) count(counts func(location.AOR) bool) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for aor := range u.users {
		if counts(aor) {
			n++
		}
	}
	return n
}
