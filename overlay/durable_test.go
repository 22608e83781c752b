package overlay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2psip/p2psip-gateway/overlay/journal"
	"github.com/p2psip/p2psip-gateway/overlay/node"
	"github.com/p2psip/p2psip-gateway/overlay/store"
	"github.com/p2psip/p2psip-gateway/overlay/trust"
	"github.com/p2psip/p2psip-gateway/overlay/wire"
	"github.com/rs/zerolog"
)

var errNoPower = errors.New("no power")

// disk is a journal that can lose its power: what is not on it then never comes onto it.
type disk struct {
	*journal.Journal
	mu  sync.Mutex
	off bool
}

func (d *disk) Commit(all bool, changes iter.Seq2[string, []byte]) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return errNoPower
	}
	return d.Journal.Commit(all, changes)
}

func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

func (d *disk) keys(t testing.TB) (n int) {
	t.Helper()
	if err := d.Load(func(_, _ []byte) { n++ }); err != nil {
		t.Fatal(err)
	}
	return n
}

// durable starts a peer that keeps what it holds in the file at path.
func (w *world) durable(t testing.TB, self *trust.Signer, first *member, path string) (*member, *disk) {
	t.Helper()
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{Journal: j}
	t.Cleanup(func() { _ = j.Close() }) // after the peer has stopped
	w.journal = d
	defer func() { w.journal = nil }()
	return w.memberAs(t, self, first), d
}

// All peers of a ring lose their power at once. When they are back, every registration is found at every peer, and a
// removal is not forgotten.
//
// Conformance: D-21 D-53
func TestPowerCut(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	const n, users = 3, 20
	selves := make([]*trust.Signer, n)
	for i := range selves {
		selves[i] = w.signer(newKey(t))
	}
	ring, disks := make([]*member, n), make([]*disk, n)
	start := func() {
		for i, self := range selves {
			var first *member
			if i > 0 {
				first = ring[0]
			}
			ring[i], disks[i] = w.durable(t, self, first, filepath.Join(dir, fmt.Sprint(i)))
			ring[i].join()
		}
		settle(t, ring)
	}
	start()
	user := func(i int) string { return fmt.Sprintf("user%d@example.org", i) }
	for i := range users {
		w.register(t, ring[i%n], user(i))
	}
	gone, removed := user(users), time.Now()
	by := w.user(selves[0], gone)
	put := func(exists bool, at time.Time) error {
		v := record(ring[0].NodeID())
		if !exists {
			v.Exists, v.Data = false, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := ring[0].Store(ctx, by, wire.ResourceIDOf(gone), wire.KindSIPRegistration, v, at, time.Hour)
		return err
	}
	if err := put(false, removed); err != nil {
		t.Fatal(err)
	}
	for i, d := range disks {
		eventually(t, func() bool { return d.keys(t) == users+1 },
			func() string { return fmt.Sprintf("disk %d has %d records", i, d.keys(t)) })
	}
	for i, m := range ring {
		disks[i].cut()
		m.cable.cut()
	}
	for i, m := range ring {
		m.stop()
		if err := disks[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	start()
	for i := range users {
		for _, m := range ring {
			if err := finds(t, m, ring[i%n], user(i), patience); err != nil {
				t.Errorf("after the power cut: %v", err)
			}
		}
	}
	var remote *RemoteError
	if err := put(true, removed.Add(-time.Second)); !errors.As(err, &remote) || remote.Code != wire.ErrorDataTooOld {
		t.Errorf("an older value after the removal: %v", err)
	}
}

// What a peer kept is believed no more than what comes over a link: values of a certificate of another authority, and octets
// that are no record, do not come back.
func TestJournalIsNotBelieved(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	kept := make(memoryJournal)
	for user, by := range map[string]*trust.Signer{
		"alice@example.org": w.user(w.signer(newKey(t)), "alice@example.org"),
		"bob@example.org":   other.user(other.signer(newKey(t)), "bob@example.org"),
		"carol@example.org": w.user(w.signer(newKey(t)), "carol@example.org"),
	} {
		r := signedRecord(t, user, by)
		if user == "carol@example.org" {
			r.Values[0].Signature.Value[9]++
		}
		kept[r.Key()] = r.AppendTo(nil)
	}
	kept["rubbish"] = []byte("rubbish")
	w.journal = kept
	m := w.member(t, nil)
	m.join()
	values, err := m.Fetch(t.Context(), wire.ResourceIDOf("alice@example.org"), wire.KindSIPRegistration)
	if err != nil || len(values) != 1 {
		t.Errorf("alice: %+v, %v", values, err)
	}
	if n := m.Status().Stored[wire.KindSIPRegistration]; n != 1 {
		t.Errorf("%d values restored, want 1", n)
	}
	m.stop()
	if len(kept) != 1 {
		t.Errorf("kept afterwards: %d records", len(kept))
	}
}

func signedRecord(t testing.TB, user string, by *trust.Signer) store.Record {
	t.Helper()
	r := store.Record{Resource: wire.ResourceIDOf(user), Kind: wire.KindSIPRegistration, Generation: 3,
		Expires: []time.Time{time.Now().Add(time.Hour).Truncate(time.Millisecond)}, Certificates: by.Certificates()}
	d := wire.StoredData{StorageTime: uint64(time.Now().UnixMilli()), Lifetime: 3600, Value: record(by.Identity().Node)}
	if err := by.SignValue(r.Resource, r.Kind, &d); err != nil {
		t.Fatal(err)
	}
	r.Values = []wire.StoredData{d}
	return r
}

// memoryJournal is a journal on no disk.
type memoryJournal map[string][]byte

func (j memoryJournal) Load(yield func(key, value []byte)) error {
	for k, v := range j {
		yield([]byte(k), v)
	}
	return nil
}

func (j memoryJournal) Commit(all bool, changes iter.Seq2[string, []byte]) error {
	if all {
		clear(j)
	}
	for k, v := range changes {
		if j[k] = v; len(v) == 0 {
			delete(j, k)
		}
	}
	return nil
}

// slow is a journal whose commits end when a test says so, and how it says.
type slow struct {
	memoryJournal
	begun chan bool // what commits were of: all, or changes
	end   chan error
}

func (s *slow) Commit(all bool, changes iter.Seq2[string, []byte]) error {
	s.begun <- all
	if err := <-s.end; err != nil {
		return err
	}
	return s.memoryJournal.Commit(all, changes)
}

func made(n int) store.Record {
	return store.Record{Resource: wire.ResourceIDOf(fmt.Sprint(n)), Kind: wire.KindSIPRegistration,
		Values: make([]wire.StoredData, 1), Expires: make([]time.Time, 1)}
}

func list(from, to int) (out []store.Record) {
	for i := from; i < to; i++ {
		out = append(out, made(i))
	}
	return out
}

func keysOf(records ...store.Record) map[string]bool {
	out := make(map[string]bool)
	for i := range records {
		out[records[i].Key()] = true
	}
	return out
}

// A disk that is too slow, or fails, does not hold up the loop, and has everything in the end.
func TestSlowDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		changes int // while the first commit waits
		err     error
		all     bool // the second commit is of everything
	}{
		{"changes gather", 1000, nil, false},
		{"too many changes", maxUnsaved + 1, nil, true},
		{"a commit fails", 3, errNoPower, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &slow{make(memoryJournal), make(chan bool, 1), make(chan error)}
				d := w.drive(newMemory(), func(cfg *Config) { cfg.Journal = s })
				d.next("tick")
				d.effect(node.Effects{Persist: list(0, 2)})
				if <-s.begun {
					t.Fatal("the first commit is of everything")
				}
				d.effect(node.Effects{Persist: list(1, c.changes)})
				removed := made(0)
				removed.Values, removed.Expires = nil, nil
				d.effect(node.Effects{Persist: []store.Record{removed}})
				if !d.post(t.Context(), func(_ time.Time, _ *loop) { d.node.records = list(1, max(2, c.changes)) }) {
					t.Fatal("the loop has ended")
				}
				synctest.Wait()
				s.end <- c.err
				if all := <-s.begun; all != c.all {
					t.Fatalf("the second commit is of everything: %v, want %v", all, c.all)
				}
				s.end <- nil
				synctest.Wait()
				got := make(map[string]bool)
				for k := range maps.Keys(s.memoryJournal) {
					got[k] = true
				}
				if diff := cmp.Diff(keysOf(list(1, max(2, c.changes))...), got); diff != "" {
					t.Errorf("kept (-want +got):\n%.300s", diff)
				}
				d.stop()
			})
		})
	}
}

// BenchmarkRestore is one record of one value of a user of its own, with its certificate, checked and put back.
func BenchmarkRestore(b *testing.B) {
	w := newWorld(b)
	const users = 200
	kept := make(memoryJournal)
	gateway := w.signer(newKey(b))
	for i := range users {
		user := fmt.Sprintf("user%d@example.org", i)
		r := signedRecord(b, user, w.user(gateway, user))
		kept[r.Key()] = r.AppendTo(nil)
	}
	w.journal = kept
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%users != 0 {
			continue // one peer restores all of them
		}
		b.StopTimer()
		c := Config{Overlay: w.overlay, Self: gateway, Listener: listen(b), AppListener: listen(b), Journal: kept, Log: zerolog.Nop()}
		p, err := New(c)
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		p.restore(time.Now())
		_, _ = c.Listener.Close(), c.AppListener.Close()
	}
}
