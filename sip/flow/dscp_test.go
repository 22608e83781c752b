package flow

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/p2psip/p2psip-gateway/location"
)

// RFC 4594 §4.3: signalling is marked; the other side sees it in each datagram.
//
// Feature: TRN-09
func TestRFC4594_SignallingIsMarked(t *testing.T) {
	const marked = 24 << 2
	tb, in := newTable(t, Config{DSCP: 24}, UDP, TCP)
	c := dialUDP(t, addr(tb, 0))
	raw, err := c.SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVTOS, 1) }))
	check(t, err)
	check(t, tb.Send(location.Hop{Transport: UDP, Remote: addrPort(c.LocalAddr())}, []byte(request(plainVia, "")), nil))
	oob := make([]byte, 64)
	_, n, _, _, err := c.ReadMsgUDP(make([]byte, 2048), oob)
	check(t, err)
	cm, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(cm) != 1 || cm[0].Header.Type != syscall.IP_TOS || cm[0].Data[0] != marked {
		t.Errorf("control messages of a datagram: %v, %v", cm, err)
	}

	s := dialTCP(t, addr(tb, 1))
	write(t, s, request(plainVia, ""))
	if tos, err := ipv4.NewConn(connOf(tb, in.next(t).from)).TOS(); err != nil || tos != marked {
		t.Errorf("accepted connection: %#x, %v", tos, err)
	}
	six, err := net.Listen("tcp6", "[::1]:0")
	check(t, err)
	defer func() { _ = six.Close() }()
	to := location.Hop{Transport: TCP, Remote: addrPort(six.Addr())}
	check(t, tb.Send(to, []byte(request(plainVia, "")), nil))
	peer, err := six.Accept()
	check(t, err)
	defer func() { _ = peer.Close() }()
	check(t, peer.SetDeadline(time.Now().Add(patience)))
	readOne(t, peer)
	if class, err := ipv6.NewConn(connOf(tb, to)).TrafficClass(); err != nil || class != marked {
		t.Errorf("dialled connection: %#x, %v", class, err)
	}
}

// connOf is the connection that a hop leads to now.
func connOf(tb *Table, to location.Hop) net.Conn {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if s := tb.byFlow[to.Flow]; s != nil {
		return s.conn
	}
	return tb.byKey[keyOf(to)].conn
}
