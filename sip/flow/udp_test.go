package flow

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
	"github.com/p2psip/p2psip-gateway/sip/message"
)

// Feature: PRX-15
func TestRFC3581_4_WildcardSocketAnswersFromTheAddressThatWasAsked(t *testing.T) {
	tb, err := New(Config{Listen: []Listen{{Transport: UDP, Addr: netip.MustParseAddrPort("0.0.0.0:0")}, {Transport: TCP, Addr: netip.MustParseAddrPort("0.0.0.0:0")}}})
	check(t, err)
	defer tb.Close()
	in := make(inbox, 4)
	tb.Serve(in)
	for _, host := range []string{"127.0.0.1", "127.0.0.2", "127.9.9.9"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(host), addr(tb, 0).Port())
		c := dialUDP(t, to) // a connected socket takes datagrams of that source only
		write(t, c, request("SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx", ""))
		a := in.next(t)
		if a.from.Local != to {
			t.Fatalf("local %v, want %v", a.from.Local, to)
		}
		if v, want := tb.Via(a.from, "b"), fmt.Sprintf("SIP/2.0/UDP %v;branch=b;rport", to); v != want {
			t.Errorf("%s, want %s", v, want)
		}
		via, err := a.m.TopVia()
		check(t, err)
		check(t, tb.Send(tb.ResponseHop(a.from, via), message.NewResponse(a.m, 200, "", "t").AppendTo(nil), nil))
		readDatagram(t, c)

		s := dialTCP(t, netip.AddrPortFrom(to.Addr(), addr(tb, 1).Port()))
		write(t, s, request(plainVia, ""))
		if v := tb.Via(in.next(t).from, "b"); !strings.Contains(v, host+":") {
			t.Error(v)
		}
	}
}

// Feature: PRX-28
func TestRFC5626_4_4_2_STUNKeepAliveIsAnswered(t *testing.T) {
	tb, in := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	req, err := hex.DecodeString("000100002112a442" + "0102030405060708090a0b0c")
	check(t, err)
	write(t, c, string(req))
	b := make([]byte, 100)
	n, err := c.Read(b)
	check(t, err)
	port := addrPort(c.LocalAddr()).Port()
	want := "0101000c2112a442" + "0102030405060708090a0b0c" + "00200008" + "0001" + fmt.Sprintf("%04x", port^0x2112) + "5e12a443" // 127.0.0.1 XOR cookie
	if got := hex.EncodeToString(b[:n]); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	in.none(t)
	six := netip.MustParseAddrPort("[2001:db8:1234:5678:11:2233:4455:6677]:32853")
	// RFC 5769 §2.3.
	req, err = hex.DecodeString("000100002112a442" + "b7e7a701bc34d686fa87dfae")
	check(t, err)
	res, ok := stun(req, six)
	if got := hex.EncodeToString(res[stunHeader:]); !ok || got != "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9" {
		t.Fatal(got)
	}
	for _, s := range []string{"", "00010000", "000100042112a442" + "0102030405060708090a0b0c", "010100002112a442" + "0102030405060708090a0b0c"} {
		b, err := hex.DecodeString(s)
		check(t, err)
		if _, ok := stun(b, six); ok {
			t.Errorf("%s was answered", s)
		}
	}
}

func TestLongBatchIsWrittenBeforeItsEnd(t *testing.T) {
	tb, _ := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	u := tb.sockets.Load().udp[0]
	u.cork()
	for range udpCorked {
		check(t, u.send(datagram{b: []byte("x"), to: addrPort(c.LocalAddr())}))
	}
	b := make([]byte, 4)
	for range udpCorked {
		_, err := c.Read(b)
		check(t, err)
	}
	u.uncork()
}

func TestWhatIsSentTogetherLeavesAtTheEnd(t *testing.T) {
	tb, _ := newTable(t, Config{}, UDP, TCP)
	c := dialUDP(t, addr(tb, 0))
	to := location.Hop{Transport: UDP, Remote: addrPort(c.LocalAddr()), Local: tb.sockets.Load().udp[0].local}
	tb.Together(func() {
		for range 3 {
			check(t, tb.Send(to, []byte("x"), nil))
		}
		if n := len(tb.sockets.Load().udp[0].queue); n != 3 {
			t.Errorf("%d datagrams wait, want 3", n)
		}
		tb.Together(func() {}) // somebody else's end
		if n := len(tb.sockets.Load().udp[0].queue); n != 0 {
			t.Errorf("%d datagrams still wait", n)
		}
		check(t, tb.Send(to, []byte("x"), nil))
	})
	b := make([]byte, 4)
	for range 4 {
		_, err := c.Read(b)
		check(t, err)
	}
}

func TestOverUDPTheOctetsAreTheCallersAgainWhenSendReturns(t *testing.T) {
	tb, _ := newTable(t, Config{}, UDP)
	c := dialUDP(t, addr(tb, 0))
	u := tb.sockets.Load().udp[0]
	to := location.Hop{Transport: UDP, Remote: addrPort(c.LocalAddr()), Local: u.local}
	const rounds, each = 3, 50
	b := make([]byte, 4)
	for round := range rounds {
		tb.Together(func() {
			for i := range each {
				b[0], b[1] = byte(round), byte(i)
				check(t, tb.Send(to, b, nil))
			}
		})
		for i := range each {
			got := make([]byte, 8)
			if _, err := c.Read(got); err != nil || got[0] != byte(round) || got[1] != byte(i) {
				t.Fatalf("datagram %d of round %d is %v, %v", i, round, got[:2], err)
			}
		}
	}
	tb.Together(func() {
		for range udpCorked - 1 {
			check(t, tb.Send(to, make([]byte, 4096), nil))
		}
	})
	if got := cap(u.spared); got > udpSpared {
		t.Errorf("%d octets are kept for the next queue", got)
	}
}

// FuzzStamp: whatever Via comes, what leaves is one that says where it came from.
func FuzzStamp(f *testing.F) {
	for _, v := range []string{plainVia, "SIP/2.0/UDP [::1]:5060;rport;branch=1", "SIP/2.0/UDP h ;received=\"a;b\";rport=\t9 ;x, SIP/2.0/UDP i"} {
		f.Add(v)
	}
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	f.Fuzz(func(t *testing.T, v string) {
		m, err := message.Parse([]byte(request(v, "")))
		if err != nil {
			return
		}
		count := len(m.Values(message.Via))
		stamp(m, from)
		via, err := m.TopVia()
		check(t, err)
		received, ok := message.Param(via.Params, "received")
		if rport, asked := message.Param(via.Params, "rport"); asked && rport != "4000" || ok && received != "192.0.2.1" || asked && !ok {
			t.Fatalf("%q became %q", v, m.Get(message.Via))
		}
		if !ok && via.Host != "192.0.2.1" && via.Host != "::ffff:192.0.2.1" {
			if a, err := netip.ParseAddr(via.Host); err != nil || a.Unmap() != from.Addr() {
				t.Fatalf("%q became %q", v, m.Get(message.Via))
			}
		}
		if n := len(m.Values(message.Via)); n != count {
			t.Fatalf("%d values of Via became %d", count, n)
		}
	})
}

func BenchmarkUDPSend(b *testing.B) {
	tb, _ := newTable(b, Config{}, UDP)
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(b, err)
	defer func() { _ = c.Close() }()
	u, to, text := tb.sockets.Load().udp[0], addrPort(c.LocalAddr()), []byte(request(plainVia, ""))
	b.ReportAllocs()
	for b.Loop() {
		u.cork()
		for range batchSize {
			_ = u.send(datagram{b: text, to: to})
		}
		u.uncork()
	}
}
