package location

// What the disk refuses is taken back. A change is visible before it is durable, so others may have been built on it: they are told of, and fail, by
// themselves, but what their set is to be again then is not what they found.

// chain has the last change of each AOR, of those of a commit that failed, take back the ones before it as well.
func chain(all []change) {
	last := map[AOR]*change{}
	for i := range all {
		c := &all[i]
		if before := last[c.aor]; before != nil && before.undo {
			c.undo, c.old, before.undo = true, before.old, false
		}
		last[c.aor] = c
	}
}

// takeBack undoes a change that the disk refused, or has it tried again when nobody waited for it. When there was another one since, that one stays,
// and takes this one back as well should it fail.
func (b *Bindings) takeBack(c *change) {
	s := b.shard(c.aor)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, newest := s.m[c.aor], c.entry.version == c.version
	gone := e == nil && newest
	switch {
	case !c.undo && newest && (gone || e == c.entry):
		b.rewrite(c.entry)
	case newest && e == c.entry, c.undo && !b.journal.pass(c) && gone:
		// The disk may have taken what it was said to have refused. If it takes this, that is mended.
		b.write(s, c.aor, c.old)
	}
}

// pass leaves what c was to take back to the next change of its AOR; false when none is queued. The AOR's shard is locked.
func (j *journal) pass(c *change) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.queue {
		if next := &j.queue[i]; next.aor == c.aor {
			next.undo, next.old = true, c.old
			return true
		}
	}
	return false
}
