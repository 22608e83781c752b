package location

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
)

// refreshed is an Edit that grants the bindings with a contact, or all, a lifetime at a time.
func refreshed(contact string, now time.Time, lifetime time.Duration) Edit {
	return func(old []Binding) ([]Binding, error) {
		set := slices.Clone(old)
		for i := range set {
			if contact == "" || set[i].Contact == contact {
				set[i].Updated, set[i].Expires = now, now.Add(lifetime)
				set[i].CSeq++
			}
		}
		return set, nil
	}
}

// inOnePiece reports whether an Update was answered before it returned.
func inOnePiece(t *testing.T, b *Bindings, aor AOR, edit Edit) bool {
	t.Helper()
	var told bool
	var got error
	b.Update(aor, edit, func(_ []Binding, err error) { told, got = true, err })
	if told && got != nil {
		t.Fatal(got)
	}
	return told
}

// bound makes a scene in which a phone is bound to a@d until epoch+1h, on the disk too.
func bound(t *testing.T) *scene {
	s := newScene(t, 1)
	inOnePiece(t, s.j.table, "a@d", set(binding("sip:a@h", epoch.Add(time.Hour))))
	s.round(false)
	return s
}

func TestOnlyWhatTheDiskCoversIsAnsweredAtOnce(t *testing.T) {
	change := func(f func(b *Binding)) Edit {
		return func(old []Binding) ([]Binding, error) {
			set, err := refreshed("", epoch.Add(time.Minute), time.Hour)(old)
			f(&set[0])
			return set, err
		}
	}
	for name, c := range map[string]struct {
		edit Edit
		want bool
	}{
		"a refresh":                       {refreshed("", epoch.Add(time.Minute), time.Hour), true},
		"as late as may be":               {refreshed("", epoch.Add(33*time.Minute+45*time.Second), time.Hour), true},
		"later":                           {refreshed("", epoch.Add(33*time.Minute+46*time.Second), time.Hour), false},
		"for longer":                      {refreshed("", epoch, 137*time.Minute), true},
		"for much longer":                 {refreshed("", epoch, 138*time.Minute), false},
		"for a little less":               {refreshed("", epoch, 45*time.Minute), true},
		"for much less":                   {refreshed("", epoch, 39*time.Minute), false},
		"a CSeq":                          {change(func(b *Binding) { b.CSeq = 99 }), true},
		"another request":                 {change(func(b *Binding) { b.Request = 99 }), true},
		"a contact":                       {change(func(b *Binding) { b.Contact = "sip:b@h" }), false},
		"an address":                      {change(func(b *Binding) { b.Hop.Remote = b.Hop.Local }), false},
		"a connection":                    {change(func(b *Binding) { b.Hop.Flow++ }), false},
		"a Call-ID":                       {change(func(b *Binding) { b.CallID = "c2" }), false},
		"parameters":                      {change(func(b *Binding) { b.Params = "" }), false},
		"q":                               {change(func(b *Binding) { b.Q-- }), false},
		"a path":                          {change(func(b *Binding) { b.Path = nil }), false},
		"an instance":                     {change(func(b *Binding) { b.Instance = "x" }), false},
		"a flow":                          {change(func(b *Binding) { b.RegID++ }), false},
		"numbers":                         {change(func(b *Binding) { b.Bulk = true }), false},
		"a device":                        {change(func(b *Binding) { b.UserAgent = "x" }), false},
		"since when":                      {change(func(b *Binding) { b.Since = epoch }), false},
		"first when":                      {change(func(b *Binding) { b.Registered = epoch.Add(time.Second) }), false},
		"it is not said when":             {change(func(b *Binding) { b.Updated = time.Time{} }), false},
		"a second one":                    {set(binding("sip:a@h", epoch.Add(time.Hour)), binding("sip:b@h", epoch.Add(time.Hour))), false},
		"removed":                         {set(), false},
		"refused; Update has to say that": {func([]Binding) ([]Binding, error) { return nil, errCorrupt }, false},
	} {
		s := bound(t)
		before := s.j.table.set("a@d")
		if got, ok := s.j.table.Refresh("a@d", c.edit); ok != c.want || !ok && (got != nil || &s.j.table.set("a@d")[0] != &before[0]) {
			t.Errorf("Refresh, %s: %v", name, ok)
		}
		if strings.HasPrefix(name, "refused") {
			continue
		}
		if got := inOnePiece(t, s.j.table, "a@d", c.edit); got != c.want {
			t.Errorf("Update, %s: %v", name, got)
		}
	}
}

// Lifetimes are up to a tenth shorter than what is asked for, each at random, and a refresh is under way for up to half a second.
func TestAPhoneThatRefreshesHalfwayNeverWaitsForTheDisk(t *testing.T) {
	for _, asked := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour, 2 * time.Hour} {
		s := newScene(t, 1)
		jittered := func() time.Duration {
			return (asked - time.Duration(s.r.Int64N(int64(asked/10)+1))).Truncate(time.Second)
		}
		now, lifetime := epoch, asked*9/10 // and then the longest: as bad as it gets
		inOnePiece(t, s.j.table, "a@d", set(binding("sip:a@h", now.Add(lifetime))))
		s.round(false)
		for i := range 200 {
			now = now.Add(lifetime/2 + time.Duration(s.r.Int64N(int64(time.Second/2))))
			if lifetime = jittered(); i == 0 {
				lifetime = asked
			}
			if !inOnePiece(t, s.j.table, "a@d", refreshed("", now, lifetime)) {
				t.Fatalf("expires=%v: refresh %d waits", asked, i)
			}
			s.round(false) // within lateInterval
		}
	}
}

func TestWithoutADiskThereIsNothingToWaitFor(t *testing.T) {
	b := NewBindings()
	if _, ok := b.Refresh("a@d", set(binding("sip:a@h", epoch.Add(time.Hour)))); ok {
		t.Error("a new binding is no refresh")
	}
	inOnePiece(t, b, "a@d", set(binding("sip:a@h", epoch.Add(time.Hour))))
	for i := range 50 {
		now := epoch.Add(time.Duration(i) * 59 * time.Minute)
		if got, ok := b.Refresh("a@d", refreshed("", now, time.Hour)); !ok || !got[0].Updated.Equal(now) {
			t.Fatalf("refresh %d: %v", i, ok)
		}
	}
}

func TestARefreshIsWrittenInAWhileAndOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.db")
	synctest.Test(t, func(t *testing.T) {
		b, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := update(t, b, "a@d", set(binding("sip:a@h", epoch.Add(time.Hour)))); err != nil {
			t.Fatal(err)
		}
		disk := &scene{t: t, j: b.journal}
		size := b.journal.log.size
		for i := range 3 {
			b.Update("a@d", refreshed("", epoch.Add(time.Duration(i)*time.Second), time.Hour), func([]Binding, error) {})
		}
		time.Sleep(lateInterval - 1)
		synctest.Wait()
		if got := disk.setOnDisk("a@d")[0].CSeq; got != 7 {
			t.Errorf("CSeq %d is written at once", got)
		}
		time.Sleep(journalInterval)
		synctest.Wait()
		if got := disk.setOnDisk("a@d")[0].CSeq; got != 10 {
			t.Errorf("CSeq %d on the disk", got)
		}
		if b.journal.log.size > 2*size {
			t.Errorf("%d octets for the first binding, %d with three refreshes", size, b.journal.log.size)
		}
		b.Update("a@d", refreshed("", epoch.Add(3*time.Second), time.Hour), func([]Binding, error) {})
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if got := open(t, path).set("a@d")[0].CSeq; got != 11 {
		t.Errorf("CSeq %d after Close", got)
	}
}

// promise is what somebody was told of a contact.
type promise struct {
	agent string    // the version of the binding; "": it was removed
	until time.Time // it is bound until then, whatever happens
	ends  time.Time // when nothing happens
}

// promises is a scene in which phones register, refresh and leave, while the disk fails and the process dies now and then.
type promises struct {
	*scene
	now    time.Time
	made   map[string]promise // by AOR and contact
	flight map[AOR]int        // changes that wait for the disk
	prompt int
	serial int
}

// phone has a phone do something.
func (p *promises) phone() {
	aor, contact := user(p.r.IntN(8)), fmt.Sprintf("sip:%d@h", p.r.IntN(2))
	lifetime := time.Duration(60+p.r.IntN(3600)) * time.Second
	what, now := p.r.IntN(12), p.now
	var said promise
	edit := func(old []Binding) ([]Binding, error) {
		set := slices.DeleteFunc(slices.Clone(old), func(b Binding) bool { return !b.Expires.After(now) })
		at := slices.IndexFunc(set, func(b Binding) bool { return b.Contact == contact })
		switch {
		case what == 0 && at >= 0:
			set, said = slices.Delete(set, at, at+1), promise{}
			return set, nil
		case at < 0:
			at = len(set)
			set = append(set, Binding{Contact: contact, Registered: now})
			fallthrough
		case what == 1:
			p.serial++
			set[at].UserAgent = fmt.Sprint(p.serial)
		}
		set[at].Updated, set[at].Expires = now, now.Add(lifetime)
		said = promise{set[at].UserAgent, set[at].Expires, set[at].Expires}
		return set, nil
	}
	p.flight[aor]++
	returned := false
	p.j.table.Update(aor, edit, func(_ []Binding, err error) {
		p.flight[aor]--
		if err != nil {
			delete(p.made, string(aor)+" "+contact) // it is as it was, unless another change was under way
			return
		}
		mine := said
		if !returned {
			p.prompt++
			mine.until = now.Add(lifetime * 7 / 16)
		}
		p.made[string(aor)+" "+contact] = mine
	})
	returned = true
}

// written is for when the disk took all.
func (p *promises) written() {
	for key, m := range p.made {
		m.until = m.ends
		p.made[key] = m
	}
}

// die checks what a start from the file as it is would find.
func (p *promises) die() {
	p.t.Helper()
	copied := filepath.Join(p.t.TempDir(), "copy.db")
	if err := p.j.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(copied, 0o600) }); err != nil {
		p.t.Fatal(err)
	}
	b := open(p.t, copied)
	defer b.Close()
	for i := range 8 {
		for _, contact := range []string{"sip:0@h", "sip:1@h"} {
			want, told := p.made[string(user(i))+" "+contact]
			if !told || p.flight[user(i)] > 0 {
				continue
			}
			set := b.Get(user(i), p.now)
			at := slices.IndexFunc(set, func(b Binding) bool { return b.Contact == contact })
			switch {
			case want.agent == "" && at >= 0:
				p.t.Fatalf("%s at %s is back", contact, user(i))
			case want.agent == "" || !want.until.After(p.now):
			case at < 0:
				p.t.Fatalf("%s at %s is gone", contact, user(i))
			case set[at].UserAgent != want.agent || set[at].Expires.Before(want.until):
				p.t.Fatalf("%s at %s is %s and ends %v before it may", contact, user(i), set[at].UserAgent, want.until.Sub(set[at].Expires))
			}
		}
	}
}

func TestWhateverDiesARefreshLastsForSevenSixteenthsOfItsLifetime(t *testing.T) {
	for seed := range uint64(4) {
		p := &promises{scene: newScene(t, seed), now: epoch, made: map[string]promise{}, flight: map[AOR]int{}}
		for range 4000 {
			switch p.r.IntN(40) {
			case 0, 1, 2, 3:
				p.round(false)
				p.written()
			case 4:
				if len(p.j.queue) > 0 || len(p.j.late) > 0 {
					p.round(true)
				}
			case 5:
				p.now = p.now.Add(time.Duration(p.r.IntN(900)) * time.Second)
			case 6:
				p.j.table.Sweep(p.now)
			case 7:
				p.die()
			default:
				p.phone()
			}
		}
		if p.prompt < 250 {
			t.Errorf("only %d refreshes were answered at once", p.prompt)
		}
	}
}

// A change behind a refresh that waits to be written has the last word, also when a third one follows.
func TestALateRefreshDoesNotOverwriteWhatCameBehindIt(t *testing.T) {
	s := bound(t)
	if !inOnePiece(t, s.j.table, "a@d", refreshed("", epoch, time.Hour)) {
		t.Fatal("it waits")
	}
	if inOnePiece(t, s.j.table, "a@d", set()) {
		t.Fatal("the disk is said to know that it is gone")
	}
	s.round(false)
	if got := s.onDisk("a@d"); got != "" {
		t.Errorf("%q is on the disk", got)
	}
}

func TestADiskThatRefusesIsTriedAgainWithRefreshes(t *testing.T) {
	s := bound(t)
	table := s.j.table
	var watched []bool
	table.Watch(func(err error) { watched = append(watched, err == nil) })
	until := func() time.Time { return s.setOnDisk("a@d")[0].Expires }
	if !inOnePiece(t, table, "a@d", refreshed("", epoch.Add(20*time.Minute), time.Hour)) {
		t.Fatal("it waits")
	}
	s.round(true)
	if got := table.Get("a@d", epoch); !got[0].Expires.Equal(epoch.Add(80 * time.Minute)) {
		t.Errorf("taken back: %v", got)
	}
	// What the disk has is enough for this one, and not for the next one.
	if !inOnePiece(t, table, "a@d", refreshed("", epoch.Add(33*time.Minute), time.Hour)) {
		t.Error("the second one waits")
	}
	if inOnePiece(t, table, "a@d", refreshed("", epoch.Add(34*time.Minute), time.Hour)) {
		t.Error("the third one does not wait")
	}
	var refused error
	table.Update("a@d", refreshed("", epoch.Add(35*time.Minute), time.Hour), func(_ []Binding, err error) { refused = err })
	s.round(true)
	if !errors.Is(refused, ErrUnavailable) {
		t.Errorf("the fourth one: %v", refused)
	}
	s.round(false)
	s.round(false)
	if len(watched) != 2 || watched[0] || !watched[1] {
		t.Errorf("told %v", watched)
	}
	if got := until(); !got.Equal(epoch.Add(93 * time.Minute)) { // as the second one left it
		t.Errorf("on the disk until %v", got.Sub(epoch))
	}
}
