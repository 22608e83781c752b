package identity

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

func TestKeyringIsBoundedAndRenews(t *testing.T) {
	o, err := New(Template("example.org"), trust.P256, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	node, err := NewNode(o.Authority, "gw1@example.org", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	loads := 0
	ring := newKeyring(func(string, time.Time) (*trust.Signer, error) { loads++; return node, nil })
	for i := range maxSigners + 10 {
		if _, err := ring.Signer(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(ring.held) != maxSigners || loads != maxSigners+10 {
		t.Errorf("%d held, %d loaded", len(ring.held), loads)
	}
	loads = 0
	at := time.Now()
	ring.now = func() time.Time { return at }
	get := func() {
		if _, err := ring.Signer("last"); err != nil {
			t.Fatal(err)
		}
	}
	get()
	at = at.Add(trust.DefaultLifetime / 2)
	get()
	if loads != 1 {
		t.Errorf("loaded %d times", loads)
	}
	at = at.Add(trust.DefaultLifetime / 4) // beyond two thirds: there may be a renewed certificate
	get()
	if loads != 2 {
		t.Errorf("loaded %d times", loads)
	}
}
