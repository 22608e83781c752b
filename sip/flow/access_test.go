package flow

import (
	"io"
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
