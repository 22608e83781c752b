package flow

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
)

// waitForOne has recvmmsg return with what is there as soon as there is one datagram.
const waitForOne = syscall.MSG_WAITFORONE

// blockingConn is a UDP socket whose reader sleeps in recvmmsg, not in Go's network poller: a datagram wakes that one thread. With the
// poller it wakes the thread that waits for events, that one starts another to look for more work, and the runtime's monitor
// wakes up as well, every time that all were idle: at the rates of a telephone system that is half of what a datagram costs.
type blockingConn struct {
	*net.UDPConn // closed: for its addresses
	file         *os.File
}

// blocking takes c out of the poller. With a single processor c stays in it: there a reader that sleeps in the kernel holds the
// only one until the monitor looks, up to 10 ms later.
func blocking(c *net.UDPConn) (datagramConn, error) {
	if runtime.GOMAXPROCS(0) == 1 {
		return c, nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Control(func(s uintptr) {
		syscall.ForkLock.RLock() // no child is to inherit it
		defer syscall.ForkLock.RUnlock()
		if fd, failed = syscall.Dup(int(s)); failed == nil {
			syscall.CloseOnExec(fd)
			failed = syscall.SetNonblock(fd, false)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, fmt.Errorf("flow: blocking socket: %w", err)
	}
	b := &blockingConn{c, os.NewFile(uintptr(fd), "udp")}
	return b, c.Close() // the socket lives on in file
}

// sleep lets the reader wait in the kernel as it does in recvmmsg. A signal ends it early, which does no harm.
func (*blockingConn) sleep(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}

// SyscallConn is where x/net takes the socket from.
func (b *blockingConn) SyscallConn() (syscall.RawConn, error) { return b.file.SyscallConn() }

// Close wakes the reader, who reads nothing from then on.
func (b *blockingConn) Close() error {
	raw, err := b.file.SyscallConn()
	if err != nil {
		return err
	}
	// An unconnected socket is told so by an error, and shut down all the same.
	_ = raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RD) })
	return b.file.Close()
}
