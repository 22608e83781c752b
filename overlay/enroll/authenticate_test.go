package enroll

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// The hash is that of the reference function, with OWASP's parameters.
func TestArgon2id(t *testing.T) {
	s := argonDefault.newSecret(password)
	if !strings.HasPrefix(string(s), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Error(s)
	}
	p, err := s.parse()
	if err != nil {
		t.Fatal(err)
	}
	if want := argon2.IDKey([]byte(password), p.salt, 2, 19456, 1, 32); string(want) != string(p.hash) {
		t.Error("another hash")
	}
	if !s.matches(password, argonDefault) || s.matches(password+"x", argonDefault) || s.matches("", argonDefault) {
		t.Error("matches")
	}
	if s == argonDefault.newSecret(password) {
		t.Error("no salt")
	}
}

func TestSecretMatchesNothingWhenDamaged(t *testing.T) {
	good := string(cheap.newSecret(password))
	for _, s := range []string{"", "x", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "t=1", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "m=64", "m=999999999", 1),
		good + "$", good[:len(good)-40], good + "!"} {
		if secret(s).matches(password, cheap) {
			t.Errorf("%q matches", s)
		}
	}
}

// F-20: an unknown account costs what a wrong password costs. Without the computation it would be a thousandth of it.
//
// Conformance: F-20
func TestUnknownAccountCostsAsMuch(t *testing.T) {
	a := openCheap(t, t.TempDir())
	a.cost = argonDefault
	if err := a.Add(Account{Name: "alice", User: "alice@example.org"}, password, time.Now()); err != nil {
		t.Fatal(err)
	}
	g := newGate(a)
	measure := func(name, pw string) time.Duration {
		best := time.Hour
		for i := range 5 {
			begin := time.Now()
			if _, _, err := g.authenticate(t.Context(), fmt.Sprint(i), name, pw, begin); err == nil {
				t.Fatal("accepted")
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	known, unknown, code := measure("alice", "wrong horse"), measure("bob", "wrong horse"), measure("bob", "ABCDE-12345")
	if unknown < known/5 || code < known/5 || known < unknown/5 {
		t.Errorf("known account %v, unknown %v, with a code %v", known, unknown, code)
	}
}

func TestFailuresAreLimited(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice", MaxCertificates: 1000})
	w.issued(post{account: "alice", password: password, from: "198.51.100.7:1"})
	// Guesses from many sources: the account is limited.
	for i := range failuresBurst {
		w.refused(post{account: "alice", password: fmt.Sprint("guess number ", i), from: fmt.Sprintf("192.0.2.%d:9", i)}, FailedAuthentication)
	}
	rec := w.do(post{account: "alice", password: password + "x", from: "192.0.2.99:9"})
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "30" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	if e := w.lastEvent(); e.Result != ResultLimited || e.Account != "alice" {
		t.Errorf("%+v", e)
	}
	// The right password is not even looked at from there, but where the account is at home it is.
	if rec := w.do(post{account: "alice", password: password + "y", from: "198.51.100.7:2"}); rec.Body.String() != string(FailedAuthentication) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	w.issued(post{account: "alice", password: password, from: "198.51.100.7:3"})
	w.clock.add(31 * time.Second)
	w.refused(post{account: "alice", password: "again wrong", from: "192.0.2.99:9"}, FailedAuthentication)
	// One source that tries many accounts: the source is limited.
	for i := range failuresBurst {
		w.refused(post{account: fmt.Sprint("user", i), password: password, from: fmt.Sprintf("[2001:db8::%x]:9", i)}, FailedAuthentication)
	}
	if rec := w.do(post{account: "user99", password: password, from: "[2001:db8::ffff:1]:9"}); rec.Code != http.StatusTooManyRequests {
		t.Errorf("%d: another address of the same /64 is not limited", rec.Code)
	}
	w.refused(post{account: "user99", password: password, from: "[2001:db8:0:1::1]:9"}, FailedAuthentication)
}

func TestRequestsAreLimited(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", ActsFor: []string{"*@example.org"}})
	key := w.key()
	for i := range requestsBurst {
		w.issued(post{account: "gw1", password: password, key: key, user: fmt.Sprintf("%d@example.org", i)})
	}
	if rec := w.do(post{account: "gw1", password: password, key: key}); rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "1" {
		t.Errorf("%d %v", rec.Code, rec.Header())
	}
	w.clock.add(time.Second / requestsPerSecond)
	w.issued(post{account: "gw1", password: password, key: key})
}

func TestBucketsAreBounded(t *testing.T) {
	b, now := newBuckets(1, 2, 100), time.Now()
	for i := range 10_000 {
		b.take(fmt.Sprint(i), now)
	}
	if len(b.m) > 100 {
		t.Errorf("%d buckets", len(b.m))
	}
	b.take("x", now)
	b.take("x", now)
	if _, ok := b.take("x", now); ok {
		t.Error("a third at once")
	}
	b.giveBack("x")
	if _, ok := b.take("x", now); !ok {
		t.Error("given back and not there")
	}
	if wait, ok := b.take("x", now.Add(-time.Hour)); ok || wait > time.Second {
		t.Errorf("a clock that goes back: %v %v", wait, ok)
	}
}

// A gate at work takes a bounded number of requests.
func TestGateIsBounded(t *testing.T) {
	g := newGate(openCheap(t, t.TempDir()))
	for range maxVerifying {
		if !g.enter(t.Context()) {
			t.Fatal("no turn")
		}
	}
	var wg sync.WaitGroup
	for range maxWaiting {
		wg.Go(func() {
			if !g.enter(t.Context()) {
				t.Error("refused")
				return
			}
			<-g.running
			<-g.waiting
		})
	}
	for len(g.waiting) < maxVerifying+maxWaiting {
		runtime.Gosched()
	}
	if g.enter(t.Context()) {
		t.Error("one too many waits")
	}
	for range maxVerifying {
		<-g.running
		<-g.waiting
	}
	wg.Wait()
}

func TestProofsFollowThePassword(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "alice"})
	w.issued(post{account: "alice", password: password})
	if _, err := w.accounts.Remove("alice"); err != nil {
		t.Fatal(err)
	}
	w.refused(post{account: "alice", password: password}, FailedAuthentication)
	if err := w.accounts.Add(Account{Name: "alice", User: "alice@example.org"}, "another horse", w.clock.now()); err != nil {
		t.Fatal(err)
	}
	w.refused(post{account: "alice", password: password}, FailedAuthentication)
	w.issued(post{account: "alice", password: "another horse"})
}

func TestCode(t *testing.T) {
	w := newWorld(t)
	if err := w.accounts.Add(Account{Name: "gw1", User: "gw1@example.org", ActsFor: []string{"*@example.org"}}, "", w.clock.now()); err != nil {
		t.Fatal(err)
	}
	w.refused(post{account: "gw1"}, FailedAuthentication) // no password is not the empty password
	text, err := w.accounts.NewCode("gw1", w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := asCode(text); !ok {
		t.Fatalf("code %q", text)
	}
	mine, theirs := w.key(), w.key()
	w.refused(post{account: "gw1", password: "00000-00000"}, FailedAuthentication)
	own := w.issued(post{account: "gw1", password: strings.ToLower(text), key: mine})
	// Whoever finds it later has not the key, and who copies a request gets nothing for a key of their own.
	w.refused(post{account: "gw1", password: text, key: theirs}, FailedAuthentication)
	w.clock.add(2 * CodeLifetime)
	if id := w.issued(post{account: "gw1", password: text, key: mine, user: "1001@example.org"}); id.Node != own.Node {
		t.Errorf("%s, then %s", own.Node, id.Node)
	}
	// A new code ends the old one, and ends itself when nobody uses it.
	if text, err = w.accounts.NewCode("gw1", w.clock.now()); err != nil {
		t.Fatal(err)
	}
	w.clock.add(CodeLifetime)
	w.refused(post{account: "gw1", password: text, key: mine}, FailedAuthentication)
}

// Two keys that use one code at the same time: one gets in.
func TestCodeIsGoodForOneKey(t *testing.T) {
	w := newWorld(t)
	w.add(Account{Name: "gw1", Gateway: true})
	text, err := w.accounts.NewCode("gw1", w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	const n = 8
	codes := make(chan int, n)
	var wg sync.WaitGroup
	for range n {
		p := post{account: "gw1", password: text, key: w.key()}
		wg.Go(func() { codes <- w.do(p).Code })
	}
	wg.Wait()
	close(codes)
	good := 0
	for c := range codes {
		if c == http.StatusOK {
			good++
		}
	}
	if good != 1 {
		t.Errorf("%d keys got in", good)
	}
}
