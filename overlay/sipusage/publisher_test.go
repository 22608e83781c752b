package sipusage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/overlay"
	"github.com/p2psip/p2psip-gateway/overlay/config"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
)

// bench is a publisher of one gateway, running on fake time.
type bench struct {
	*testing.T
	*gateway
	p     *Publisher
	start time.Time
	stop  func()
}

func publishing(t *testing.T, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		b := &bench{T: t, gateway: g, start: time.Now()}
		b.run()
		test(b)
		b.stop()
	})
}

// run starts a publisher, as after a restart of the program.
func (b *bench) run() {
	b.p = NewPublisher(b.gateway, b.self, b.gateway)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { b.p.Run(ctx); close(ended) }()
	b.stop = func() { cancel(); <-ended }
	synctest.Wait()
}

// after lets d pass and everything settle.
func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// answer is what a done callback said.
type answer struct {
	mu    sync.Mutex
	times int
	err   error
}

func (a *answer) done(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times++
	a.err = err
}

func (a *answer) said() (times int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times, a.err
}

func (b *bench) publish(aor location.AOR, bound time.Duration) *answer {
	a := &answer{}
	b.p.Publish(aor, time.Now().Add(bound), a.done)
	synctest.Wait()
	return a
}

func (b *bench) withdraw(aor location.AOR) *answer {
	a := &answer{}
	b.p.Withdraw(aor, a.done)
	synctest.Wait()
	return a
}

func (b *bench) answered(a *answer, want error) {
	b.Helper()
	if times, err := a.said(); times != 1 || !errors.Is(err, want) {
		b.Fatalf("answered %d times, %v; want %v", times, err, want)
	}
}

func (b *bench) state(aor location.AOR, want State) {
	b.Helper()
	if got := b.p.State(aor); got != want {
		b.Fatalf("state %q, want %q", got, want)
	}
}

// written is how many Stores of values and tombstones were tried.
func (b *bench) written(values, tombstones int) {
	b.Helper()
	v, t := 0, 0
	for _, s := range b.log() {
		if s.exists {
			v++
		} else {
			t++
		}
	}
	if v != values || t != tombstones {
		b.Fatalf("%d values and %d tombstones were stored, want %d and %d: %+v", v, t, values, tombstones, b.log())
	}
}

// remembered is how many records the publisher has to do with.
func (b *bench) remembered() int {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if len(b.p.s.due) > len(b.p.s.records) {
		b.Fatal("more is due than there is")
	}
	return len(b.p.s.records)
}

// found is how many records of aor the overlay holds.
func (b *bench) found(aor location.AOR, want int) {
	b.Helper()
	values, err := b.Fetch(b.Context(), resource(aor), wire.KindSIPRegistration)
	if err != nil || len(values) != want {
		b.Fatalf("%d records, %v; want %d", len(values), err, want)
	}
	for _, v := range values {
		if d := cmp.Diff(route(b.NodeID()).Data, v.Value.Data); d != "" || v.Signer.User != string(aor) {
			b.Fatal("not our record:", d, v.Signer.User)
		}
	}
}

const alice = location.AOR("alice@" + domain)

// Conformance: D-22 H-08 H-27
// Feature: REG-27 REG-29
func TestPublishAndWithdraw(t *testing.T) {
	publishing(t, func(b *bench) {
		b.state(alice, "")
		b.answered(b.publish(alice, time.Hour), nil)
		b.state(alice, Stored)
		b.found(alice, 1)
		b.written(1, 0)
		if s := b.log()[0]; s.resource != resource(alice) || s.lifetime != time.Hour {
			b.Fatalf("%+v", s)
		}
		b.after(time.Minute)
		b.answered(b.withdraw(alice), nil)
		b.state(alice, "")
		b.found(alice, 0)
		b.written(1, 1)
		// RFC 6940 §7.4.1.3: at least the remaining lifetime of what is replaced.
		if s := b.log()[1]; s.lifetime < 59*time.Minute || s.time <= b.log()[0].time {
			b.Fatalf("tombstone %+v", s)
		}
		b.answered(b.withdraw(alice), nil)
		b.after(24 * time.Hour)
		b.written(1, 1)
		if b.remembered() != 0 {
			b.Fatal("the record is remembered for ever")
		}
	})
}

// Conformance: H-27 H-29
// Feature: REG-28
func TestRefreshesOfPhonesDoNotReachTheOverlay(t *testing.T) {
	publishing(t, func(b *bench) {
		// A phone that registers for 60 s, every 50 s, for an hour.
		for time.Since(b.start) < time.Hour {
			b.answered(b.publish(alice, time.Minute), nil)
			b.after(50 * time.Second)
			b.found(alice, 1)
		}
		// The shortest published lifetime is 600 s, renewed between three eighths and the half of it, the first time after an eighth.
		for i, s := range b.log() {
			if s.lifetime != minLifetime {
				b.Fatalf("Store %d for %v", i, s.lifetime)
			}
			if i > 0 && s.at.Sub(b.log()[i-1].at) < minLifetime/8 || i > 1 && s.at.Sub(b.log()[i-1].at) < minLifetime*3/8 {
				b.Fatalf("Stores %d and %d are %v apart", i-1, i, s.at.Sub(b.log()[i-1].at))
			}
		}
		if n := len(b.log()); n < 12 || n > 17 {
			b.Fatalf("%d Stores in an hour", n)
		}
		// Its battery is empty, and the registrar does not tell.
		b.after(20 * time.Minute)
		b.found(alice, 0)
		b.state(alice, "")
		if b.log()[len(b.log())-1].exists {
			b.Fatal("no tombstone")
		}
	})
}

// Extend does what Publish would do, where that is nothing but to note until when.
//
// Feature: REG-28
func TestARecordThatIsHeldIsExtended(t *testing.T) {
	publishing(t, func(b *bench) {
		extends := func(want bool) {
			b.Helper()
			if b.p.Extend(alice, time.Now().Add(time.Minute)) != want {
				b.Fatalf("extended: %v", !want)
			}
		}
		extends(false) // nothing is known of her
		b.answered(b.publish(alice, time.Minute), nil)
		published := 0
		for time.Since(b.start) < time.Hour {
			if !b.p.Extend(alice, time.Now().Add(time.Minute)) {
				b.answered(b.publish(alice, time.Minute), nil)
				published++
			}
			b.after(50 * time.Second)
			b.found(alice, 1)
		}
		if n := len(b.log()); n < 12 || n > 17 || published > n {
			b.Fatalf("%d Stores in an hour, published %d times", n, published)
		}
		b.uncertain <- struct{}{}
		b.after(time.Second)
		extends(true) // it has been stored again
		if err := b.p.Forward(alice, "sip:bob@"+domain, func(error) {}); err != nil {
			b.Fatal(err)
		}
		b.after(time.Second)
		extends(false) // another value stands there
		b.answered(b.publish(alice, time.Minute), nil)
		extends(true)
		b.answered(b.withdraw(alice), nil)
		extends(false)
		b.answered(b.publish(alice, time.Minute), nil)
		b.after(20 * time.Minute) // nobody tells that the binding has ended
		extends(false)
		b.found(alice, 0)
	})
}

// What the overlay may have lost is stored again at once, though it is nowhere near the half of its lifetime.
func TestStoredAgainWhenItMayBeLost(t *testing.T) {
	publishing(t, func(b *bench) {
		b.answered(b.publish(alice, time.Hour), nil)
		b.answered(b.publish("bob@"+domain, time.Hour), nil)
		b.written(2, 0)
		b.uncertain <- struct{}{}
		b.after(time.Second)
		b.written(4, 0)
		b.state(alice, Stored)
	})
}

// Conformance: H-29
// Feature: REG-28
func TestRenewedWithinHalfOfTheLifetime(t *testing.T) {
	publishing(t, func(b *bench) {
		for i := range 100 {
			b.publish(location.AOR(fmt.Sprintf("u%d@%s", i, domain)), 10*time.Hour)
		}
		b.written(100, 0)
		b.after(maxLifetime/8 - time.Second)
		b.written(100, 0)
		b.after(maxLifetime * 3 / 16) // half of the time in which they are due
		if n := len(b.log()); n <= 120 || n >= 180 {
			b.Fatalf("%d Stores: renewals are not spread", n)
		}
		b.after(maxLifetime*3/16 + time.Second)
		b.written(200, 0)
		for _, s := range b.log() {
			if s.lifetime != maxLifetime {
				b.Fatalf("published for %v", s.lifetime)
			}
		}
		if st := b.p.Stats(); st.Records[Stored] != 100 || st.Stores["ok"] != 200 {
			b.Fatalf("%+v", st)
		}
	})
}

// Conformance: C-06
func TestWhatFailsIsTriedAgainUntilItSucceeds(t *testing.T) {
	for _, failure := range []error{overlay.ErrTimeout, overlay.ErrOverload, &overlay.RemoteError{Code: wire.ErrorForbidden}} {
		publishing(t, func(b *bench) {
			b.set(func(r *ring) { r.fail = func(string) error { return failure } })
			a := b.publish(alice, 10*time.Hour)
			b.answered(a, location.ErrUnavailable)
			b.answered(a, failure)
			b.state(alice, LocalOnly)
			b.answered(b.publish(alice, 10*time.Hour), location.ErrUnavailable) // a refresh does not hurry it
			b.written(1, 0)
			b.after(time.Hour)
			if n := len(b.log()); n < 50 || n > 80 {
				b.Fatalf("%d attempts in an hour", n)
			}
			b.set(func(r *ring) { r.fail = nil })
			b.after(2 * retryMax)
			b.state(alice, Stored)
			b.found(alice, 1)
			b.answered(b.publish(alice, 10*time.Hour), nil)
		})
	}
}

func TestARefreshThatFailsLeavesTheRecordStored(t *testing.T) {
	publishing(t, func(b *bench) {
		b.publish(alice, 10*time.Hour)
		b.set(func(r *ring) { r.fail = func(string) error { return overlay.ErrTimeout } })
		b.after(40 * time.Minute)
		b.state(alice, Stored)
		tried := len(b.log())
		for range 10 {
			b.answered(b.publish(alice, 10*time.Hour), nil)
		}
		if len(b.log()) != tried {
			b.Fatal("phones hurried the retry")
		}
		b.after(20 * time.Minute)
		b.state(alice, LocalOnly)
	})
}

// RFC 7904 §3.3: who writes checks the domain, too.
//
// Conformance: H-11
func TestRFC7904_3_3_DomainsAreCheckedBeforeAStore(t *testing.T) {
	publishing(t, func(b *bench) {
		restriction, err := config.NewDomainRestriction(true, `other\.example`)
		if err != nil {
			b.Fatal(err)
		}
		b.conf.Domains = restriction
		b.answered(b.publish(alice, 10*time.Hour), location.ErrForbidden)
		b.state(alice, LocalOnly)
		b.written(0, 0)
		if n := b.p.Stats().Stores["refused"]; n == 0 {
			b.Error("not counted")
		}
	})
}

func TestNoCertificate(t *testing.T) {
	publishing(t, func(b *bench) {
		nobody := location.AOR("nobody@" + domain)
		b.answered(b.publish(nobody, 10*time.Hour), location.ErrForbidden)
		b.state(nobody, LocalOnly)
		b.after(time.Hour)
		b.written(0, 0)
		if n := b.p.Stats().Stores["no_certificate"]; n < 4 || n > 10 {
			b.Fatalf("looked for a certificate %d times in an hour", n)
		}
		b.answered(b.withdraw(nobody), nil) // nothing ever left: nothing to remove
		b.state(nobody, "")
		// A certificate that is issued later is found by the next REGISTER.
		b.users[string(alice)] = nil
		b.answered(b.publish(alice, time.Hour), location.ErrForbidden)
		delete(b.users, string(alice))
		b.answered(b.publish(alice, time.Hour), nil)
		// Nor can a user be removed whom nobody ever certified.
		b.answered(b.withdraw("nobody@"+domain), location.ErrForbidden)
		b.after(time.Second)
		if b.remembered() != 1 {
			b.Fatal("remembered")
		}
	})
}

// Feature: REG-30
func TestBeforeJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.joined = make(chan struct{})
		b := &bench{T: t, gateway: g, start: time.Now()}
		b.run()
		for i := range 3 * maxStores {
			b.answered(b.publish(location.AOR(fmt.Sprintf("u%d@%s", i, domain)), time.Hour), location.ErrUnavailable)
		}
		b.answered(b.withdraw(alice), location.ErrUnavailable)
		b.state("u0@"+domain, LocalOnly)
		b.after(time.Minute)
		b.written(0, 0)
		b.set(func(r *ring) { r.delay = time.Second })
		close(g.joined)
		b.after(1500 * time.Millisecond)
		b.set(func(r *ring) {
			if len(r.stores) != maxStores {
				t.Errorf("%d Stores at once, want %d", len(r.stores), maxStores)
			}
		})
		b.after(4 * time.Second)
		b.written(3*maxStores, 1)
		b.state("u0@"+domain, Stored)
		b.stop()
	})
}

// Conformance: H-32
func TestAfterARestart(t *testing.T) {
	publishing(t, func(b *bench) {
		b.publish(alice, time.Hour)
		b.publish(bob, time.Hour)
		b.stop()
		b.found(alice, 1) // what stands in the overlay is left there
		b.after(time.Minute)
		b.run()
		b.answered(b.publish(alice, time.Hour), nil)
		b.answered(b.withdraw(bob), nil) // its binding ended while we were away
		b.found(alice, 1)
		b.found(bob, 0)
		b.written(3, 1)
		if s := b.log()[3]; s.lifetime < maxLifetime {
			b.Fatalf("a tombstone for %v over a value of unknown age", s.lifetime)
		}
		b.answered(b.withdraw("never@"+domain), nil)
	})
}

// Conformance: D-17 D-39 H-31
func TestRFC6940_7_DataTooOld(t *testing.T) {
	publishing(t, func(b *bench) {
		// An earlier run of this gateway had a clock that was an hour fast.
		future := time.Now().Add(time.Hour)
		by, err := b.Signer(string(alice))
		if err != nil {
			b.Fatal(err)
		}
		value := route(b.NodeID())
		put := func(v wire.StoredValue, at time.Time) {
			b.Helper()
			d := wire.StoredData{StorageTime: uint64(at.UnixMilli()), Lifetime: 7200, Value: v}
			if err := b.put(by, resource(alice), wire.KindSIPRegistration, d); err != nil {
				b.Fatal(err)
			}
		}
		put(value, future)
		b.answered(b.publish(alice, 10*time.Hour), nil)
		// RFC 6940 §7: "a storage_time that increments the value used with the previous store".
		if s := b.log()[len(b.log())-1]; len(b.log()) != 2 || s.time != future.UnixMilli()+1 {
			b.Fatalf("%+v", b.log())
		}
		b.answered(b.withdraw(alice), nil)
		if s := b.log()[len(b.log())-1]; len(b.log()) != 3 || s.time != future.UnixMilli()+2 {
			b.Fatalf("tombstone %+v", b.log())
		}
		b.answered(b.publish(alice, 10*time.Hour), nil)
		if s := b.log()[len(b.log())-1]; len(b.log()) != 4 || s.time != future.UnixMilli()+3 {
			b.Fatalf("%+v", b.log())
		}
		// A tombstone in the way can not be fetched, so its storage time is found by trying.
		b.stop()
		put(gone(value), future.Add(time.Minute))
		b.run()
		b.answered(b.publish(alice, 10*time.Hour), nil)
		b.found(alice, 1)
	})
}

func TestTurningBackAndForthWhileAStoreIsOnItsWay(t *testing.T) {
	publishing(t, func(b *bench) {
		b.set(func(r *ring) { r.delay = time.Second })
		first := b.publish(alice, time.Hour)
		b.state(alice, Pending)
		same := b.publish(alice, time.Hour)
		gone := b.withdraw(alice)
		again := b.publish(alice, time.Hour)
		b.answered(gone, nil) // overtaken: it is bound again
		b.after(10 * time.Second)
		for _, a := range []*answer{first, same, again} {
			b.answered(a, nil)
		}
		b.written(1, 0)

		gone = b.withdraw(alice)
		b.after(500 * time.Millisecond)
		again = b.publish(alice, time.Hour)
		if times, _ := again.said(); times != 0 {
			b.Fatal("told that it is stored while it is being removed")
		}
		b.after(10 * time.Second)
		b.answered(gone, nil)
		b.answered(again, nil)
		b.written(2, 1)
		b.found(alice, 1)

		b.withdraw(alice)
		b.after(500 * time.Millisecond)
		twice := b.withdraw(alice)
		b.after(10 * time.Second)
		b.answered(twice, nil)
		b.written(2, 2)
		b.found(alice, 0)
	})
}

func TestALostAnswerLeavesNothingUncertain(t *testing.T) {
	publishing(t, func(b *bench) {
		lose := func(r *ring) { r.lose = func(string) error { return overlay.ErrTimeout } }
		find := func(r *ring) { r.lose = nil }
		// The value may have been stored: it has to be removed.
		b.set(lose)
		b.answered(b.publish(alice, time.Hour), overlay.ErrTimeout)
		b.set(find)
		b.answered(b.withdraw(alice), nil)
		b.found(alice, 0)
		// The tombstone may have been stored: the value has to be stored again.
		b.answered(b.publish(alice, time.Hour), nil)
		b.set(lose)
		b.answered(b.withdraw(alice), overlay.ErrTimeout)
		b.set(find)
		b.answered(b.publish(alice, time.Hour), nil)
		b.found(alice, 1)
		// The value over a tombstone may have been stored.
		b.answered(b.withdraw(alice), nil)
		b.set(lose)
		b.answered(b.publish(alice, time.Hour), overlay.ErrTimeout)
		b.set(find)
		b.answered(b.withdraw(alice), nil)
		b.found(alice, 0)
	})
}

func TestATombstoneIsTriedUntilThereIsNothingToRemove(t *testing.T) {
	publishing(t, func(b *bench) {
		b.publish(alice, time.Hour)
		b.set(func(r *ring) { r.fail = func(string) error { return overlay.ErrTimeout } })
		b.answered(b.withdraw(alice), overlay.ErrTimeout)
		b.after(50 * time.Minute)
		if b.remembered() != 1 {
			b.Fatal("given up")
		}
		b.after(15 * time.Minute)
		if b.remembered() != 0 {
			b.Fatal("still trying although the record has expired by itself")
		}
	})
}

func TestStoppingAnswersEverybody(t *testing.T) {
	publishing(t, func(b *bench) {
		b.set(func(r *ring) { r.delay = time.Hour })
		var asked []*answer
		for i := range 2 * maxStores {
			asked = append(asked, b.publish(location.AOR(fmt.Sprintf("u%d@%s", i, domain)), time.Hour))
		}
		b.stop()
		for _, a := range asked {
			b.answered(a, location.ErrUnavailable)
		}
		b.answered(b.publish(alice, time.Hour), location.ErrUnavailable)
	})
}

func TestStoppedBeforeJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRing(t).gateway("gw1")
		g.joined = make(chan struct{})
		b := &bench{T: t, gateway: g}
		b.run()
		b.stop()
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t)
		b := &bench{T: t, gateway: r.gateway("gw1")}
		b.run()
		reader := NewService(r.gateway("gw2"), aorOf)
		expect := func(want ...string) {
			t.Helper()
			got, err := reader.Addresses(t.Context(), b.gr())
			if err != nil || cmp.Diff(want, got) != "" {
				t.Fatalf("%q, %v; want %q", got, err, want)
			}
		}
		expect()
		one, two := "sip:192.0.2.1:5060;transport=udp", "sip:[2001:db8::1]:5061;transport=tls"
		if err := b.p.PublishAddresses([]string{one, two}); err != nil {
			t.Fatal(err)
		}
		b.after(missingFor)
		if _, ok := reader.AddressesCached(b.gr()); ok {
			t.Error("cached addresses after their time")
		}
		expect(one, two)
		if got, ok := reader.AddressesCached(b.gr()); !ok || len(got) != 2 {
			t.Errorf("cached %q, %v", got, ok)
		}
		fetched := r.fetched()
		b.after(addressFor - time.Second)
		expect(one, two)
		if r.fetched() != fetched {
			t.Fatal("not remembered for a minute")
		}
		b.after(10 * time.Hour)
		expect(one, two)
		if n := len(r.log()); n < 20 || n > 27 {
			t.Fatalf("%d Stores in 10 hours", n)
		}
		// A change while a Store is on its way is stored next.
		b.set(func(r *ring) { r.delay = time.Second })
		for _, uris := range [][]string{{two, one}, {two}} {
			if err := b.p.PublishAddresses(uris); err != nil {
				t.Fatal(err)
			}
			b.after(100 * time.Millisecond)
		}
		b.after(addressFor)
		b.set(func(r *ring) { r.delay = 0 })
		expect(two)
		if err := b.p.PublishAddresses(nil); err != nil {
			t.Fatal(err)
		}
		b.after(addressFor)
		expect()
		for _, bad := range [][]string{{"192.0.2.1"}, {"sip:a b"}, make([]string, maxAddresses+1)} {
			if err := b.p.PublishAddresses(bad); err == nil {
				t.Errorf("%q published", bad)
			}
		}
		if _, ok := reader.AddressesCached("x"); ok {
			t.Error("cached addresses of nobody")
		}
		if _, err := reader.Addresses(t.Context(), "x"); !errors.Is(err, location.ErrNotFound) {
			t.Error(err)
		}
		b.set(func(r *ring) { r.fail = func(string) error { return overlay.ErrTimeout } })
		b.after(addressFor)
		if _, err := reader.Addresses(t.Context(), b.gr()); !errors.Is(err, location.ErrUnavailable) {
			t.Error(err)
		}
		reader.Close()
		b.stop()
	})
}

func TestParseAddresses(t *testing.T) {
	a, odd, b := "sip:a.example.org", "http://x", "sip:b.example.org"
	octets := appendAddresses(nil, []string{a, odd, b})
	whole := map[int][]string{0: nil, 2 + len(a): {a}, 4 + len(a) + len(odd): {a}, len(octets): {a, b}}
	for i := range len(octets) + 1 {
		got, err := parseAddresses(octets[:i])
		want, ok := whole[i]
		if ok != (err == nil) || cmp.Diff(want, got) != "" {
			t.Errorf("%d octets: %q, %v; want %q", i, got, err, want)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	r := newRing(b)
	p := NewPublisher(r.gateway("gw1"), nil, nil)
	now := time.Now()
	p.s.online = true
	done := func(error) {}
	until := now.Add(time.Hour)
	p.Publish(alice, until, done)
	t, _ := p.s.next(time.Now())
	p.s.result(now, t, outcome{sent: true, storageTime: 1})
	b.ReportAllocs()
	for b.Loop() {
		p.Publish(alice, until, done)
	}
}
