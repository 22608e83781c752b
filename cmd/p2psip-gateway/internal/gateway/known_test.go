package gateway

import (
	"context"
	"fmt"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
)

// A user that the users file does not name, but whose certificate stands in the overlay, exists: 480, not 404.
//
// Conformance: H-37
func TestKnownByCertificate(t *testing.T) {
	gs := ring(t, 2, 1)
	known := func(aor location.AOR) (bool, error) {
		r, err := gs[1].locator.Remote(context.Background(), aor)
		if err != nil || len(r) > 0 {
			return false, fmt.Errorf("found %v, %w", r, err)
		}
		return gs[1].locator.Known(aor), nil
	}
	const owner = location.AOR("gw0@" + testDomain) // a user name that no phone has
	eventually(t, "the certificate of gw0", func() error {
		if ok, err := known(owner); err != nil || !ok {
			return fmt.Errorf("known: %v, %w", ok, err)
		}
		return nil
	})
	if ok, err := known("nobody@" + testDomain); ok || err != nil {
		t.Errorf("nobody: known %v, %v", ok, err)
	}
	if gs[1].locator.ours(owner) {
		t.Error("who has a certificate may register, though the users file does not name him")
	}
}
