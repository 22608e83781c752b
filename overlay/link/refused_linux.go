package link

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
)

// extendedErr is the size of struct sock_extended_err, which begins with the error number.
const extendedErr = 16

// reportRefusals has the kernel report the ICMP errors of a socket that is not connected. From then on one read or write
// fails for each, and refusals tells whom it is about.
func reportRefusals(socket Socket) {
	raw := rawConn(socket)
	if raw == nil {
		return
	}
	// Without it a dead peer is found by what it does not acknowledge: no reason to fail. The family that the socket does not have fails.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1)
	})
}

// refusals takes the ICMP errors that the kernel has kept for the socket, and returns the addresses where nobody listens.
func refusals(socket Socket) (refused []netip.AddrPort) {
	raw := rawConn(socket)
	if raw == nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) {
		var data [1]byte // of the datagram, which is of no interest
		var oob [256]byte
		for range maxRefusals {
			_, n, _, to, err := syscall.Recvmsg(int(fd), data[:], oob[:], syscall.MSG_ERRQUEUE|syscall.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if a, ok := addressOfSockaddr(to); ok && isRefusal(oob[:n]) {
				refused = append(refused, a)
			}
		}
	})
	return refused
}

// rawConn is nil when the socket is not one of the kernel's.
func rawConn(socket Socket) syscall.RawConn {
	c, ok := socket.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// isRefusal looks for an error that is hard by RFC 1122 §4.1.3.3: port or protocol unreachable.
func isRefusal(oob []byte) bool {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range messages {
		ours := m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_RECVERR ||
			m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_RECVERR
		if !ours || len(m.Data) < extendedErr {
			continue
		}
		switch syscall.Errno(binary.NativeEndian.Uint32(m.Data)) {
		case syscall.ECONNREFUSED, syscall.ENOPROTOOPT:
			return true
		}
	}
	return false
}

func addressOfSockaddr(s syscall.Sockaddr) (netip.AddrPort, bool) {
	switch s := s.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port)), true
	case *syscall.SockaddrInet6:
		a := netip.AddrFrom16(s.Addr)
		if i, err := net.InterfaceByIndex(int(s.ZoneId)); s.ZoneId != 0 && err == nil {
			a = a.WithZone(i.Name)
		}
		return netip.AddrPortFrom(a, uint16(s.Port)), true
	}
	return netip.AddrPort{}, false
}
