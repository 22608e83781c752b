package sipusage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// showing runs what puts certificates into the overlay.
func (b *bench) showing() (c *Certificates, stop func()) {
	c = NewCertificates(b.gateway, b.self)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { c.Run(ctx); close(ended) }()
	synctest.Wait()
	return c, func() { cancel(); <-ended }
}

// offering runs a publisher that offers certificates to c.
func (b *bench) offering(c *Certificates) {
	b.p = NewPublisher(b.gateway, b.self, b.gateway)
	b.p.ShowCertificates(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { b.p.Run(ctx); close(ended) }()
	b.stop = func() { cancel(); <-ended }
	synctest.Wait()
}

func (b *bench) stand(name string, kind wire.KindID) []overlay.Value {
	b.Helper()
	values, err := b.Fetch(context.Background(), wire.ResourceIDOf(name), kind)
	if err != nil {
		b.Fatal(err)
	}
	return values
}

func (b *bench) byNode() []overlay.Value {
	return b.stand(string(b.NodeID().Bytes()), wire.KindCertificateByNode)
}

func (b *bench) signer(aor string) *trust.Signer {
	b.Helper()
	s, err := b.Signer(aor)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// renew replaces the gateway's own certificate.
func (b *bench) renew() *trust.Signer {
	b.Helper()
	cert, err := b.authority.IssueUser(time.Now(), b.self.Identity().User, b.NodeID(), b.self.Key().Public())
	if err != nil {
		b.Fatal(err)
	}
	s, err := trust.NewSigner(domain, b.self.Key(), cert)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// However often the gateway starts, its certificate stands once under its user name and once under its Node-ID.
//
// Conformance: D-48 D-49
func TestRFC6940_8_CertificateStandsAtUserAndNode(t *testing.T) {
	publishing(t, func(b *bench) {
		for range 10 {
			_, stop := b.showing()
			b.after(time.Minute)
			stop()
		}
		for name, values := range map[string][]overlay.Value{
			"node": b.byNode(), "user": b.stand("gw1@"+domain, wire.KindCertificateByUser),
		} {
			if len(values) != 1 || !bytes.Equal(values[0].Value.Data, b.self.Chain()[0].Raw) {
				b.Errorf("%s: %d values", name, len(values))
			}
		}
		if n := len(b.log()); n != 2 {
			b.Errorf("%d Stores, want 2", n)
		}
	})
}

// RFC 6940 §8: "New certificates are stored at the end of the list."
//
// Conformance: D-48
func TestRFC6940_8_RenewedCertificateIsAppended(t *testing.T) {
	publishing(t, func(b *bench) {
		c, stop := b.showing()
		defer stop()
		b.after(time.Hour)
		renewed, old := b.renew(), b.self
		b.self = renewed
		c.Renew(renewed)
		synctest.Wait()
		values := b.byNode()
		if len(values) != 2 || !bytes.Equal(values[0].Value.Data, old.Chain()[0].Raw) ||
			!bytes.Equal(values[1].Value.Data, renewed.Chain()[0].Raw) || values[1].Value.Index != 1 {
			b.Fatalf("%d values", len(values))
		}
		b.after(time.Until(old.Chain()[0].NotAfter) + time.Second)
		if values = b.byNode(); len(values) != 1 || values[0].Value.Index != 1 {
			b.Errorf("after the end of the old one: %d values", len(values))
		}
	})
}

// The certificates of users go to H(user), all of them, and to H(Node-ID) as long as there is room.
//
// Conformance: D-48
func TestCertificatesOfUsers(t *testing.T) {
	publishing(t, func(b *bench) {
		c, stop := b.showing()
		defer stop()
		b.stop()
		b.offering(c)
		const users = 40
		for i := range users {
			b.publish(location.AOR(fmt.Sprintf("user%d@%s", i, domain)), time.Hour)
		}
		b.after(users*certificateInterval + time.Second)
		for i := range users {
			aor := fmt.Sprintf("user%d@%s", i, domain)
			values := b.stand(aor, wire.KindCertificateByUser)
			if len(values) != 1 || !bytes.Equal(values[0].Value.Data, b.signer(aor).Chain()[0].Raw) {
				b.Fatalf("%s: %d certificates", aor, len(values))
			}
		}
		if n := len(b.byNode()); n != maxUserCertificates {
			b.Errorf("%d certificates at the Node-ID", n)
		}
		if !c.full.After(time.Now()) {
			b.Error("the full place is looked at for each user")
		}
		stores := len(b.log())
		b.after(5 * time.Hour) // records are refreshed, certificates are not
		for _, s := range b.log()[stores:] {
			if s.lifetime > maxLifetime {
				b.Fatalf("a certificate was stored again: %+v", s)
			}
		}
	})
}

func TestCertificateIsTriedAgain(t *testing.T) {
	publishing(t, func(b *bench) {
		b.set(func(r *ring) { r.fail = func(string) error { return errors.New("no route") } })
		_, stop := b.showing()
		defer stop()
		b.after(time.Minute)
		b.set(func(r *ring) { r.fail = nil })
		b.after(2 * retryCertificate)
		if n := len(b.byNode()); n != 1 {
			b.Errorf("%d certificates", n)
		}
	})
}

// Conformance: F-12
func TestRFC6940_7_1_RenewalStoresEveryLiveValueAnew(t *testing.T) {
	publishing(t, func(b *bench) {
		if err := b.p.PublishAddresses([]string{"sip:192.0.2.1"}); err != nil {
			b.Fatal(err)
		}
		b.publish("alice@"+domain, 3*365*24*time.Hour)
		b.publish("bob@"+domain, 3*365*24*time.Hour)
		b.after(10 * time.Minute)
		first := b.self.Chain()[0].NotAfter
		renewed := b.renew()
		b.mu.Lock()
		clear(b.users) // the keyring has new ones
		b.mu.Unlock()
		before := len(b.log())
		b.p.Renew(renewed)
		b.after(time.Second)
		if n := len(b.log()) - before; n != 3 {
			b.Errorf("%d Stores after the renewal, want 3", n)
		}
		for _, res := range []struct {
			id   wire.ResourceID
			kind wire.KindID
		}{
			{resource("alice@" + domain), wire.KindSIPRegistration},
			{resource("bob@" + domain), wire.KindSIPRegistration},
			{addressResource(b.NodeID()), wire.KindSIPGateway},
		} {
			values, err := b.Fetch(context.Background(), res.id, res.kind)
			if err != nil || len(values) != 1 || !values[0].Signer.Cert.NotAfter.After(first) {
				b.Errorf("%s: %d values, %v", res.id.Short(), len(values), err)
			}
		}
	})
}

// A record is refreshed before the certificate that signed it ends, though it was stored for longer.
//
// Conformance: F-12
func TestRecordDoesNotOutliveItsCertificateUnnoticed(t *testing.T) {
	publishing(t, func(b *bench) {
		b.authority.Lifetime = 3 * time.Hour // of the users' certificates
		b.publish("alice@"+domain, 24*time.Hour)
		b.after(time.Second)
		end := b.signer("alice@" + domain).Chain()[0].NotAfter
		b.after(time.Until(end) - 10*time.Minute)
		b.mu.Lock()
		clear(b.users)
		b.mu.Unlock()
		for range 20 {
			b.after(time.Minute)
			values, err := b.Fetch(context.Background(), resource("alice@"+domain), wire.KindSIPRegistration)
			if err != nil || len(values) != 1 {
				b.Fatalf("%v after the old certificate: %d values, %v", time.Since(end), len(values), err)
			}
		}
	})
}

// Conformance: H-37
func TestCertifiedUser(t *testing.T) {
	publishing(t, func(b *bench) {
		_, stop := b.showing()
		defer stop()
		s := NewService(b.gateway, func(string) (location.AOR, bool) { return "", false })
		defer s.Close()
		const aor = "gw1@" + domain
		cached := func(aor location.AOR, certified, known bool) {
			b.Helper()
			if c, k := s.CertifiedCached(aor); c != certified || k != known {
				b.Errorf("%s: certified %v, known %v", aor, c, k)
			}
		}
		cached(aor, false, false)
		if ok, err := s.Certified(context.Background(), aor); !ok || err != nil {
			b.Errorf("a user with a certificate: %v, %v", ok, err)
		}
		cached(aor, true, true)
		if ok, err := s.Certified(context.Background(), "nobody@"+domain); ok || err != nil {
			b.Errorf("nobody: %v, %v", ok, err)
		}
		cached("nobody@"+domain, false, true)
		b.set(func(r *ring) { r.fail = func(string) error { return overlay.ErrTimeout } })
		if _, err := s.Certified(context.Background(), "other@"+domain); !errors.Is(err, location.ErrUnavailable) {
			b.Errorf("without an answer: %v", err)
		}
	})
}

// A user who is registered nowhere any more is known by the certificate alone: it does not wait for those of users who are.
func TestTheCertificateOfWhoHasGoneComesFirst(t *testing.T) {
	publishing(t, func(b *bench) {
		c, stop := b.showing()
		defer stop()
		b.stop()
		b.offering(c)
		const users = 100
		for i := range users {
			b.publish(location.AOR(fmt.Sprintf("user%d@%s", i, domain)), time.Hour)
		}
		const last = "user99@" + domain
		b.answered(b.withdraw(last), nil)
		b.after(3 * certificateInterval)
		if n := len(b.stand(last, wire.KindCertificateByUser)); n != 1 {
			b.Errorf("%d certificates of a user who has gone", n)
		}
		b.after((users + 4) * certificateInterval)
		for i := range users {
			if n := len(b.stand(fmt.Sprintf("user%d@%s", i, domain), wire.KindCertificateByUser)); n != 1 {
				b.Errorf("%d certificates of user %d", n, i)
			}
		}
		fetches := b.fetched()
		b.publish(last, time.Hour)
		b.answered(b.withdraw(last), nil)
		b.after(time.Minute)
		if n := b.fetched() - fetches; n != 0 {
			b.Errorf("%d Fetches for a certificate that stands", n)
		}
	})
}
