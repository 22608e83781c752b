package proxy

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

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

var _ sip.Handler = (*Proxy)(nil)

const domain = "example.org"

// gateway is a Proxy between fakes: no sockets, no transactions, every message at hand.
type gateway struct {
	t        testing.TB
	p        *Proxy
	c        Config
	ip       string
	node     string
	peers    map[string]*gateway // by node: what is sent there arrives there at once
	bindings map[location.AOR][]location.Binding
	users    map[location.AOR]bool
	remote   func(ctx context.Context, aor location.AOR) ([]location.Remote, error)
	cached   map[location.AOR][]location.Remote
	dns      map[string][]location.Hop
	refusals []Refusal
	hole     bool          // no name is ever resolved
	slow     chan struct{} // names are resolved when it is closed; nil: at once

	mu   sync.Mutex
	dead map[uint64]bool // connections
	sent []*sent
	acks []*sent
}

// sent is a request that the proxy sent.
type sent struct {
	req    *message.Message
	hop    location.Hop
	user   sip.ClientUser
	callee *fakeTx // at a peer gateway
	to     *gateway
	by     *gateway

	mu       sync.Mutex
	cancels  []string
	accepted bool
	tx       sip.ServerTransaction // of further 2xx
	note     []byte
}

// take takes a response as the stack does: behind the first 2xx to an INVITE the user is gone (RFC 6026 §7.2).
func (s *sent) take(res *message.Message) {
	s.mu.Lock()
	was := s.accepted
	if u, ok := s.user.(sip.RelayingUser); ok && !was && s.req.Method == "INVITE" && res.StatusCode/100 == 2 {
		s.accepted = true
		s.tx, s.note = u.Relays()
	}
	s.mu.Unlock()
	switch {
	case !was:
		s.user.Response(res)
	case res.StatusCode/100 == 2 && s.by.p.Relay(res, s.note):
		s.tx.Respond(res)
	}
}

func newGateway(t testing.TB, n int, change func(*Config)) *gateway {
	g := &gateway{t: t, ip: fmt.Sprintf("192.0.2.%d", n), node: fmt.Sprintf("node%d/+~", n), peers: map[string]*gateway{},
		bindings: map[location.AOR][]location.Binding{}, users: map[location.AOR]bool{}, cached: map[location.AOR][]location.Remote{},
		dns: map[string][]location.Hop{}, dead: map[uint64]bool{}}
	c := Config{Sender: g, Locator: g, Resolver: g, Domain: domain, NodeGR: g.node, Secret: []byte("0123456789abcdef"), Realm: domain}
	c.Ours = func(host string, port uint16) bool {
		own := host == g.ip || host == "2001:db8::"+g.ip[len(g.ip)-1:]
		return message.EqualFold(host, domain) || own && (port == 0 || port == 5060 || port == 5061)
	}
	c.AOR = func(u message.URI) (location.AOR, bool) {
		return location.AOR(message.CanonicalUser(u.User) + "@" + domain), u.IsSIP() && c.Ours(u.Host, u.Port)
	}
	c.Refused = func(r Refusal) { g.refusals = append(g.refusals, r) }
	if change != nil {
		change(&c)
	}
	g.c, g.p = c, New(c)
	t.Cleanup(g.p.Close)
	return g
}

// join lets gateways reach each other.
func join(gs ...*gateway) {
	for _, a := range gs {
		for _, b := range gs {
			a.peers[b.node] = b
		}
	}
}

// The location.Locator.

func (g *gateway) Known(aor location.AOR) bool               { return g.users[aor] }
func (g *gateway) Local(aor location.AOR) []location.Binding { return g.bindings[aor] }

func (g *gateway) Remote(ctx context.Context, aor location.AOR) ([]location.Remote, error) {
	if g.remote == nil {
		return nil, nil
	}
	return g.remote(ctx, aor)
}

func (g *gateway) RemoteCached(aor location.AOR) ([]location.Remote, bool) {
	r, ok := g.cached[aor]
	return r, ok
}

// The Resolver.

func (g *gateway) Immediate(u message.URI) ([]location.Hop, bool) {
	addr, ok := message.Addr(u.Host)
	if !ok {
		return nil, false
	}
	port := u.Port
	if port == 0 {
		port = 5060
	}
	transport := "UDP"
	if tr, ok := u.Param("transport"); ok {
		transport = strings.ToUpper(tr)
	}
	return []location.Hop{{Transport: transport, Remote: netip.AddrPortFrom(addr, port)}}, true
}

func (g *gateway) Resolve(ctx context.Context, u message.URI) ([]location.Hop, error) {
	if g.hole {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if g.slow != nil {
		<-g.slow
	}
	if hops := g.dns[u.Host]; hops != nil {
		return hops, nil
	}
	return nil, errors.New("no such host")
}

// The sip.Sender.

func (g *gateway) Address(to location.Hop) sip.Address {
	a := sip.Address{Transport: to.Transport, Host: g.ip, Port: 5060}
	switch {
	case to.Node != "":
		return sip.Address{Transport: "TLS"}
	case to.Transport == "TLS":
		a.Port = 5061
	}
	if to.Remote.Addr().Is6() {
		a.Host = "2001:db8::" + g.ip[len(g.ip)-1:]
	}
	return a
}

func (g *gateway) Alive(to location.Hop) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.dead[to.Flow]
}

func (g *gateway) Send(req *message.Message, to location.Hop, branch string, user sip.ClientUser) sip.ClientTransaction {
	s := &sent{req: req, hop: to, user: user, by: g}
	g.mu.Lock()
	req.Prepend(message.Via, g.via(to, branch))
	g.sent = append(g.sent, s)
	g.mu.Unlock()
	if peer := g.peers[to.Node]; peer != nil {
		s.to = peer
		s.callee = &fakeTx{req: req.Clone(), src: location.Hop{Node: g.node}, answer: s.take}
		peer.p.Request(s.callee)
	}
	return s
}

func (g *gateway) via(to location.Hop, branch string) string {
	a := g.Address(to)
	if a.Host == "" {
		a.Host = domain
	}
	return "SIP/2.0/" + a.Transport + " " + message.HostPort(a.Host, a.Port) + ";branch=" + branch
}

func (g *gateway) SendStateless(req *message.Message, to location.Hop, branch string) error {
	g.mu.Lock()
	req.Prepend(message.Via, g.via(to, branch))
	g.acks = append(g.acks, &sent{req: req, hop: to})
	g.mu.Unlock()
	if peer := g.peers[to.Node]; peer != nil {
		peer.p.ACK(req.Clone(), location.Hop{Node: g.node})
	}
	return nil
}

func (s *sent) Cancel(reason string) {
	s.mu.Lock()
	s.cancels = append(s.cancels, reason)
	s.mu.Unlock()
	if s.callee != nil {
		m := &message.Message{Method: "CANCEL"}
		m.Set(message.ReasonHeader, reason)
		s.to.p.Cancel(s.callee, m)
	}
}

func (s *sent) Abandon() {}

// cancelled lists the reasons that s was cancelled for.
func (s *sent) cancelled() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.cancels)
}

// answer has the receiver of s answer.
func (s *sent) answer(status int, fields ...string) {
	res := message.NewResponse(s.req, status, "", "callee")
	for _, rr := range s.req.Lines(message.RecordRoute) {
		res.Add(message.RecordRoute, rr)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		res.AddOther(name, value)
	}
	s.take(res)
}

// fakeTx is a sip.ServerTransaction that keeps its responses.
type fakeTx struct {
	req    *message.Message
	src    location.Hop
	answer func(*message.Message) // where responses go; nil: nowhere
	trying bool

	mu        sync.Mutex
	responses []*message.Message
}

func (x *fakeTx) Request() *message.Message { return x.req }
func (x *fakeTx) Source() location.Hop      { return x.src }
func (x *fakeTx) Trying()                   { x.trying = true }

func (x *fakeTx) Respond(res *message.Message) {
	x.mu.Lock()
	x.responses = append(x.responses, res)
	x.mu.Unlock()
	if x.answer != nil {
		x.answer(res)
	}
}

// statuses lists the status codes that the sender of the request got.
func (x *fakeTx) statuses() []int {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []int
	for _, r := range x.responses {
		out = append(out, r.StatusCode)
	}
	return out
}

func (x *fakeTx) last(t testing.TB) *message.Message {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.responses) == 0 {
		t.Fatal("no response")
	}
	return x.responses[len(x.responses)-1]
}

// parse reads a request written with bare line feeds.
func parse(t testing.TB, text string) *message.Message {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	m, err := message.Parse([]byte(strings.ReplaceAll(strings.TrimSpace(head), "\n", "\r\n") + "\r\n\r\n" + body))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// request is a request in the usual form; fields go behind the others, "Name: value".
func request(t testing.TB, method, uri, from string, fields ...string) *message.Message {
	t.Helper()
	text := method + " " + uri + " SIP/2.0\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKclient\nFrom: <" + from + ">;tag=caller\nTo: <" + uri +
		">\nCall-ID: c1@example\nCSeq: 1 " + method + "\nContact: <sip:alice@198.51.100.1:5060>\n" + strings.Join(fields, "\n")
	if !strings.Contains(text, "Max-Forwards") {
		text = strings.TrimSpace(text) + "\nMax-Forwards: 70"
	}
	return parse(t, text+"\n\n")
}

func udp(addr string) location.Hop {
	return location.Hop{Transport: "UDP", Remote: netip.MustParseAddrPort(addr)}
}

func stream(transport, addr string, flow uint64) location.Hop {
	return location.Hop{Transport: transport, Remote: netip.MustParseAddrPort(addr), Flow: flow}
}

// alice is where the usual caller sends from.
var alice = udp("198.51.100.1:5060")

// register adds a binding of user.
func (g *gateway) register(user, contact string, hop location.Hop) {
	aor := location.AOR(user + "@" + domain)
	g.users[aor] = true
	g.bindings[aor] = append(g.bindings[aor], location.Binding{Contact: contact, Q: 1000, Hop: hop})
}

// receive hands a request to the proxy.
func (g *gateway) receive(req *message.Message, src location.Hop) *fakeTx {
	x := &fakeTx{req: req, src: src}
	g.p.Request(x)
	return x
}

// branches returns what was sent, which must be n requests.
func (g *gateway) branches(n int) []*sent {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sent) != n {
		g.t.Fatalf("%d requests sent, want %d", len(g.sent), n)
	}
	return slices.Clone(g.sent)
}

func (g *gateway) wantIdle() {
	g.t.Helper()
	if n := g.p.Stats().Active; n != 0 {
		g.t.Errorf("%d calls left", n)
	}
}

func wantStatuses(t testing.TB, x *fakeTx, want ...int) {
	t.Helper()
	if got := x.statuses(); !slices.Equal(got, want) {
		t.Fatalf("the caller got %v, want %v", got, want)
	}
}

func wantValues(t testing.TB, m *message.Message, n message.Name, want ...string) {
	t.Helper()
	if got := m.Values(n); !slices.Equal(got, want) {
		t.Fatalf("%v is %q, want %q", n, got, want)
	}
}

// bubble runs a test in virtual time, in which a call of wait lets every lookup and timer due run.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func wait() { synctest.Wait() }

// pass lets virtual time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
