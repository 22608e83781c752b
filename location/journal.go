package location

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bberrors "go.etcd.io/bbolt/errors"
)

// journal keeps the table in a file. Changes are committed in groups: while one commit waits for the disk, and for journalInterval behind
// its start, the next ones gather. A change that comes alone does not wait.
type journal struct {
	db    *bbolt.DB
	table *Bindings     // what the file is to say
	ended chan struct{} // run has returned
	wake  chan struct{} // one place: the queue is not empty; closed: no more will come

	// Of run alone.
	log    pieces
	buf    []byte // the pieces of a commit, one behind the other
	ends   []int  // of each
	failed bool   // the last commit

	mu       sync.Mutex
	queue    []change
	spare    []change // the queue before, kept for its memory
	late     []*entry // refreshed, each once: their sets are written with the next changes, or when timer says so
	timer    *time.Timer
	closed   bool
	together func(f func())
	watch    func(error)
}

// change is the new set of one AOR; an empty set removes it. done may be nil, and then the rest is not needed.
type change struct {
	aor     AOR
	set     []Binding
	entry   *entry // where the table has, or had, the set
	version uint64 // of the set there
	late    bool   // it is a refresh; nobody waits for it
	undo    bool   // the table is to have old again when the disk refuses the change
	old     []Binding
	done    func(set []Binding, err error)
}

// openJournal opens the file at path, brings it into the present form, and fills table from it. run starts it.
func openJournal(path string, table *Bindings) (*journal, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: journalOpenWait, FreelistType: bbolt.FreelistMapType,
		NoFreelistSync: true, // a page less in each commit; Open reads the whole file anyway
	})
	if errors.Is(err, bberrors.ErrTimeout) {
		return nil, fmt.Errorf("location: %s is in use by another process", path)
	}
	if err != nil {
		return nil, fmt.Errorf("location: open %s: %w", path, err)
	}
	j := &journal{db: db, table: table, ended: make(chan struct{}), wake: make(chan struct{}, 1), together: func(f func()) { f() }, watch: func(error) {}}
	j.log.limits = piecesLimits
	j.timer = time.AfterFunc(lateInterval, j.kick)
	if err = db.Update(migrate); err == nil {
		err = db.View(func(tx *bbolt.Tx) error { return j.log.load(tx, table.put) })
	}
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("location: %s: %w", path, err)
	}
	return j, nil
}

// put queues a change without waiting. The error wraps ErrUnavailable.
func (j *journal) put(c change) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return fmt.Errorf("location: journal is closed: %w", ErrUnavailable)
	}
	if len(j.queue) >= journalQueue {
		return fmt.Errorf("location: journal: %d changes wait for the disk: %w", journalQueue, ErrUnavailable)
	}
	j.queue = append(j.queue, c)
	if len(j.queue) == 1 {
		j.rouse()
	}
	return nil
}

// rouse has run look. The caller holds mu, and has seen that it is not closed.
func (j *journal) rouse() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// kick is the timer's: refreshes have waited long enough.
func (j *journal) kick() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed && len(j.late) > 0 {
		j.rouse()
	}
}

func (j *journal) run() {
	defer close(j.ended)
	var next time.Time
	for open := true; open; {
		_, open = <-j.wake // closed: a last time for what is left
		time.Sleep(time.Until(next))
		next = time.Now().Add(journalInterval)
		for more := j.round(); more && !open; {
			more = j.round()
		}
	}
}

// round writes what is queued, and tells what came of it. It reports whether more is waiting already.
func (j *journal) round() (more bool) {
	j.mu.Lock()
	all := j.queue
	j.queue, j.spare = j.spare[:0], nil
	n := min(len(j.late), lateMost)
	late := slices.Clone(j.late[:n])
	j.late = slices.Delete(j.late, 0, n)
	together, watch := j.together, j.watch
	j.mu.Unlock()
	all = j.table.appendLate(all, late)
	if len(all) > 0 {
		err := j.commit(all)
		if failed := err != nil; failed != j.failed {
			j.failed = failed
			watch(err)
		}
		together(func() { j.tell(all, err) })
	}
	clear(all)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.spare = all
	if n == lateMost && !j.closed {
		j.rouse()
	}
	return len(j.queue)+len(j.late) > 0
}

// tell says what came of changes.
func (j *journal) tell(all []change, err error) {
	if err != nil {
		chain(all)
	}
	for i := range all {
		j.table.told(&all[i], err)
	}
}

// commit writes all changes that were queued, and does some of the tidying up that is due. When it fails neither has happened, as far as the
// disk lets one know.
func (j *journal) commit(all []change) error {
	j.buf, j.ends = j.buf[:0], j.ends[:0]
	for i := range all {
		j.record(all[i].aor, all[i].set)
	}
	log := j.log
	obsolete := log.obsolete(len(all))
	changed := len(j.buf)
	for _, aor := range log.copies(j.table, len(all)) {
		// The table may be ahead of these changes: what made it so is in the queue, and comes behind this.
		j.record(aor, j.table.set(aor))
	}
	log.copied += len(j.buf) - changed
	err := j.db.Update(func(tx *bbolt.Tx) error { return log.write(tx, obsolete, j.buf, j.ends) })
	if err != nil {
		j.log.start = 0 // what was copied from the table may be taken back
		return err
	}
	j.log = log
	return nil
}

// record adds a record to what is to be written: to the last piece, if there is room.
func (j *journal) record(aor AOR, set []Binding) {
	j.buf = appendRecord(j.buf, aor, set)
	n, begin := len(j.ends), 0
	if n > 1 {
		begin = j.ends[n-2]
	}
	if n > 0 && len(j.buf)-begin <= pieceRoom {
		j.ends[n-1] = len(j.buf)
		return
	}
	j.ends = append(j.ends, len(j.buf))
}

func (j *journal) close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.timer.Stop()
	close(j.wake)
	j.mu.Unlock()
	<-j.ended
	return j.db.Close()
}
