package transaction

import (
	"syscall"

	"github.com/p2psip/p2psip-gateway/sip/expiring"
)

// newPage and freePage are memory that the garbage collector does not see: what finished transactions leave is no reason for the heap to
// grow, by up to three times as much, before garbage is collected.
func newPage() []byte {
	p, err := syscall.Mmap(-1, 0, expiring.PageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return p
}

func freePage(p []byte) { _ = syscall.Munmap(p) }
