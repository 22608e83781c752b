package enroll

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// TestARangeIsOneGateways: who asks for numbers that another gateway may serve, by an account or by a certificate, is refused unless they share.
//
// Feature: TRK-02
func TestARangeIsOneGateways(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a := openCheap(t, dir)
	gateway := func(name string, share bool, ranges ...string) error {
		return a.Add(Account{Name: name, User: name + "@example.org", ActsFor: ranges, Share: share}, password, now)
	}
	if err := errors.Join(gateway("gw1", false, "2xx@example.org", "*@example.org"), a.ClaimRanges("gw2@example.org", []string{"bob@example.org", "+49301*@example.org"},
		now.Add(time.Hour), false, now)); err != nil {
		t.Fatal(err)
	}
	var taken *RangeTakenError
	if err := gateway("gw3", false, "23x@Example.ORG"); !errors.As(err, &taken) || taken.Range != "23x@example.org" || taken.Holder.Owner != "gw1@example.org" {
		t.Errorf("part of the range of an account: %v", err)
	}
	if err := gateway("gw3", false, "+4930*@example.org"); !errors.As(err, &taken) || taken.Holder.Owner != "gw2@example.org" {
		t.Errorf("more than a range that was claimed: %v", err)
	}
	again := openCheap(t, dir)
	if err := again.ClaimRanges("gw3@example.org", []string{"3xx@example.org", "2*@example.org"}, now.Add(time.Hour), false, now); !errors.As(err, &taken) {
		t.Errorf("a claim of the range of an account: %v", err)
	}
	if err := errors.Join(
		gateway("gw4", false, "2x@example.org", "2xx@other.example", "3xx@example.org"), // other lengths, another domain
		again.ClaimRanges("gw2@example.org", []string{"+493012*@example.org"}, now.Add(2*time.Hour), false, now),
		again.ClaimRanges("gw5@example.org", []string{"2xx@example.org"}, now.Add(time.Hour), true, now),
	); err != nil {
		t.Error(err)
	}
	var got []string
	holders, err := a.RangeHolders(now)
	for _, h := range holders {
		got = append(got, h.Range+" "+h.Owner)
	}
	if d := cmp.Diff([]string{"+49301*@example.org gw2@example.org", "+493012*@example.org gw2@example.org", "2x@example.org gw4@example.org",
		"2xx@example.org gw1@example.org", "2xx@example.org gw5@example.org", "2xx@other.example gw4@example.org", "3xx@example.org gw4@example.org"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	if err := a.ClaimRanges("gw6@example.org", []string{"+49301*@example.org"}, now.Add(9*time.Hour), false, now.Add(3*time.Hour)); err != nil {
		t.Errorf("certificates have ended: %v", err)
	}
}

// TestACertifiedRangeOutlivesItsAccount: as long as the certificate is good, nobody else gets the range.
func TestACertifiedRangeOutlivesItsAccount(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", ActsFor: []string{"2xx@example.org"}})
	if id := w.issued(post{account: "gw1", password: password, user: "2xx@example.org"}); id.User != "2xx@example.org" {
		t.Fatal(id.User)
	}
	if _, err := w.accounts.Remove("gw1"); err != nil {
		t.Fatal(err)
	}
	var taken *RangeTakenError
	other := Account{Name: "gw2", User: "gw2@example.org", ActsFor: []string{"21x@example.org"}}
	if err := w.accounts.Add(other, password, w.clock.now()); !errors.As(err, &taken) || taken.Holder.Owner != "gw1" {
		t.Error(err)
	}
}

func TestWhatLooksLikeARangeHasToBeOne(t *testing.T) {
	a, now := openCheap(t, t.TempDir()), time.Now()
	for _, name := range []string{"4*2@example.org", "2XX@example.org", "**@example.org", "al*@example.org"} {
		if err := a.Add(Account{Name: "gw", User: "gw@example.org", ActsFor: []string{name}}, password, now); !errors.Is(err, ErrInvalid) || !errors.Is(err, trust.ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"2xx@example.org", "+49*@example.org"} {
		if err := a.Add(Account{Name: "gw", User: name}, password, now); !errors.Is(err, ErrInvalid) {
			t.Errorf("the range %s is a gateway's own name: %v", name, err)
		}
	}
}

// TestAWildcardAccountHasNoRange: who may act for everybody may not act for a range, whichever form that has.
func TestAWildcardAccountHasNoRange(t *testing.T) {
	a := Account{User: "gw@example.org", ActsFor: []string{"*@example.org"}}
	for _, user := range []string{"2xx@example.org", "+4930*@example.org", "2XX@example.org"} {
		if ok, _ := a.covers(user); ok {
			t.Error(user)
		}
	}
}

func TestDamagedClaimsAreNotIgnored(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := os.WriteFile(filepath.Join(dir, rangesFile), []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openCheap(t, dir).ClaimRanges("gw@example.org", []string{"2xx@example.org"}, now, false, now); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}
