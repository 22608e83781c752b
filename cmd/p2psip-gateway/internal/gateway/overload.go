package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/proxy"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
	"github.com/p2psip/p2psip-gateway/trunk"
)

// Overload control. What is measured is how long a message waits before it is looked at, for that is what phones suffer from: past T1
// (500 ms) they send everything again, and the work grows with the load. Of new requests so many are let in that the wait stays near its
// limit; the rest get 503 with a Retry-After that differs. Dialogs and emergency calls are always let in.

const (
	loadInterval = 200 * time.Millisecond // between two measurements
	loadIdle     = time.Second            // between two looks whether messages come again, when none has for as long
	loadPatience = 2                      // measurements over the limit before anything is refused: a hiccup is no overload
	allLoad      = 1000                   // the share of new requests that are let in, in thousandths
	leastLoad    = 20                     // is always let in, or nobody would know that it is over
	retrySpread  = 10                     // seconds: Retry-After is 1 to this
)

// overload says which part of the new requests is let in. Safe for concurrent use.
type overload struct {
	bounds atomic.Pointer[overloadBounds]
	share  atomic.Int64
	late   int // measurements over the limit in a row

	// ours reports whether a host is this place, trusted whether the word of a source counts for what is urgent.
	ours    func(host string, port uint16) bool
	trusted func(location.Hop) bool
}

// overloadBounds do not change.
type overloadBounds struct {
	limit     time.Duration // of the wait; 0: no limit
	emergency []string      // user parts of Request-URIs
}

func newOverload(limit time.Duration, emergency []string) *overload {
	o := &overload{}
	o.share.Store(allLoad)
	o.set(limit, emergency)
	return o
}

// set replaces the bounds.
func (o *overload) set(limit time.Duration, emergency []string) {
	o.bounds.Store(&overloadBounds{limit, emergency})
}

// busy reports whether some are not let in.
func (o *overload) busy() bool { return o.share.Load() < allLoad }

// admit reports whether a request is to be served.
func (o *overload) admit(req *message.Message, from location.Hop) bool {
	share := o.share.Load()
	return share >= allLoad || rand.Int64N(allLoad) < share || message.Tag(req.Get(message.To)) != "" || o.urgent(req, from)
}

// urgent reports whether a request is about an emergency: to an emergency service (RFC 5031), to an emergency number of the configuration, here, or
// what another gateway calls one. RFC 3261 §20.26: Priority is the word of the sender, and whoever floods us may write it: it counts from trusted
// networks and trunks only.
func (o *overload) urgent(req *message.Message, from location.Hop) bool {
	uri, err := message.ParseURI(req.RequestURI)
	if err != nil || req.Method == "REGISTER" {
		return false
	}
	if _, ok := uri.Param(trunk.EmergencyParam); ok && from.Node != "" { // another gateway has us send it over an account
		return true
	}
	return proxy.SOS(uri) || o.ours(uri.Host, uri.Port) && slices.Contains(o.bounds.Load().emergency, uri.User) ||
		message.EqualFold(req.Other("Priority"), "emergency") && o.trusted(from)
}

// observe takes a measurement: over the limit fewer are let in, under it more.
func (o *overload) observe(wait time.Duration) {
	share := o.share.Load()
	if limit := o.bounds.Load().limit; limit <= 0 || wait <= limit {
		o.late = 0
		o.share.Store(min(allLoad, share+allLoad/20))
		return
	}
	if o.late++; o.late >= loadPatience {
		o.share.Store(max(leastLoad, share*3/4))
	}
}

// run measures until ctx ends, while messages come: received is how many have. A process that has nothing to do is not to be woken up for this, and one
// that is kept from its work reads messages once in a second.
func (o *overload) run(ctx context.Context, received func() uint64, measure func() time.Duration) {
	t := time.NewTimer(loadInterval)
	defer t.Stop()
	var before uint64
	var last time.Time // when a message had come
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			next := loadInterval
			if n := received(); n != before {
				before, last = n, now
			}
			wait := time.Duration(0)
			if now.Sub(last) >= loadIdle && !o.busy() {
				next = loadIdle
			} else if o.bounds.Load().limit > 0 {
				wait = measure()
			}
			o.observe(wait)
			t.Reset(next)
		}
	}
}

var overloaded = &sip.Refusal{Status: 503, Word: "GWY503", Text: "too much to do"}

// refuse answers what is not let in. RFC 3261 §21.5.4: "The server MAY indicate when the client should retry the request in a Retry-After
// header field"; not everybody at the same time.
func (o *overload) refuse(tx sip.ServerTransaction, tag string) {
	res := overloaded.Response(tx.Request(), tag)
	res.Set(message.RetryAfter, strconv.Itoa(1+rand.IntN(retrySpread)))
	tx.Respond(res)
}

// waits measures how long messages wait: in the kernel, by a STUN Binding request that a UDP listener of ours answers in its turn, and for
// a processor, by what the Go scheduler says.
type waits struct {
	mu       sync.Mutex // held while something is measured
	conn     net.Conn   // nil without a listener for UDP
	answered bool       // ever; a listener that may not be asked says nothing
	request  [stunHeader]byte
	sample   []metrics.Sample
	before   []uint64
}

const stunHeader = 20

// newWaits asks the listener at an address; one that is not valid leaves it out.
func newWaits(at netip.AddrPort) (*waits, error) {
	w := &waits{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
	return w, w.aim(at)
}

// aim asks another listener from now on.
func (w *waits) aim(at netip.AddrPort) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.close()
	w.conn, w.answered = nil, false
	if !at.IsValid() {
		return nil
	}
	if at.Addr().IsUnspecified() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if at.Addr().Is6() {
			loopback = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	conn, err := net.Dial("udp", at.String())
	if err != nil {
		return err
	}
	w.conn = conn
	return nil
}

func (w *waits) close() {
	if w.conn != nil {
		_ = w.conn.Close()
	}
}

func (w *waits) measure() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(w.scheduler(), w.kernel())
}

// kernel is how long a datagram waits at the listener: as long as a measurement takes when it is not answered by then.
func (w *waits) kernel() time.Duration {
	if w.conn == nil {
		return 0
	}
	begin := time.Now()
	// RFC 8489 §5: type Binding request, length 0, magic cookie, transaction ID.
	binary.BigEndian.PutUint32(w.request[:], 0x00010000)
	binary.BigEndian.PutUint32(w.request[4:], 0x2112a442)
	binary.BigEndian.PutUint64(w.request[12:], rand.Uint64())
	_, _ = w.conn.Write(w.request[:])
	_ = w.conn.SetReadDeadline(begin.Add(stunWait))
	var b [512]byte
	for {
		n, err := w.conn.Read(b[:])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && w.answered:
			return stunWait
		case err != nil:
			return 0
		case n >= stunHeader && [stunHeader - 4]byte(b[4:stunHeader]) == [stunHeader - 4]byte(w.request[4:]):
			w.answered = true
			return time.Since(begin)
		}
	}
}

// stunWait is how long an answer is waited for: any limit that makes sense is less.
const stunWait = time.Second

// scheduler is how long nine of ten goroutines waited for a processor since the last call, at most.
func (w *waits) scheduler() time.Duration {
	metrics.Read(w.sample)
	h := w.sample[0].Value.Float64Histogram()
	var all, seen uint64
	fresh := make([]uint64, len(h.Counts))
	for i, n := range h.Counts {
		fresh[i] = n
		if i < len(w.before) {
			fresh[i] -= w.before[i]
		}
		all += fresh[i]
	}
	w.before = append(w.before[:0], h.Counts...)
	for i, n := range fresh {
		if seen += n; all > 0 && seen*10 >= all*9 {
			return time.Duration(h.Buckets[i] * float64(time.Second))
		}
	}
	return 0
}
