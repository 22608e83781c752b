package trunk

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// far is the other side: who answers what, and which names lead where.
type far struct {
	mu      sync.Mutex
	status  map[string]int   // by address; 0: it does not answer
	broken  map[string]error // by address: what sending fails with
	names   map[string][]string
	hang    map[string]bool // names whose servers do not answer
	asked   map[string]int  // probes, by address
	changes []string
	last    *message.Message
}

func newFar() *far {
	return &far{status: map[string]int{}, broken: map[string]error{}, names: map[string][]string{}, hang: map[string]bool{}, asked: map[string]int{}}
}

func (f *far) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *far) resolve(ctx context.Context, u message.URI) ([]location.Hop, error) {
	f.mu.Lock()
	hang, names := f.hang[u.Host], f.names[u.Host]
	f.mu.Unlock()
	if hang {
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		<-short.Done()
		return nil, short.Err()
	}
	if a, ok := message.Addr(u.Host); ok {
		return []location.Hop{{Transport: "UDP", Remote: netip.AddrPortFrom(a, 5060)}}, nil
	}
	var hops []location.Hop
	for _, n := range names {
		hops = append(hops, location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort(n)})
	}
	if hops == nil {
		return nil, errors.New("no such host")
	}
	return hops, nil
}

type noTx struct{}

func (noTx) Cancel(string) {}
func (noTx) Abandon()      {}

func (f *far) Send(req *message.Message, to location.Hop, _ string, user sip.ClientUser) sip.ClientTransaction {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := to.Remote.String()
	f.asked[at]++
	f.last = req
	if err := f.broken[at]; err != nil {
		go user.Failed(err)
	} else if status := f.status[at]; status != 0 {
		go user.Response(&message.Message{StatusCode: status})
	}
	return noTx{}
}

func (f *far) SendStateless(*message.Message, location.Hop, string) error { return nil }
func (f *far) Alive(location.Hop) bool                                    { return true }
func (f *far) Address(location.Hop) sip.Address {
	return sip.Address{Transport: "UDP", Host: "192.0.2.1", Port: 5060}
}

func (f *far) changed(c HealthChange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	word := "up"
	if c.Down {
		word = "down " + c.Reason
	}
	f.changes = append(f.changes, strings.TrimSpace(fmt.Sprint(c.Trunk, " ", c.Address, " ", word)))
}

// told returns and forgets what changed.
func (f *far) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.changes
	f.changes = nil
	return out
}

// probes waits until an address was probed n times more, and for what became of that.
func (f *far) probes(at string, n int) {
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.asked[at]
	}
	for want := count() + n; count() < want; {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(probeWait + time.Second)
}

var everyTwenty = HealthConfig{Options: 20 * time.Second, Down: 3, Up: 2}

func watching(t *testing.T, test func(t *testing.T, f *far, h *Health)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		h := NewHealth(HealthOptions{Sender: f, Resolve: f.resolve, Domain: "example.org", Changed: f.changed})
		test(t, f, h)
		h.Close()
	})
}

func trunkTo(name string, uris ...string) Trunk {
	t := Trunk{Name: name, Health: everyTwenty}
	for _, u := range uris {
		t.Targets = append(t.Targets, Target{URI: u, Weight: 1})
	}
	return t
}

func (f *far) want(t *testing.T, want ...string) {
	t.Helper()
	if got := f.told(); !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
}

// Three misses in a row make an address down, two answers make it up again; one line each.
//
// Feature: TRK-09
func TestThreeMissesAndTwoAnswers(t *testing.T) {
	watching(t, func(t *testing.T, f *far, h *Health) {
		const pbx = "sip:192.0.2.9"
		f.status["192.0.2.9:5060"] = 404
		h.Watch([]Trunk{trunkTo("pbx", pbx)})
		time.Sleep(time.Minute)
		f.want(t)
		if r := h.Report(); len(r) != 1 || len(r[0].Addresses) != 1 || r[0].Down || r[0].Addresses[0].Address != "UDP 192.0.2.9:5060" {
			t.Errorf("%+v", r)
		}
		f.set(func() { f.status["192.0.2.9:5060"] = 0 })
		f.probes("192.0.2.9:5060", 2)
		f.want(t)
		f.probes("192.0.2.9:5060", 1)
		f.want(t, "pbx UDP 192.0.2.9:5060 down timeout")
		hop := location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("192.0.2.9:5060"), Flow: 7}
		if !h.TargetDown("pbx", pbx) || !h.HopDown(hop) {
			t.Error("it is not known to be down")
		}
		time.Sleep(5 * time.Minute)
		f.want(t)
		f.probes("192.0.2.9:5060", 1)
		f.set(func() { f.status["192.0.2.9:5060"] = 200 })
		f.probes("192.0.2.9:5060", 1)
		f.want(t)
		f.probes("192.0.2.9:5060", 1)
		f.want(t, "pbx UDP 192.0.2.9:5060 up")
		if h.TargetDown("pbx", pbx) || h.HopDown(hop) {
			t.Error("it is not known to be up")
		}
	})
}

// Each address of a name is for itself; a target is down when all of them are. 408 and 503 are no answers.
//
// Feature: TRK-09
func TestEachAddressForItself(t *testing.T) {
	watching(t, func(t *testing.T, f *far, h *Health) {
		f.names["pbx.example"] = []string{"192.0.2.1:5060", "192.0.2.2:5060"}
		f.status["192.0.2.1:5060"], f.status["192.0.2.2:5060"] = 503, 483
		h.Watch([]Trunk{trunkTo("pbx", "sip:pbx.example")})
		f.probes("192.0.2.1:5060", 3)
		f.want(t, "pbx UDP 192.0.2.1:5060 down 503")
		if h.TargetDown("pbx", "sip:pbx.example") {
			t.Error("down with one of two addresses")
		}
		f.set(func() { f.broken["192.0.2.2:5060"] = sip.ErrTransport })
		f.probes("192.0.2.2:5060", 1) // what can not be reached at all is down at once
		f.want(t, "pbx UDP 192.0.2.2:5060 down transport")
		if !h.TargetDown("pbx", "sip:pbx.example") {
			t.Error("not down with both addresses")
		}
		f.set(func() { f.names["pbx.example"] = []string{"192.0.2.3:5060"}; f.status["192.0.2.3:5060"] = 200 })
		time.Sleep(21 * time.Second)
		if h.TargetDown("pbx", "sip:pbx.example") || h.HopDown(location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("192.0.2.2:5060")}) {
			t.Error("down at an address that it has no more")
		}
	})
}

// A trunk whose name servers do not answer, whose connections hang and whose addresses are silent changes nothing for another one.
//
// Feature: TRK-11
func TestDeadNameServerHurtsNoOther(t *testing.T) {
	rate := func(bad int) (asked int) {
		watching(t, func(t *testing.T, f *far, h *Health) {
			f.status["192.0.2.9:5060"] = 200
			list := []Trunk{trunkTo("good", "sip:192.0.2.9")}
			for i := range bad {
				name := fmt.Sprintf("dead%d.example", i)
				f.hang[name] = true
				list = append(list, trunkTo(name, "sip:"+name, "sip:198.51.100.1"))
			}
			h.Watch(list)
			time.Sleep(10 * time.Minute)
			f.mu.Lock()
			asked = f.asked["192.0.2.9:5060"]
			f.mu.Unlock()
			if h.TargetDown("good", "sip:192.0.2.9") {
				t.Error("down")
			}
			if bad > 0 && !h.TargetDown("dead0.example", "sip:dead0.example") {
				t.Error("a name that leads nowhere is not down")
			}
		})
		return asked
	}
	if alone, beside := rate(0), rate(200); alone < 30 || beside < alone-2 {
		t.Errorf("%d probes alone, %d beside 200 dead trunks", alone, beside)
	}
}

// A call that fails counts as a miss, one that is answered ends a row of them; up comes only who answers probes.
func TestCallsCountToo(t *testing.T) {
	watching(t, func(t *testing.T, f *far, h *Health) {
		f.status["192.0.2.9:5060"] = 200
		h.Watch([]Trunk{trunkTo("pbx", "sip:192.0.2.9")})
		time.Sleep(5 * time.Second)
		hop := location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("192.0.2.9:5060"), Local: netip.MustParseAddrPort("192.0.2.1:5060")}
		for range 2 {
			h.Called(hop, 0, sip.ErrTimeout)
		}
		h.Called(hop, 486, nil)
		for range 2 {
			h.Called(hop, 503, nil)
		}
		f.want(t)
		h.Called(hop, 0, sip.ErrTransport)
		f.want(t, "pbx UDP 192.0.2.9:5060 down transport")
		h.Called(hop, 200, nil)
		h.Called(hop, 200, nil)
		f.want(t)
		time.Sleep(41 * time.Second)
		f.want(t, "pbx UDP 192.0.2.9:5060 up")
	})
}

// What stays in the configuration keeps what is known of it.
func TestWatchAnew(t *testing.T) {
	watching(t, func(t *testing.T, f *far, h *Health) {
		f.broken["192.0.2.9:5060"] = sip.ErrTransport
		pbx, other := trunkTo("pbx", "sip:192.0.2.9"), trunkTo("other", "sip:192.0.2.9")
		h.Watch([]Trunk{pbx, other})
		time.Sleep(5 * time.Second)
		h.Watch([]Trunk{pbx})
		if !h.TargetDown("pbx", "sip:192.0.2.9") || h.TargetDown("other", "sip:192.0.2.9") || len(h.Report()) != 1 {
			t.Errorf("%+v", h.Report())
		}
		pbx.Health.Options = 0
		h.Watch([]Trunk{pbx})
		if len(h.Report()) != 0 || len(h.downHops) != 0 {
			t.Errorf("%+v %v", h.Report(), h.downHops)
		}
		if _, missed := h.Probes(); missed == 0 {
			t.Error("no probe was counted")
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if m := f.last; m.Get(message.Contact) != "<sip:192.0.2.1:5060>" || !strings.HasPrefix(m.Get(message.From), "<sip:example.org>;tag=") {
			t.Errorf("%s", m.AppendTo(nil))
		}
	})
}

// A reload while the gateway stops has nothing watched any more.
func TestNothingIsWatchedAfterClose(t *testing.T) {
	watching(t, func(t *testing.T, f *far, h *Health) {
		h.Close()
		h.Watch([]Trunk{trunkTo("pbx", "sip:192.0.2.9")})
		time.Sleep(time.Minute)
		if len(h.Report()) != 0 || f.asked["192.0.2.9:5060"] != 0 {
			t.Errorf("%+v", h.Report())
		}
	})
}

// The condition against its definition: down after so many misses in a row, or one hard one, up after so many answers in a row.
func TestConditionProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := HealthConfig{Down: rapid.IntRange(1, 5).Draw(t, "down"), Up: rapid.IntRange(1, 5).Draw(t, "up")}
		var c condition
		var row []sighting
		down := false
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(t, "sightings") {
			s := sighting{ok: n >= 4, hard: n == 0}
			if len(row) > 0 && row[0].ok != s.ok {
				row = nil
			}
			row = append(row, s)
			want := down
			if s.ok && len(row) >= h.Up {
				want = false
			}
			if !s.ok && (s.hard || len(row) >= h.Down) {
				want = true
			}
			if changed := c.observe(time.Unix(int64(i), 0), s, h); changed != (want != down) || c.down != want {
				t.Fatalf("after %+v: down %v, changed %v, want %v", row, c.down, changed, want)
			}
			down = want
		}
	})
}

// A probe whose watch ends while it begins is over, and nothing breaks.
func TestAProbeThatEndsWhileItBegins(t *testing.T) {
	watching(t, func(t *testing.T, f *far, h *Health) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w := &watch{h: h, key: watchKey{"itsp", "sip:192.0.2.1"}, health: HealthConfig{Options: time.Minute, Down: 3, Up: 2}, hops: map[location.Hop]*hopState{}}
		for range 1000 {
			w.probe(ctx, location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort("192.0.2.1:5060")})
		}
		synctest.Wait()
		_ = f.told()
	})
}
