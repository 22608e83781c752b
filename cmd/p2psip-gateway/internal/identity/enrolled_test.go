package identity_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/cmd/p2psip-gateway/internal/identity"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

func TestEnrollmentIsKept(t *testing.T) {
	dir := t.TempDir()
	if _, ok, err := identity.LoadEnrollment(dir); ok || err != nil {
		t.Fatal(ok, err)
	}
	want := identity.Enrollment{Overlay: "example.org", URL: "https://example.org/x", Account: "gw1", Password: "a\"b", CA: "pem\n"}
	if err := identity.SaveEnrollment(dir, want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := identity.LoadEnrollment(dir)
	if d := cmp.Diff(want, got); d != "" || !ok || err != nil {
		t.Error(d, ok, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "enrollment.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = identity.LoadEnrollment(dir)
	wantCode(t, err, identity.CodeMalformed, "enrollment.json", "join")
}

// What join writes is what issue writes: see TestJoin of the program. Here: who may replace whom.
func TestSaveNodeKeepsTheIdentity(t *testing.T) {
	r := made(t, trust.P256)
	a, o, err := identity.LoadAuthority(r.Dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NodeKey(r.Out, trust.P256)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := identity.NodeKey(r.Out, trust.RSA2048); err != nil || !key.Public().(*ecdsa.PublicKey).Equal(again.Public()) {
		t.Fatal("another key", err)
	}
	signer := func(cert *x509.Certificate, err error) *trust.Signer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s, err := trust.NewSigner("example.org", key, cert)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := signer(a.IssueNode(time.Now(), "gw1@example.org", key.Public()))
	renewed := signer(a.IssueUser(time.Now(), "gw1@example.org", first.Identity().Node, key.Public()))
	for _, s := range []*trust.Signer{first, renewed} {
		if err := identity.SaveNode(r.Out, s, "example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := identity.LoadNode(r.Out, o, time.Now()); err != nil || !s.Identity().Cert.Equal(renewed.Identity().Cert) {
		t.Error(err)
	}
	for _, s := range []*trust.Signer{signer(a.IssueNode(time.Now(), "gw1@example.org", key.Public())),
		signer(a.IssueUser(time.Now(), "gw2@example.org", first.Identity().Node, key.Public()))} {
		wantCode(t, identity.SaveNode(r.Out, s, "example.org"), identity.CodeExists, "another identity", "--out")
	}
}

func TestEnrollingKeyring(t *testing.T) {
	r := made(t, trust.P256)
	issue(t, r)
	o, node := load(t, r.Out)
	a, _, err := identity.LoadAuthority(r.Dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	asked, down := map[string]int{}, error(nil)
	certify := func(aor string, at time.Time, lifetime time.Duration) *trust.Signer {
		a.Lifetime = lifetime
		cert, err := a.IssueUser(at, aor, node.Identity().Node, node.Key().Public())
		if err != nil {
			t.Fatal(err)
		}
		s, err := trust.NewSigner("example.org", node.Key(), cert)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enroll := func(aor string) (*trust.Signer, error) {
		asked[aor]++
		if down != nil {
			return nil, down
		}
		return certify(aor, time.Now(), time.Hour*1000), nil
	}
	keyring := func() *identity.Keyring { return identity.EnrollingKeyring(r.Out, o, node, enroll) }
	want := func(k *identity.Keyring, aor string, times int) *trust.Signer {
		t.Helper()
		s, err := k.Signer(aor)
		if err != nil || s.Identity().User != aor || asked[aor] != times {
			t.Fatalf("%s: %v, asked %d times, want %d", aor, err, asked[aor], times)
		}
		return s
	}
	want(keyring(), "1001@example.org", 0) // issued before, and fresh
	k := keyring()
	want(k, "new@example.org", 1)
	want(k, "new@example.org", 1)         // remembered
	want(keyring(), "new@example.org", 1) // kept
	// Past two thirds, and past its end.
	old := certify("old@example.org", time.Now().Add(-3*time.Hour), 190*time.Minute)
	ended := certify("ended@example.org", time.Now().Add(-3*time.Hour), 150*time.Minute)
	for _, s := range []*trust.Signer{old, ended} {
		if err := identity.SaveUser(r.Out, s); err != nil {
			t.Fatal(err)
		}
	}
	down = errors.New("connection refused")
	if s := want(keyring(), "old@example.org", 1); !s.Identity().Cert.Equal(old.Identity().Cert) {
		t.Error("not the one that is still good")
	}
	if _, err := keyring().Signer("ended@example.org"); !errors.Is(err, identity.ErrNoCertificate) || !errors.Is(err, down) {
		t.Error(err)
	}
	down = nil
	if s := want(keyring(), "old@example.org", 2); s.Identity().Cert.Equal(old.Identity().Cert) {
		t.Error("not renewed")
	}
	want(keyring(), "ended@example.org", 2)
}

// Conformance: F-43
func TestPublish(t *testing.T) {
	r := made(t, trust.P256)
	before, _, err := identity.LoadDocument(filepath.Join(r.Dir, identity.DocumentFile), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o, err := identity.Publish(r.Dir, func(o *config.Overlay) { o.EnrollmentServers = []string{"https://example.org/"} }, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(r.Dir, identity.DocumentFile))
	if err != nil {
		t.Fatal(err)
	}
	d, err := config.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	// RFC 6940 §11.1: signed by a signer that the previous document names.
	if err := trust.VerifyDocument(time.Now(), &d.Configurations[0], before); err != nil {
		t.Error(err)
	}
	if o.Sequence != before.Sequence+1 || len(o.EnrollmentServers) != 1 || len(before.EnrollmentServers) != 0 || len(o.Kinds) != len(before.Kinds) {
		t.Errorf("%+v", o)
	}
	if o, err = identity.Publish(r.Dir, func(o *config.Overlay) { o.Sequence = config.MaxSequence }, time.Now()); err != nil || o.Sequence != 0 {
		t.Errorf("%+v %v", o, err)
	}
	_, err = identity.Publish(r.Dir, func(o *config.Overlay) { o.MaxMessageSize = 5000 }, time.Now())
	wantCode(t, err, identity.CodeDocument, "a message of this overlay has at most 5000")
	_, err = identity.Publish(r.Dir, func(o *config.Overlay) { o.ConfigurationSigners = nil }, time.Now())
	wantCode(t, err, identity.CodeDocument, "may not sign")
}
