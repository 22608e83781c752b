package flow

import (
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// An IPv4 socket sends to an address of IPv4 in whatever form, and to no part of an address of IPv6.
func TestAnIPv4SocketSendsToNoPartOfAnIPv6Address(t *testing.T) {
	tb, err := New(Config{Listen: []Listen{{Transport: UDP, Addr: loopback}}})
	check(t, err)
	defer tb.Close()
	u := tb.sockets.Load().udp[0]
	peer, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback))
	check(t, err)
	defer peer.Close()
	port := peer.LocalAddr().(*net.UDPAddr).Port
	to := func(ip string) ipv4.Message {
		return ipv4.Message{Buffers: [][]byte{[]byte(ip)}, Addr: &net.UDPAddr{IP: net.ParseIP(ip), Port: port}}
	}
	// The first four octets of the second one are 127.0.0.1.
	ms := []ipv4.Message{to("127.0.0.1"), to("7f00:1::1"), to("::ffff:127.0.0.1")}
	if n, err := u.batch.WriteBatch(ms, 0); n != 1 || err != nil {
		t.Errorf("%d are sent, %v", n, err)
	}
	if n, err := u.batch.WriteBatch(ms[1:], 0); n > 0 || err == nil {
		t.Errorf("%d are sent to an address of IPv6", n)
	}
	if n, err := u.batch.WriteBatch(ms[2:], 0); n != 1 || err != nil {
		t.Errorf("%d are sent, %v", n, err)
	}
	check(t, peer.SetReadDeadline(time.Now().Add(10*time.Second)))
	var b [100]byte
	for _, want := range []string{"127.0.0.1", "::ffff:127.0.0.1"} {
		n, err := peer.Read(b[:])
		if check(t, err); net.ParseIP(string(b[:n])).String() != net.ParseIP(want).String() {
			t.Errorf("%q, want %q", b[:n], want)
		}
	}
}
