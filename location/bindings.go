package location

import (
	"container/heap"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Edit is a pure change of an AOR's bindings: it gets the set as it is, which it must not modify, and returns the set as it is to be. An
// error leaves everything as it was (RFC 3261 §10.3: all or nothing).
type Edit func(old []Binding) ([]Binding, error)

// Bindings is the table of the bindings that phones made at this gateway. Reading takes a shard's lock; a change is visible at once and
// its caller is told when it is durable. Safe for concurrent use.
type Bindings struct {
	shards  [shardCount]shard
	seed    maphash.Seed
	journal *journal // nil: memory only
	count   atomic.Int64

	dueMu sync.Mutex
	due   dueHeap
}

type shard struct {
	mu sync.RWMutex
	m  map[AOR]*entry
}

type entry struct {
	set     []Binding // replaced, never modified
	version uint64    // of what is not only refreshed
	due     dueItem
	known   onDisk
}

// NewBindings returns a table that is kept in memory only.
func NewBindings() *Bindings {
	b := &Bindings{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].m = map[AOR]*entry{}
	}
	return b
}

// Open returns the table kept in the file at path, made when missing. Bindings that expired before now are still in it: the first Sweep
// removes them and says whose they were, so that records of theirs can be withdrawn. One process may have it open.
func Open(path string) (*Bindings, error) {
	b := NewBindings()
	j, err := openJournal(path, b)
	if err != nil {
		return nil, err
	}
	b.journal = j
	go j.run()
	return b, nil
}

// Close writes what is queued and closes the file.
func (b *Bindings) Close() error {
	if b.journal == nil {
		return nil
	}
	return b.journal.close()
}

// Together has with called with a function that tells who waits what came of their changes, all of one commit: what they send can leave
// together. with must call it before it returns.
func (b *Bindings) Together(with func(tell func())) {
	if b.journal != nil {
		b.journal.mu.Lock()
		b.journal.together = with
		b.journal.mu.Unlock()
	}
}

// Watch has f told when the disk refuses what is written, with the reason, and with nil when it takes it again. Refreshes are answered for a while
// meanwhile. f must not block.
func (b *Bindings) Watch(f func(error)) {
	if b.journal != nil {
		b.journal.mu.Lock()
		b.journal.watch = f
		b.journal.mu.Unlock()
	}
}

// Count is the number of bindings held, expired ones included until Sweep removes them.
func (b *Bindings) Count() int { return int(b.count.Load()) }

// Get lists the bindings of aor that live at now. The slice is shared: do not modify it.
func (b *Bindings) Get(aor AOR, now time.Time) []Binding {
	s := b.shard(aor)
	s.mu.RLock()
	e := s.m[aor]
	var set []Binding
	if e != nil {
		set = e.set
	}
	s.mu.RUnlock()
	return live(set, now)
}

// Update changes the bindings of aor. done, called once, tells what came of it: the error of edit, ErrUnavailable when the
// journal has no room or can not write, or nil and the new set once that is durable, or need not be: see Refresh. It may be called before Update
// returns, and must not block. A set that could not be written is taken back, unless it was changed again and that was written.
func (b *Bindings) Update(aor AOR, edit Edit, done func(set []Binding, err error)) {
	s := b.shard(aor)
	s.mu.Lock()
	e := s.m[aor]
	var old []Binding
	if e != nil {
		old = e.set
	}
	set, err := edit(old)
	switch {
	case err != nil:
	case len(set) > len(old) && b.count.Load()+int64(len(set)-len(old)) > MaxBindings:
		err = fmt.Errorf("location: %d bindings held: %w", MaxBindings, ErrUnavailable)
	}
	prompt := b.journal == nil
	switch {
	case err != nil:
	case b.refresh(e, set):
		prompt = true
	default:
		err = b.commit(s, aor, set, done)
	}
	s.mu.Unlock()
	if err != nil {
		done(old, err)
	} else if prompt {
		done(set, nil)
	}
}

// commit hands a set to the journal and installs it, both under the lock of s, so that the journal sees the changes of one AOR in
// their order.
func (b *Bindings) commit(s *shard, aor AOR, set []Binding, done func([]Binding, error)) error {
	e := s.entry(aor)
	if b.journal != nil {
		err := b.journal.put(change{aor: aor, set: set, entry: e, version: e.version + 1, old: e.set, undo: true, done: done})
		if err != nil {
			return err
		}
	}
	b.install(s, e, set)
	return nil
}

// told takes what the journal says of a change.
func (b *Bindings) told(c *change, err error) {
	switch {
	case err == nil:
		b.kept(c)
	case c.late:
		b.postpone(c)
	default:
		b.takeBack(c)
		err = fmt.Errorf("location: journal: %w: %w", err, ErrUnavailable)
	}
	if c.done != nil {
		c.done(c.set, err)
	}
}

// put installs a set that the disk has.
func (b *Bindings) put(aor AOR, set []Binding) {
	s := b.shard(aor)
	s.mu.Lock()
	e := s.entry(aor)
	b.install(s, e, set)
	e.known.until = e.known.next
	s.mu.Unlock()
}

// entry is that of an AOR, perhaps one that is not in the table yet; s is locked.
func (s *shard) entry(aor AOR) *entry {
	if e := s.m[aor]; e != nil {
		return e
	}
	return &entry{due: dueItem{aor: aor, index: unscheduled}}
}

// install replaces the set of e with one of which the disk knows nothing; s is locked.
func (b *Bindings) install(s *shard, e *entry, set []Binding) {
	b.count.Add(int64(len(set) - len(e.set)))
	e.set = set
	e.version++
	e.known.until = 0
	if len(set) == 0 {
		delete(s.m, e.due.aor)
		b.unschedule(&e.due)
		return
	}
	s.m[e.due.aor] = e
	first := firstExpiry(set)
	e.known.next = first.UnixMilli()
	if b.journal == nil {
		e.known.until = forever
	}
	b.schedule(&e.due, first)
}

// write makes a change that nobody waits for; s is locked.
func (b *Bindings) write(s *shard, aor AOR, set []Binding) {
	e, full := s.entry(aor), false
	if b.journal != nil {
		full = b.journal.put(change{aor: aor, set: set, entry: e, version: e.version + 1}) != nil
	}
	b.install(s, e, set)
	if full {
		b.rewrite(e)
	}
}

// All iterates over a snapshot of every AOR with bindings that live at now.
func (b *Bindings) All(now time.Time) iter.Seq2[AOR, []Binding] {
	return func(yield func(AOR, []Binding) bool) {
		for i := range b.shards {
			for aor, set := range b.shards[i].snapshot() {
				if set = live(set, now); len(set) > 0 && !yield(aor, set) {
					return
				}
			}
		}
	}
}

func (s *shard) snapshot() map[AOR][]Binding {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := make(map[AOR][]Binding, len(s.m))
	for aor, e := range s.m {
		m[aor] = e.set
	}
	return m
}

// Sweep removes the bindings that expired by now and returns the AORs that lost one, with what is left of each.
func (b *Bindings) Sweep(now time.Time) map[AOR][]Binding {
	changed := map[AOR][]Binding{}
	for _, aor := range b.popDue(now) {
		s := b.shard(aor)
		s.mu.Lock()
		e := s.m[aor]
		if e == nil {
			s.mu.Unlock()
			continue
		}
		if left := live(e.set, now); len(left) < len(e.set) {
			changed[aor] = left
			b.write(s, aor, left)
		} else {
			b.schedule(&e.due, firstExpiry(left)) // it was refreshed
		}
		s.mu.Unlock()
	}
	return changed
}

// NextExpiry is when Sweep is next needed; zero when nothing is bound.
func (b *Bindings) NextExpiry() time.Time {
	b.dueMu.Lock()
	defer b.dueMu.Unlock()
	if len(b.due) == 0 {
		return time.Time{}
	}
	return b.due[0].at
}

func (b *Bindings) shard(aor AOR) *shard {
	return &b.shards[maphash.String(b.seed, string(aor))%shardCount]
}

// schedule has an item come up no later than at.
func (b *Bindings) schedule(i *dueItem, at time.Time) {
	b.dueMu.Lock()
	defer b.dueMu.Unlock()
	switch {
	case i.index == unscheduled:
		i.at = at
		heap.Push(&b.due, i)
	case at.Before(i.at):
		i.at = at
		heap.Fix(&b.due, i.index)
	}
}

func (b *Bindings) unschedule(i *dueItem) {
	b.dueMu.Lock()
	defer b.dueMu.Unlock()
	if i.index != unscheduled {
		heap.Remove(&b.due, i.index)
	}
}

func (b *Bindings) popDue(now time.Time) []AOR {
	b.dueMu.Lock()
	defer b.dueMu.Unlock()
	var due []AOR
	for len(b.due) > 0 && !b.due[0].at.After(now) {
		due = append(due, heap.Pop(&b.due).(*dueItem).aor)
	}
	return due
}

// live is the part of set that has not expired; set itself when nothing has.
func live(set []Binding, now time.Time) []Binding {
	for i := range set {
		if !set[i].Expires.After(now) {
			return slices.DeleteFunc(slices.Clone(set), func(b Binding) bool { return !b.Expires.After(now) })
		}
	}
	return set
}

func firstExpiry(set []Binding) time.Time {
	first := set[0].Expires
	for i := range set {
		if set[i].Expires.Before(first) {
			first = set[i].Expires
		}
	}
	return first
}

// dueItem is when the bindings of an AOR are to be looked at. It is guarded by dueMu.
type dueItem struct {
	at    time.Time
	aor   AOR
	index int // in the heap, or unscheduled
}

const unscheduled = -1

type dueHeap []*dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	i := x.(*dueItem)
	i.index = len(*h)
	*h = append(*h, i)
}

func (h *dueHeap) Pop() any {
	old := *h
	last := len(old) - 1
	x := old[last]
	x.index, old[last] = unscheduled, nil
	*h = old[:last]
	return x
}
