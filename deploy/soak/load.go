package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	timerT1      = 500 * time.Millisecond // RFC 3261 §17.1.1.1
	timerB       = 64 * timerT1
	talk         = time.Second     // of a call
	refreshEvery = 5 * time.Minute // for each phone
	windowMost   = 1 << 16         // set-up times kept between two samples
	kernelBuffer = 4 << 20
	registerPool = 64 // REGISTERs under way at the start
)

// load is every phone: one socket for those that call and register, one for those that are called.
type load struct {
	o              options
	to             *net.UDPAddr
	caller, callee *net.UDPConn
	stopping       chan struct{}
	all            sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]chan answer // by Call-ID and CSeq
	setups  []time.Duration        // since the last sample
	failed  map[string]int         // by what failed

	calls, wrong, sequence atomic.Uint64
}

// answer is what matters of a response.
type answer struct {
	status  int
	to      string
	contact string
	routes  []string
}

func userName(i int) string { return fmt.Sprint("u", 100000+i) }

func newLoad(o options, sip string) (*load, error) {
	l := &load{o: o, stopping: make(chan struct{}), waiting: map[string]chan answer{}, failed: map[string]int{}}
	var err error
	if l.to, err = net.ResolveUDPAddr("udp", sip); err != nil {
		return nil, err
	}
	for _, c := range []**net.UDPConn{&l.caller, &l.callee} {
		if *c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			return nil, err
		}
		_ = (*c).SetReadBuffer(kernelBuffer)
	}
	go read(l.caller, l.response)
	go read(l.callee, l.request)
	return l, nil
}

func (l *load) close() {
	_ = l.caller.Close()
	_ = l.callee.Close()
}

// read hands on what comes until the socket is closed.
func read(c *net.UDPConn, take func([]byte, *net.UDPAddr)) {
	buf := make([]byte, 65536)
	for {
		n, from, err := c.ReadFromUDP(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n > 4 {
			take(buf[:n], from)
		}
	}
}

// fields lists the header fields of a message that begin with a name.
func fields(head, name string) (out []string) {
	for line := range strings.SplitSeq(head, "\r\n") {
		if len(line) > len(name) && strings.EqualFold(line[:len(name)], name) && line[len(name)] == ':' {
			out = append(out, strings.TrimSpace(line[len(name)+1:]))
		}
	}
	return out
}

func field(head, name string) string {
	if all := fields(head, name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// response hands a final response to whoever waits for it.
func (l *load) response(b []byte, _ *net.UDPAddr) {
	head, ok := strings.CutPrefix(string(b), "SIP/2.0 ")
	if !ok || len(head) < 3 {
		return
	}
	status, err := strconv.Atoi(head[:3])
	if err != nil || status < 200 {
		return
	}
	l.mu.Lock()
	wait := l.waiting[field(head, "Call-ID")+field(head, "CSeq")]
	l.mu.Unlock()
	a := answer{status, field(head, "To"), strings.Trim(field(head, "Contact"), "<>"), fields(head, "Record-Route")}
	select {
	case wait <- a: // a nil channel takes nothing
	default:
	}
}

// request is the phone that is called: it rings, answers, and hangs up when it is told to.
func (l *load) request(b []byte, from *net.UDPAddr) {
	method, _, _ := bytes.Cut(b, []byte(" "))
	head := string(b)
	for _, status := range map[string][]string{"INVITE": {"180 Ringing", "200 OK"}, "BYE": {"200 OK"}, "OPTIONS": {"200 OK"}}[string(method)] {
		var out strings.Builder
		fmt.Fprintf(&out, "SIP/2.0 %s\r\n", status)
		for _, name := range []string{"Via", "Record-Route", "From", "Call-ID", "CSeq"} {
			for _, v := range fields(head, name) {
				fmt.Fprintf(&out, "%s: %s\r\n", name, v)
			}
		}
		to := field(head, "To")
		if !strings.Contains(to, ";tag=") {
			to += ";tag=callee"
		}
		fmt.Fprintf(&out, "To: %s\r\nContact: <sip:callee@%s>\r\nContent-Length: 0\r\n\r\n", to, l.callee.LocalAddr())
		_, _ = l.callee.WriteToUDP([]byte(out.String()), from)
	}
}

// message writes a request. lines follow the first ones.
func (l *load) message(method, uri, id string, seq int, lines ...string) []byte {
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d%s;rport\r\nMax-Forwards: 70\r\nCall-ID: %s\r\nCSeq: %d %s\r\n%s\r\nContent-Length: 0\r\n\r\n",
		method, uri, l.caller.LocalAddr(), id, seq, method, id, seq, method, strings.Join(lines, "\r\n"))
}

// ask sends a request, again and again like any phone, until it has its final response; status 0 is none.
func (l *load) ask(method, uri, id string, seq int, lines ...string) answer {
	wait := make(chan answer, 1)
	key := fmt.Sprintf("%s%d %s", id, seq, method)
	l.mu.Lock()
	l.waiting[key] = wait
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.waiting, key)
		l.mu.Unlock()
	}()
	m := l.message(method, uri, id, seq, lines...)
	end := time.NewTimer(timerB)
	defer end.Stop()
	for again := timerT1; ; again *= 2 {
		_, _ = l.caller.WriteToUDP(m, l.to)
		t := time.NewTimer(again)
		select {
		case a := <-wait:
			t.Stop()
			return a
		case <-end.C:
			t.Stop()
			return answer{}
		case <-t.C:
		}
	}
}

// failures lists what failed, with its number.
func (l *load) failures() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for what, n := range l.failed {
		out = append(out, fmt.Sprintf("%s: %d times", what, n))
	}
	slices.Sort(out)
	return out
}

func (l *load) fail(what string, status int) {
	l.wrong.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[fmt.Sprintf("%s answered %d", what, status)]++
}

func (l *load) register(i int) bool {
	aor := "sip:" + userName(i) + "@" + domain
	a := l.ask("REGISTER", "sip:"+domain, "reg"+userName(i), int(l.sequence.Add(1)), "From: <"+aor+">;tag=r", "To: <"+aor+">",
		fmt.Sprintf("Contact: <sip:%s@%s>", userName(i), l.callee.LocalAddr()), fmt.Sprint("Expires: ", int(l.o.expires.Seconds())))
	if a.status != 200 {
		l.fail("REGISTER", a.status)
	}
	return a.status == 200
}

// registerAll registers every phone before the first call.
func (l *load) registerAll() error {
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range registerPool {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(l.o.phones); i = next.Add(1) - 1 {
				l.register(int(i))
			}
		})
	}
	wg.Wait()
	if bad := l.failures(); len(bad) > 0 {
		return errors.New(strings.Join(bad, "; "))
	}
	return nil
}

// begin starts calls and refreshes, each at its pace.
func (l *load) begin() {
	l.pace(time.Second/time.Duration(l.o.rate), func(int) { l.call() })
	l.pace(refreshEvery/time.Duration(l.o.phones), func(n int) { l.register(n % l.o.phones) })
}

// pace has f run so often; what is late is made up for.
func (l *load) pace(every time.Duration, f func(n int)) {
	l.all.Go(func() {
		t := time.NewTicker(max(every, 5*time.Millisecond))
		defer t.Stop()
		begun := time.Now()
		for n := 0; ; {
			select {
			case <-l.stopping:
				return
			case <-t.C:
			}
			for ; time.Duration(n)*every < time.Since(begun); n++ {
				turn := n // n goes on before f has begun
				l.all.Go(func() { f(turn) })
			}
		}
	})
}

// finish waits for the calls that are under way.
func (l *load) finish() {
	close(l.stopping)
	l.all.Wait()
}

// call is one call between two phones.
func (l *load) call() {
	begun := time.Now()
	from, to := "sip:"+userName(rand.IntN(l.o.phones))+"@"+domain, "sip:"+userName(rand.IntN(l.o.phones))+"@"+domain
	id := fmt.Sprint("call", l.sequence.Add(1))
	who := "From: <" + from + ">;tag=c"
	a := l.ask("INVITE", to, id, 1, who, "To: <"+to+">", fmt.Sprintf("Contact: <sip:caller@%s>", l.caller.LocalAddr()))
	if a.status != 200 {
		l.fail("INVITE", a.status)
		return
	}
	l.note(time.Since(begun))
	slices.Reverse(a.routes)
	rest := []string{who, "To: " + a.to}
	for _, r := range a.routes {
		rest = append(rest, "Route: "+r)
	}
	_, _ = l.caller.WriteToUDP(l.message("ACK", a.contact, id, 1, rest...), l.to)
	time.Sleep(talk)
	if b := l.ask("BYE", a.contact, id, 2, rest...); b.status != 200 {
		l.fail("BYE", b.status)
		return
	}
	l.calls.Add(1)
}

func (l *load) note(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.setups) < windowMost {
		l.setups = append(l.setups, d)
	}
}

// fill adds what the phones have seen since the last sample.
func (l *load) fill(s *sample) {
	l.mu.Lock()
	setups := l.setups
	l.setups = nil
	l.mu.Unlock()
	slices.Sort(setups)
	if len(setups) > 0 {
		s.p99 = setups[len(setups)*99/100]
	}
	s.calls, s.failed = l.calls.Load(), l.wrong.Load()
}
