package media

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll reads all ports of a shard with one goroutine. RTP brings each port a packet in 20 ms, so there is nothing that recvmmsg could collect
// from one socket; but one wake-up tells of every port that has something, and more the busier the relay is.
type epoll struct {
	shard *shard
	fd    int // of epoll
	wake  int // an eventfd: stop was called
	over  atomic.Bool
	ports map[int32]*port // by descriptor; guarded by the shard's mu
	buf   [maxPacket + 1]byte
	to4   unix.SockaddrInet4
	to6   unix.SockaddrInet6
}

// newEngine returns the engine for this host.
func newEngine(s *shard) (engine, error) {
	if runtime.GOMAXPROCS(0) == 1 {
		return newPortable(s)
	}
	return newEpoll(s)
}

func newEpoll(s *shard) (engine, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("media: epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("media: eventfd: %w", err)
	}
	return &epoll{shard: s, fd: fd, wake: wake, ports: map[int32]*port{}}, nil
}

func (e *epoll) open(p *port, at netip.AddrPort) error {
	family, level, option := unix.AF_INET, unix.IPPROTO_IP, unix.IP_TOS
	if at.Addr().Is6() {
		family, level, option = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	_ = unix.SetsockoptInt(fd, level, option, expedited)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, kernelBuffer)
	if err = unix.Bind(fd, e.sockaddr(at)); err == nil {
		err = unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	if err != nil {
		_ = unix.Close(fd)
		return os.NewSyscallError("bind", err)
	}
	e.ports[int32(fd)] = p
	p.sock = epollSocket{e, int32(fd)}
	return nil
}

// sockaddr is valid until the next call.
func (e *epoll) sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		e.to4.Addr, e.to4.Port = a.Addr().As4(), int(a.Port())
		return &e.to4
	}
	e.to6.Addr, e.to6.Port = a.Addr().As16(), int(a.Port())
	return &e.to6
}

func (e *epoll) run() {
	ready := make([]unix.EpollEvent, events)
	for !e.over.Load() {
		n, err := unix.EpollWait(e.fd, ready, -1)
		if err != nil && err != unix.EINTR {
			break
		}
		for _, r := range ready[:max(n, 0)] {
			e.read(r.Fd)
		}
	}
	_ = unix.Close(e.wake)
	_ = unix.Close(e.fd)
}

// read takes a datagram of a port's; epoll tells again of one that has more. A descriptor that was closed since, and is another port's by now,
// has nothing, or what is that port's.
func (e *epoll) read(fd int32) {
	e.shard.mu.Lock()
	defer e.shard.mu.Unlock()
	p := e.ports[fd]
	if p == nil {
		return
	}
	n, from, ok := e.receive(fd)
	switch {
	case !ok:
	case n > maxPacket:
		e.shard.drop(p, dropTooBig)
	default:
		e.shard.packet(p, e.buf[:n], from)
	}
}

// receive reads a datagram. It is unix.Recvfrom without the address that is allocated for each; the call does not block.
func (e *epoll) receive(fd int32) (n int, from netip.AddrPort, ok bool) {
	var sa unix.RawSockaddrInet6 // the larger of the two
	size := uint32(unsafe.Sizeof(sa))
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&e.buf[0])), uintptr(len(e.buf)), 0,
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, from, false
	}
	var port [2]byte
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		binary.NativeEndian.PutUint16(port[:], sa4.Port)
		return int(r), netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), binary.BigEndian.Uint16(port[:])), true
	}
	binary.NativeEndian.PutUint16(port[:], sa.Port)
	return int(r), netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), binary.BigEndian.Uint16(port[:])), true
}

func (e *epoll) stop() {
	e.over.Store(true)
	_, _ = unix.Write(e.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

type epollSocket struct {
	e  *epoll
	fd int32
}

func (s epollSocket) send(b []byte, to netip.AddrPort) error {
	return unix.Sendto(int(s.fd), b, unix.MSG_NOSIGNAL, s.e.sockaddr(to))
}

func (s epollSocket) close() {
	delete(s.e.ports, s.fd)
	_ = unix.Close(int(s.fd)) // epoll forgets it with that
}
