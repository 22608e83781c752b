package location

import (
	"math"
	"slices"
)

// A phone that refreshes its binding need not wait for the disk where that has the binding already, and keeps it alive for almost half of the
// lifetime that is granted now (see coveredPart): a process that dies before it has written the refresh finds the phone bound when it starts again,
// and at the end of that time or soon after the phone refreshes once more. Such refreshes are written at most lateInterval later, an AOR once
// however often it was refreshed.

// onDisk is what is known of how the disk has a set: like the table, but for when the bindings were refreshed last, and end.
type onDisk struct {
	until int64 // ms of the Unix epoch: each binding lives until then at least; 0: that is not known; unwritten
	next  int64 // likewise of what is to be written, or being written, and of all that the table had since
	late  bool  // the entry is among those that the journal is to write
}

// forever is the until of a table without a disk, unwritten that of a set that the disk does not have and is to have, as if it were only refreshed.
const (
	forever   = math.MaxInt64
	unwritten = -1
)

// Refresh is Update where the bindings of aor are only refreshed, and need not be durable before who asked is answered. Otherwise nothing is
// changed, and ok is false: Update tells what there is to be told.
func (b *Bindings) Refresh(aor AOR, edit Edit) (set []Binding, ok bool) {
	s := b.shard(aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.m[aor]
	if e == nil || e.known.until <= 0 {
		return nil, false
	}
	set, err := edit(e.set)
	if err != nil || !b.refresh(e, set) {
		return nil, false
	}
	return set, true
}

// refresh installs a set in e, whose shard is locked, and has it written later; false when the disk does not know enough for that. e may be nil.
func (b *Bindings) refresh(e *entry, set []Binding) bool {
	if e == nil || !e.covers(set) {
		return false
	}
	first := firstExpiry(set)
	if b.journal != nil {
		if e.known.late = e.known.late || b.journal.later(e); !e.known.late {
			return false
		}
		// Both, for a rewriting of the log may take it to the disk before its turn.
		e.known.until, e.known.next = min(e.known.until, first.UnixMilli()), min(e.known.next, first.UnixMilli())
	}
	e.set = set
	b.schedule(&e.due, first)
	return true
}

// covers reports whether set does no more than refresh bindings that the disk has, and keeps for long enough.
func (e *entry) covers(set []Binding) bool {
	if e.known.until <= 0 || len(set) != len(e.set) {
		return false
	}
	for i := range set {
		old, b := &e.set[i], &set[i]
		if !alike(old, b) || b.Updated.IsZero() {
			return false
		}
		lifetime := b.Expires.Sub(b.Updated)
		if b.Updated.Add(lifetime*coveredPart/coveredWhole).UnixMilli() > e.known.until {
			return false
		}
		// A phone that asks for much less than before is about to leave: what outlives it would ring in vain.
		if old.Expires.After(b.Expires.Add(lifetime / 2)) {
			return false
		}
	}
	return true
}

// alike reports whether two bindings differ in nothing but when they were refreshed last, and end: they lead to the same phone by the same way, and
// say the same of it.
func alike(a, b *Binding) bool {
	return a.Contact == b.Contact && a.Hop == b.Hop && a.CallID == b.CallID && a.Params == b.Params && a.Q == b.Q &&
		a.Instance == b.Instance && a.RegID == b.RegID && a.Bulk == b.Bulk && a.UserAgent == b.UserAgent &&
		a.Since.Equal(b.Since) && a.Registered.Equal(b.Registered) && slices.Equal(a.Path, b.Path)
}

// later has the journal write the set of e, in a while; false when it is closed.
func (j *journal) later(e *entry) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	if j.late = append(j.late, e); len(j.late) == 1 {
		j.timer.Reset(lateInterval)
	}
	return true
}

// appendLate appends the sets of entries that were refreshed, as they are now. One that was changed since has been queued, with what was refreshed,
// or is gone.
func (b *Bindings) appendLate(all []change, late []*entry) []change {
	for _, e := range late {
		s := b.shard(e.due.aor)
		s.mu.Lock()
		e.known.late = false
		switch {
		case len(e.set) > 0 && e.known.until != 0:
			e.known.next = firstExpiry(e.set).UnixMilli()
			fallthrough
		case e.known.until == unwritten && s.m[e.due.aor] == nil:
			all = append(all, change{aor: e.due.aor, set: e.set, entry: e, version: e.version, late: true})
		}
		s.mu.Unlock()
	}
	return all
}

// rewrite has the set of e, whose shard is locked, written with the next changes, for it could not be; whoever waited for it has been told.
func (b *Bindings) rewrite(e *entry) {
	e.known.until = unwritten
	e.known.late = e.known.late || b.journal.later(e)
}

// kept notes that the disk has a set.
func (b *Bindings) kept(c *change) {
	s := b.shard(c.aor)
	s.mu.Lock()
	if len(c.set) > 0 && c.entry.version == c.version {
		c.entry.known.until = c.entry.known.next
	}
	s.mu.Unlock()
}

// postpone has a refresh that the disk refused written with the next changes, unless the set was changed since. What the disk had it still has, or it
// has taken what it was said to have refused: known.until is about both.
func (b *Bindings) postpone(c *change) {
	s := b.shard(c.aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := c.entry; e.version == c.version && !e.known.late {
		e.known.late = b.journal.later(e)
	}
}
