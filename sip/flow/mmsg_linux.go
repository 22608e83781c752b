package flow

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// mmsg reads and writes batches of an IPv4 socket with recvmmsg and sendmmsg. ipv4.PacketConn does too, but makes each address anew and finds out for
// every datagram what kind it is of: a fiftieth of what a call costs. One goroutine reads and one writes at a time.
type mmsg struct {
	raw     syscall.RawConn
	in, out vector
}

// vector is what one system call is told.
type vector struct {
	number uintptr // of the system call
	call   func(fd uintptr) bool
	count  int
	flags  int
	done   uintptr
	errno  syscall.Errno
	heads  [batchSize]mmsghdr
	texts  [batchSize]syscall.Iovec
	names  [batchSize]syscall.RawSockaddrInet4
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	head syscall.Msghdr
	n    uint32
}

// batches is how batches of conn are read and written, where c is what x/net makes of it.
func batches(conn datagramConn, c *ipv4.PacketConn) batchConn {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c
	}
	m := &mmsg{raw: raw}
	m.in.number, m.out.number = unix.SYS_RECVMMSG, unix.SYS_SENDMMSG
	for _, v := range []*vector{&m.in, &m.out} {
		v.call = v.enter
		for i := range v.heads {
			h := &v.heads[i].head
			h.Name, h.Iov, h.Iovlen = (*byte)(unsafe.Pointer(&v.names[i])), &v.texts[i], 1
		}
	}
	return m
}

// enter makes the system call; false: the socket is to be waited for.
func (v *vector) enter(fd uintptr) bool {
	for {
		v.done, _, v.errno = syscall.Syscall6(v.number, fd, uintptr(unsafe.Pointer(&v.heads[0])), uintptr(v.count), uintptr(v.flags), 0, 0)
		if v.errno != syscall.EINTR {
			return v.errno != syscall.EAGAIN
		}
	}
}

// result is that of the call, when the runtime had nothing against it.
func (v *vector) result(err error) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case v.errno != 0:
		return 0, v.errno
	}
	return int(v.done), nil
}

// set describes one datagram, or the room for one.
func (v *vector) set(i int, m *ipv4.Message) {
	v.texts[i].Base = unsafe.SliceData(m.Buffers[0])
	v.texts[i].SetLen(len(m.Buffers[0]))
	h := &v.heads[i].head
	h.Namelen = syscall.SizeofSockaddrInet4
	h.Control = unsafe.SliceData(m.OOB)
	h.SetControllen(len(m.OOB))
}

// ReadBatch reads as ipv4.PacketConn does. What Addr points to is overwritten by the next call.
func (m *mmsg) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	v := &m.in
	v.count, v.flags = min(len(ms), batchSize), flags
	for i := range v.count {
		v.set(i, &ms[i])
	}
	n, err := v.result(m.raw.Read(v.call))
	for i := range n {
		ms[i].N, ms[i].NN, ms[i].Flags = int(v.heads[i].n), int(v.heads[i].head.Controllen), int(v.heads[i].head.Flags)
		a, ok := ms[i].Addr.(*net.UDPAddr)
		if !ok {
			a = &net.UDPAddr{IP: make(net.IP, 0, net.IPv4len)}
			ms[i].Addr = a
		}
		a.IP = append(a.IP[:0], v.names[i].Addr[:]...)
		port := (*[2]byte)(unsafe.Pointer(&v.names[i].Port))
		a.Port = int(port[0])<<8 | int(port[1])
	}
	return n, err
}

// WriteBatch writes as ipv4.PacketConn does.
func (m *mmsg) WriteBatch(ms []ipv4.Message, flags int) (int, error) {
	v := &m.out
	v.count, v.flags = min(len(ms), batchSize), flags
	for i := range v.count {
		v.set(i, &ms[i])
		a := ms[i].Addr.(*net.UDPAddr)
		ip := a.IP.To4()
		if ip == nil { // those in front of it are sent
			if v.count = i; i == 0 {
				return 0, syscall.EAFNOSUPPORT
			}
			break
		}
		v.names[i].Family = syscall.AF_INET
		copy(v.names[i].Addr[:], ip)
		*(*[2]byte)(unsafe.Pointer(&v.names[i].Port)) = [2]byte{byte(a.Port >> 8), byte(a.Port)}
	}
	return v.result(m.raw.Write(v.call))
}
