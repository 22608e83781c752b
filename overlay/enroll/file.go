package enroll

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const fileMode = 0o600

// stamp tells whether a file is still the one that was read.
type stamp struct{ info os.FileInfo }

func (s stamp) same(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return s.info == nil && errors.Is(err, fs.ErrNotExist)
	}
	return s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// readFile reads a file that may be absent, at most limit octets.
func readFile(path string, limit int64) ([]byte, stamp, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, stamp{}, nil
	}
	if err != nil {
		return nil, stamp{}, fmt.Errorf("enroll: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, stamp{}, fmt.Errorf("enroll: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, stamp{}, fmt.Errorf("enroll: %s: %w", path, err)
	}
	return b, stamp{info}, nil
}

// replaceFile puts b at path in one step, and on the disk.
func replaceFile(path string, b []byte) (stamp, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return stamp{}, fmt.Errorf("enroll: %w", err)
	}
	info, err := writeSynced(f, b)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
		return stamp{}, fmt.Errorf("enroll: %w", err)
	}
	return stamp{info}, nil
}

// writeSynced writes b to f, flushes it to the disk and closes it.
func writeSynced(f *os.File, b []byte) (info os.FileInfo, err error) {
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(fileMode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		info, err = f.Stat()
	}
	return info, errors.Join(err, f.Close())
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
