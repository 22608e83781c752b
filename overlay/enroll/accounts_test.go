package enroll

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// Conformance: F-05
func TestAccountsRefuse(t *testing.T) {
	a, now := openCheap(t, t.TempDir()), time.Now()
	if err := a.Add(Account{Name: "alice", User: "alice@Example.ORG"}, password, now); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		account  Account
		password string
		want     error
	}{
		{Account{Name: "alice", User: "other@example.org"}, password, ErrExists},
		{Account{Name: "alice2", User: "alice@example.org"}, password, ErrInvalid}, // RFC 6940 §13.3: unique
		{Account{User: "a@example.org"}, password, ErrInvalid},
		{Account{Name: "b\n", User: "b@example.org"}, password, ErrInvalid},
		{Account{Name: "b\xff", User: "b@example.org"}, password, ErrInvalid},
		{Account{Name: strings.Repeat("b", 129), User: "b@example.org"}, password, ErrInvalid},
		{Account{Name: "b", User: "b"}, password, ErrInvalid},
		{Account{Name: "b", User: "*@example.org"}, password, ErrInvalid},
		{Account{Name: "b", User: "b@example.org", ActsFor: []string{"example.org"}}, password, ErrInvalid},
		{Account{Name: "b", User: "b@example.org", ActsFor: []string{"*@*.org"}}, password, ErrInvalid},
		{Account{Name: "b", User: "b@example.org", ActsFor: make([]string, maxPatterns+1)}, password, ErrInvalid},
		{Account{Name: "b", User: "b@example.org", MaxNodeIDs: 17}, password, ErrInvalid},
		{Account{Name: "b", User: "b@example.org", MaxCertificates: -1}, password, ErrInvalid},
		{Account{Name: "b", User: "b@example.org"}, "short", ErrInvalid},
		{Account{Name: "b", User: "b@example.org"}, "ABCDE-12345", ErrInvalid}, // would be taken for a code
		{Account{Name: "b", User: "b@example.org"}, strings.Repeat("p", maxField+1), ErrInvalid},
	} {
		if err := a.Add(c.account, c.password, now); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.account, err, c.want)
		}
	}
	if _, err := a.Remove("bob"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if _, err := a.NewCode("bob", now); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestAccountsAreDurableAndPrivate(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a := openCheap(t, dir)
	for _, n := range []Account{{Name: "gw1", User: "gw1@example.org", ActsFor: []string{"*@example.org"}}, {Name: "alice", User: "alice@example.org"}} {
		if err := a.Add(n, password, now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.NewCode("gw1", now); err != nil {
		t.Fatal(err)
	}
	want, err := a.List()
	if err != nil {
		t.Fatal(err)
	}
	got, err := openCheap(t, dir).List()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Account{}, code{}, wire.NodeID{})); d != "" || len(got) != 2 {
		t.Error(d)
	}
	if !got[1].Gateway || got[1].MaxCertificates != DefaultMaxGatewayCertificates || got[0].MaxCertificates != DefaultMaxCertificates {
		t.Errorf("%+v", got)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", e.Name(), info.Mode(), err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err != nil || strings.Contains(string(b), password) {
			t.Errorf("%s holds the password; %v", e.Name(), err)
		}
	}
}

// A command changes accounts while a server runs, as two processes do.
func TestAccountsSeeEachOther(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for i := range writers {
		a := openCheap(t, dir)
		wg.Go(func() {
			for k := range each {
				name := fmt.Sprintf("u%d-%d", i, k)
				if err := a.Add(Account{Name: name, User: name + "@example.org"}, "", now); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if all, err := openCheap(t, dir).List(); err != nil || len(all) != writers*each {
		t.Errorf("%d accounts, %v", len(all), err)
	}
	w := newWorld(t)
	other := openCheap(t, w.accounts.dir)
	if err := other.Add(Account{Name: "late", User: "late@example.org"}, password, now); err != nil {
		t.Fatal(err)
	}
	id := w.issued(post{account: "late", password: password})
	if issued, err := other.Issued(now); err != nil || len(issued) != 1 || issued[0].Nodes[0] != id.Node.String() {
		t.Errorf("%+v %v", issued, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	for name, content := range map[string]string{
		accountsFile: "{", accountsFile + " ": `{"version":2}`,
		accountsFile + "  ": `{"version":1,"accounts":[{"name":"a","node_ids":["12"]}]}`, issuedFile: "x\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSpace(name)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAccounts(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", content, err)
		}
	}
	if _, err := OpenAccounts(filepath.Join(t.TempDir(), "absent")); err != nil {
		t.Error(err) // no accounts; the first change fails
	}
	a := openCheap(t, t.TempDir())
	a.dir = filepath.Join(a.dir, "absent")
	if err := a.Add(Account{Name: "a", User: "a@example.org"}, "", time.Now()); err == nil {
		t.Error("kept nowhere")
	}
}

func testIssued(user, key string, n int, until time.Time) Issued {
	return Issued{Serial: fmt.Sprintf("%x", n), Account: "gw1", User: user, Nodes: []string{}, Key: key, From: until.Add(-time.Hour).UTC(), Until: until.UTC()}
}

func TestIssuedLogSurvivesATornLine(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	path := filepath.Join(t.TempDir(), issuedFile)
	l := &issuedLog{path: path}
	if err := l.read(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := l.append(testIssued(fmt.Sprint("long", i), "k", i, now), now); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := &issuedLog{path: path}
		if err := l.read(); err != nil {
			t.Fatal(cut, err)
		}
		if want := strings.Count(string(whole[:cut]), "\n"); len(l.last) != want {
			t.Fatalf("%d records of %d whole lines", len(l.last), want)
		}
		if err := l.append(testIssued("new", "k", 9, now), now); err != nil {
			t.Fatal(err)
		}
		again := &issuedLog{path: path}
		if err := again.read(); err != nil || len(again.last) != len(l.last) {
			t.Fatalf("after %d octets: %v", cut, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != l.size {
			t.Fatalf("after %d octets: something is left of them; %v", cut, err)
		}
	}
}

func TestIssuedLogIsCompacted(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	l := &issuedLog{path: filepath.Join(t.TempDir(), issuedFile)}
	if err := l.read(); err != nil {
		t.Fatal(err)
	}
	// One user renews all the time; the others have expired.
	for i := range compactLines {
		l.note(testIssued(fmt.Sprint("old", i%100), "k", i, now.Add(-time.Minute)))
		l.lines++
	}
	if err := l.append(testIssued("alice@example.org", "k", 1, now.Add(time.Hour)), now); err != nil {
		t.Fatal(err)
	}
	again := &issuedLog{path: l.path}
	if err := again.read(); err != nil || again.lines != 1 || l.lines != 1 || l.live["gw1"] != 1 {
		t.Errorf("%d lines, %d in memory, %v", again.lines, l.lines, err)
	}
	if d := cmp.Diff(l.last, again.last); d != "" {
		t.Error(d)
	}
}

// A certificate that cannot be put on record is not handed out.
func TestNothingIssuedWithoutARecord(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice"})
	if err := os.Mkdir(w.accounts.log.path, 0o700); err != nil {
		t.Fatal(err)
	}
	rec := w.do(post{account: "alice", password: password})
	if _, err := x509.ParseCertificate(rec.Body.Bytes()); rec.Code != 500 || err == nil {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if e := w.lastEvent(); e.Result != ResultFailed {
		t.Errorf("%+v", e)
	}
}
