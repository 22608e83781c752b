package flow

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/p2psip/p2psip-gateway/location"
)

// listenAt is a listener on a port of its own.
func listenAt(t *testing.T, transport string) Listen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, l.Close())
	return Listen{Transport: transport, Addr: addrPort(l.Addr())}
}

// Listeners come and go, and what was accepted before stands.
//
// Feature: CFG-05
func TestListenersChangeAndConnectionsStand(t *testing.T) {
	udp, tcp, more, later := listenAt(t, UDP), listenAt(t, TCP), listenAt(t, UDP), listenAt(t, TCP)
	tb, in := newTable(t, Config{Listen: []Listen{udp, tcp}})
	conn, err := net.Dial("tcp", tcp.Addr.String())
	check(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte(request(plainVia, "")))
	check(t, err)
	from := in.next(t).from

	check(t, tb.Listen([]Listen{udp, more, later}))
	if l := tb.Listeners(); len(l) != 3 || l[1].Local != more.Addr || l[2].Local != later.Addr {
		t.Errorf("%+v", l)
	}
	_, err = net.Dial("tcp", tcp.Addr.String())
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the listener that is gone: %v", err)
	}
	check(t, tb.Send(from, []byte(request(plainVia, "")), nil)) // the connection stands, both ways
	_, err = conn.Read(make([]byte, 1))
	check(t, err)
	_, err = conn.Write([]byte(request(plainVia, "")))
	check(t, err)
	in.next(t)
	for _, l := range []Listen{udp, more} {
		c, err := net.Dial("udp", l.Addr.String())
		check(t, err)
		_, err = c.Write([]byte(request(plainVia, "")))
		check(t, err)
		if got := in.next(t).from.Local; got != l.Addr {
			t.Errorf("came to %v, sent to %v", got, l.Addr)
		}
		check(t, c.Close())
	}
	check(t, tb.Listen([]Listen{later})) // a datagram has no socket then
	if err := tb.Send(location.Hop{Transport: UDP, Remote: udp.Addr}, []byte(request(plainVia, "")), nil); !errors.Is(err, ErrNoRoute) {
		t.Errorf("no socket for UDP: %v", err)
	}
	condition(t, "the port to be free", func() bool { // once the reader has woken up
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(udp.Addr))
		return err == nil && c.Close() == nil
	})
}

// All or nothing: a port that is taken, and options that can not change.
//
// Feature: CFG-05
func TestListenersThatCanNotChangeStayAsTheyAre(t *testing.T) {
	udp, more := listenAt(t, UDP), listenAt(t, UDP)
	tb, in := newTable(t, Config{Listen: []Listen{udp}})
	taken, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(listenAt(t, UDP).Addr))
	check(t, err)
	defer func() { _ = taken.Close() }()
	other := udp
	other.Deny = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		list []Listen
		want error
	}{
		"taken":   {[]Listen{more, {Transport: UDP, Addr: addrPort(taken.LocalAddr())}}, syscall.EADDRINUSE},
		"options": {[]Listen{more, other}, ErrListener},
		"twice":   {[]Listen{udp, udp}, syscall.EADDRINUSE},
	} {
		if err := tb.Listen(c.list); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if l := tb.Listeners(); len(l) != 1 || l[0].Local != udp.Addr {
			t.Errorf("%s: %+v", name, l)
		}
	}
	c, err := net.Dial("udp", udp.Addr.String())
	check(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte(request(plainVia, "")))
	check(t, err)
	in.next(t)
	tb.Close()
	if err := tb.Listen([]Listen{more}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
