package location

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// contacts are those that the table has for an AOR.
func contacts(b *Bindings, aor AOR) (uris string) {
	for _, one := range b.Get(aor, epoch) {
		uris += one.Contact + " "
	}
	return uris
}

// with is an Edit that adds a contact.
func with(contact string) Edit {
	return func(old []Binding) ([]Binding, error) {
		return append(old[:len(old):len(old)], binding(contact, epoch.Add(time.Hour))), nil
	}
}

// What was refused leaves nothing behind, in whatever commits the changes were that the disk refused.
func TestEveryRefusedChangeIsTakenBack(t *testing.T) {
	a, b, none := with("sip:a@h"), with("sip:b@h"), set()
	for name, c := range map[string]struct {
		before, first, second Edit
		fails                 [2]bool
		together              bool // both are in one commit
		want                  string
	}{
		"two phones in one commit":                        {none, a, b, [2]bool{true, true}, true, ""},
		"a phone that comes and goes in one commit":       {b, a, none, [2]bool{true, true}, true, "sip:b@h "},
		"a phone that leaves, and another, in one commit": {b, none, a, [2]bool{true, true}, true, "sip:b@h "},
		"two phones in two commits":                       {none, a, b, [2]bool{true, true}, false, ""},
		"a phone that comes and goes in two":              {b, a, none, [2]bool{true, true}, false, "sip:b@h "},
		"a phone that leaves, and another, in two":        {b, none, a, [2]bool{true, true}, false, "sip:b@h "},
		"a phone is refused, and everything is removed":   {b, a, none, [2]bool{true, false}, false, ""},
		"a phone is let in, and the second one refused":   {none, a, b, [2]bool{false, true}, false, "sip:a@h "},
	} {
		s := newScene(t, 1)
		table := s.j.table
		inOnePiece(t, table, "a@d", c.before)
		s.round(false)
		var told []error
		tell := func(_ []Binding, err error) { told = append(told, err) }
		commit := func(all []change, fails bool) {
			err := errors.New("the disk is full")
			if !fails {
				err = s.j.commit(all)
			}
			s.j.tell(all, err)
		}
		table.Update("a@d", c.first, tell)
		all := s.take()
		table.Update("a@d", c.second, tell)
		if c.together {
			commit(append(all, s.take()...), c.fails[0])
		} else {
			commit(all, c.fails[0])
			commit(s.take(), c.fails[1])
		}
		for i, err := range told {
			if c.fails[i] != errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %d was told %v", name, i, err)
			}
		}
		if got := contacts(table, "a@d"); got != c.want || len(told) != 2 {
			t.Errorf("%s: %q, %d told", name, got, len(told))
		}
		s.round(false)
		if got := s.onDisk("a@d"); got != "" && got+" " != c.want || got == "" && c.want != "" {
			t.Errorf("%s: %q is on the disk", name, got)
		}
		if got := contacts(table, "a@d"); got != c.want || table.Count() != len(table.Get("a@d", epoch)) {
			t.Errorf("%s: %q at last, %d bindings are counted", name, got, table.Count())
		}
	}
}

// Whatever the disk refuses, and whatever comes meanwhile: when it takes things again, it has what the table has, and nothing is told but the truth.
func TestTheDiskEndsUpWithWhatTheTableHas(t *testing.T) {
	for seed := range uint64(4) {
		s := newScene(t, seed)
		table, now := s.j.table, epoch
		act := func() {
			aor, contact, n := user(s.r.IntN(4)), fmt.Sprintf("sip:%d@h", s.r.IntN(3)), s.r.IntN(12)
			edit := func(old []Binding) ([]Binding, error) {
				left := slices.DeleteFunc(slices.Clone(old), func(b Binding) bool { return b.Contact == contact || !b.Expires.After(now) })
				if n < 4 {
					return left, nil
				}
				return append(left, binding(contact, now.Add(time.Hour))), nil
			}
			switch {
			case n == 11:
				now = now.Add(20 * time.Minute)
				table.Sweep(now)
			case n > 6:
				table.Update(aor, refreshed("", now, time.Hour), func([]Binding, error) {})
			default:
				table.Update(aor, edit, func([]Binding, error) {})
			}
		}
		for step := range 3000 {
			for range s.r.IntN(4) {
				act()
			}
			all := s.take()
			n := len(s.j.late)
			all = table.appendLate(all, s.j.late[:n:n])
			s.j.late = s.j.late[n:]
			for range s.r.IntN(4) {
				act()
			}
			err := errors.New("the disk is full")
			if s.r.IntN(3) > 0 {
				err = s.j.commit(all)
			}
			s.j.tell(all, err)
			if step%50 != 0 {
				continue
			}
			s.round(false)
			s.round(false)
			held := 0
			for i := range 4 {
				want, got := table.set(user(i)), s.setOnDisk(user(i))
				if held += len(want); len(want) != len(got) {
					t.Fatalf("seed %d, step %d: %d bindings in the table, %d on the disk", seed, step, len(want), len(got))
				}
				for k := range want {
					if want[k].Contact != got[k].Contact || !want[k].Expires.Equal(got[k].Expires) {
						t.Fatalf("seed %d, step %d: %v in the table, %v on the disk", seed, step, want[k], got[k])
					}
				}
			}
			if table.Count() != held {
				t.Fatalf("seed %d, step %d: %d bindings are counted, there are %d", seed, step, table.Count(), held)
			}
		}
	}
}
