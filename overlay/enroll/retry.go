package enroll

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// retry runs f until it succeeds, fails for good, or ctx ends. Between attempts it waits twice as long each time, a random part
// of that, and as long as the server says. The error is the last one of f.
func (c *Client) retry(ctx context.Context, f func(attempt int) error) error {
	for attempt := 0; ; attempt++ {
		err := f(attempt)
		if err == nil || !worthwhile(err) {
			return err
		}
		var status *StatusError
		wait := backoff(attempt)
		if errors.As(err, &status) {
			wait = max(wait, status.RetryAfter)
		}
		if c.pause(ctx, wait) != nil {
			return err
		}
	}
}

// backoff is how long to wait after attempt, which counts from 0: random, so that nodes that lost their server at the same time
// do not come back at the same time.
func backoff(attempt int) time.Duration {
	most := min(backoffFirst<<min(attempt, 16), backoffMost)
	return most/2 + rand.N(most/2+1)
}

func randomIndex(n int) int { return rand.IntN(n) }

// worthwhile tells whether the same request may succeed later.
func worthwhile(err error) bool {
	var refused *RefusedError
	var status *StatusError
	switch {
	case errors.As(err, &status):
		return status.Status >= 500 || status.Status == http.StatusTooManyRequests || status.Status == http.StatusRequestTimeout
	case errors.As(err, &refused), errors.Is(err, ErrServerCertificate), errors.Is(err, ErrDocument), errors.Is(err, ErrCertificate),
		errors.Is(err, ErrNoServer), errors.Is(err, context.Canceled):
		return false
	}
	return true // the network
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.sleep != nil {
		return c.sleep(ctx, d)
	}
	return wait(ctx, d)
}

// wait lets d pass, or returns the error of ctx. When ctx would end before, it does not wait.
func wait(ctx context.Context, d time.Duration) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
