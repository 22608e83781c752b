package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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
		err = writeCert(userFile(dir, "alice@example.org"), cert.Raw)
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

// TestKeyringKnowsWhoHasACertificate: without reading it.
func TestKeyringKnowsWhoHasACertificate(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	ov, node := gateway(t, now)
	if err := os.MkdirAll(filepath.Join(dir, usersDir), 0o700); err != nil {
		t.Fatal(err)
	}
	issue := func(aor string) {
		t.Helper()
		cert, err := ov.Authority.IssueUser(now, aor, node.Identity().Node, node.Key().Public())
		if err == nil {
			err = writeCert(userFile(dir, aor), cert.Raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	issue("alice@example.org")
	ring := OpenKeyring(dir, ov.Config, node)
	has := func(aor string, want bool) {
		t.Helper()
		if got := ring.Has(aor); got != want {
			t.Errorf("%s: %v", aor, got)
		}
	}
	has("alice@example.org", true)
	has("bob@example.org", false)
	issue("bob@example.org")
	has("bob@example.org", true)
	if len(ring.held) != 0 {
		t.Errorf("%d certificates were read", len(ring.held))
	}
	ring.refused["alice@example.org"] = errors.New("forged")
	has("alice@example.org", false)
	if err := os.Remove(userFile(dir, "bob@example.org")); err != nil {
		t.Fatal(err)
	}
	ring.Forget()
	has("alice@example.org", true)
	has("bob@example.org", false)
	if ring = EnrollingKeyring(dir, ov.Config, node, nil); ring.Has("alice@example.org") {
		t.Error("a keyring that enrolls promises certificates")
	}
	if ring = IssuingKeyring(ov.Authority, node); !ring.Has("anybody@example.org") {
		t.Error("a keyring that issues does not")
	}
}

// A certificate that claims to be of the authority is used until it is looked at closely, which is before others are shown it: then it is refused and
// named, and one that was put in its place is taken.
func TestKeyringFindsAForgedCertificate(t *testing.T) {
	dir, now, alice := t.TempDir(), time.Now(), "alice@example.org"
	ov, node := gateway(t, now)
	if err := os.MkdirAll(filepath.Join(dir, usersDir), 0o700); err != nil {
		t.Fatal(err)
	}
	keep := func(forged bool) {
		t.Helper()
		cert, err := ov.Authority.IssueUser(now, alice, node.Identity().Node, node.Key().Public())
		if err != nil {
			t.Fatal(err)
		}
		if forged {
			cert.Raw[len(cert.Raw)-1] ^= 1
		}
		if err := writeCert(userFile(dir, alice), cert.Raw); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error) {
		t.Helper()
		var e *Error
		var why *trust.RefusalError
		if !errors.As(err, &e) || e.Code != CodeCertificate || e.Path != userFile(dir, alice) || !errors.As(err, &why) || why.Reason != trust.WrongCA {
			t.Errorf("%v", err)
		}
	}
	ring := OpenKeyring(dir, ov.Config, node)
	keep(true)
	s, err := ring.Signer(alice)
	if err != nil {
		t.Fatal(err)
	}
	refused(ring.Verify(s))
	_, err = ring.Signer(alice)
	refused(err)
	keep(false)
	_, err = ring.Signer(alice)
	refused(err)
	ring.Forget() // as reload does
	if s, err = ring.Signer(alice); err != nil || ring.Verify(s) != nil {
		t.Errorf("%v, %v", err, ring.Verify(s))
	}

	// A gateway that enrolls gets another one.
	keep(true)
	enrolled := 0
	ring = EnrollingKeyring(dir, ov.Config, node, func(string) (*trust.Signer, error) {
		enrolled++
		cert, err := ov.Authority.IssueUser(now, alice, node.Identity().Node, node.Key().Public())
		if err != nil {
			return nil, err
		}
		return trust.NewSigner("example.org", node.Key(), cert)
	})
	if s, err = ring.Signer(alice); err != nil || enrolled > 0 {
		t.Fatal(err, enrolled)
	}
	refused(ring.Verify(s))
	if s, err = ring.Signer(alice); err != nil || enrolled != 1 || ring.Verify(s) != nil {
		t.Errorf("%v, enrolled %d times, %v", err, enrolled, ring.Verify(s))
	}
}

// gateway is one of a new overlay.
func gateway(tb testing.TB, now time.Time) (*Overlay, *trust.Signer) {
	tb.Helper()
	ov, err := New(Template("example.org"), trust.P256, now)
	if err != nil {
		tb.Fatal(err)
	}
	node, err := NewNode(ov.Authority, "gw1@example.org", now)
	if err != nil {
		tb.Fatal(err)
	}
	return ov, node
}

// BenchmarkSigner reads the certificate of a user, and tells what it takes to remember it.
func BenchmarkSigner(b *testing.B) {
	dir, now, alice := b.TempDir(), time.Now(), "alice@example.org"
	ov, node := gateway(b, now)
	cert, err := ov.Authority.IssueUser(now, alice, node.Identity().Node, node.Key().Public())
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(dir, usersDir), 0o700), writeCert(userFile(dir, alice), cert.Raw))
	}
	if err != nil {
		b.Fatal(err)
	}
	ring := OpenKeyring(dir, ov.Config, node)
	var held []*trust.Signer
	before := heap()
	b.ReportAllocs()
	for b.Loop() {
		s, err := ring.Signer(alice)
		if err != nil {
			b.Fatal(err)
		}
		held = append(held, s)
		ring.Forget()
	}
	b.ReportMetric(float64(heap()-before)/float64(len(held)), "B/user")
	runtime.KeepAlive(held)
}

// heap is what lives.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
