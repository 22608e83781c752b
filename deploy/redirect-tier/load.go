package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	timerT1      = 500 * time.Millisecond // RFC 3261 §17.1.1.1: then a caller asks somebody else
	giveUp       = 4 * time.Second
	avoidFor     = 5 * time.Second // a redirect peer whose port was closed
	look         = 20 * time.Millisecond
	kernelBuffer = 4 << 20
)

// callers ask redirect peers: one socket for each peer.
type callers struct {
	to   []string
	home func(user int) string
	conn []*net.UDPConn
	all  sync.WaitGroup

	mu     sync.Mutex
	asked  []request // by number; all of a phase
	base   int       // number of the first of them
	avoid  []time.Time
	result result
}

// request is one INVITE.
type request struct {
	user, peer, tries int
	begun, sent       time.Time
	done              bool
}

// result is what came of the requests of a phase.
type result struct {
	right, wrong, missing, again, moved int
	took                                []time.Duration
	examples                            []string // of wrong answers
}

func newCallers(to []string, home func(int) string) (*callers, error) {
	c := &callers{to: to, home: home, avoid: make([]time.Time, len(to))}
	for k, a := range to {
		addr, err := net.ResolveUDPAddr("udp", a)
		if err != nil {
			return nil, err
		}
		conn, err := net.DialUDP("udp", nil, addr)
		if err != nil {
			c.close()
			return nil, err
		}
		_ = conn.SetReadBuffer(kernelBuffer)
		c.conn = append(c.conn, conn)
		c.all.Go(func() { c.read(k, conn) })
	}
	return c, nil
}

func (c *callers) close() {
	for _, conn := range c.conn {
		_ = conn.Close()
	}
	c.all.Wait()
}

// message is a request; tag, of an ACK, is the To tag of the answer.
func (c *callers) message(method string, number, user, peer int, tag string) []byte {
	uri := "sip:" + userName(user) + "@" + domain
	return fmt.Appendf(nil, "%[1]s %[2]s SIP/2.0\r\nVia: SIP/2.0/UDP %[3]s;branch=z9hG4bKr%[4]d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:caller@%[5]s>;tag=c\r\nTo: <%[2]s>%[6]s\r\n"+
		"Call-ID: r%[4]d\r\nCSeq: 1 %[1]s\r\nContact: <sip:caller@%[3]s>\r\nContent-Length: 0\r\n\r\n", method, uri, c.conn[peer].LocalAddr(), number, domain, tag)
}

// phase is a number of requests at a rate. half, if any, is done when half of them are sent.
type phase struct {
	name    string
	n, rate int
	user    func(i int) int
	half    func()
}

func random(n int) func(int) int { return func(int) int { return rand.IntN(n) } }

// play sends the requests of a phase and waits until each has its end.
func (c *callers) play(ctx context.Context, p phase) result {
	c.mu.Lock()
	c.base, c.asked, c.result = c.base+len(c.asked), make([]request, 0, p.n), result{}
	c.mu.Unlock()
	begun := time.Now()
	t := time.NewTicker(look / 4)
	defer t.Stop()
	looked := begun
	for open := p.n; open > 0 && ctx.Err() == nil; <-t.C {
		now := time.Now()
		due := min(p.n, int(now.Sub(begun).Seconds()*float64(p.rate)))
		for c.sent() < due {
			if p.half != nil && c.sent() == p.n/2 {
				p.half()
			}
			c.begin(p.user(c.sent()))
		}
		if now.Sub(looked) > look {
			looked = now
			open = p.n - c.sent() + c.chase(now)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.result.took)
	return c.result
}

func (c *callers) sent() int { c.mu.Lock(); defer c.mu.Unlock(); return len(c.asked) }

// begin asks one of the redirect peers, in turn.
func (c *callers) begin(user int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.asked = append(c.asked, request{user: user, begun: now})
	c.send(len(c.asked)-1, len(c.asked)%len(c.conn), now)
}

// send sends a request to a peer, or to the next one that is not avoided. The caller holds mu.
func (c *callers) send(i, peer int, now time.Time) {
	for range c.conn {
		if now.After(c.avoid[peer]) {
			break
		}
		peer = (peer + 1) % len(c.conn)
	}
	r := &c.asked[i]
	r.peer, r.sent = peer, now
	r.tries++
	_, _ = c.conn[peer].Write(c.message("INVITE", c.base+i, r.user, peer, ""))
}

// chase sends again what has no answer, and returns how many requests are open.
func (c *callers) chase(now time.Time) (open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.asked {
		r := &c.asked[i]
		switch {
		case r.done:
			continue
		case now.Sub(r.begun) > giveUp:
			r.done = true
			c.result.missing++
			continue
		case now.Sub(r.sent) > timerT1:
			c.result.again++
			c.send(i, (r.peer+1)%len(c.conn), now)
		}
		open++
	}
	return open
}

// read takes the answers of one peer until the socket is closed.
func (c *callers) read(peer int, conn *net.UDPConn) {
	buf := make([]byte, 65536)
	for {
		n, err := conn.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, syscall.ECONNREFUSED):
			c.refused(peer)
		case err == nil:
			c.answer(peer, string(buf[:n]))
		}
	}
}

// refused has everything that waits for a peer whose port is closed go to another one (RFC 3261 §18.4, RFC 3263 §4.3).
func (c *callers) refused(peer int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.avoid[peer]) {
		return
	}
	c.avoid[peer] = now.Add(avoidFor)
	for i := range c.asked {
		if r := &c.asked[i]; !r.done && r.peer == peer {
			c.result.moved++
			c.send(i, (peer+1)%len(c.conn), now)
		}
	}
}

// answer takes a response.
func (c *callers) answer(peer int, text string) {
	head, ok := strings.CutPrefix(text, "SIP/2.0 ")
	status, err := strconv.Atoi(head[:min(3, len(head))])
	if !ok || err != nil || status < 200 {
		return
	}
	number, err := strconv.Atoi(strings.TrimPrefix(field(head, "Call-ID"), "r"))
	c.mu.Lock()
	defer c.mu.Unlock()
	i := number - c.base
	if err != nil || i < 0 || i >= len(c.asked) {
		return
	}
	r := &c.asked[i]
	_, tag, _ := strings.Cut(field(head, "To"), ">")
	_, _ = c.conn[peer].Write(c.message("ACK", number, r.user, peer, tag))
	if r.done {
		return
	}
	r.done = true
	c.result.took = append(c.result.took, time.Since(r.begun))
	want := "<sip:" + userName(r.user) + "@" + c.home(r.user)
	contact := field(head, "Contact")
	if rest, ok := strings.CutPrefix(contact, want); status == 302 && ok && (rest[0] == ';' || rest[0] == '>') {
		c.result.right++
		return
	}
	c.result.wrong++
	if len(c.result.examples) < 3 {
		c.result.examples = append(c.result.examples, fmt.Sprintf("%s: %d %s %s, want %s", userName(r.user), status, contact, field(head, "Warning"), want))
	}
}

// field is the value of a header field.
func field(head, name string) string {
	_, after, ok := strings.Cut(head, "\r\n"+name+": ")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}
