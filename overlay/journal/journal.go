// Package journal keeps what a peer holds for the overlay in a file, so that a peer that comes back, or a whole ring after a
// power cut, has what it held: values, removals and the storage times below which nothing is taken (RFC 6940 §7.4.1.1).
//
// It knows keys and octets and nothing of what they mean. *Journal is an overlay.Journal: the overlay calls it, the gateway
// opens and closes it. It is safe for concurrent use.
package journal

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// Journal is an open file.
type Journal struct {
	db     *bbolt.DB
	damage error
}

var bucketValues = []byte("values-1")

// Open opens the file at path, or makes it. One process at a time may have it open. A file that is damaged is put aside, with
// ".damaged" behind its name, and another one is made: what it held the ring has.
func Open(path string) (*Journal, error) {
	j, err := examined(path)
	if !errors.Is(err, ErrDamaged) {
		return j, err
	}
	damage := err
	if err := os.Rename(path, path+damaged); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if j, err = examined(path); err != nil {
		return nil, err
	}
	j.damage = damage
	return j, nil
}

// damaged is what is put behind the name of a file that is.
const damaged = ".damaged"

// Damage is what was wrong with the file that Open has put aside; nil: nothing was.
func (j *Journal) Damage() error { return j.damage }

// examined opens a file and reads it.
func examined(path string) (j *Journal, err error) {
	err = guarded(func() error {
		j, err = openFile(path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := guarded(j.examine); err != nil {
		_ = guarded(j.db.Close) // nobody will use it
		return nil, err
	}
	return j, nil
}

// examine reads everything once: then nothing that is damaged comes to light when the node runs.
func (j *Journal) examine() error {
	touched := byte(0)
	err := j.Load(func(k, v []byte) {
		for i := 0; i < len(v); i += touchEvery {
			touched ^= v[i]
		}
	})
	return err
}

func openFile(path string) (*Journal, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openWait, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("journal: %s is in use by another process", path)
	}
	if errors.Is(err, bberrors.ErrInvalid) || errors.Is(err, bberrors.ErrChecksum) || errors.Is(err, bberrors.ErrVersionMismatch) {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketValues)
		return err
	})
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("journal: %s: %w", path, err)
	}
	return &Journal{db: db}, nil
}

// ErrDamaged means that the file does not hold what was written to it.
var ErrDamaged = errors.New("journal: the file is damaged")

// guarded runs f. Where a page of the file makes no sense the library panics, and where the file is shorter than it says reading faults:
// that is ErrDamaged.
func guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return f()
}

// Load calls yield with every key and value, in the order of the keys. The slices are good until yield returns.
func (j *Journal) Load(yield func(key, value []byte)) error {
	err := guarded(func() error {
		return j.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketValues).ForEach(func(k, v []byte) error {
				yield(k, v)
				return nil
			})
		})
	})
	if err != nil {
		return fmt.Errorf("journal: load: %w", err)
	}
	return nil
}

// Commit keeps changes, all of them or none, and returns when they are on the disk. An empty value removes its key. With all,
// changes are everything there is, and what was kept before is forgotten.
func (j *Journal) Commit(all bool, changes iter.Seq2[string, []byte]) error {
	err := guarded(func() error {
		return j.db.Update(func(tx *bbolt.Tx) error { return write(tx, all, changes) })
	})
	if err != nil {
		return fmt.Errorf("journal: commit: %w", err)
	}
	return nil
}

func write(tx *bbolt.Tx, all bool, changes iter.Seq2[string, []byte]) error {
	if all {
		if err := tx.DeleteBucket(bucketValues); err != nil {
			return err
		}
		if _, err := tx.CreateBucket(bucketValues); err != nil {
			return err
		}
	}
	b := tx.Bucket(bucketValues)
	for k, v := range changes {
		if err := change(b, []byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

func change(b *bbolt.Bucket, k, v []byte) error {
	if len(v) == 0 {
		return b.Delete(k)
	}
	return b.Put(k, v)
}

// Close closes the file. Nothing may be called afterwards, nor be under way.
func (j *Journal) Close() error {
	if err := guarded(j.db.Close); err != nil {
		return fmt.Errorf("journal: close: %w", err)
	}
	return nil
}
