package enroll

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// gate authenticates accounts (RFC 6940 §11.3: "The enrollment server MUST authenticate the request using the provided account
// name and password"). An unknown account takes as long as a wrong password. It is safe for concurrent use.
type gate struct {
	accounts *Accounts
	sources  *buckets // failures
	names    *buckets // failures
	running  chan struct{}
	waiting  chan struct{}

	key [32]byte // of proofs
	mu  sync.Mutex
	// proofs remembers, as a keyed hash that does not leave this process, which password was right for which secret: a gateway
	// that gets ten thousand certificates does not compute argon2id ten thousand times.
	proofs map[[32]byte]time.Time
	// friends are accounts at the sources where they were used with success: guesses of others do not lock those out.
	friends map[[32]byte]bool
}

func newGate(a *Accounts) *gate {
	g := &gate{accounts: a,
		sources: newBuckets(sourceFailuresPerSecond, failuresBurst, maxSources),
		names:   newBuckets(accountFailuresPerSecond, failuresBurst, maxSources),
		running: make(chan struct{}, maxVerifying), waiting: make(chan struct{}, maxVerifying+maxWaiting),
		proofs: map[[32]byte]time.Time{}, friends: map[[32]byte]bool{}}
	_, _ = rand.Read(g.key[:]) // never fails
	return g
}

// limited says that a request must not be looked at now.
type limitedError struct {
	wait time.Duration
	busy bool // the server's own limit, not the client's
}

func (e *limitedError) Error() string {
	if e.busy {
		return "enroll: too many passwords to verify"
	}
	return "enroll: too many failures"
}

// authenticate checks credentials that came from source. Refusals are *RefusedError and *limitedError. known tells whether
// there is such an account; it is for the operator.
func (g *gate) authenticate(ctx context.Context, source, name, password string, now time.Time) (gr *grant, known bool, err error) {
	n, err := g.accounts.lookup(name)
	if err != nil {
		return nil, false, err
	}
	gr = &grant{account: name}
	text, isCode := asCode(password)
	if gr.byCode = isCode; isCode {
		password = text
		if n != nil && n.code != nil {
			gr.secret = n.code.secret
		}
	} else if n != nil {
		gr.secret = n.secret
	}
	proof, friend := g.mac("proof", name, password, string(gr.secret)), g.mac("friend", name, source)
	if !g.proved(proof, now) {
		if err := g.verify(ctx, source, name, friend, func() bool { return gr.secret.matches(password, g.accounts.cost) }, now); err != nil {
			return nil, n != nil, err
		}
		g.remember(proof, friend, now)
	}
	return gr, n != nil, nil
}

// verify runs matches within the limits.
func (g *gate) verify(ctx context.Context, source, name string, friend [32]byte, matches func() bool, now time.Time) error {
	// A token is taken before, so that many guesses at once are not better than one after the other.
	if wait, ok := g.sources.take(source, now); !ok {
		return &limitedError{wait: wait}
	}
	trusted := g.isFriend(friend)
	if !trusted {
		if wait, ok := g.names.take(name, now); !ok {
			return &limitedError{wait: wait}
		}
	}
	giveBack := func() {
		g.sources.giveBack(source)
		if !trusted {
			g.names.giveBack(name)
		}
	}
	if !g.enter(ctx) {
		giveBack()
		return &limitedError{wait: busyRetry, busy: true}
	}
	defer func() { <-g.running; <-g.waiting }()
	if !matches() {
		return refuse(FailedAuthentication, "wrong account name or password")
	}
	giveBack()
	return nil
}

// enter waits for a turn, when not too many wait already.
func (g *gate) enter(ctx context.Context) bool {
	select {
	case g.waiting <- struct{}{}:
	default:
		return false
	}
	select {
	case g.running <- struct{}{}:
		return true
	case <-ctx.Done():
		<-g.waiting
		return false
	}
}

func (g *gate) mac(parts ...string) (sum [32]byte) {
	h := hmac.New(sha256.New, g.key[:])
	for _, p := range parts {
		_, _ = h.Write([]byte{byte(len(p) >> 8), byte(len(p))}) // a hash takes everything
		_, _ = h.Write([]byte(p))
	}
	h.Sum(sum[:0])
	return sum
}

func (g *gate) proved(proof [32]byte, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.proofs[proof]
	return ok && now.Before(until)
}

func (g *gate) isFriend(friend [32]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.friends[friend]
}

func (g *gate) remember(proof, friend [32]byte, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for other := range g.proofs {
		if len(g.proofs) < maxProofs {
			break
		}
		delete(g.proofs, other) // any one: what is lost is 20 ms
	}
	for other := range g.friends {
		if len(g.friends) < maxFriends {
			break
		}
		delete(g.friends, other)
	}
	g.proofs[proof], g.friends[friend] = now.Add(proofLifetime), true
}
