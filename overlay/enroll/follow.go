package enroll

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/p2psip/p2psip-gateway/overlay/config"
)

// Follower fetches the configuration document of a running node again and again. RFC 6940 §11.1: "The node SHOULD retrieve a new
// copy of the configuration at a randomly selected time that is before the expiration time."
type Follower struct {
	// Client fetches it. Its Previous is not used.
	Client *Client
	// Current is the configuration at the time: a document must be signed by one of its signers, and be newer.
	Current func() *config.Overlay
	// Newer gets each newer document.
	Newer func(context.Context, *Document) error
	// Failed gets each failure, of Newer too. The present document stays in place (RFC 6940 §11.2).
	Failed func(error)
	// Interval is the time between two looks, more or less a tenth. Before the present document expires there is always one.
	Interval time.Duration
}

// Run looks until ctx ends, the first time after an interval.
func (f *Follower) Run(ctx context.Context) {
	failures, etag := 0, ""
	for {
		if sleep(ctx, f.pause(time.Now(), failures)) != nil {
			return
		}
		tag, err := f.look(ctx, etag)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			f.Failed(err)
			continue
		}
		failures, etag = 0, tag
	}
}

// look fetches the document if it is another one than that of etag, and hands it over if it is newer.
func (f *Follower) look(ctx context.Context, etag string) (tag string, err error) {
	c, now := *f.Client, f.Current()
	c.Previous, c.Overlay = now, now.InstanceName
	d, tag, err := c.fetch(ctx, etag)
	if err != nil || d == nil || !config.Newer(d.Overlay.Sequence, now.Sequence) {
		return tag, err
	}
	return tag, f.Newer(ctx, d)
}

// pause is how long to wait for the next look.
func (f *Follower) pause(now time.Time, failures int) time.Duration {
	d := f.Interval
	if failures > 0 {
		d = min(d, backoff(failures+followBackoff))
	}
	if end := f.Current().Expiration; !end.IsZero() {
		d = min(d, max(end.Sub(now)/2, followLeast))
	}
	return d*9/10 + rand.N(d/5+1)
}
