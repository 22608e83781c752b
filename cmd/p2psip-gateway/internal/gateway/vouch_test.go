package gateway

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// A user may call from any gateway that knows the password; others believe that one as soon as the certificate stands in the overlay.
func TestAUserWhoIsRegisteredNowhereIsVerifiedToo(t *testing.T) {
	gs := ringOf(t, 3, 2, func(_ int, o *Options) { o.OpenCalls = false })
	alice, bob := newPhone(t, "1001", gs[0]), newPhone(t, "1002", gs[1])
	if res := bob.register(300); res.StatusCode != 200 {
		t.Fatalf("REGISTER: %d", res.StatusCode)
	}
	eventually(t, "the record of 1002", func() error { return found(gs[0], "1002", gs[1]) })
	alice.register(0) // which makes no binding, and gets a nonce
	eventually(t, "a verified call", func() error {
		a := alice.start("INVITE", "1002", "Proxy-Authorization: "+alice.digest("INVITE"))
		if got, alert := bob.arrives(a); got != addressOf("1001") || alert != "" {
			return fmt.Errorf("P-Asserted-Identity %q, Alert-Info %q", got, alert)
		}
		return nil
	})
}

func TestVouchersAreBoundedAndLookAtEachUserOnce(t *testing.T) {
	var asked, shown int
	v := &vouchers{registered: func(aor location.AOR) bool { return aor == "here@d" }, log: zerolog.Nop(), queue: make(chan location.AOR, vouchQueue),
		next: map[location.AOR]time.Time{}, show: func(*trust.Signer) { shown++ }, signer: func(aor string) (*trust.Signer, error) {
			asked++
			if aor == "none@d" {
				return nil, errors.New("no certificate")
			}
			return &trust.Signer{}, nil
		}}
	for range 3 {
		for _, aor := range []location.AOR{"here@d", "none@d", "there@d"} {
			v.proved(aor)
		}
	}
	for range len(v.queue) {
		v.vouch(<-v.queue)
	}
	if asked != 2 || shown != 1 {
		t.Errorf("%d asked for, %d shown", asked, shown)
	}
	for i := range maxVouched {
		v.proved(location.AOR(fmt.Sprint(i)))
	}
	if len(v.queue) != vouchQueue || len(v.next) > maxVouched {
		t.Errorf("%d wait, %d are remembered", len(v.queue), len(v.next))
	}
}
