package location

import (
	"errors"
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
