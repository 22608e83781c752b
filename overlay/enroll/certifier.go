package enroll

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
)

// Certifier gets a gateway the certificates of its users when they are first needed: the gateway's key and Node-ID, the user's
// name. Requests for the same user become one; a few run at a time, more wait, and more than that fail with ErrBusy. What was
// refused is not asked for again for a minute. It keeps no certificates: its caller does. It is safe for concurrent use.
type Certifier struct {
	enroll func(ctx context.Context, user string) (*trust.Signer, error)
	now    func() time.Time

	group   singleflight.Group
	waiting chan struct{}
	running chan struct{}

	mu     sync.Mutex
	denied map[string]denial
}

type denial struct {
	err   error
	until time.Time
}

// NewCertifier asks the enrollment servers of what overlay is at the time with the account of c, for node, which is the gateway's
// own identity.
func NewCertifier(c *Client, overlay func() *config.Overlay, node *trust.Signer) *Certifier {
	return newCertifier(c.now, func(ctx context.Context, user string) (*trust.Signer, error) {
		return c.Enroll(ctx, overlay(), Request{Key: node.Key(), User: user, Node: node.Identity().Node})
	})
}

func newCertifier(now func() time.Time, enroll func(context.Context, string) (*trust.Signer, error)) *Certifier {
	return &Certifier{enroll: enroll, now: now, waiting: make(chan struct{}, certifierRunning+certifierWaiting),
		running: make(chan struct{}, certifierRunning), denied: map[string]denial{}}
}

// Signer gets a new certificate for user. It takes CertifierBudget at most.
func (c *Certifier) Signer(user string) (*trust.Signer, error) {
	if err := c.refused(user); err != nil {
		return nil, err
	}
	v, err, _ := c.group.Do(user, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), CertifierBudget)
		defer cancel()
		if err := c.enter(ctx); err != nil {
			return nil, err
		}
		defer func() { <-c.running; <-c.waiting }()
		s, err := c.enroll(ctx, user)
		if err != nil {
			c.remember(user, err)
			return nil, err
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	s, _ := v.(*trust.Signer)
	return s, nil
}

func (c *Certifier) enter(ctx context.Context) error {
	select {
	case c.waiting <- struct{}{}:
	default:
		return ErrBusy
	}
	select {
	case c.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-c.waiting
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	}
}

func (c *Certifier) refused(user string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.denied[user]
	if !ok || !c.now().Before(d.until) {
		return nil
	}
	return d.err
}

func (c *Certifier) remember(user string, err error) {
	var refused *RefusedError
	d := denial{err, c.now().Add(failedFor)}
	if errors.As(err, &refused) {
		d.until = c.now().Add(deniedFor)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.denied {
		if len(c.denied) < certifierDenied {
			break
		}
		delete(c.denied, other) // any one: what is lost is one question
	}
	c.denied[user] = d
}
