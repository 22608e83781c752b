package lan

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

var loopback = []string{"lo"}

// overlayName is one that no other test on this machine has: all of them hear each other.
func overlayName() string { return strings.ToLower(rand.Text()[:12]) + ".example" }

func address(s string) netip.Addr { return netip.MustParseAddr(s) }

// start runs an Agent until stop.
func start(t *testing.T, c Config) (found chan Found, stop func()) {
	t.Helper()
	found = make(chan Found, 64)
	c.Interfaces, c.Found = loopback, func(f Found) { found <- f }
	a, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return found, stop
}

func next(t *testing.T, found chan Found) Found {
	t.Helper()
	select {
	case f := <-found:
		return f
	case <-time.After(patience):
		t.Fatal("nobody was found")
		return Found{}
	}
}

// Two nodes of one overlay find each other, whoever starts first; one of another overlay is not found; who has said farewell is found
// again when it is back.
//
// Conformance: G-11
func TestNodesOfAnOverlayFindEachOther(t *testing.T) {
	overlay := overlayName()
	offer := func(name, instance string, port uint16) Config {
		return Config{Overlay: name, Browse: []string{LinksTLS, LinksDTLS}, Offer: []Service{
			{Type: LinksTLS, Instance: instance, Overlay: name, Port: port, Addresses: []netip.Addr{address("192.0.2.1"), address("2001:db8::1")}},
			{Type: LinksDTLS, Instance: instance, Overlay: name, Port: port + 1}}}
	}
	start(t, offer(overlayName(), "cc", 9))
	byA, _ := start(t, offer(overlay, "aa", 1001))
	byB, stopB := start(t, offer(strings.ToUpper(overlay), "BB", 2001))
	of := func(found chan Found) []Found {
		list := []Found{next(t, found), next(t, found)}
		slices.SortFunc(list, func(a, b Found) int { return strings.Compare(a.Type, b.Type) })
		return list
	}
	expected := func(instance string, port uint16) []Found {
		return []Found{{Type: LinksTLS, Instance: instance, Addresses: []netip.AddrPort{netip.AddrPortFrom(address("192.0.2.1"), port),
			netip.AddrPortFrom(address("2001:db8::1"), port)}},
			{Type: LinksDTLS, Instance: instance, Addresses: []netip.AddrPort{netip.AddrPortFrom(address("127.0.0.1"), port+1)}}}
	}
	same := cmp.Options{cmp.AllowUnexported(Found{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if d := cmp.Diff(expected("bb", 2001), of(byA), same); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(expected("aa", 1001), of(byB), same); d != "" {
		t.Error(d)
	}
	stopB()
	start(t, offer(overlay, "bb", 2001))
	if d := cmp.Diff(expected("bb", 2001), of(byA), same); d != "" {
		t.Error(d)
	}
	if len(byA) > 0 {
		t.Errorf("%+v is found, too", <-byA)
	}
}

func TestResolverFindsTheConfigurationServer(t *testing.T) {
	overlay := overlayName()
	r := Resolver{Interfaces: loopback}
	var dnsErr *net.DNSError
	if _, list, err := r.LookupSRV(t.Context(), "reload-config", "tcp", overlay+"."); !errors.As(err, &dnsErr) || len(list) > 0 {
		t.Errorf("nobody there: %v %v", list, err)
	}
	start(t, Config{Overlay: overlay, Offer: []Service{{Type: Configuration, Instance: "server", Overlay: overlay, Port: 8443}}})
	_, list, err := r.LookupSRV(t.Context(), "reload-config", "tcp", overlay+".")
	if err != nil || len(list) != 1 || list[0].Target != "127.0.0.1" || list[0].Port != 8443 {
		t.Errorf("%+v %v", list, err)
	}
	if _, err := Open(Config{Interfaces: []string{"no such"}}); err == nil {
		t.Error("an interface that there is not")
	}
}

// RFC 6762 §6.7: who asks from another port than 5353 is answered alone, with its question and ID, short TTLs and no cache-flush bit.
func TestRFC6762_6_7_LegacyQuery(t *testing.T) {
	overlay := overlayName()
	instance := strings.ToLower(rand.Text())
	start(t, Config{Overlay: overlay, Offer: []Service{{Type: LinksTLS, Instance: instance, Overlay: overlay, Port: 6084}}})
	wires, err := open(loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wires[0].conn.Close() }()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	q := new(dns.Msg).SetQuestion(instance+"."+LinksTLS+".local.", dns.TypeSRV)
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteToUDP(b, group); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxDatagram)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg)
	if err := r.Unpack(buf[:n]); err != nil || r.Id != q.Id || !r.Response || len(r.Question) != 1 || len(r.Answer) != 3 {
		t.Fatalf("%v %v", r, err)
	}
	for _, rr := range r.Answer {
		if h := rr.Header(); h.Class != dns.ClassINET || h.Ttl > legacyTTL {
			t.Errorf("%v", rr)
		}
	}
}

// What is asked for, and what is not.
func TestAnswer(t *testing.T) {
	s := []Service{{Type: LinksTLS, Instance: "aa", Overlay: "o.example", Port: 1}}
	own := []netip.Addr{address("192.0.2.1")}
	ptr, _ := s[0].records(own, serviceTTL)
	ask := func(name string, t, class uint16, known ...dns.RR) *dns.Msg {
		return &dns.Msg{Question: []dns.Question{{Name: name, Qtype: t, Qclass: class}}, Answer: known}
	}
	old := dns.Copy(ptr)
	old.Header().Ttl = serviceTTL/2 - 1
	for name, c := range map[string]struct {
		q             *dns.Msg
		answer, extra int
	}{
		"instances":              {ask("_RELOAD._tcp.local.", dns.TypePTR, dns.ClassINET), 1, 3},
		"anything":               {ask("_reload._tcp.local.", dns.TypeANY, dns.ClassANY), 1, 3},
		"to be answered alone":   {ask("_reload._tcp.local.", dns.TypePTR, dns.ClassINET|unicastBit), 1, 3},
		"a node":                 {ask("aa._reload._tcp.local.", dns.TypeTXT, dns.ClassINET), 3, 0},
		"a host":                 {ask("aa-reload-tcp.local.", dns.TypeA, dns.ClassINET), 3, 0},
		"known":                  {ask("_reload._tcp.local.", dns.TypePTR, dns.ClassINET, ptr), 0, 0}, // RFC 6762 §7.1
		"known for too long":     {ask("_reload._tcp.local.", dns.TypePTR, dns.ClassINET, old), 1, 3},
		"another service":        {ask("_reload._udp.local.", dns.TypePTR, dns.ClassINET), 0, 0},
		"another node":           {ask("ab._reload._tcp.local.", dns.TypeSRV, dns.ClassINET), 0, 0},
		"another type of record": {ask("_reload._tcp.local.", dns.TypeSRV, dns.ClassINET), 0, 0},
		"another class":          {ask("_reload._tcp.local.", dns.TypePTR, dns.ClassCHAOS), 0, 0},
		"nothing":                {&dns.Msg{}, 0, 0},
	} {
		r := answer(c.q, s, own, false)
		switch {
		case r == nil && c.answer > 0, r != nil && (len(r.Answer) != c.answer || len(r.Extra) != c.extra || len(r.Question) > 0 || r.Id != 0):
			t.Errorf("%s: %v", name, r)
		}
	}
}

// FuzzFound: whatever comes from the network is read within bounds.
func FuzzFound(f *testing.F) {
	s := Service{Type: LinksTLS, Instance: "aa", Overlay: "o.example", Port: 1}
	ptr, unique := s.records([]netip.Addr{address("192.0.2.1"), address("fe80::1")}, serviceTTL)
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Answer: append(unique, ptr)}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		list := found(m, []string{LinksTLS, Configuration}, "o.example")
		if len(list) > maxFound {
			t.Fatalf("%d", len(list))
		}
		for _, f := range list {
			if f.Instance == "" || !f.gone && len(f.Addresses) == 0 || len(f.Addresses) > maxAddresses {
				t.Errorf("%+v", f)
			}
			for _, a := range f.Addresses {
				if a.Port() == 0 || a.Addr().IsMulticast() || a.Addr().IsUnspecified() {
					t.Errorf("%v", a)
				}
			}
		}
		answer(m, []Service{s}, nil, true)
	})
}
