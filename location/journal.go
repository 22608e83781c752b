package location

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// journal keeps the table in a file. Changes are committed in groups: while one commit waits for the disk, and for journalInterval behind
// its start, the next ones gather. A change that comes alone does not wait.
type journal struct {
	db    *bbolt.DB
	queue chan change
	ended chan struct{}

	mu       sync.RWMutex // held while queueing, so that nothing is queued behind the close
	closed   bool
	together func(f func())
}

// change is the new set of one AOR; an empty set removes it. done may be nil.
type change struct {
	aor  AOR
	set  []Binding
	done func(error)
}

var bucketBindings = []byte("bindings-1")

func openJournal(path string) (*journal, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: journalOpenWait, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("location: %s is in use by another process", path)
	}
	if err != nil {
		return nil, fmt.Errorf("location: open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketBindings)
		return err
	})
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("location: %s: %w", path, err)
	}
	return &journal{db: db, queue: make(chan change, journalQueue), ended: make(chan struct{}), together: func(f func()) { f() }}, nil
}

// put queues a change without waiting. The error wraps ErrUnavailable.
func (j *journal) put(c change) error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.closed {
		return fmt.Errorf("location: journal is closed: %w", ErrUnavailable)
	}
	select {
	case j.queue <- c:
		return nil
	default:
		return fmt.Errorf("location: journal: %d changes wait for the disk: %w", cap(j.queue), ErrUnavailable)
	}
}

func (j *journal) load(yield func(AOR, []Binding)) error {
	return j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketBindings).ForEach(func(k, v []byte) error {
			set, err := parseSet(v)
			if err != nil {
				return fmt.Errorf("bindings of %s: %w", k, err)
			}
			yield(AOR(k), set)
			return nil
		})
	})
}

func (j *journal) run() {
	defer close(j.ended)
	batch := make([]change, 0, journalBatch)
	var next time.Time
	for c := range j.queue {
		time.Sleep(time.Until(next))
		next = time.Now().Add(journalInterval)
		batch = append(batch[:0], c)
		for more := true; more && len(batch) < journalBatch; {
			select {
			case c, ok := <-j.queue:
				if more = ok; ok {
					batch = append(batch, c)
				}
			default:
				more = false
			}
		}
		j.tell(batch, j.commit(batch))
		clear(batch)
	}
}

// tell says what came of a batch.
func (j *journal) tell(batch []change, err error) {
	j.mu.RLock()
	together := j.together
	j.mu.RUnlock()
	together(func() {
		for _, c := range batch {
			if c.done != nil {
				c.done(err)
			}
		}
	})
}

func (j *journal) commit(batch []change) error {
	return j.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketBindings)
		for _, c := range batch {
			if len(c.set) == 0 {
				if err := b.Delete([]byte(c.aor)); err != nil {
					return err
				}
				continue
			}
			if err := b.Put([]byte(c.aor), appendSet(nil, c.set)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (j *journal) close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.queue)
	<-j.ended
	return j.db.Close()
}

// unix is a time as milliseconds, 0 for the zero time.
func unix(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli())
}

func fromUnix(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}
