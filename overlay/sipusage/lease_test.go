package sipusage

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

const account = location.AOR("itsp@" + domain)

// claimants are gateways of one ring that want one account.
type claimants struct {
	*testing.T
	gateways []*gateway
	claims   []*Claim
	dead     map[*gateway]bool
}

func claiming(t *testing.T, n int, test func(c *claimants)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &claimants{T: t, dead: map[*gateway]bool{}}
		r := newRing(t)
		for range n {
			g := r.gateway("gw")
			c.gateways = append(c.gateways, g)
			c.claims = append(c.claims, NewLeases(dying{g, c.dead}, g, nil).Claim(account, func() {}))
		}
		test(c)
		for _, claim := range c.claims {
			claim.Release(expired())
		}
	})
}

// dying is a gateway that may be cut off.
type dying struct {
	*gateway
	dead map[*gateway]bool
}

func (d dying) off() bool {
	d.ring.mu.Lock()
	defer d.ring.mu.Unlock()
	return d.dead[d.gateway]
}

func (d dying) FetchCounted(ctx context.Context, res wire.ResourceID, kind wire.KindID) ([]overlay.Value, uint64, error) {
	if d.off() {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	return d.gateway.FetchCounted(ctx, res, kind)
}

func (d dying) PutIf(ctx context.Context, what overlay.Put) (uint64, error) {
	if d.off() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return d.gateway.PutIf(ctx, what)
}

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// holder waits until somebody else than not holds the account, and that nobody else does.
func (c *claimants) holder(not int, within time.Duration) int {
	c.Helper()
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		synctest.Wait()
		holder, holders := -1, 0
		for i, claim := range c.claims {
			if claim.Held() {
				holder = i
				holders++
			}
		}
		if holders > 1 {
			c.Fatal("two hold the account at once")
		}
		if holder >= 0 && holder != not {
			return holder
		}
	}
	c.Fatalf("no other holder within %v", within)
	return -1
}

// Feature: TRK-05
func TestOneGatewayHoldsAnAccount(t *testing.T) {
	claiming(t, 3, func(c *claimants) {
		first := c.holder(-1, 15*time.Second)
		time.Sleep(5 * time.Minute)
		if again := c.holder(-1, time.Second); again != first {
			t.Errorf("%d holds it, then %d: who is alive keeps it", first, again)
		}
		for i, claim := range c.claims {
			if want := c.gateways[first].gr(); i != first && claim.Holder() != want {
				t.Errorf("%d takes %q for the holder, want %q", i, claim.Holder(), want)
			}
		}
		if h := c.claims[first].Holder(); h != "" {
			t.Errorf("the holder sees %q", h)
		}
	})
}

// A gateway that is cut off knows it before another one has the account.
func TestCutOffHolder(t *testing.T) {
	claiming(t, 2, func(c *claimants) {
		first := c.holder(-1, 15*time.Second)
		c.gateways[first].set(func(*ring) { c.dead[c.gateways[first]] = true })
		c.holder(first, 30*time.Second)
		if err := c.claims[first].Err(); !errors.Is(err, location.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		c.gateways[first].set(func(*ring) { clear(c.dead) })
		time.Sleep(time.Minute)
		if again := c.holder(-1, time.Second); again == first {
			t.Error("who comes back takes the account from who has it")
		}
	})
}

func TestReleasedAccount(t *testing.T) {
	claiming(t, 2, func(c *claimants) {
		first := c.holder(-1, 15*time.Second)
		c.claims[first].Release(context.Background())
		c.claims[first] = NewLeases(c.gateways[first], c.gateways[first], nil).Claim(account, func() {})
		c.holder(-1, 5*time.Second)
	})
}

// Without a certificate of the account's name nothing is claimed, and somebody is told.
func TestAccountWithoutCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw")
		told := make(chan struct{}, 9)
		c := NewLeases(g, g, nil).Claim("nobody@"+domain, func() { told <- struct{}{} })
		time.Sleep(time.Minute)
		if err := c.Err(); c.Held() || !errors.Is(err, location.ErrForbidden) || len(told) != 1 {
			t.Errorf("held %v, told %d times, error %v", c.Held(), len(told), err)
		}
		c.Release(expired())
	})
}

// Without the Kind in the document nothing is claimed, and nobody waits for it to be given back. A new document is enough.
func TestAccountWithoutKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t)
		g, with := r.gateway("gw"), r.conf
		without := *with
		without.Kinds = slices.DeleteFunc(slices.Clone(with.Kinds), func(k config.Kind) bool { return k.ID == wire.KindAccountLease })
		r.set(func(r *ring) { r.conf = &without })
		told := make(chan struct{}, 99)
		claim := func() *Claim { return NewLeases(g, g, nil).Claim(account, func() { told <- struct{}{} }) }
		c := claim()
		time.Sleep(time.Minute)
		if err := c.Err(); c.Held() || !errors.Is(err, location.ErrNotOffered) || len(told) != 1 {
			t.Errorf("held %v, told %d times, error %v", c.Held(), len(told), err)
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c.Release(ctx)
		cancel()
		if d := time.Since(begin); d > 0 {
			t.Errorf("released after %v", d)
		}
		c = claim()
		time.Sleep(time.Minute)
		r.set(func(r *ring) { r.conf = with })
		time.Sleep(20 * time.Second)
		if !c.Held() || c.Err() != nil {
			t.Errorf("with the Kind: held %v, %v", c.Held(), c.Err())
		}
		c.Release(expired())
	})
}

// A record is signed with a certificate of the account's name, or it is refused: RFC 6940 §7.3.1.
func TestLeaseOfAnotherUser(t *testing.T) {
	g := newRing(t).gateway("gw")
	other, err := g.Signer("mallory@" + domain)
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.PutIf(t.Context(), overlay.Put{By: other, Resource: resource(account), Kind: wire.KindAccountLease, StorageTime: time.Now(),
		Value: wire.StoredValue{Model: wire.SingleValue, Exists: true, Data: make([]byte, leaseSize)}, Lifetime: time.Minute})
	var remote *overlay.RemoteError
	if !errors.As(err, &remote) || remote.Code != wire.ErrorForbidden {
		t.Errorf("error %v, want Error_Forbidden", err)
	}
}
