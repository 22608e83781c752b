//go:build unix

package enroll

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile waits until no other process holds the lock at path, and returns what gives it back.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("enroll: %w", err)
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("enroll: lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil // closing it unlocks
}
