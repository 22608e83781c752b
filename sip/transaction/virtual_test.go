package transaction

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/flow"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// wire is a Transport that writes down what it is given, and when.
type wire struct {
	mu    sync.Mutex
	start time.Time
	sent  []string // "0.5s INVITE", "0.2s 100"
	err   error
	last  *message.Message

	recycled []*message.Message

	packets bool // the connection to a gateway is one over DTLS
	receipt *flow.Receipt
}

func (w *wire) Send(_ location.Hop, b []byte, receipt *flow.Receipt) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.receipt = receipt
	m, err := message.Parse(b)
	if err != nil {
		panic(err)
	}
	what := m.Method
	if what == "" {
		what = fmt.Sprint(m.StatusCode)
	}
	w.sent = append(w.sent, fmt.Sprintf("%.1fs %s", time.Since(w.start).Seconds(), what))
	w.last = m
	return w.err
}

// latest is the last message that was sent.
func (w *wire) latest() *message.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// fail has every Send return err.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *wire) Roomy(to location.Hop, _ int) location.Hop                      { return to }
func (w *wire) ResponseHop(from location.Hop, _ message.ViaValue) location.Hop { return from }
func (w *wire) Via(_ location.Hop, branch string) string {
	return "SIP/2.0/UDP 192.0.2.1;branch=" + branch
}
func (w *wire) Address(location.Hop) sip.Address { return sip.Address{} }
func (w *wire) Alive(location.Hop) bool          { return true }

func (w *wire) Recycle(m *message.Message) {
	w.recycled = append(w.recycled, m)
	m.Reset()
}

func (w *wire) Reliable(to location.Hop) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return to.Transport != flow.UDP && !w.packets
}

// becomes says what connection a gateway of the overlay was found to have.
func (w *wire) becomes(packets bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets = packets
}

func (w *wire) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.sent, ", ")
	w.sent = nil
	return s
}

var (
	udpHop = location.Hop{Transport: flow.UDP, Remote: netip.MustParseAddrPort("192.0.2.2:5060")}
	tcpHop = location.Hop{Transport: flow.TCP, Remote: netip.MustParseAddrPort("192.0.2.2:5060"), Flow: 1}
)

// virtual runs f with a layer under virtual time. At the end nothing may be left of any transaction after all timers.
func virtual(t *testing.T, cfg Config, c *core, f func(l *Layer, w *wire)) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{start: time.Now()}
		l := New(cfg, w)
		l.Serve(c)
		f(l, w)
		time.Sleep(longestWait + time.Minute)
		synctest.Wait()
		if s := l.Stats(); s.Kept != 0 || l.wheel.count != 0 {
			t.Errorf("%d transactions and %d timers are left", s.Kept, l.wheel.count)
		}
		for k, n := range l.Stats().Live {
			if n != 0 {
				t.Errorf("%d live %s", n, k)
			}
		}
		for i := range l.table.shards {
			if s := &l.table.shards[i]; len(s.live)+s.finished.Len() != 0 {
				t.Errorf("%d and %d keys are left", len(s.live), s.finished.Len())
			}
		}
		if n := l.Stats().Octets; n != 0 {
			t.Errorf("%d octets are left", n)
		}
		l.Close()
	})
}

func parse(a ask) *message.Message {
	m, err := message.Parse([]byte(a.String()))
	if err != nil {
		panic(err)
	}
	return m
}

// Feature: PRX-02
func TestRFC3261_17_2_1_TryingWithin200ms(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), tcpHop)
		l.Deliver(parse(ask{method: "OPTIONS", branch: "z9hG4bK2"}), tcpHop)
		time.Sleep(199 * time.Millisecond)
		synctest.Wait()
		if s := w.log(); s != "0.2s 100" || message.Tag(w.latest().Get(message.To)) != "" {
			t.Error(s)
		}
		// RFC 4320 §4.1: a 100 for the OPTIONS when Timer E of the client reaches T2.
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if s := w.log(); s != "3.5s 100" {
			t.Error(s)
		}
	})
}

func TestRFC3261_17_1_RetransmissionsAndTimeouts(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		for _, c := range []struct {
			method, want string
			hop          location.Hop
		}{
			{"INVITE", "0.0s INVITE, 0.5s INVITE, 1.5s INVITE, 3.5s INVITE, 7.5s INVITE, 15.5s INVITE, 31.5s INVITE", udpHop},
			{"OPTIONS", "0.0s OPTIONS, 0.5s OPTIONS, 1.5s OPTIONS, 3.5s OPTIONS, 7.5s OPTIONS, 11.5s OPTIONS, 15.5s OPTIONS, 19.5s OPTIONS, " +
				"23.5s OPTIONS, 27.5s OPTIONS, 31.5s OPTIONS", udpHop},
			{"INVITE", "0.0s INVITE", tcpHop},
		} {
			u := newUser()
			w.start = time.Now()
			l.Send(request(c.method, "x"), c.hop, "", u)
			err := <-u.failed
			if d := time.Since(w.start); !errors.Is(err, sip.ErrTimeout) || d < 32*time.Second || d > 32*time.Second+3*tickLength {
				t.Errorf("%s: %v after %v", c.method, err, d)
			}
			if s := w.log(); s != c.want {
				t.Errorf("%s: %s", c.method, s)
			}
		}
	})
}

// What connection AppAttach brings is known when it is there: over DTLS a request is repeated from then on, over TLS never.
func TestRFC3261_17_1_TransportIsKnownLate(t *testing.T) {
	node := location.Hop{Node: "g1"}
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		for _, c := range []struct {
			method, want string
			packets      bool
			kept         time.Duration // after the final response
		}{
			{"INVITE", "0.0s INVITE, 3.5s INVITE", true, timerD},
			{"OPTIONS", "0.0s OPTIONS, 3.5s OPTIONS", true, defaultT4},
			{"INVITE", "0.0s INVITE", false, 0},
			{"OPTIONS", "0.0s OPTIONS", false, 0},
		} {
			w.becomes(false)
			w.start = time.Now()
			l.Send(request(c.method, "x"), node, "", newUser())
			sent := w.latest()
			time.Sleep(2 * time.Second)
			w.becomes(c.packets)
			time.Sleep(2 * time.Second)
			if s := w.log(); s != c.want {
				t.Errorf("%s: %s", c.method, s)
			}
			l.Deliver(answer(sent, 486), node)
			synctest.Wait()
			if kept := l.Stats().Kept > 0; kept != (c.kept > 0) {
				t.Errorf("%s, %v: kept %v", c.method, c.packets, kept)
			}
			time.Sleep(c.kept + time.Second)
			if n := l.Stats().Kept; n != 0 {
				t.Errorf("%s: %d kept for longer than %v", c.method, n, c.kept)
			}
			_ = w.log()
		}
	})
}

// A connection to a gateway that ends before anything was heard of the request is replaced, once; what can not be opened is not tried again.
func TestRequestIsRepeatedOverANewConnection(t *testing.T) {
	lost, failed := fmt.Errorf("%w: reset", flow.ErrLost), errors.New("no answer to AppAttach")
	for _, c := range []struct {
		name string
		hop  location.Hop
		errs []error
		ring bool
		sent string
	}{
		{"lost once", location.Hop{Node: "g1"}, []error{lost}, false, "0.0s INVITE, 0.0s INVITE"},
		{"lost twice", location.Hop{Node: "g1"}, []error{lost, lost}, false, "0.0s INVITE, 0.0s INVITE"},
		{"not opened", location.Hop{Node: "g1"}, []error{failed}, false, "0.0s INVITE"},
		{"it was ringing", location.Hop{Node: "g1"}, []error{lost}, true, "0.0s INVITE"},
		{"no gateway", tcpHop, []error{lost}, false, "0.0s INVITE"},
	} {
		virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
			u := newUser()
			l.Send(request("INVITE", "x"), c.hop, "", u)
			if c.ring {
				l.Deliver(answer(w.latest(), 180), c.hop)
			}
			for _, err := range c.errs {
				w.receipt.Owner.SendFailed(err)
				synctest.Wait()
				time.Sleep(100 * time.Millisecond)
			}
			if s := w.log(); s != c.sent {
				t.Errorf("%s: %s", c.name, s)
			}
			if failed := len(u.failed) > 0; failed != (c.name != "lost once") {
				t.Errorf("%s: the user was told: %v", c.name, failed)
			}
		})
	}
}

// A server repeats its final response over DTLS (RFC 3261 §17.2.1).
func TestRFC3261_17_2_1_ResponseIsRepeatedOverDTLS(t *testing.T) {
	c := &core{request: func(tx sip.ServerTransaction) {
		tx.Trying()
		tx.Respond(answer(tx.Request(), 486))
	}}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), location.Hop{Transport: flow.DTLS, Node: "g1", Flow: 1})
		time.Sleep(2 * time.Second)
		if s := w.log(); s != "0.0s 100, 0.0s 486, 0.5s 486, 1.5s 486" {
			t.Error(s)
		}
	})
}

// RFC 3261 §26.3.2.4: a challenge is not repeated to whoever was made to be its receiver.
func TestRFC3261_26_3_2_4_ARefusalAtOnceIsNoAmplifier(t *testing.T) {
	c := &core{request: func(tx sip.ServerTransaction) { tx.Respond(answer(tx.Request(), 407)) }}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		invite := ask{method: "INVITE", branch: "z9hG4bK1"}
		l.Deliver(parse(invite), udpHop)
		time.Sleep(10 * time.Second)
		l.Deliver(parse(invite), udpHop) // somebody has not heard it
		time.Sleep(30 * time.Second)
		if s := w.log(); s != "0.0s 407, 10.0s 407" {
			t.Error(s)
		}
		if n := l.Stats().Kept; n != 0 {
			t.Errorf("%d transactions are left", n)
		}
	})
}

func TestTimerConfig(t *testing.T) {
	cfg := Config{Timers: TimerConfig{T1: 100 * time.Millisecond}}
	virtual(t, cfg, &core{}, func(l *Layer, w *wire) {
		u := newUser()
		l.Send(request("OPTIONS", "x"), udpHop, "", u)
		<-u.failed
		if d := time.Since(w.start); d < 6400*time.Millisecond || d > 6500*time.Millisecond {
			t.Error(d)
		}
	})
}

func TestRFC4320_OtherProvisionalsAnd408AreNotSent(t *testing.T) {
	ended := 0 // all in the goroutine of Deliver
	c := &core{
		request: func(tx sip.ServerTransaction) {
			tx.Respond(answer(tx.Request(), 180))
			tx.Respond(answer(tx.Request(), 408))
		},
		ended: func(sip.ServerTransaction) { ended++ },
	}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "MESSAGE", branch: "z9hG4bK1"}), udpHop)
		l.Deliver(parse(ask{method: "MESSAGE", branch: "z9hG4bK1"}), udpHop)
		if s := w.log(); s != "" || ended != 1 || l.Stats().Dropped["forbidden_response"] != 2 {
			t.Error(s, ended, l.Stats())
		}
	})
}

func TestOverload(t *testing.T) {
	virtual(t, Config{MaxTransactions: 2}, &core{}, func(l *Layer, w *wire) {
		for i := range 3 {
			l.Deliver(parse(ask{method: "OPTIONS", branch: fmt.Sprint("z9hG4bK", i)}), tcpHop)
		}
		if s := w.log(); s != "0.0s 503" || w.latest().Get(message.RetryAfter) == "" {
			t.Error(s)
		}
		u := newUser()
		l.Send(request("OPTIONS", "x"), udpHop, "", u)
		if err := <-u.failed; !errors.Is(err, sip.ErrOverload) {
			t.Error(err)
		}
		l.Deliver(parse(ask{method: "CANCEL", branch: "z9hG4bKc"}), tcpHop)
		if s := w.log(); s != "0.0s 481" {
			t.Error(s)
		}
	})
}

func TestTransportErrorAtOnceIsToldLater(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		w.fail(flow.ErrNoRoute)
		u := newUser()
		var mu sync.Mutex
		mu.Lock() // a core may hold its lock while it sends
		l.Send(request("INVITE", "x"), udpHop, "", &locking{u, &mu})
		mu.Unlock()
		if err := <-u.failed; !errors.Is(err, sip.ErrTransport) {
			t.Error(err)
		}
		if l.SendStateless(request("ACK", "x"), udpHop, "") == nil {
			t.Error("no error")
		}
	})
}

// locking is a user with a lock that it also holds around its own calls.
type locking struct {
	*user
	mu *sync.Mutex
}

func (u *locking) Failed(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.user.Failed(err)
}

func TestEndedIsNotCalledFromInsideRespond(t *testing.T) {
	var mu sync.Mutex
	ended := make(chan struct{}, 1)
	txs := make(chan sip.ServerTransaction, 1)
	c := &core{
		request: func(tx sip.ServerTransaction) { txs <- tx },
		ended: func(sip.ServerTransaction) {
			mu.Lock()
			defer mu.Unlock()
			ended <- struct{}{}
		},
	}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "OPTIONS", branch: "z9hG4bK1"}), udpHop)
		tx := <-txs
		mu.Lock()
		tx.Respond(answer(tx.Request(), 200))
		mu.Unlock()
		<-ended
		tx.Respond(answer(tx.Request(), 200))
		if s := w.log(); s != "0.0s 200" {
			t.Error(s)
		}
	})
}

func TestForgottenINVITEIsAnswered500(t *testing.T) {
	ended := 0
	virtual(t, Config{}, &core{ended: func(sip.ServerTransaction) { ended++ }}, func(l *Layer, w *wire) {
		l.Deliver(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), tcpHop)
		time.Sleep(longestWait + time.Second)
		synctest.Wait()
		if s := w.log(); s != "0.2s 100, 600.0s 500" {
			t.Error(s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if ended != 1 {
			t.Error(ended)
		}
	})
}

func TestOurOwnResponsesHaveOneToTag(t *testing.T) {
	tags := map[string]bool{}
	c := &core{}
	virtual(t, Config{}, c, func(l *Layer, w *wire) {
		c.request = func(tx sip.ServerTransaction) {
			for _, s := range []int{180, 183, 486} {
				tx.Respond(message.NewResponse(tx.Request(), s, "", ""))
				tags[message.Tag(w.latest().Get(message.To))] = true
			}
		}
		l.Deliver(parse(ask{method: "INVITE", branch: "z9hG4bK1"}), tcpHop)
		if len(tags) != 1 || tags[""] {
			t.Error(tags)
		}
	})
}

func TestAbandonedINVITEIsAcknowledgedWithoutAWord(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		u := newUser()
		tx := l.Send(request("INVITE", "x"), udpHop, "", u)
		req := w.latest()
		tx.Abandon()
		l.Deliver(answer(req, 180), udpHop)
		l.Deliver(answer(req, 603), udpHop)
		if s := w.log(); s != "0.0s INVITE, 0.0s ACK" || len(u.responses) != 0 {
			t.Error(s, len(u.responses))
		}
	})
}

func TestRFC3261_9_1_NoCANCELWithoutAProvisionalResponse(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		u := newUser()
		tx := l.Send(request("INVITE", "x"), udpHop, "", u)
		req := w.latest()
		tx.Cancel("")
		if s := w.log(); s != "0.0s INVITE" {
			t.Error(s)
		}
		l.Deliver(answer(req, 100), udpHop)
		l.Deliver(answer(req, 180), udpHop)
		if s := w.log(); s != "0.0s CANCEL" {
			t.Error(s)
		}
		w.fail(nil)
		<-u.responses
		if err := <-u.failed; !errors.Is(err, sip.ErrTimeout) || time.Since(w.start) > 33*time.Second {
			t.Error(err, time.Since(w.start))
		}
	})
}

func TestUserQueueIsBounded(t *testing.T) {
	virtual(t, Config{}, &core{}, func(l *Layer, w *wire) {
		release := make(chan struct{})
		u := &blocked{user: newUser(), release: release}
		l.Send(request("INVITE", "x"), udpHop, "", u)
		req := w.latest()
		go l.Deliver(answer(req, 180), udpHop)
		synctest.Wait()
		for range maxCalls + 10 {
			l.Deliver(answer(req, 180), udpHop)
		}
		if n := l.Stats().Dropped["user_queue_full"]; n != 10 {
			t.Error(n)
		}
		l.Deliver(answer(req, 486), udpHop) // does not come again, so it waits as well
		close(release)
		synctest.Wait()
		if u.last != 486 {
			t.Errorf("the last response that the user got is %d", u.last)
		}
	})
}

type blocked struct {
	*user
	release chan struct{}
	last    int
}

func (b *blocked) Response(res *message.Message) {
	<-b.release
	b.last = res.StatusCode
}
