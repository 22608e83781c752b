package media

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// bench is a relay with a clock that stands still, and phones with real sockets on addresses of the loopback network.
type bench struct {
	t   testing.TB
	r   *Relay
	now time.Time

	mu     sync.Mutex
	events []Event
}

// relayHost is where the relay is: an address whose ports nobody else uses.
const relayHost = "127.0.0.77"

// newBench returns a relay at relayHost. A phone is behind a NAT when it says another address than the one that it has.
func newBench(t testing.TB, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Unix(1_800_000_000, 0)}
	c := Config{Addresses: []netip.Addr{netip.MustParseAddr(relayHost)}, First: 20000, Last: 29999, Timeout: time.Minute, Strict: true,
		Behind: func(from location.Hop, own netip.Addr) bool { return from.Remote.Addr() != own },
		Now:    func() time.Time { return b.now },
		Report: func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		}}
	if change != nil {
		change(&c)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	b.r = r
	t.Cleanup(r.Close)
	return b
}

// pass moves the clock on.
func (b *bench) pass(d time.Duration) {
	b.now = b.now.Add(d)
	b.r.Sweep(b.now)
}

func (b *bench) codes() (out []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		out = append(out, e.Code)
	}
	return out
}

// phone is one side of a call: signalling and media come from ip; own is the address that it says it has.
type phone struct {
	t         testing.TB
	ip, own   string
	tag       string
	rtp, rtcp *net.UDPConn
	node      string         // at another gateway
	attrs     []string       // of its description
	peer      netip.AddrPort // where it was told to send
	peerRTCP  netip.AddrPort
}

func newPhone(t testing.TB, ip, own string) *phone {
	t.Helper()
	p := &phone{t: t, ip: ip, own: own, tag: "tag" + ip}
	for range 100 {
		var err error
		if p.rtp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))); err != nil {
			t.Fatal(err)
		}
		at := p.rtp.LocalAddr().(*net.UDPAddr).AddrPort()
		if p.rtcp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), at.Port()+1))); err == nil && at.Port()%2 == 0 {
			t.Cleanup(func() { _, _ = p.rtp.Close(), p.rtcp.Close() })
			return p
		}
		_ = p.rtp.Close()
		if err == nil {
			_ = p.rtcp.Close()
		}
	}
	t.Fatal("no pair of ports")
	return nil
}

func (p *phone) port() uint16 { return p.rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

func (p *phone) hop() location.Hop {
	if p.node != "" {
		return location.Hop{Node: p.node}
	}
	return location.Hop{Transport: "UDP", Remote: netip.AddrPortFrom(netip.MustParseAddr(p.ip), 5060)}
}

// sdp is its description.
func (p *phone) sdp() string {
	lines := append([]string{"v=0", "o=- 1 1 IN IP4 " + p.own, "s=-", "c=IN IP4 " + p.own, "t=0 0", fmt.Sprintf("m=audio %d RTP/AVP 0", p.port())}, p.attrs...)
	return strings.Join(lines, "\r\n") + "\r\n"
}

// hear takes what the other side says.
func (p *phone) hear(m *message.Message) {
	p.t.Helper()
	p.peer, p.peerRTCP = netip.AddrPort{}, netip.AddrPort{}
	b := bodyOf(m)
	if b.d == nil || len(b.d.Streams) == 0 {
		p.t.Fatalf("no description:\n%s", m.Body)
	}
	said, _ := places(b.d)
	p.peer, p.peerRTCP = said[0].rtp, said[0].rtcp
}

// say sends a packet to an address.
func say(t testing.TB, c *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

// next is the next packet that comes, and from where.
func next(t testing.TB, c *net.UDPConn) (text string, from netip.AddrPort) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, maxPacket)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), from
}

// nothing checks that no packet has come. Whoever calls it has made sure that one would have.
func nothing(t testing.TB, c *net.UDPConn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	b := make([]byte, maxPacket)
	if n, from, err := c.ReadFromUDPAddrPort(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q from %v, %v", b[:n], from, err)
	}
}

// talk sends a packet each way, and waits for it.
func talk(t testing.TB, a, b *phone) {
	t.Helper()
	reach(t, a, b)
	reach(t, b, a)
	reach(t, a, b) // what was latched meanwhile changes nothing
}

func reach(t testing.TB, a, b *phone) {
	t.Helper()
	text := "from " + a.ip
	say(t, a.rtp, a.peer, text)
	if got, from := next(t, b.rtp); got != text || from != b.peer {
		t.Fatalf("%q from %v, want %q from %v", got, from, text, b.peer)
	}
}

// call is a dialog between two phones, as the proxy shows it to the relay.
type call struct {
	b    *bench
	id   string
	a, z *phone
	leg  uint64
	seq  int
}

var legs uint64

func (b *bench) call(id string, a, z *phone) *call {
	legs++
	return &call{b: b, id: id, a: a, z: z, leg: legs}
}

// request makes a request within the call; toTag is empty for the first.
func (c *call) request(method string, from, to *phone, toTag, body string) *message.Message {
	c.seq++
	m := &message.Message{Method: method, RequestURI: "sip:" + to.own + ":5060"}
	m.Add(message.Via, "SIP/2.0/UDP "+from.own)
	m.Add(message.From, "<sip:x@example.org>;tag="+from.tag)
	to1 := "<sip:y@example.org>"
	if toTag != "" {
		to1 += ";tag=" + toTag
	}
	m.Add(message.To, to1)
	m.Add(message.CallID, c.id)
	m.Add(message.CSeq, fmt.Sprintf("%d %s", c.seq, method))
	m.Add(message.Contact, "<sip:x@"+from.own+":5060>")
	if body != "" {
		m.Add(message.ContentType, "application/sdp")
		m.Body = []byte(body)
	}
	return m
}

func response(req *message.Message, status int, tag, body string) *message.Message {
	m := message.NewResponse(req, status, "", tag)
	if body != "" {
		m.Add(message.ContentType, "application/sdp")
		m.Body = []byte(body)
	}
	return m
}

// invite sends the first INVITE; the callee hears the offer.
func (c *call) invite() *message.Message {
	c.b.t.Helper()
	m := c.request("INVITE", c.a, c.z, "", c.a.sdp())
	if !c.b.r.Request(c.leg, m, c.a.hop(), c.z.hop()) {
		c.b.t.Fatal("refused")
	}
	c.z.hear(m)
	return m
}

// respond sends a response of the callee's; the caller hears what it says.
func (c *call) respond(req *message.Message, status int, body string) *message.Message {
	res := response(req, status, c.z.tag, body)
	c.b.r.Response(c.leg, res)
	if body != "" {
		c.a.hear(res)
	}
	if status >= 200 {
		c.b.r.End(c.leg)
	}
	return res
}

// establish is a call from INVITE to 200.
func (c *call) establish() *call {
	c.b.t.Helper()
	c.respond(c.invite(), 200, c.z.sdp())
	return c
}

// within sends a request within the dialog and its response; bodies may be empty.
func (c *call) within(method string, from, to *phone, status int, body, answer string) (req, res *message.Message) {
	legs++
	leg := legs
	req = c.request(method, from, to, to.tag, body)
	c.b.r.Request(leg, req, from.hop(), to.hop())
	res = response(req, status, "", answer)
	c.b.r.Response(leg, res)
	c.b.r.End(leg)
	return req, res
}

func (c *call) bye() { c.within("BYE", c.a, c.z, 200, "", "") }

// natted are two phones whose descriptions lead nowhere.
func natted(t testing.TB) (a, z *phone) {
	return newPhone(t, "127.0.0.2", "10.0.0.2"), newPhone(t, "127.0.0.3", "10.1.0.3")
}

// sessions checks how many calls are relayed.
func (b *bench) sessions(want int) {
	b.t.Helper()
	if s := b.r.Stats(); s.Sessions != want || want == 0 && (s.Ports != 0 || len(b.r.calls) != 0 || len(b.r.taken) != 0) {
		b.t.Fatalf("%d sessions, want %d: %+v", s.Sessions, want, s)
	}
}

// eventually waits for what the relay's readers do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}
