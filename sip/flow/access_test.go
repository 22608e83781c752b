package flow

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
)

// Feature: SEC-05
func TestNetworksAreAllowedAndDeniedForEachListener(t *testing.T) {
	all, self := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	other := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		allow, deny []netip.Prefix
		ok          bool
	}{"none": {nil, nil, true}, "allowed": {all, nil, true}, "not allowed": {other, nil, false}, "denied": {nil, self, false}, "denied of the allowed": {all, self, false}} {
		t.Run(name, func(t *testing.T) {
			l := Listen{Addr: loopback, Allow: c.allow, Deny: c.deny}
			udp, tcp := l, l
			udp.Transport, tcp.Transport = UDP, TCP
			tb, in := newTable(t, Config{Listen: []Listen{udp, tcp}})
			write(t, dialUDP(t, addr(tb, 0)), request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
			s := dialTCP(t, addr(tb, 1))
			if c.ok {
				write(t, s, request(plainVia, ""))
				in.next(t)
				in.next(t)
				return
			}
			if b, err := io.ReadAll(s); len(b) > 0 {
				t.Errorf("%q, %v", b, err)
			}
			condition(t, "both to be counted", func() bool { return tb.Stats().Dropped["denied"] == 2 })
			in.none(t)
		})
	}
}

// Networks for every listener are replaced while it runs; a listener with a list of its own keeps that.
//
// Feature: SEC-05 CFG-05
func TestNetworksAreReplaced(t *testing.T) {
	self, other := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	tb, in := newTable(t, Config{Allow: other, Listen: []Listen{{Transport: UDP, Addr: loopback}, {Transport: UDP, Addr: loopback, Allow: self}}})
	general, own := dialUDP(t, addr(tb, 0)), dialUDP(t, addr(tb, 1))
	denied := uint64(0)
	for _, c := range []struct {
		allow, deny  []netip.Prefix
		general, own bool
	}{{other, nil, false, true}, {nil, nil, true, true}, {nil, self, false, false}, {self, nil, true, true}} {
		tb.SetNetworks(c.allow, c.deny)
		for at, ok := range map[net.Conn]bool{general: c.general, own: c.own} {
			write(t, at, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
			if ok {
				in.next(t)
				continue
			}
			denied++
			condition(t, "it to be counted", func() bool { return tb.Stats().Dropped["denied"] == denied })
		}
	}
	in.none(t)
}

func TestBannedIsAskedForEachDatagram(t *testing.T) {
	var banned atomic.Bool
	tb, in := newTable(t, Config{Banned: func(a netip.Addr) bool { return banned.Load() && a.IsLoopback() }}, UDP)
	c := dialUDP(t, addr(tb, 0))
	write(t, c, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
	in.next(t)
	banned.Store(true)
	write(t, c, request("SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKx", ""))
	condition(t, "the datagram to be counted", func() bool { return tb.Stats().Dropped["banned"] == 1 })
	in.none(t)
}
