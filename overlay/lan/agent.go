package lan

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Agent announces services of this host and looks for those of others. It is used once.
type Agent struct {
	overlay string
	offered []Service
	browse  []string
	wires   []*wire
	told    func(Found)

	mu    sync.Mutex
	known map[string]Found     // by type and instance
	sent  map[string]time.Time // when a service was last answered for, by wire and service
}

// Config says what an Agent does.
type Config struct {
	Overlay string
	Offer   []Service // what it announces
	Browse  []string  // the types of services that it looks for
	// Interfaces are those to use; none: all that are up and can do multicast, but loopback.
	Interfaces []string
	// Found is told of each instance that was not known, or has other addresses; not of what the Agent offers itself. It must not
	// block.
	Found func(Found)
}

// Open opens the sockets of an Agent. Run closes them.
func Open(c Config) (*Agent, error) {
	if len(c.Offer) > maxServices {
		return nil, errors.New("lan: too many services")
	}
	wires, err := open(c.Interfaces)
	if err != nil {
		return nil, err
	}
	a := &Agent{overlay: c.Overlay, offered: c.Offer, browse: c.Browse, wires: wires, told: c.Found,
		known: map[string]Found{}, sent: map[string]time.Time{}}
	if a.told == nil {
		a.told = func(Found) {}
	}
	return a, nil
}

// Run announces and looks until ctx ends; then it says farewell. It returns when all has ended.
func (a *Agent) Run(ctx context.Context) {
	var reading, working sync.WaitGroup
	pending := make(chan func(), maxPending)
	for _, w := range a.wires {
		reading.Go(func() { a.read(w, pending) })
	}
	working.Go(func() {
		for f := range pending {
			f()
		}
	})
	a.ask(ctx)
	a.announce(0) // RFC 6762 §10.1: goodbye
	for _, w := range a.wires {
		_ = w.conn.Close()
	}
	reading.Wait()
	close(pending)
	working.Wait()
}

// Close closes the sockets of an Agent that was not run.
func (a *Agent) Close() {
	for _, w := range a.wires {
		_ = w.conn.Close()
	}
}

// ask announces twice, and asks at intervals that double (RFC 6762 §5.2, §8.3).
func (a *Agent) ask(ctx context.Context) {
	pause := firstQuery
	for round := 0; ; round++ {
		if round < 2 {
			a.announce(serviceTTL)
		}
		if len(a.browse) > 0 {
			a.each(func(w *wire) { send(w, question(a.browse, a.answers()), netip.AddrPort{}) })
		}
		t := time.NewTimer(pause + rand.N(maxDelay)) // RFC 6762 §5.2: hosts that started together part
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if round > 0 {
			pause = min(2*pause, longestWait)
		}
	}
}

// announce sends all records unasked; a ttl of 0 takes them back.
func (a *Agent) announce(ttl uint32) {
	if len(a.offered) == 0 {
		return
	}
	a.each(func(w *wire) {
		r := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
		for i := range a.offered {
			ptr, unique := a.offered[i].records(w.own, ttl)
			r.Answer = append(append(r.Answer, ptr), unique...)
		}
		send(w, r, netip.AddrPort{})
	})
}

func (a *Agent) each(f func(*wire)) {
	for _, w := range a.wires {
		f(w)
	}
}

// answers are the PTR records that are known, for those who would send them (RFC 6762 §7.1).
func (a *Agent) answers() []dns.RR {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []dns.RR
	for _, f := range a.known {
		s := Service{Type: f.Type, Instance: f.Instance}
		ptr, _ := s.records(nil, serviceTTL)
		list = append(list, ptr)
	}
	return list
}

// read takes datagrams from one socket until it is closed.
func (a *Agent) read(w *wire, pending chan<- func()) {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := w.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed; nothing else ends a UDP socket for good
		}
		m := new(dns.Msg)
		if !w.local(from.Addr()) || m.Unpack(buf[:n]) != nil || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
			continue // RFC 6762 §11, §18.3, §18.11
		}
		if m.Response {
			a.learn(m)
			continue
		}
		if len(a.offered) == 0 {
			continue
		}
		select {
		case pending <- func() { a.respond(w, m, from) }:
		default: // whoever floods gets no answer
		}
	}
}

// learn takes a response.
func (a *Agent) learn(m *dns.Msg) {
	for _, f := range found(m, a.browse, a.overlay) {
		if slices.ContainsFunc(a.offered, func(s Service) bool { return s.Type == f.Type && equal(s.Instance, f.Instance) }) {
			continue
		}
		key := f.Instance + "." + f.Type
		a.mu.Lock()
		old, known := a.known[key]
		switch {
		case f.gone:
			delete(a.known, key)
		case known || len(a.known) < maxFound:
			a.known[key] = f
		}
		a.mu.Unlock()
		if !f.gone && !(known && slices.Equal(old.Addresses, f.Addresses)) {
			a.told(f)
		}
	}
}

// respond answers a query: to all, or to one who does not speak mDNS (RFC 6762 §6.7) or wants it so (§5.4).
func (a *Agent) respond(w *wire, q *dns.Msg, from netip.AddrPort) {
	legacy := from.Port() != port
	unicast := legacy || slices.ContainsFunc(q.Question, func(x dns.Question) bool { return x.Qclass&unicastBit != 0 })
	r := answer(q, a.offered, w.own, legacy)
	if r == nil {
		return
	}
	if unicast {
		send(w, r, from)
		return
	}
	if !a.mayRepeat(w, r, time.Now()) {
		return
	}
	time.Sleep(minDelay + rand.N(maxDelay-minDelay)) // RFC 6762 §6: others answer the same question
	send(w, r, netip.AddrPort{})
}

// mayRepeat reports whether what r says was not multicast within the last second (RFC 6762 §6).
func (a *Agent) mayRepeat(w *wire, r *dns.Msg, now time.Time) bool {
	var names []string
	for _, rr := range r.Answer {
		names = append(names, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
	}
	key := w.own[0].String() + strings.Join(names, " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.sent[key]) < answerGap {
		return false
	}
	if len(a.sent) >= maxPending {
		clear(a.sent)
	}
	a.sent[key] = now
	return true
}

// send sends a message to one, or with the zero address to all. What is lost is asked for again.
func send(w *wire, m *dns.Msg, to netip.AddrPort) {
	m.Compress = true
	b, err := m.Pack()
	if err != nil || len(b) > maxDatagram {
		return
	}
	dst := group
	if to.IsValid() {
		dst = net.UDPAddrFromAddrPort(to)
	}
	from := w.from
	_, _ = w.p.WriteTo(b, &from, dst)
}
