package gateway

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/metrics"
	"github.com/p2psip/p2psip-gateway/overlay/sipusage"
	"github.com/p2psip/p2psip-gateway/sip/digest"
)

// locator joins the local bindings and the overlay into one location service.
type locator struct {
	bindings *location.Bindings
	user     digest.Lookup
	usage    *sipusage.Service
	metrics  *metrics.Metrics
}

// Known implements location.Locator: the users file names users of the domain, phones are registered for them, and so do the certificates in
// the overlay, as far as Remote has just looked.
func (l *locator) Known(aor location.AOR) bool {
	if l.ours(aor) || l.bound(aor) {
		return true
	}
	certified, _ := l.usage.CertifiedCached(aor)
	return certified
}

// isUser reports whether aor is a user itself, and not just a number of a range, as far as Remote has just looked.
func (l *locator) isUser(aor location.AOR) bool {
	return l.ours(aor) || l.usage.CertifiedUserCached(aor)
}

// ours reports whether aor may register here.
func (l *locator) ours(aor location.AOR) bool {
	user, _, _ := strings.Cut(string(aor), "@")
	_, ok := l.user(user)
	return ok
}

// bound reports whether a phone is registered here for aor. Then there is no need to look for a certificate, to see that there is such a user:
// most lookups are for users of ours that are at no other gateway.
func (l *locator) bound(aor location.AOR) bool { return len(l.Local(aor)) > 0 }

// Local implements location.Locator.
func (l *locator) Local(aor location.AOR) []location.Binding {
	return l.bindings.Get(aor, time.Now())
}

// Remote implements location.Locator. When nothing is found it looks whether there is a certificate, so that Known knows: 480 and 404 are not
// the same. It looks for those whom the users file names too: who asks shall not see by the time it takes which of them exist.
func (l *locator) Remote(ctx context.Context, aor location.AOR) ([]location.Remote, error) {
	begin := time.Now()
	r, err := l.usage.Remote(ctx, aor)
	if err == nil && len(r) == 0 && !l.bound(aor) {
		if _, failed := l.usage.Certified(ctx, aor); !l.ours(aor) {
			err = failed
		}
	}
	result := "found"
	switch {
	case err != nil && !errors.Is(err, location.ErrNotFound):
		result = "failed"
	case len(r) == 0:
		result = "none"
	}
	l.metrics.Lookup(result, time.Since(begin))
	return r, err
}

// RemoteCached implements location.Locator. Nothing is an answer, as in Remote, when Known knows.
func (l *locator) RemoteCached(aor location.AOR) ([]location.Remote, bool) {
	r, ok := l.usage.RemoteCached(aor)
	if ok && len(r) == 0 && !l.bound(aor) {
		_, ok = l.usage.CertifiedCached(aor)
	}
	return r, ok
}
