package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nameServer is a DNS server on loopback, UDP and TCP.
type nameServer struct {
	addr string

	mu    sync.Mutex
	zone  map[string][]dns.RR // "name type"
	rcode map[string]int
	hold  chan struct{} // when not nil, answers wait until it is closed
	hole  string        // the only name that is held, when set
	asked []string
	small bool // UDP answers come truncated
}

func startServer(t *testing.T, records ...string) *nameServer {
	t.Helper()
	s := &nameServer{zone: map[string][]dns.RR{}, rcode: map[string]int{}}
	s.add(t, records...)
	pc, l := listenBoth(t)
	s.addr = pc.LocalAddr().String()
	for _, srv := range []*dns.Server{{PacketConn: pc, Handler: s}, {Listener: l, Handler: s}} {
		up := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(up) }
		done := make(chan error, 1)
		go func() { done <- srv.ActivateAndServe() }()
		<-up
		t.Cleanup(func() {
			if err := srv.Shutdown(); err != nil {
				t.Error(err)
			}
			<-done
		})
	}
	return s
}

// listenBoth finds a port that is free for UDP and for TCP: one that is for the one need not be for the other.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		if err := pc.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no port is free for both")
	return nil, nil
}

func (s *nameServer) add(t *testing.T, records ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		rr, err := dns.NewRR(r)
		if err != nil {
			t.Fatal(err)
		}
		key := rr.Header().Name + " " + dns.TypeToString[rr.Header().Rrtype]
		s.zone[key] = append(s.zone[key], rr)
	}
}

func (s *nameServer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	key := q.Question[0].Name + " " + dns.TypeToString[q.Question[0].Qtype]
	s.mu.Lock()
	s.asked = append(s.asked, key)
	hold, rcode, answer := s.hold, s.rcode[key], s.zone[key]
	if s.hole != "" && s.hole != q.Question[0].Name {
		hold = nil
	}
	cut := s.small && w.LocalAddr().Network() == "udp"
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	res := new(dns.Msg).SetRcode(q, rcode)
	if res.Truncated = cut; !cut {
		res.Answer = answer
	}
	if len(answer) == 0 {
		soa, _ := dns.NewRR("test. 30 IN SOA ns.test. host.test. 1 1 1 1 20")
		res.Ns = []dns.RR{soa}
	}
	_ = w.WriteMsg(res) // the client sees what is missing
}

// keep has answers wait, for all names or for one, until release is called, or the test is over, however it ends.
func (s *nameServer) keep(t *testing.T, name string) (release func()) {
	hold := make(chan struct{})
	s.set(func() { s.hole, s.hold = name, hold })
	release = sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	return release
}

// questions returns what was asked since the last call, sorted.
func (s *nameServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	slices.Sort(out)
	return out
}

func newResolver(t *testing.T, servers ...*nameServer) *Resolver {
	t.Helper()
	dir := t.TempDir()
	hosts := filepath.Join(dir, "hosts")
	if err := os.WriteFile(hosts, []byte("# hosts\n192.0.2.77 gw1 gw1.in.hosts # x\nbad line\n2001:db8::77 GW1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("search lan.test other.test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{ResolvConf: conf, Hosts: hosts}
	for _, s := range servers {
		c.Servers = append(c.Servers, s.addr)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.intN = func(int) int { return 0 }
	return r
}

func uri(t *testing.T, s string) message.URI {
	t.Helper()
	u, err := message.ParseURI(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// words writes hops as "UDP 192.0.2.1:5060" or "TLS 192.0.2.1:5061 name".
func words(hops []location.Hop) (out []string) {
	for _, h := range hops {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", h.Transport, h.Remote, h.Host)))
	}
	return out
}

func TestRFC3263_4_NumericHostsNeedNoQuestion(t *testing.T) {
	r := newResolver(t)
	for in, want := range map[string]string{
		"sip:192.0.2.1":                                 "UDP 192.0.2.1:5060",
		"sip:a@192.0.2.1:5070":                          "UDP 192.0.2.1:5070",
		"sip:192.0.2.1;transport=tcp":                   "TCP 192.0.2.1:5060",
		"sip:192.0.2.1;transport=TLS":                   "TLS 192.0.2.1:5061",
		"sips:192.0.2.1":                                "TLS 192.0.2.1:5061",
		"sips:192.0.2.1;transport=tcp":                  "TLS 192.0.2.1:5061",
		"sips:192.0.2.1:5080":                           "TLS 192.0.2.1:5080",
		"sip:[2001:db8::1]":                             "UDP [2001:db8::1]:5060",
		"sip:[::ffff:192.0.2.1]:5":                      "UDP 192.0.2.1:5",
		"sip:[2001:db8:::192.0.2.1]":                    "UDP [2001:db8::c000:201]:5060",
		"sip:a@example.test;maddr=192.0.2.9":            "UDP 192.0.2.9:5060",
		"sip:a@example.test;maddr=[2001:db8::9]":        "UDP [2001:db8::9]:5060",
		"sips:a@Example.test;maddr=192.0.2.9":           "TLS 192.0.2.9:5061 example.test",
		"sip:a@example.test:5;maddr=192.0.2.9;lr;ttl=1": "UDP 192.0.2.9:5",
	} {
		hops, ok := r.Immediate(uri(t, in))
		if d := cmp.Diff([]string{want}, words(hops)); d != "" || !ok {
			t.Errorf("%s: %v\n%s", in, ok, d)
		}
	}
}

func TestUnsupported(t *testing.T) {
	r := newResolver(t)
	for in, want := range map[string]error{
		"tel:+49": ErrURI, "sip:192.0.2.1;transport=sctp": ErrTransport, "sip:192.0.2.1;transport=ws": ErrTransport,
		"sips:192.0.2.1;transport=udp": ErrTransport, "sip:h.test;transport=": ErrTransport,
	} {
		if hops, ok := r.Immediate(uri(t, in)); ok {
			t.Errorf("%s: %v", in, hops)
		}
		if _, err := r.Resolve(t.Context(), uri(t, in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}

// Feature: PRX-18
func TestRFC3263_4_1_And_4_2_Names(t *testing.T) {
	s := startServer(t,
		"a.test. 60 IN A 192.0.2.1", "a.test. 60 IN AAAA 2001:db8::1",
		"both.test. 60 IN A 192.0.2.99",
		"_sip._udp.both.test. 60 IN SRV 20 0 5062 s2.test.", "_sip._udp.both.test. 60 IN SRV 10 0 5061 s1.test.",
		"_sip._tcp.both.test. 60 IN SRV 1 0 5063 s1.test.", "_sips._tcp.both.test. 60 IN SRV 1 0 5443 s1.test.",
		"s1.test. 60 IN A 192.0.2.11", "s2.test. 60 IN A 192.0.2.12",
		"_sip._udp.off.test. 60 IN SRV 0 0 0 .", "off.test. 60 IN A 192.0.2.50",
		"_sip._udp.half.test. 60 IN SRV 0 0 0 .", "_sip._tcp.half.test. 60 IN SRV 0 0 5060 s1.test.",
		"_sip._udp.dead.test. 60 IN SRV 0 0 5060 nowhere.test.", "dead.test. 60 IN A 192.0.2.60",
		"alias.test. 60 IN CNAME a.test.", "one.lan.test. 60 IN A 192.0.2.21", "two.other.test. 60 IN A 192.0.2.22",
	)
	s.set(func() {
		alias := s.zone["alias.test. CNAME"]
		s.zone["alias.test. A"] = append(slices.Clone(alias), s.zone["a.test. A"]...)
		s.rcode["_sip._udp.nosrv.test. SRV"], s.rcode["_sip._tcp.nosrv.test. SRV"] = dns.RcodeServerFailure, dns.RcodeNotImplemented
		s.rcode["broken.test. A"], s.rcode["broken.test. AAAA"] = dns.RcodeServerFailure, dns.RcodeServerFailure
		s.rcode["gone.test. A"], s.rcode["gone.test. AAAA"] = dns.RcodeNameError, dns.RcodeNameError
	})
	s.add(t, "nosrv.test. 60 IN A 192.0.2.70")
	tests := []struct {
		in   string
		want []string
		err  error
	}{
		{"sip:a.test:5070", []string{"UDP 192.0.2.1:5070", "UDP [2001:db8::1]:5070"}, nil},
		{"sips:A.test:5070", []string{"TLS 192.0.2.1:5070 a.test", "TLS [2001:db8::1]:5070 a.test"}, nil},
		{"sip:a.test", []string{"UDP 192.0.2.1:5060", "UDP [2001:db8::1]:5060"}, nil},
		{"sips:a.test", []string{"TLS 192.0.2.1:5061 a.test", "TLS [2001:db8::1]:5061 a.test"}, nil},
		{"sip:alias.test", []string{"UDP 192.0.2.1:5060"}, nil},
		{"sip:both.test", []string{"UDP 192.0.2.11:5061", "UDP 192.0.2.12:5062", "TCP 192.0.2.11:5063"}, nil},
		{"sip:both.test;transport=tcp", []string{"TCP 192.0.2.11:5063"}, nil},
		{"sip:both.test;transport=tls", []string{"TLS 192.0.2.11:5443 both.test"}, nil},
		{"sips:both.test", []string{"TLS 192.0.2.11:5443 both.test"}, nil},
		{"sip:both.test:5060", []string{"UDP 192.0.2.99:5060"}, nil},
		{"sip:both.test;transport=udp", []string{"UDP 192.0.2.11:5061", "UDP 192.0.2.12:5062"}, nil},
		{"sip:off.test;transport=udp", nil, ErrNotFound},
		{"sip:half.test", []string{"TCP 192.0.2.11:5060"}, nil},
		{"sip:dead.test", nil, ErrNotFound},
		{"sip:nosrv.test", []string{"UDP 192.0.2.70:5060"}, nil},
		{"sip:broken.test:5060", nil, ErrDNS},
		{"sip:gone.test", nil, ErrNotFound},
		{"sip:gw1", []string{"UDP 192.0.2.77:5060", "UDP [2001:db8::77]:5060"}, nil},
		{"sip:GW1.in.hosts;transport=tcp", []string{"TCP 192.0.2.77:5060"}, nil},
		{"sip:one", []string{"UDP 192.0.2.21:5060"}, nil},
		{"sip:two:7", []string{"UDP 192.0.2.22:7"}, nil},
		{"sip:three", nil, ErrNotFound},
	}
	r := newResolver(t, s)
	for _, tt := range tests {
		hops, err := r.Resolve(t.Context(), uri(t, tt.in))
		if d := cmp.Diff(tt.want, words(hops)); d != "" || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v\n%s", tt.in, err, d)
		}
		// What was found is at hand now, and the same.
		if now, ok := r.Immediate(uri(t, tt.in)); ok != (tt.err == nil) || !slices.Equal(hops, now) {
			t.Errorf("%s: Immediate %v %v", tt.in, words(now), ok)
		}
	}
}

func TestCacheKeepsToTheTTL(t *testing.T) {
	s := startServer(t, "a.test. 60 IN A 192.0.2.1", "never.test. 0 IN A 192.0.2.2", "long.test. 604800 IN A 192.0.2.3")
	r := newResolver(t, s)
	now := time.Now()
	r.dns.now = func() time.Time { return now }
	ask := func(host string) []string {
		_, _ = r.Resolve(t.Context(), uri(t, "sip:"+host+":5060")) // the questions tell
		return s.questions()
	}
	a, aaaa := "a.test. A", "a.test. AAAA"
	for _, step := range []struct {
		after time.Duration
		host  string
		want  []string
	}{
		{0, "a.test", []string{a, aaaa}},
		{0, "A.TEST", nil},
		{20 * time.Second, "a.test", nil},
		{time.Second, "a.test", []string{aaaa}}, // the negative answer was good for 20 s (RFC 2308 §5)
		{20 * time.Second, "a.test", nil},
		{20 * time.Second, "a.test", []string{a, aaaa}},
		{0, "never.test", []string{"never.test. A", "never.test. AAAA"}},
		{0, "never.test", []string{"never.test. A"}},
		{0, "long.test", []string{"long.test. A", "long.test. AAAA"}},
		{maxTTL + time.Second, "long.test", []string{"long.test. A", "long.test. AAAA"}},
	} {
		now = now.Add(step.after)
		if d := cmp.Diff(step.want, ask(step.host)); d != "" {
			t.Errorf("%s:\n%s", step.host, d)
		}
	}
	if _, ok := r.Immediate(uri(t, "sip:a.test:5060")); ok {
		t.Error("an answer that expired is at hand")
	}
}

func TestCacheIsBounded(t *testing.T) {
	r := newResolver(t)
	now := time.Now()
	r.dns.now = func() time.Time { return now }
	for i := range MaxCached + 100 {
		r.dns.keep(question{fmt.Sprint(i), typeA}, answer{until: now.Add(time.Minute)})
	}
	if n := len(r.dns.cache); n != MaxCached {
		t.Errorf("%d answers", n)
	}
	now = now.Add(time.Hour)
	r.dns.keep(question{"last", typeA}, answer{until: now.Add(time.Minute)})
	if n := len(r.dns.cache); n != 1 {
		t.Errorf("%d answers after the others expired", n)
	}
}

func TestOneQuestionForMany(t *testing.T) {
	s := startServer(t, "a.test. 60 IN A 192.0.2.1", "a.test. 60 IN AAAA 2001:db8::1")
	release := s.keep(t, "")
	r := newResolver(t, s)
	var wg sync.WaitGroup
	started := make(chan struct{}, 20)
	for range 20 {
		wg.Go(func() {
			started <- struct{}{}
			if hops, err := r.Resolve(context.Background(), uri(t, "sip:a.test:5060")); err != nil || len(hops) != 2 {
				t.Error(hops, err)
			}
		})
	}
	for range 20 {
		<-started
	}
	release()
	wg.Wait()
	if q := s.questions(); len(q) != 2 {
		t.Error(q)
	}
}

func TestStartDoesNotBlockAndIsBounded(t *testing.T) {
	s := startServer(t, "a.test. 60 IN A 192.0.2.1")
	release := s.keep(t, "")
	r := newResolver(t, s)
	type result struct {
		hops []location.Hop
		err  error
	}
	done := make(chan result, MaxRunning)
	start := func(host string) error {
		return r.Start(context.Background(), uri(t, "sip:"+host+":5060"), func(h []location.Hop, err error) { done <- result{h, err} })
	}
	// One name has a share of the places, so that others find some; all together have them all.
	for i := range MaxRunning {
		host := "a.test"
		if i >= maxPerHost {
			host = fmt.Sprintf("b%d.test", i)
		}
		if err := start(host); err != nil {
			t.Fatal(i, err)
		}
		if i == maxPerHost-1 {
			if err := start("a.test"); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
		}
	}
	if err := start("late.test"); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	release()
	found := 0
	for range MaxRunning {
		if got := <-done; got.err == nil && len(got.hops) == 1 {
			found++
		}
	}
	if found != maxPerHost {
		t.Error(found)
	}
	if err := r.running.Acquire(t.Context(), MaxRunning); err != nil || len(r.hosts) != 0 { // all places are free again
		t.Error(r.hosts, err)
	}
}

// A server that swallows the questions for one name holds up nobody else: their answers come at once while it is waited for.
//
// Feature: PRX-20
func TestABlackHoledNameHoldsUpNobodyElse(t *testing.T) {
	s := startServer(t, "good.test. 0 IN A 192.0.2.1", "good.test. 0 IN AAAA 2001:db8::1")
	release := s.keep(t, "hole.test.")
	r := newResolver(t, s)
	ended := make(chan error, maxPerHost)
	for range maxPerHost {
		if err := r.Start(context.Background(), uri(t, "sip:hole.test:5060"), func(_ []location.Hop, err error) { ended <- err }); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for range 100 {
		if hops, err := r.Resolve(t.Context(), uri(t, "sip:good.test:5060")); err != nil || len(hops) != 2 {
			t.Fatal(hops, err)
		}
	}
	if len(ended) > 0 || time.Since(began) > Deadline {
		t.Errorf("100 answers took %v, and %d of the others ended meanwhile", time.Since(began), len(ended))
	}
	for range maxPerHost {
		if err := <-ended; !errors.Is(err, ErrDNS) {
			t.Error(err)
		}
	}
	release()
}

// What the servers said last holds for a minute more when they do not answer; callers hardly wait for them, and then not at all.
//
// Feature: PRX-20
func TestRFC8767_4_AnOldAnswerIsBetterThanNone(t *testing.T) {
	s := startServer(t, "a.test. 10 IN A 192.0.2.1", "a.test. 10 IN AAAA 2001:db8::1")
	r := newResolver(t, s)
	var now atomic.Int64
	r.dns.now = func() time.Time { return time.Unix(now.Load(), 0) }
	ask := func() (string, error) {
		hops, err := r.Resolve(t.Context(), uri(t, "sip:a.test:5060"))
		return strings.Join(words(hops), ", "), err
	}
	const both, moved = "UDP 192.0.2.1:5060, UDP [2001:db8::1]:5060", "UDP 192.0.2.9:5060"
	want := func(what, want string) {
		t.Helper()
		if got, err := ask(); got != want || (err == nil) != (want != "") {
			t.Fatalf("%s: %q, %v, want %q", what, got, err, want)
		}
	}
	want("fresh", both)
	release := s.keep(t, "")
	now.Store(11)
	want("the servers are silent", both)
	eventually(t, func() bool { _, ok := r.Immediate(uri(t, "sip:a.test:5060")); return ok }) // they are given up, and nobody waits for a while
	now.Store(71)
	want("more than a minute later", "")
	release()
	s.set(func() { s.hold, s.zone = nil, map[string][]dns.RR{} })
	s.add(t, "a.test. 10 IN A 192.0.2.9", "a.test. 10 IN SOA . . 1 1 1 1 1")
	now.Store(90)
	want("they are back", moved)
}

// eventually waits for a condition.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(2 * Deadline); !holds(); time.Sleep(10 * time.Millisecond) { // the poll of a condition
		if time.Now().After(until) {
			t.Fatal("it does not become true")
		}
	}
}

// Feature: PRX-18
func TestRFC3263_4_1_NAPTR(t *testing.T) {
	s := startServer(t,
		`n.test. 60 IN NAPTR 50 50 "s" "SIPS+D2T" "" _sips._tcp.n.test.`,
		`n.test. 60 IN NAPTR 90 60 "s" "SIP+D2U" "" _sip._udp.n.test.`,
		`n.test. 60 IN NAPTR 90 50 "S" "sip+d2t" "" _sip._tcp.elsewhere.test.`,
		`n.test. 60 IN NAPTR 10 50 "s" "SIP+D2S" "" _sip._sctp.n.test.`,
		`n.test. 60 IN NAPTR 20 50 "u" "E2U+sip" "!^.*$!sip:x@n.test!" .`,
		"_sips._tcp.n.test. 60 IN SRV 0 0 5443 s1.test.", "_sip._udp.n.test. 60 IN SRV 0 0 5062 s2.test.",
		"_sip._tcp.elsewhere.test. 60 IN SRV 0 0 5063 s2.test.",
		"s1.test. 60 IN A 192.0.2.11", "s2.test. 60 IN A 192.0.2.12",
	)
	r := newResolver(t, s)
	for in, want := range map[string][]string{
		"sip:n.test":               {"TLS 192.0.2.11:5443 n.test", "TCP 192.0.2.12:5063", "UDP 192.0.2.12:5062"},
		"sips:n.test":              {"TLS 192.0.2.11:5443 n.test"},
		"sip:n.test;transport=udp": {"UDP 192.0.2.12:5062"},
	} {
		hops, err := r.Resolve(t.Context(), uri(t, in))
		if d := cmp.Diff(want, words(hops)); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", in, err, d)
		}
		if now, ok := r.Immediate(uri(t, in)); !ok || !slices.Equal(hops, now) {
			t.Errorf("%s: Immediate %v %v", in, words(now), ok)
		}
	}
}

func TestCallerMayGiveUp(t *testing.T) {
	s := startServer(t, "a.test. 60 IN A 192.0.2.1")
	release := s.keep(t, "")
	r := newResolver(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := r.Resolve(ctx, uri(t, "sip:a.test:5060"))
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, ErrDNS) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	// The question goes on for the others.
	if hops, err := r.Resolve(t.Context(), uri(t, "sip:a.test:5060")); err != nil || len(hops) != 1 {
		t.Error(hops, err)
	}
}

// A server that fails, and one that is not there, are passed over.
func TestNextServerIsAsked(t *testing.T) {
	bad := startServer(t)
	bad.set(func() { bad.rcode["a.test. A"], bad.rcode["a.test. AAAA"] = dns.RcodeRefused, dns.RcodeServerFailure })
	good := startServer(t, "a.test. 60 IN A 192.0.2.1")
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &nameServer{addr: pc.LocalAddr().String()}
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	r := newResolver(t, gone, bad, good)
	if hops, err := r.Resolve(t.Context(), uri(t, "sip:a.test:5060")); err != nil || len(hops) != 1 {
		t.Error(hops, err)
	}
}

func TestTruncatedAnswerComesOverTCP(t *testing.T) {
	s := startServer(t, "a.test. 60 IN A 192.0.2.1")
	s.set(func() { s.small = true })
	r := newResolver(t, s)
	if hops, err := r.Resolve(t.Context(), uri(t, "sip:a.test:5060")); err != nil || len(hops) != 1 {
		t.Error(hops, err)
	}
}

// A server that never answers costs no more than the deadline, and is not asked again for every request.
func TestDeadline(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	r := newResolver(t, &nameServer{addr: pc.LocalAddr().String()})
	began := time.Now()
	_, err = r.Resolve(t.Context(), uri(t, "sip:a.test:5060"))
	if !errors.Is(err, ErrDNS) || time.Since(began) > Deadline+2*time.Second {
		t.Error(err, time.Since(began))
	}
	if _, again := r.Resolve(t.Context(), uri(t, "sip:a.test:5060")); again == nil || again.Error() != err.Error() {
		t.Error(again)
	}
}

// RFC 2782: within a priority each target is drawn with a probability in proportion to its weight.
func TestRFC2782_Weights(t *testing.T) {
	r := newResolver(t)
	in := []record{{host: "w3", weight: 3}, {host: "w0"}, {host: "w1", weight: 1}, {host: "late", priority: 1, weight: 9}}
	next := 0
	first := map[string]int{}
	for next = 0; next <= 4; next++ {
		picks := 0
		r.intN = func(n int) int {
			if picks++; picks > 1 {
				return n - 1
			}
			if n != 5 {
				t.Fatalf("drawn from %d", n)
			}
			return next
		}
		out := r.order(in)
		if len(out) != 4 || out[3].host != "late" {
			t.Fatal(out)
		}
		first[out[0].host]++
	}
	if d := cmp.Diff(map[string]int{"w0": 1, "w1": 1, "w3": 3}, first); d != "" {
		t.Error(d)
	}
	if in[0].host != "w3" {
		t.Error("the cached records were reordered")
	}
}

func TestHopsAreBoundedAndDistinct(t *testing.T) {
	s := startServer(t, "_sip._udp.a.test. 60 IN SRV 0 0 5060 b.test.", "_sip._udp.a.test. 60 IN SRV 1 0 5060 b.test.")
	for i := range 40 {
		s.add(t, fmt.Sprintf("b.test. 60 IN A 192.0.2.%d", i))
	}
	r := newResolver(t, s)
	hops, err := r.Resolve(t.Context(), uri(t, "sip:a.test"))
	if err != nil || len(hops) != MaxHops {
		t.Error(len(hops), err)
	}
}

func TestNew(t *testing.T) {
	dir := t.TempDir()
	r, err := New(Config{ResolvConf: filepath.Join(dir, "none"), Hosts: filepath.Join(dir, "none")})
	if err != nil || r.dns.servers[0] != "127.0.0.1:53" {
		t.Error(err)
	}
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 192.0.2.53\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err = New(Config{ResolvConf: conf, Hosts: filepath.Join(dir, "none")})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"192.0.2.53:53", "[2001:db8::53]:53"}, r.dns.servers); d != "" {
		t.Error(d)
	}
	if _, err := New(Config{Hosts: dir}); err == nil {
		t.Error("a directory passed for a file")
	}
}
