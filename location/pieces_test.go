package location

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// scene is a journal whose commits a test makes, so that it knows what each has to have left behind.
type scene struct {
	t     *testing.T
	r     *rand.Rand
	j     *journal
	path  string
	cseq  uint32
	saved map[AOR]uint32 // CSeq of the binding that the last commit has for certain; 0: removed
	ahead []change       // in the table, and queued behind the last commit
}

func newScene(t *testing.T, seed uint64) *scene {
	s := &scene{t: t, r: rand.New(rand.NewPCG(seed, 1)), path: filepath.Join(t.TempDir(), "b.db"), saved: map[AOR]uint32{}}
	s.j = openScene(t, s.path)
	return s
}

func openScene(t *testing.T, path string) *journal {
	t.Helper()
	b := NewBindings()
	j, err := openJournal(path, b)
	if err != nil {
		t.Fatal(err)
	}
	b.journal = j
	j.db.NoSync = true // the crashes here are made of what was written, in whatever order
	j.log.limits, j.log.limit = pieceLimits{least: 4000, step: 5}, 4000
	t.Cleanup(func() { _ = j.db.Close() })
	return j
}

// change makes a change in the table, as Update does, and queues it.
func (s *scene) change() {
	aor := user(s.r.IntN(40))
	var set []Binding
	if s.r.IntN(4) > 0 {
		s.cseq++
		b := binding("sip:a@h", epoch.Add(time.Hour))
		b.CSeq, b.Params = s.cseq, strings.Repeat("x", s.r.IntN(1200)) // some records are longer than a piece
		set = []Binding{b}
	}
	s.j.table.put(aor, set)
	s.ahead = append(s.ahead, change{aor: aor, set: set, entry: &entry{}})
}

func user(i int) AOR { return AOR(fmt.Sprintf("u%d@example.org", i)) }

// commit writes what is queued; some changes are made meanwhile.
func (s *scene) commit() {
	s.t.Helper()
	all := s.ahead
	s.ahead = nil
	for range s.r.IntN(4) {
		s.change()
	}
	if err := s.j.commit(all); err != nil {
		s.t.Fatal(err)
	}
	for _, c := range all {
		s.saved[c.aor] = cseqOf(c.set)
	}
}

func cseqOf(set []Binding) uint32 {
	if len(set) == 0 {
		return 0
	}
	return set[0].CSeq
}

// check compares what a start from a file finds with what was saved. What was in the table may have been saved early.
func check(t *testing.T, path string, saved map[AOR]uint32, ahead []change) {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for i := range 40 {
		aor := user(i)
		got := cseqOf(b.set(aor))
		early := slices.ContainsFunc(ahead, func(c change) bool { return c.aor == aor && cseqOf(c.set) == got })
		if want := saved[aor]; got != want && !early {
			t.Fatalf("%s has CSeq %d, want %d", aor, got, want)
		}
	}
	if b.Count() > 40 {
		t.Fatalf("%d bindings", b.Count())
	}
}

func TestAKillBehindAnyCommitLosesNothing(t *testing.T) {
	s := newScene(t, 1)
	copied := filepath.Join(t.TempDir(), "copy.db")
	var rewritten, deleting int
	for range 300 {
		for range s.r.IntN(6) {
			s.change()
		}
		before := s.j.log
		s.commit()
		if before.start != 0 && s.j.log.start == 0 {
			rewritten++
		}
		if s.j.log.first != before.first && s.j.log.start != 0 {
			deleting++
		}
		if err := s.j.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(copied, 0o600) }); err != nil {
			t.Fatal(err)
		}
		check(t, copied, s.saved, s.ahead)
	}
	if rewritten < 5 || deleting < 5 {
		t.Errorf("only %d times all was written anew, and %d commits were in the middle of deleting", rewritten, deleting)
	}
}

// A power failure during a commit leaves any of its pages written, in any order, and the meta page not, or half.
func TestATornCommitIsAsIfItHadNotBeen(t *testing.T) {
	s := newScene(t, 2)
	torn := filepath.Join(t.TempDir(), "torn.db")
	for range 300 {
		for range s.r.IntN(6) {
			s.change()
		}
		before := read(t, s.path)
		saved := map[AOR]uint32{}
		for aor, n := range s.saved {
			saved[aor] = n
		}
		queued := append([]change(nil), s.ahead...)
		s.commit()
		image := mix(s.r, before, read(t, s.path))
		if err := os.WriteFile(torn, image, 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, torn, saved, queued)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mix is a file in which some pages of a commit are, and its meta page not or half.
func mix(r *rand.Rand, before, after []byte) []byte {
	page := os.Getpagesize()
	image := append([]byte(nil), after...)
	for at := 2 * page; at < len(before); at += page {
		if r.IntN(2) == 0 {
			copy(image[at:at+page], before[at:at+page])
		}
	}
	half := r.IntN(2) * 40 // octets of the meta page: with the root of the tree, and without the transaction and the checksum
	for _, at := range []int{0, page} {
		copy(image[at+half:at+page], before[at+half:at+page])
	}
	return image
}

func TestTheLogStaysShort(t *testing.T) {
	s := newScene(t, 3)
	for range 40 {
		s.change()
	}
	longest := 0
	for range 400 {
		s.commit()
		for range 10 {
			s.change()
		}
		longest = max(longest, s.j.log.size)
	}
	// 40 AORs of some 800 octets; three times that before they are written anew, then that, and what comes meanwhile.
	if longest > 6*40*800 {
		t.Errorf("%d octets for 40 bindings", longest)
	}
	for s.j.log.start != 0 { // meanwhile the size counts what is deleted
		s.change()
		s.commit()
	}
	size, n := 0, uint64(0)
	err := s.j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketLog).ForEach(func(_, v []byte) error { size += len(v); n++; return nil })
	})
	if err != nil || size != s.j.log.size || n != s.j.log.next-s.j.log.first {
		t.Errorf("%d octets in %d pieces, and it thinks %+v (%v)", size, n, s.j.log, err)
	}
	if info, err := os.Stat(s.path); err != nil || info.Size() > 1<<20 {
		t.Errorf("the file has %d octets (%v)", info.Size(), err)
	}
}

// A write that failed is taken back on the disk as well: a copy of what the table said meanwhile may be there.
func TestAFailedWriteIsTakenBackOnTheDisk(t *testing.T) {
	s := newScene(t, 4)
	update := func(aor AOR, contact string) {
		s.j.table.Update(aor, set(binding(contact, epoch.Add(time.Hour))), func([]Binding, error) {})
	}
	update("a@d", "sip:a@h")
	s.round(false)
	update("x@d", "sip:x@h")
	all := s.take()
	update("a@d", "sip:b@h")
	s.j.log.limit = 0
	s.j.tell(all, s.j.commit(all)) // which copies what is queued only
	s.round(true)
	if s.j.log.start != 0 {
		t.Error("it goes on to delete what it has copies of that were taken back")
	}
	if got := s.onDisk("a@d"); got != "sip:b@h" {
		t.Fatalf("%q is on the disk: this test shows nothing", got)
	}
	s.round(false)
	if got := s.onDisk("a@d"); got != "sip:a@h" {
		t.Errorf("%q is on the disk", got)
	}
}

func (s *scene) take() []change {
	all := s.j.queue
	s.j.queue = nil
	return all
}

// round commits what is queued, or has it fail.
func (s *scene) round(fail bool) {
	s.t.Helper()
	if fail {
		if err := s.j.db.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.j.round()
	if fail {
		var err error
		if s.j.db, err = bbolt.Open(s.path, 0o600, nil); err != nil {
			s.t.Fatal(err)
		}
		s.j.db.NoSync = true
	}
}

// onDisk is the contact of an AOR that the file has.
func (s *scene) onDisk(aor AOR) string {
	s.t.Helper()
	if set := s.setOnDisk(aor); len(set) > 0 {
		return set[0].Contact
	}
	return ""
}

func (s *scene) setOnDisk(aor AOR) (found []Binding) {
	s.t.Helper()
	var p pieces
	err := s.j.db.View(func(tx *bbolt.Tx) error {
		return p.load(tx, func(a AOR, set []Binding) {
			if a == aor {
				found = set
			}
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// Feature: REG-26
func TestTheFileOfAnOlderVersionIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b.db")
	older := func(put map[string]string) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketOld)
			for aor, contact := range put {
				err = errors.Join(err, b.Put([]byte(aor), appendSet(nil, []Binding{binding(contact, epoch.Add(time.Hour))})))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	now := func() map[AOR]string {
		b, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		all := map[AOR]string{}
		for aor, set := range b.All(epoch) {
			all[aor] = set[0].Contact
		}
		return all
	}
	older(map[string]string{"a@d": "sip:a1@h", "b@d": "sip:b1@h"})
	for range 2 {
		if diff := cmp.Diff(map[AOR]string{"a@d": "sip:a1@h", "b@d": "sip:b1@h"}, now()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	older(map[string]string{"b@d": "sip:b2@h"}) // somebody went back to it for a while
	if diff := cmp.Diff(map[AOR]string{"a@d": "sip:a1@h", "b@d": "sip:b2@h"}, now()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestADamagedPieceIsAnError(t *testing.T) {
	piece := appendRecord(appendRecord(nil, "a@d", nil), "b@d", []Binding{binding("sip:a@h", epoch)})
	whole := 0
	for i := range piece {
		n := 0
		if err := eachRecord(piece[:i], func(_, _ []byte) { n++ }); err == nil {
			whole++
		}
	}
	if whole != 2 { // nothing, and the first record
		t.Errorf("%d ways to cut a piece of two records pass", whole)
	}
}

func FuzzEachRecord(f *testing.F) {
	f.Add(appendRecord(nil, "a@d", []Binding{binding("sip:a@h", epoch)}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_ = eachRecord(b, func(_, set []byte) { _, _ = parseSet(set) })
	})
}

const killedEnv = "LOCATION_TEST_KILLED"

// A process that is killed has every binding that it had said was durable.
//
// Feature: REG-26
func TestAKilledProcessLosesNothing(t *testing.T) {
	if path := os.Getenv(killedEnv); path != "" {
		registerForEver(path)
	}
	r := rand.New(rand.NewPCG(5, 1))
	path := filepath.Join(t.TempDir(), "b.db")
	said := map[AOR]uint32{}
	for range 4 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestAKilledProcessLosesNothing$")
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var line [8]byte
		for range 200 + r.IntN(400) {
			if _, err := out.Read(line[:]); err != nil {
				t.Fatal(err)
			}
			said[user(int(binary.BigEndian.Uint32(line[:])))] = binary.BigEndian.Uint32(line[4:])
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		b, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for aor, n := range said {
			if got := cseqOf(b.set(aor)); got < n {
				t.Errorf("%s has CSeq %d, was told %d", aor, got, n)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// registerForEver changes bindings and says on its standard output which changes are durable.
func registerForEver(path string) {
	piecesLimits = pieceLimits{least: 4000, step: 5}
	b, err := Open(path)
	if err != nil {
		panic(err)
	}
	room := make(chan struct{}, 64)
	for i := uint32(0); ; i++ {
		room <- struct{}{}
		b.Update(user(int(i%50)), func(old []Binding) ([]Binding, error) {
			c := binding("sip:a@h", epoch.Add(time.Hour))
			c.CSeq = cseqOf(old) + 1
			c.UserAgent = strconv.Itoa(int(c.CSeq)) // more than a refresh, which need not be durable
			return []Binding{c}, nil
		}, func(set []Binding, err error) {
			if err != nil {
				panic(err)
			}
			line := binary.BigEndian.AppendUint32(nil, i%50)
			_, _ = os.Stdout.Write(binary.BigEndian.AppendUint32(line, cseqOf(set)))
			<-room
		})
	}
}
