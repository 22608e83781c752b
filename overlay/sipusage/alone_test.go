package sipusage

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// lonely is publishing for a gateway that is alone in its ring, until comes.
func lonely(t *testing.T, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.company = make(chan struct{})
		b := &bench{T: t, gateway: g, start: time.Now()}
		b.run()
		test(b)
		b.stop()
	})
}

// comes is when somebody links with the gateway.
func (b *bench) comes() {
	close(b.company)
	synctest.Wait()
}

func (b *bench) welcomed(want int) {
	b.Helper()
	b.ring.mu.Lock()
	defer b.ring.mu.Unlock()
	if b.welcomes != want {
		b.Fatalf("welcomed %d times, want %d", b.welcomes, want)
	}
}

func TestNothingIsStoredBeforeSomebodyComes(t *testing.T) {
	lonely(t, func(b *bench) {
		b.answered(b.publish("alice@example.org", time.Hour), nil)
		if !b.p.Extend("bob@example.org", time.Now().Add(time.Hour)) || !b.p.Extend("alice@example.org", time.Now().Add(2*time.Hour)) {
			t.Error("there is more to do than to note it")
		}
		b.answered(b.publish("carol@example.org", time.Hour), nil)
		b.answered(b.withdraw("carol@example.org"), nil)
		b.answered(b.withdraw("dave@example.org"), nil)
		b.p.Renew(b.self)
		b.after(10 * time.Minute)
		b.written(0, 0)
		b.state("alice@example.org", Alone)
		b.state("carol@example.org", "")
		if n := b.p.Stats().Records[Alone]; n != 2 || b.remembered() != 2 {
			t.Errorf("%d records are kept back, %d remembered", n, b.remembered())
		}
		b.welcomed(0)

		b.comes()
		b.welcomed(1)
		b.state("alice@example.org", Stored)
		b.found("alice@example.org", 1)
		b.found("bob@example.org", 1)
		b.found("carol@example.org", 0)
		b.written(2, 2) // carol and dave are removed: nobody knows what an earlier run has stored
		b.answered(b.publish("erin@example.org", time.Hour), nil)
		b.found("erin@example.org", 1)
		b.answered(b.withdraw("alice@example.org"), nil)
		b.written(3, 3)
		b.after(2 * time.Hour) // renewals, and the end of bob
		b.found("bob@example.org", 0)
	})
}

// Who comes waits for everybody, and not for ever for those whose record is not taken.
func TestWhoComesIsWelcomeWhenEverybodyWasTried(t *testing.T) {
	lonely(t, func(b *bench) {
		for i := range 200 {
			b.publish(location.AOR(fmt.Sprintf("u%d@example.org", i)), time.Hour)
		}
		b.publish("lapsed@example.org", time.Second)
		b.after(time.Minute)
		var failed atomic.Bool
		b.set(func(r *ring) {
			r.delay = time.Second
			r.fail = func(string) error {
				if failed.Swap(true) {
					return nil
				}
				return overlay.ErrTimeout
			}
		})
		b.comes()
		b.after(6500 * time.Millisecond) // 32 at once: in seven seconds all 200
		b.welcomed(0)
		b.after(time.Second)
		b.welcomed(1)
		if n := len(b.log()); n < 200 || n > 201 {
			t.Errorf("%d Stores", n)
		}
		b.after(time.Minute)
		if n := b.p.Stats().Records[Stored]; n != 200 {
			t.Errorf("%d are stored", n)
		}
		b.welcomed(1)
	})
}

// A user without a certificate is told of at once, as ever: somebody has to issue one. Users of other domains, forwardings, number ranges and addresses are
// handled as ever, too.
func TestWhatIsNotKeptBack(t *testing.T) {
	lonely(t, func(b *bench) {
		var told []location.AOR
		b.p.Watch(func(aor location.AOR, err error) {
			if err != nil {
				told = append(told, aor)
			}
		})
		b.answered(b.publish("nobody@example.org", time.Hour), location.ErrForbidden)
		b.state("nobody@example.org", LocalOnly)
		if len(told) != 1 || told[0] != "nobody@example.org" {
			t.Errorf("told of %v", told)
		}
		a := &answer{}
		if err := b.p.Forward("alice@example.org", "sip:bob@example.org", a.done); err != nil {
			t.Fatal(err)
		}
		if err := b.p.PublishAddresses([]string{"sip:192.0.2.1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.answered(a, nil)
		b.state("alice@example.org", Stored)
		b.answered(b.publish("+49301234*@example.org", time.Hour), nil)
		b.state("+49301234*@example.org", Stored)
		b.written(3, 0)
		// The end of a forwarding is stored as well: it stands there.
		b.answered(b.publish("alice@example.org", time.Hour), nil)
		b.state("alice@example.org", Stored)
		b.found("alice@example.org", 1)
		// One in the place of what was kept back.
		b.publish("carol@example.org", time.Hour)
		b.state("carol@example.org", Alone)
		a = &answer{}
		if err := b.p.Forward("carol@example.org", "sip:bob@example.org", a.done); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.answered(a, nil)
		b.state("carol@example.org", Stored)
	})
}

// What an earlier run has stored is renewed and removed as ever.
func TestWhatAnEarlierRunHasStoredIsNotKeptBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.own = true
		g.registerHere("alice@example.org")
		g.registerHere("bob@example.org")
		time.Sleep(time.Second)
		g.company = make(chan struct{})
		b := &bench{T: t, gateway: g}
		b.joined = make(chan struct{})
		b.run()
		b.publish("alice@example.org", time.Hour) // before it is in the ring, as after a start
		b.publish("carol@example.org", time.Hour)
		close(b.joined)
		synctest.Wait()
		b.state("alice@example.org", Stored)
		b.state("carol@example.org", Alone)
		b.publish("dave@example.org", time.Hour)
		b.state("dave@example.org", Alone)
		b.answered(b.withdraw("bob@example.org"), nil)
		b.written(1, 1)
		b.found("bob@example.org", 0)
		b.comes()
		b.found("carol@example.org", 1)
		b.found("dave@example.org", 1)
		b.stop()
	})
}

// Who is registered, goes and comes again is there, also where something of an earlier run may be: a phone that changed its mind before this gateway was in its ring.
func TestWhoGoesAndComesAgainIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.company = make(chan struct{})
		b := &bench{T: t, gateway: g}
		b.joined = make(chan struct{})
		b.run()
		b.withdraw("alice@example.org")
		b.publish("alice@example.org", time.Hour)
		close(b.joined)
		synctest.Wait()
		b.state("alice@example.org", Alone)
		b.answered(b.withdraw("alice@example.org"), nil)
		b.state("alice@example.org", "")
		if b.p.Extend("alice@example.org", time.Now().Add(time.Hour)) {
			t.Error("what is not wanted is wanted for longer")
		}
		b.answered(b.publish("alice@example.org", time.Hour), nil)
		b.comes()
		b.state("alice@example.org", Stored)
		b.found("alice@example.org", 1)
		b.stop()
	})
}

// Who comes waits for what is on its way to be stored just then, too.
func TestWhoComesWaitsForWhatIsOnItsWay(t *testing.T) {
	lonely(t, func(b *bench) {
		b.set(func(r *ring) { r.delay = time.Second })
		if err := b.p.Forward("alice@example.org", "sip:bob@example.org", func(error) {}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.comes()
		b.welcomed(0)
		b.after(time.Second)
		b.welcomed(1)
		b.written(1, 0)
	})
}

// Until what was kept back is stored it counts as registered here: who calls meanwhile is not told that nobody is there.
func TestWhatIsOnItsWayIsSeenHere(t *testing.T) {
	lonely(t, func(b *bench) {
		b.publish("alice@example.org", time.Hour)
		b.set(func(r *ring) { r.delay = time.Second })
		b.comes()
		b.state("alice@example.org", Pending)
		if !b.p.Keeps("alice@example.org") {
			t.Error("neither kept back nor stored")
		}
		b.after(2 * time.Second)
		b.state("alice@example.org", Stored)
		if b.p.Keeps("alice@example.org") {
			t.Error("stored, and kept back")
		}
	})
}

// What people want to see is stored for them; what is found here is what others will find.
func TestWhatIsKeptBackCanBeSeen(t *testing.T) {
	lonely(t, func(b *bench) {
		b.set(func(r *ring) { r.own = true })
		b.publish("alice@example.org", time.Hour)
		b.publish("bob@example.org", time.Hour)
		s := NewService(b.gateway, func(uri string) (location.AOR, bool) { return location.AOR(uri[len("sip:"):]), true })
		s.Kept(b.p.Keeps)
		defer s.Close()
		if err := b.p.Forward("carol@example.org", "sip:alice@example.org", func(error) {}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		steps, err := s.Explain(b.Context(), "carol@example.org")
		if err != nil || len(steps) != 1 || !steps[0].Here {
			t.Errorf("%+v %v", steps, err)
		}
		if r, err := s.Remote(b.Context(), "carol@example.org"); err != nil || len(r) != 1 || r[0].URI != "sip:alice@example.org" {
			t.Errorf("%+v %v", r, err)
		}
		if h, err := s.Holds(b.Context(), b.gr(), "alice@example.org"); err != nil || h != location.Held {
			t.Errorf("%v %v", h, err)
		}
		if err := b.p.Show(b.Context(), "alice@example.org"); err != nil {
			t.Fatal(err)
		}
		b.found("alice@example.org", 1)
		b.state("alice@example.org", Stored)
		b.state("bob@example.org", Alone)
		for _, aor := range []location.AOR{"alice@example.org", "stranger@example.org"} {
			if err := b.p.Show(b.Context(), aor); err != nil {
				t.Error(err)
			}
		}
		b.written(2, 0)
	})
}

// No certificate is shown before somebody comes.
func TestNoCertificateIsShownBeforeSomebodyComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.company = make(chan struct{})
		c := NewCertificates(g, g.self)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { c.Run(ctx); close(ended) }()
		alice, err := g.Signer("alice@example.org")
		if err != nil {
			t.Fatal(err)
		}
		c.Offer(alice)
		for range 2 * maxOffered { // two months of calls
			time.Sleep(2 * retryCertificate)
			c.Offer(alice)
			c.OfferFirst(alice)
		}
		synctest.Wait()
		if n := len(g.log()); n != 0 {
			t.Errorf("%d Stores", n)
		}
		if n := len(c.queue) + len(c.first); n > 2 {
			t.Errorf("%d certificates wait", n)
		}
		close(g.company)
		time.Sleep(time.Second)
		synctest.Wait()
		values, err := g.Fetch(t.Context(), wire.ResourceIDOf("alice@example.org"), wire.KindCertificateByUser)
		if err != nil || len(values) != 1 {
			t.Errorf("%d certificates of alice, %v", len(values), err)
		}
		cancel()
		<-ended
	})
}

// Who was registered while nobody else was there, and is not any more, is a user nevertheless: who comes is to know it.
func TestWhoHasGoneMeanwhileIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.company = make(chan struct{})
		b := &bench{T: t, gateway: g}
		c, stop := b.showing()
		b.offering(c)
		for _, aor := range []location.AOR{"alice@example.org", "bob@example.org"} {
			b.publish(aor, time.Hour)
			b.answered(b.withdraw(aor), nil)
		}
		b.publish("bob@example.org", time.Hour)
		// Who comes brings what an earlier run has stored, for phones that have gone since.
		b.registerHere("alice@example.org")
		b.answered(b.withdraw("carol@example.org"), nil)
		b.registerHere("carol@example.org")
		b.after(time.Second)
		b.comes()
		b.after(2 * time.Second)
		for _, aor := range []string{"alice@example.org", "bob@example.org"} {
			if n := len(b.stand(aor, wire.KindCertificateByUser)); n != 1 {
				t.Errorf("%d certificates of %s", n, aor)
			}
		}
		b.found("alice@example.org", 0)
		b.found("carol@example.org", 0)
		b.found("bob@example.org", 1)
		b.stop()
		stop()
	})
}
