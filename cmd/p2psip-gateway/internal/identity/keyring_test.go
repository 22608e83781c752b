package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
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

// What the verifier of a keyring is told is what the keyring goes by: the peer that has the same one follows the overlay's configuration.
func TestKeyringFollowsTheVerifier(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	ov, err := New(Template("example.org"), trust.P256, now)
	if err != nil {
		t.Fatal(err)
	}
	node, err := NewNode(ov.Authority, "gw1@example.org", now)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ov.Authority.IssueUser(now, "alice@example.org", node.Identity().Node, node.Key().Public())
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, usersDir), 0o700)
	}
	if err == nil {
		err = writeCert(userFile(dir, "alice@example.org"), cert)
	}
	if err != nil {
		t.Fatal(err)
	}
	changed := *ov.Config
	changed.BadNodes = []wire.NodeID{node.Identity().Node}
	ring := OpenKeyring(dir, ov.Config, node)
	if _, err := ring.Signer("alice@example.org"); err != nil {
		t.Error(err)
	}
	ring.Forget()
	ring.Verifier().Follow(&changed)
	var refused *trust.RefusalError
	if _, err := ring.Signer("alice@example.org"); !errors.As(err, &refused) || refused.Reason != trust.BadNode {
		t.Errorf("of a node that was declared bad: %v", err)
	}
}
