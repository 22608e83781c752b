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

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// Journal is an open file.
type Journal struct{ db *bbolt.DB }

var bucketValues = []byte("values-1")

// Open opens the file at path, or makes it. One process at a time may have it open.
func Open(path string) (*Journal, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openWait, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("journal: %s is in use by another process", path)
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

// Load calls yield with every key and value, in the order of the keys. The slices are good until yield returns.
func (j *Journal) Load(yield func(key, value []byte)) error {
	err := j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketValues).ForEach(func(k, v []byte) error {
			yield(k, v)
			return nil
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
	err := j.db.Update(func(tx *bbolt.Tx) error {
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
	})
	if err != nil {
		return fmt.Errorf("journal: commit: %w", err)
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
	if err := j.db.Close(); err != nil {
		return fmt.Errorf("journal: close: %w", err)
	}
	return nil
}
