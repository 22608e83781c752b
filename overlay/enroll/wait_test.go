package enroll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

func TestRetryBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, begin := &Client{}, time.Now()
		var at []time.Duration
		err := c.retry(t.Context(), func(attempt int) error {
			at = append(at, time.Since(begin))
			switch attempt {
			case 3:
				return &StatusError{Status: http.StatusTooManyRequests, RetryAfter: time.Minute}
			case 14:
				return nil
			}
			return errors.New("connection refused")
		})
		if err != nil || len(at) != 15 {
			t.Fatal(err, at)
		}
		most := backoffFirst
		for i := 1; i < len(at); i++ {
			d := at[i] - at[i-1]
			low, high := most/2, most
			if i == 4 {
				low, high = time.Minute, time.Minute
			}
			if d < low || d > high {
				t.Errorf("pause %d: %v, want %v to %v", i, d, low, high)
			}
			most = min(2*most, backoffMost)
		}
	})
}

func TestRetryEnds(t *testing.T) {
	for _, err := range []error{&RefusedError{Token: BadCSR}, &StatusError{Status: 404}, fmt.Errorf("x: %w", ErrServerCertificate), ErrDocument, ErrCertificate,
		ErrNoServer} {
		n := 0
		if got := (&Client{}).retry(t.Context(), func(int) error { n++; return err }); !errors.Is(got, err) || n != 1 {
			t.Errorf("%v after %d attempts: %v", err, n, got)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		begin, last := time.Now(), errors.New("connection refused")
		if err := (&Client{}).retry(ctx, func(int) error { return last }); !errors.Is(err, last) {
			t.Error(err)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%v", d)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		begin = time.Now()
		if err := (&Client{}).retry(ctx, func(int) error { return last }); !errors.Is(err, last) || time.Since(begin) != time.Minute {
			t.Error(err, time.Since(begin))
		}
	})
}

// signerFor is a certificate of an authority of its own that is good for lifetime from now.
func signerFor(t *testing.T, a *trust.Authority, lifetime time.Duration) *trust.Signer {
	t.Helper()
	key, err := trust.GenerateKey(trust.P256)
	if err != nil {
		t.Fatal(err)
	}
	a.Lifetime = lifetime
	cert, err := a.IssueNode(time.Now(), "gw1@example.org", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s, err := trust.NewSigner("example.org", key, cert)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// F-11: "renewal at 2/3 of lifetime", and what happens while the server is down.
//
// Conformance: F-11
func TestRenewsAtTwoThirds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := trust.NewAuthority("example.org", trust.P256, time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		const lifetime = 30 * 24 * time.Hour
		first, begin := signerFor(t, a, lifetime), time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var failed []time.Duration
		var renewed []time.Duration
		down := 5
		r := &Renewer{
			Enroll: func(ctx context.Context) (*trust.Signer, error) {
				if down--; down >= 0 {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return signerFor(t, a, lifetime), nil
			},
			Renewed: func(s *trust.Signer) error {
				if renewed = append(renewed, time.Since(begin)); len(renewed) == 2 {
					cancel()
				}
				return nil
			},
			Failed: func(err error, until time.Time) {
				if !errors.Is(err, context.DeadlineExceeded) || !until.Equal(first.Identity().Cert.NotAfter) {
					t.Errorf("%v %v", err, until)
				}
				failed = append(failed, time.Since(begin))
			},
		}
		r.Run(ctx, first)
		twoThirds, spread := lifetime*2/3, lifetime/20
		if len(failed) != 5 || failed[0] > twoThirds+renewBudget || failed[0] < twoThirds-spread-time.Hour {
			t.Errorf("failed at %v", failed)
		}
		if len(renewed) != 2 || renewed[0]-failed[4] > backoffMost || renewed[1] < 2*(twoThirds-spread)-2*time.Hour || renewed[1] > 2*twoThirds+time.Hour {
			t.Errorf("renewed at %v", renewed)
		}
	})
}

// TestRenewalsDoNotFollowEachOtherAtOnce: where the server hands out what has to be renewed already, its clock being another one.
func TestRenewalsDoNotFollowEachOtherAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := trust.NewAuthority("example.org", trust.P256, time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		late := signerFor(t, a, time.Hour)
		time.Sleep(50 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		asked := 0
		r := &Renewer{
			Enroll: func(context.Context) (*trust.Signer, error) {
				asked++
				return late, nil
			},
			Renewed: func(*trust.Signer) error { return nil },
			Failed:  func(err error, _ time.Time) { t.Error(err) },
		}
		r.Run(ctx, late)
		if asked > int(time.Minute/renewLeast)+1 {
			t.Errorf("%d certificates in a minute", asked)
		}
	})
}

// TestCertificatesOfAnyLifetimeLastForAWhile: that they begin in the past must not make them old at once.
func TestCertificatesOfAnyLifetimeLastForAWhile(t *testing.T) {
	a, err := trust.NewAuthority("example.org", trust.P256, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, lifetime := range []time.Duration{time.Minute, 20 * time.Minute, time.Hour, 24 * time.Hour} {
		if left := time.Until(RenewAt(signerFor(t, a, lifetime).Identity().Cert)); left < lifetime/3 {
			t.Errorf("one for %v is to be renewed after %v", lifetime, left)
		}
	}
}

func TestRenewalsAreSpread(t *testing.T) {
	a, err := trust.NewAuthority("example.org", trust.P256, time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[time.Time]bool{}
	for range 20 {
		cert := signerFor(t, a, time.Hour).Identity().Cert
		at := RenewAt(cert)
		if at.After(twoThirds(cert)) || at.Before(twoThirds(cert).Add(-cert.NotAfter.Sub(cert.NotBefore)/20)) {
			t.Errorf("%v", at)
		}
		seen[at] = true
	}
	if len(seen) < 10 {
		t.Errorf("%d times for 20 certificates", len(seen))
	}
}

func TestCertifierCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := trust.NewAuthority("example.org", trust.P256, time.Now(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, release := signerFor(t, a, time.Hour), make(chan struct{})
		var asked, most, running atomic.Int32
		c := newCertifier(time.Now, func(context.Context, string) (*trust.Signer, error) {
			asked.Add(1)
			most.Store(max(most.Load(), running.Add(1)))
			<-release
			running.Add(-1)
			return s, nil
		})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if got, err := c.Signer(fmt.Sprint(i % 10)); err != nil || got != s {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if asked.Load() != certifierRunning {
			t.Errorf("%d at a time", asked.Load())
		}
		close(release)
		wg.Wait()
		if asked.Load() != 10 || most.Load() > certifierRunning {
			t.Errorf("asked %d times, %d at a time", asked.Load(), most.Load())
		}
	})
}

func TestCertifierIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCertifier(time.Now, func(ctx context.Context, _ string) (*trust.Signer, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		begin := time.Now()
		var busy atomic.Int32
		var wg sync.WaitGroup
		for i := range certifierRunning + certifierWaiting + 10 {
			wg.Go(func() {
				_, err := c.Signer(fmt.Sprint(i))
				if errors.Is(err, ErrBusy) && time.Since(begin) == 0 {
					busy.Add(1)
				} else if !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(begin); d != CertifierBudget || busy.Load() != 10 {
			t.Errorf("%v, %d refused", d, busy.Load())
		}
	})
}

func TestCertifierRemembersRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		answer := error(&RefusedError{Token: UsernameNotAvailable})
		c := newCertifier(time.Now, func(context.Context, string) (*trust.Signer, error) { asked++; return nil, answer })
		ask := func(want int) {
			t.Helper()
			if _, err := c.Signer("x"); !errors.Is(err, answer) || asked != want {
				t.Errorf("%v, asked %d times, want %d", err, asked, want)
			}
		}
		ask(1)
		time.Sleep(deniedFor - time.Second)
		ask(1)
		time.Sleep(time.Second)
		answer = errors.New("connection refused")
		ask(2)
		time.Sleep(failedFor)
		ask(3)
		for i := range certifierDenied + 10 {
			_, _ = c.Signer(fmt.Sprint(i))
		}
		if len(c.denied) > certifierDenied {
			t.Errorf("%d remembered", len(c.denied))
		}
	})
}
